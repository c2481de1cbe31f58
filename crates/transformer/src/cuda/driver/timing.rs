//! How long the card took.

use cudarc::driver::CudaEvent;
use cudarc::driver::sys::CUevent_flags;

use super::card::Card;
use super::error::CudaError;

/// A place in the order of what is computed, whose time the card notes.
#[derive(Debug)]
pub(crate) struct Mark {
    event: CudaEvent,
    card: Card,
}

impl Card {
    /// Marks the place after all work that was submitted.
    pub(crate) fn mark(&self) -> Result<Mark, CudaError> {
        let mark = self.unplaced_mark()?;
        mark.place()?;
        Ok(mark)
    }

    /// A mark that is nowhere yet.
    pub(crate) fn unplaced_mark(&self) -> Result<Mark, CudaError> {
        self.refuse_in_capture("marking a time")?;
        let flags = Some(CUevent_flags::CU_EVENT_DEFAULT);
        let event = self.check("making a mark", self.context().new_event(flags))?;
        Ok(Mark { event, card: self.clone() })
    }
}

impl Mark {
    /// Marks the place after all work that was submitted.
    pub(crate) fn place(&self) -> Result<(), CudaError> {
        self.card.check("making a mark", self.event.record(self.card.compute()))
    }

    /// Milliseconds since an earlier mark of the same card; waits until this one is reached.
    pub(crate) fn ms_since(&self, earlier: &Self) -> Result<f64, CudaError> {
        let card = &self.card;
        card.check("waiting for a mark", self.event.synchronize())?;
        let ms = card.elapsed().ms(&earlier.event, &self.event);
        card.check("reading a time", ms).map(f64::from)
    }
}
