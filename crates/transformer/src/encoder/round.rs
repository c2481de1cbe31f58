//! Passes of a round whose adapters the device keeps: what comes out of them stays there.

use std::ops::Range;

use super::tape::{Scratch, Tape, TapeMode};
use super::{Encoder, Forward};
use crate::backend::{Backend, Course};
use crate::keeper::{Ending, Judging, Keeper, Member, Verdict};

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

    /// Begins a round that helps another device, with copies of its members' values.
    pub fn help(
        (encoder, keeper): (&'a Encoder<B>, &'a B::Keeper),
        scratch: &mut Scratch<B>,
        values: &[&[f32]],
        texts: usize,
    ) -> Self {
        let size = (texts, encoder.config.hidden);
        let inner = keeper.begin_helping(&mut scratch.workspace, values, size);
        Self { encoder, keeper, inner }
    }

    /// All rows, once all batches were run: as they are pooled in a helping round, scaled in one that
    /// was judged; waits for them.
    pub fn rows(&self) -> Vec<f32> {
        self.keeper.read_rows(&self.inner)
    }

    /// Takes the rows of texts that another device has run.
    pub fn take_rows(&mut self, text: usize, rows: &[f32]) {
        self.keeper.write_rows(&mut self.inner, text, rows);
    }

    /// The slopes of texts that another device runs backward; waits for them.
    pub fn slopes(&self, texts: Range<usize>) -> Vec<f32> {
        self.keeper.read_slopes(&self.inner, texts)
    }

    /// Takes the slopes of texts from `text` on: of a helping round by pooled rows, of one that was
    /// judged and not settled by scaled ones.
    pub fn take_slopes(&mut self, text: usize, slopes: &[f32]) {
        self.keeper.write_slopes(&mut self.inner, text, slopes);
    }

    /// Adds a gradient that was computed elsewhere to a member's sum, from its value `first` on.
    pub fn take_gradient(&mut self, member: usize, first: usize, gradient: &[f32]) {
        self.keeper.add_gradient(&mut self.inner, (member, first), gradient);
    }

    /// A part of a member's values; waits for it.
    pub fn values(&self, member: usize, part: Range<usize>) -> Vec<f32> {
        self.keeper.read_values(&self.inner, member, part)
    }

    /// Takes the loss that the host has found for a member.
    pub fn take_loss(&mut self, member: usize, loss: f32) {
        self.keeper.write_loss(&mut self.inner, member, loss);
    }

    /// Runs a batch of a helping round backward; the gradient of each segment comes to the host, which
    /// waits for it.
    pub fn differentiate(
        &mut self,
        forward: &Forward<'_>,
        scratch: &mut Scratch<B>,
        tape: &mut Tape<B>,
        (text, gradients): (usize, &mut [Vec<f32>]),
    ) {
        for (segment, gradient) in forward.batch.segments().iter().zip(gradients.iter_mut()) {
            gradient.clear();
            let len = segment.adapter.map_or(0, |at| forward.adapters[at].layout.len());
            gradient.resize(len, 0.0);
        }
        if self.run_backward(forward, scratch, tape, text) {
            self.encoder.backend.collect(&mut scratch.workspace, gradients);
        }
    }

    /// Gives up: nothing of it has any effect.
    pub fn leave(self, scratch: &mut Scratch<B>) {
        self.keeper.leave(&mut scratch.workspace);
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

    /// Judges every member that has a ranking, once all batches were run. The host judges the others
    /// by [`Round::rows`], [`Round::take_slopes`] and [`Round::take_loss`].
    pub fn judge(&mut self, judgings: &[Judging<'_>]) {
        self.keeper.judge(&mut self.inner, judgings);
    }

    /// Ends judging: batches can be run backward.
    pub fn settle(&mut self) {
        self.keeper.settle(&mut self.inner);
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
        if self.run_backward(forward, scratch, tape, text) {
            self.keeper.sum(&mut scratch.workspace, forward.batch, &mut self.inner);
        }
    }

    /// Runs a batch backward; false if there is nothing to be differentiated.
    fn run_backward(
        &mut self,
        forward: &Forward<'_>,
        scratch: &mut Scratch<B>,
        tape: &mut Tape<B>,
        text: usize,
    ) -> bool {
        let (encoder, batch) = (self.encoder, forward.batch);
        if tape.layers.is_empty() || batch.texts() == 0 {
            return false;
        }
        let scene = (batch, forward.adapters);
        encoder.backend.begin(&mut scratch.workspace, scene, Course::Backward);
        encoder.resize(&mut scratch.d_y, batch, encoder.config.hidden);
        let Scratch { workspace, d_y, .. } = scratch;
        let pools = encoder.pools(forward);
        self.keeper.pool_backward(workspace, pools, (&self.inner, text), d_y);
        encoder.layers_backward(forward, scratch, tape, &mut []);
        true
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
