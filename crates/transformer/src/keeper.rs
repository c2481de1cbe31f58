//! Training whose state stays on a device: adapters, their optimizers and the losses over them.
//!
//! ```text
//! take ─▶ slab (aside) ─ bring ─▶ slab (on the device) ─ put_aside ─▶ slab (aside)
//!
//! begin ─▶ a round ─▶ each chunk forward, its pooled rows into the round
//!                  ─▶ judge: losses, and slopes by rows ─▶ settle: slopes by pooled rows
//!                  ─▶ each chunk backward from those slopes, its gradients into the round's sums
//!                  ─▶ end: clip and step each slab, or keep its sum ─▶ verdicts
//! ```
//! Nothing of this but `verdicts` waits for the device, unless the host judges a member: between
//! `judge` and `settle` it reads rows and writes slopes. With a large batch others may help: each
//! begins a round with a copy of the member's values, gives the rows of its texts, takes their slopes,
//! and gives the gradient of each segment. A round that failed before `end` has changed no slab, and
//! can be begun again.

use std::ops::Range;

use crate::backend::{Backend, Fault, Pools};
use crate::packed::Packed;

/// All that training changes of an adapter; each as long as its layout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SlabState {
    /// The adapter's values.
    pub values: Vec<f32>,
    /// Running mean of gradients.
    pub mean: Vec<f32>,
    /// Running mean of squared gradients.
    pub square: Vec<f32>,
    /// The sum over the batches of the step that has begun; whatever it is between steps.
    pub gradient: Vec<f32>,
}

impl SlabState {
    /// Arrays of a slab.
    pub const PARTS: usize = 4;

    /// Bytes of the slab of an adapter with so many values.
    pub fn bytes(values: usize) -> usize {
        Self::PARTS * size_of::<f32>() * values
    }
}

/// A slab's part in a round.
#[derive(Debug)]
pub struct Member<'a, S> {
    /// The adapter's state; it must have been brought.
    pub slab: &'a mut S,
    /// Whether the round adds to the gradient that the slab holds, or begins a new one.
    pub goes_on: bool,
}

/// Who finds a member's loss, and the slopes of its texts.
#[derive(Clone, Copy, Debug)]
pub enum Judging<'a> {
    /// The device, by a ranking.
    Ranking(RoundRanking<'a>),
    /// The host, which reads the rows that the device has scaled to length 1 or, of these texts, left
    /// as they are pooled.
    Host {
        /// Texts of the round whose rows a head reads.
        unscaled: &'a [u32],
    },
}

/// Anchors and the texts they choose from, and how; numbers are texts of the round. Embeddings are
/// scaled to length 1 before they are compared (arXiv:1705.00652).
#[derive(Clone, Copy, Debug)]
pub struct RoundRanking<'a> {
    /// One text an example.
    pub anchors: &'a [u32],
    /// The examples' positives in their order, then others.
    pub columns: &'a [u32],
    /// `(anchor, column)` indices that count neither as right nor as wrong.
    pub excluded: &'a [(u32, u32)],
    /// Factor on the cosine.
    pub scale: f32,
    /// Whether the mean is taken with the ranking of anchors by positives.
    pub is_symmetric: bool,
    /// What gradients are multiplied with.
    pub part: f32,
}

/// AdamW's settings at a step, in the precision that the trainer has them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// Decay of the running mean of gradients.
    pub beta1: f64,
    /// Decay of the running mean of squared gradients.
    pub beta2: f64,
    /// Keeps the quotient finite.
    pub epsilon: f32,
    /// The step's learning rate.
    pub learning_rate: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// The limit of the gradient's norm.
    pub norm_max: Option<f32>,
    /// Steps taken with this one, from 1.
    pub steps: u64,
}

/// What becomes of the sum of a slab's gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ending {
    /// The optimizer takes a step, unless the loss or the sum's norm is not finite.
    Step(AdamStep),
    /// The slab keeps it, for the batches of the step that are still to come.
    Keep,
}

/// What came of a slab's round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The loss of the batch.
    pub loss: f32,
    /// The Euclidean norm of the sum, before clipping; 0 where the slab keeps it.
    pub gradient_norm: f32,
}

/// What a device must be able to do to keep adapters. As with [`Backend`], an operation cannot say
/// that it failed: after a failure nothing more is done, [`Backend::take_fault`] tells it, and what
/// came out since is nothing.
pub trait Keeper<B: Backend + ?Sized> {
    /// An adapter's state, on the device or aside, in memory of the host.
    type Slab: Send;
    /// A round under way.
    type Round;

    /// Takes over a copy of a state, aside.
    fn take(&self, state: &SlabState) -> Result<Self::Slab, Fault>;
    /// Begins to bring a slab to the device, unless it is there.
    fn bring(&self, slab: &mut Self::Slab);
    /// Begins to put a slab aside, unless it is, or a round is under way with it. What it took on the
    /// device is free for what is brought later.
    fn put_aside(&self, slab: &mut Self::Slab);
    /// Copies a slab's state, wherever it is; waits for it.
    fn read(&self, slab: &Self::Slab) -> Result<SlabState, Fault>;

