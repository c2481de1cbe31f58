//! Work that is submitted as a whole, without this process naming each kernel again.

use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaGraph, DriverError};

use super::card::Card;
use super::error::CudaError;
use super::pool::FreeList;

/// Work that was captured. It is for the shapes and addresses that it was captured with; other
/// shapes are other graphs, which the caller tells apart.
#[derive(Debug)]
pub(crate) struct Graph<K> {
    // The order is that in which fields are dropped: what runs, then the memory that it uses.
    work: Work,
    kept: K,
    scratch: Scratch,
}

struct Work(CudaGraph);

// SAFETY: a graph may be used by any thread, by one at a time, and it is not `Sync`.
unsafe impl Send for Work {}

impl std::fmt::Debug for Work {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str("Work")
    }
}

/// Memory that was taken and given back while the graph was captured, and that it uses each time.
#[derive(Debug)]
struct Scratch {
    card: Card,
    blocks: FreeList<u64>,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What the graph does comes before whatever takes the memory next, by the stream's order.
        self.card.store().give_blocks(&mut self.blocks);
    }
}

impl Card {
    /// Captures the work that is submitted in `body`, which is then not done, but becomes a graph.
    /// `body` gives what the work uses and was made before or within: the graph keeps it. Buffers
    /// that are dropped within are the graph's own too.
    pub(crate) fn capture<K>(
        &self,
        body: impl FnOnce(&Self) -> Result<K, CudaError>,
    ) -> Result<Graph<K>, CudaError> {
        self.refuse_in_capture("another capture")?;
        // Memory may be taken meanwhile, which a stricter mode would forbid.
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        self.check("capturing a graph", self.compute().begin_capture(mode))?;
        self.store().begin_capture();
        let open = Open { card: self, is_open: true };
        let made = body(self);
        let (captured, scratch) = open.end();
        let kept = made?;
        let captured = self.check("making a graph", captured)?;
        let nothing =
            || CudaError::Refused { doing: "making a graph", code: "no graph".to_owned() };
        Ok(Graph { work: Work(captured.ok_or_else(nothing)?), kept, scratch })
    }
}

/// A capture that must end, whatever comes.
struct Open<'a> {
    card: &'a Card,
    is_open: bool,
}

impl Open<'_> {
    fn end(mut self) -> (Result<Option<CudaGraph>, DriverError>, Scratch) {
        self.end_once()
    }

    fn end_once(&mut self) -> (Result<Option<CudaGraph>, DriverError>, Scratch) {
        self.is_open = false;
        let captured = self.card.compute().end_capture(CUgraphInstantiate_flags(0));
        let blocks = self.card.store().end_capture();
        (captured, Scratch { card: self.card.clone(), blocks })
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.is_open {
            drop(self.end_once());
        }
    }
}

impl<K> Graph<K> {
    /// Submits the work once more, after all that was submitted before.
    pub(crate) fn launch(&self) -> Result<(), CudaError> {
        let card = &self.scratch.card;
        card.refuse_in_capture("launching a graph")?;
        card.check("launching a graph", self.work.0.launch())
    }

    /// What the graph keeps.
    pub(crate) fn kept(&self) -> &K {
        &self.kept
    }
}
