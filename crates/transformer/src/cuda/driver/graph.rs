//! Work that is submitted at once, without this process naming each kernel to the card again.
//!
//! A pass asks for the same kernels in the same order each time, on other sizes and addresses. So it is
//! captured each time, which costs less than submitting, and put in the place of the work of its kind
//! before; a new kind, or work that the driver does not put there, is made ready anew.

use cudarc::driver::DriverError;
use cudarc::driver::sys::CUstreamCaptureMode;

use super::card::Card;
use super::error::CudaError;
use super::pool::FreeList;
use super::raw::{self, Captured, Ready};

/// Kinds of work that are kept ready; of more, the one that was used least recently is let go.
const KINDS_MAX: usize = 32;

/// Work that is ready, by its kind; what was used last comes last.
#[derive(Debug, Default)]
pub(crate) struct Graphs {
    kinds: Vec<(u64, Ready)>,
}

impl Graphs {
    /// Submits captured work of a kind.
    fn submit(&mut self, card: &Card, kind: u64, captured: &Captured) -> Result<(), CudaError> {
        const DOING: &str = "making a graph";
        let at = self.kinds.iter().position(|(known, _)| *known == kind);
        let before = at.map(|at| self.kinds.remove(at).1);
        let updated = match &before {
            Some(ready) => card.check("changing a graph", ready.update(captured))?,
            None => false,
        };
        let ready = match before.filter(|_| updated) {
            Some(ready) => ready,
            None => card.check(DOING, captured.make_ready())?,
        };
        card.check("launching a graph", ready.launch(card.compute()))?;
        self.kinds.push((kind, ready));
        if self.kinds.len() > KINDS_MAX {
            self.kinds.remove(0);
        }
        Ok(())
    }
}

impl Card {
    /// Submits at once what `body` asks for, or nothing if it fails. Within, nothing is copied from the
    /// host or to it, and nothing waited for. Memory that is given back within is free for what is
    /// asked for after it.
    pub(crate) fn submit_as_one<E: From<CudaError>>(
        &self,
        graphs: &mut Graphs,
        kind: u64,
        body: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        self.refuse_in_capture("another capture")?;
        // Memory may be taken meanwhile, which a stricter mode would forbid.
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        self.check("capturing a graph", self.compute().begin_capture(mode))?;
        self.store().begin_capture();
        let open = Open { card: self, is_open: true };
        let asked = body();
        let (captured, mut blocks) = open.end();
        let submitted = asked.and_then(|()| {
            let nothing =
                || CudaError::Refused { doing: "making a graph", code: "no graph".to_owned() };
            let captured = self.check("making a graph", captured)?.ok_or_else(nothing)?;
            Ok(graphs.submit(self, kind, &captured)?)
        });
        self.store().give_blocks(&mut blocks);
        if submitted.is_err() {
            // Within, nothing that is kept could be given back for memory that was short. If that
            // fails too, it is what was to be told anyway.
            let _ = self.trim();
        }
        submitted
    }
}

/// A capture that must end, whatever comes.
struct Open<'a> {
    card: &'a Card,
    is_open: bool,
}

/// What was captured, and memory that was given back meanwhile.
type Ended = (Result<Option<Captured>, DriverError>, FreeList<u64>);

impl Open<'_> {
    fn end(mut self) -> Ended {
        self.end_once()
    }

    fn end_once(&mut self) -> Ended {
        self.is_open = false;
        let captured = raw::end_capture(self.card.compute());
        (captured, self.card.store().end_capture())
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.is_open {
            let (_, mut blocks) = self.end_once();
            // None of the work was submitted.
            self.card.store().give_blocks(&mut blocks);
        }
    }
}