    /// Begins a round over so many texts of so many features. Until it ends the adapters that segments
    /// index are the members, in their order: passes with this workspace read the slabs' values, and
    /// of [`Forward::adapters`](crate::Forward::adapters) the layouts alone.
    fn begin(
        &self,
        workspace: &mut B::Workspace,
        members: &mut [Member<'_, Self::Slab>],
        size: (usize, usize),
    ) -> Self::Round;
    /// Pools a batch's texts to the round's rows from `text` on.
    fn pool(
        &self,
        workspace: &mut B::Workspace,
        pools: Pools<'_>,
        x: &B::Floats,
        to: (&mut Self::Round, usize),
    );
    /// Scales the round's rows, and judges every member that has a ranking; the slopes are by scaled
    /// rows then, 0 for a text that is in none.
    fn judge(&self, round: &mut Self::Round, judgings: &[Judging<'_>]);
    /// Takes the loss that the host has found for a member.
    fn write_loss(&self, round: &mut Self::Round, member: usize, loss: f32);
    /// Copies a part of a member's values; waits for it.
    fn read_values(&self, round: &Self::Round, member: usize, part: Range<usize>) -> Vec<f32>;
    /// Makes the slopes of a round that was judged those by pooled rows.
    fn settle(&self, round: &mut Self::Round);
    /// `dx: [tokens, hidden]` from the round's slopes from `text` on.
    fn pool_backward(
        &self,
        workspace: &mut B::Workspace,
        pools: Pools<'_>,
        from: (&Self::Round, usize),
        dx: &mut B::Floats,
    );
    /// Ends a backward pass: its segments' gradients are added to the sums of their members, in the
    /// order of the segments.
    fn sum(&self, workspace: &mut B::Workspace, batch: &Packed, round: &mut Self::Round);
    /// Begins a round that helps another device with members of its own, whose values these are: it is
    /// neither judged nor ended.
    fn begin_helping(
        &self,
        workspace: &mut B::Workspace,
        values: &[&[f32]],
        size: (usize, usize),
    ) -> Self::Round;
    /// Copies all rows, scaled once they are judged; waits for them.
    fn read_rows(&self, round: &Self::Round) -> Vec<f32>;
    /// Puts pooled rows that another device computed into a round, from `text` on.
    fn write_rows(&self, round: &mut Self::Round, text: usize, rows: &[f32]);
    /// Copies the slopes of some texts of a round that was settled; waits for them.
    fn read_slopes(&self, round: &Self::Round, texts: Range<usize>) -> Vec<f32>;
    /// Puts slopes into a helping round, or into one that was judged, from `text` on.
    fn write_slopes(&self, round: &mut Self::Round, text: usize, slopes: &[f32]);
    /// Adds a gradient that was computed elsewhere to the sum of a member, by its values from some value
    /// on: `place` is the member and the first of them.
    fn add_gradient(&self, round: &mut Self::Round, place: (usize, usize), gradient: &[f32]);
    /// Lets the workspace go from a round that is not ended.
    fn leave(&self, workspace: &mut B::Workspace);
    /// Ends every member's part, each in its own way; the workspace is as before the round.
    fn end(&self, workspace: &mut B::Workspace, round: &mut Self::Round, endings: &[Ending]);
    /// Waits for what came of it, one a member.
    fn verdicts(&self, round: Self::Round) -> Vec<Verdict>;
}

/// The keeper of devices that keep nothing: there is none.
#[derive(Clone, Copy, Debug)]
pub enum NoKeeper {}

impl<B: Backend> Keeper<B> for NoKeeper {
    type Slab = NoKeeper;
    type Round = NoKeeper;

    fn take(&self, _: &SlabState) -> Result<NoKeeper, Fault> {
        match *self {}
    }

    fn bring(&self, _: &mut NoKeeper) {
        match *self {}
    }

    fn put_aside(&self, _: &mut NoKeeper) {
        match *self {}
    }

    fn read(&self, _: &NoKeeper) -> Result<SlabState, Fault> {
        match *self {}
    }

    fn begin(
        &self,
        _: &mut B::Workspace,
        _: &mut [Member<'_, NoKeeper>],
        _: (usize, usize),
    ) -> NoKeeper {
        match *self {}
    }

    fn pool(&self, _: &mut B::Workspace, _: Pools<'_>, _: &B::Floats, _: (&mut NoKeeper, usize)) {
        match *self {}
    }

    fn judge(&self, _: &mut NoKeeper, _: &[Judging<'_>]) {
        match *self {}
    }

    fn write_loss(&self, _: &mut NoKeeper, _: usize, _: f32) {
        match *self {}
    }

    fn read_values(&self, _: &NoKeeper, _: usize, _: Range<usize>) -> Vec<f32> {
        match *self {}
    }

    fn settle(&self, _: &mut NoKeeper) {
        match *self {}
    }

    fn pool_backward(
        &self,
        _: &mut B::Workspace,
        _: Pools<'_>,
        _: (&NoKeeper, usize),
        _: &mut B::Floats,
    ) {
        match *self {}
    }

    fn sum(&self, _: &mut B::Workspace, _: &Packed, _: &mut NoKeeper) {
        match *self {}
    }

    fn begin_helping(&self, _: &mut B::Workspace, _: &[&[f32]], _: (usize, usize)) -> NoKeeper {
        match *self {}
    }

    fn read_rows(&self, _: &NoKeeper) -> Vec<f32> {
        match *self {}
    }

    fn write_rows(&self, _: &mut NoKeeper, _: usize, _: &[f32]) {
        match *self {}
    }

    fn read_slopes(&self, _: &NoKeeper, _: Range<usize>) -> Vec<f32> {
        match *self {}
    }

    fn write_slopes(&self, _: &mut NoKeeper, _: usize, _: &[f32]) {
        match *self {}
    }

    fn add_gradient(&self, _: &mut NoKeeper, _: (usize, usize), _: &[f32]) {
        match *self {}
    }

    fn leave(&self, _: &mut B::Workspace) {
        match *self {}
    }

    fn end(&self, _: &mut B::Workspace, _: &mut NoKeeper, _: &[Ending]) {
        match *self {}
    }

    fn verdicts(&self, _: NoKeeper) -> Vec<Verdict> {
        match *self {}
    }
}
