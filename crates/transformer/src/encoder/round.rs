//! Passes of a round whose adapters the device keeps: what comes out of them stays there.

use super::tape::{Scratch, Tape, TapeMode};
use super::{Encoder, Forward};
use crate::backend::{Backend, Course};
use crate::keeper::{Ending, Keeper, Member, RoundRanking, Verdict};

/// What training keeps on a device of an adapter.
type Slab<B> = <<B as Backend>::Keeper as Keeper<B>>::Slab;

/// A round under way; see [`Keeper`].
pub struct Round<'a, B: Backend> {
    encoder: &'a Encoder<B>,
    keeper: &'a B::Keeper,
    inner: <B::Keeper as Keeper<B>>::Round,
}

impl<'a, B: Backend> Round<'a, B> {
    /// Begins a round over so many texts with adapters that the device keeps. Its passes go through
    /// this scratch, and through no other.
    pub fn begin(
        (encoder, keeper): (&'a Encoder<B>, &'a B::Keeper),
        scratch: &mut Scratch<B>,
        members: &mut [Member<'_, Slab<B>>],
        texts: usize,
    ) -> Self {
        let size = (texts, encoder.config.hidden);
        let inner = keeper.begin(&mut scratch.workspace, members, size);
        Self { encoder, keeper, inner }
    }

    /// Runs a batch forward, whose texts are those of the round from `text` on.
    pub fn forward(
        &mut self,
        forward: &Forward<'_>,
        tape: Option<(TapeMode, &mut Tape<B>)>,
        scratch: &mut Scratch<B>,
        text: usize,
    ) {
        match tape {
            Some((mode, tape)) => self.encoder.taped(forward, mode, scratch, tape),
            None => self.encoder.all_untaped(forward, scratch),
        }
        let Scratch { workspace, x, .. } = scratch;
        self.keeper.pool(workspace, self.encoder.pools(forward), x, (&mut self.inner, text));
    }

    /// Judges every member by its ranking, once all batches were run.
    pub fn rank(&mut self, rankings: &[RoundRanking<'_>]) {
        self.keeper.rank(&mut self.inner, rankings);
    }

    /// Fills a tape once more, for a batch that was run without one.
    pub fn run_again(
        &self,
        forward: &Forward<'_>,
        mode: TapeMode,
        scratch: &mut Scratch<B>,
        tape: &mut Tape<B>,
    ) {
        self.encoder.taped(forward, mode, scratch, tape);
    }

    /// Runs a batch backward, from its texts' slopes to its members' sums. Batches come in the order
    /// in which the gradients of a member are to be added.
    pub fn backward(
        &mut self,
        forward: &Forward<'_>,
        scratch: &mut Scratch<B>,
        tape: &mut Tape<B>,
        text: usize,
    ) {
        let (encoder, batch) = (self.encoder, forward.batch);
        if tape.layers.is_empty() || batch.texts() == 0 {
            return;
        }
        let scene = (batch, forward.adapters);
        encoder.backend.begin(&mut scratch.workspace, scene, Course::Backward);
        encoder.resize(&mut scratch.d_y, batch, encoder.config.hidden);
        let Scratch { workspace, d_y, .. } = scratch;
        let pools = encoder.pools(forward);
        self.keeper.pool_backward(workspace, pools, (&self.inner, text), d_y);
        encoder.layers_backward(forward, scratch, tape, &mut []);
        self.keeper.sum(&mut scratch.workspace, batch, &mut self.inner);
    }

    /// Ends every member's part, and lets the scratch go.
    pub fn end(&mut self, scratch: &mut Scratch<B>, endings: &[Ending]) {
        self.keeper.end(&mut scratch.workspace, &mut self.inner, endings);
    }

    /// Waits for what came of it, one a member; nothing that the device is asked for before is waited
    /// for sooner.
    pub fn verdicts(self) -> Vec<Verdict> {
        self.keeper.verdicts(self.inner)
    }
}
