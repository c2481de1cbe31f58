//! The forward pass, with and without a tape.

use std::ops::Range;

use super::tape::{self, LayerTape, Scratch, Tape, TapeMode};
use super::{Encoder, Forward, Start};
use crate::backend::{Attention, Backend, Course, Group, NormTape, Pools, reads_head};
use crate::packed::Packed;
use crate::random::mix;

impl<B: Backend> Encoder<B> {
    /// Writes one embedding a text to `out: [texts, hidden]` and keeps nothing. Where a segment's
    /// adapter has a head, its texts' rows are those of their first tokens, as they are: what
    /// [`Head::scores`](crate::Head::scores) reads.
    pub fn embed(&self, forward: &Forward<'_>, scratch: &mut Scratch<B>, out: &mut [f32]) {
        if forward.batch.texts() == 0 {
            return;
        }
        self.all_untaped(forward, scratch);
        let Scratch { workspace, x, .. } = scratch;
        self.backend.pool(workspace, self.pools(forward), x, out);
        self.scale(forward, out, |_| ());
    }

    /// As [`Encoder::embed`], keeping on the tape what [`Encoder::backward`] needs.
    pub fn forward(
        &self,
        forward: &Forward<'_>,
        mode: TapeMode,
        scratch: &mut Scratch<B>,
        tape: &mut Tape<B>,
        out: &mut [f32],
    ) {
        self.taped(forward, mode, scratch, tape);
        if forward.batch.texts() == 0 {
            return;
        }
        let Scratch { workspace, x, .. } = scratch;
        self.backend.pool(workspace, self.pools(forward), x, out);
        tape.lengths.clear();
        self.scale(forward, out, |length| tape.lengths.push(length));
        tape.embeddings.clear();
        tape.embeddings.extend_from_slice(out);
    }

    /// Runs all layers from the start of the pass to `scratch.x`, with a tape from the lowest adapted
    /// one on.
    pub(super) fn taped(
        &self,
        forward: &Forward<'_>,
        mode: TapeMode,
        scratch: &mut Scratch<B>,
        tape: &mut Tape<B>,
    ) {
        tape.mode = mode;
        tape.first = forward.first_adapted(self.layers.len());
        tape.layers.resize_with(self.layers.len() - tape.first, LayerTape::default);
        if forward.batch.texts() == 0 {
            return;
        }
        assert!(tape.first >= forward.first_layer(), "no adapter below the start of the pass");
        self.begin(forward, scratch);
        let kind = || self.kind(forward, Some(mode), Course::Forward);
        self.backend.as_one(&kind, &mut || {
            self.untaped(forward, forward.first_layer()..tape.first, scratch);
            self.resize(&mut tape.input, forward.batch, self.config.hidden);
            self.backend.copy(&scratch.x, &mut tape.input);
            self.layers_taped(forward, mode, scratch, tape);
        });
    }

    fn layers_taped(
        &self,
        forward: &Forward<'_>,
        mode: TapeMode,
        scratch: &mut Scratch<B>,
        tape: &mut Tape<B>,
    ) {
        let mut spare = std::mem::take(&mut scratch.spare);
        for (layer, kept) in (tape.first..).zip(&mut tape.layers) {
            let kept = match mode {
                TapeMode::Full => Kept::all(kept),
                TapeMode::Light => Kept { inner: &mut spare.inner, ..Kept::all(kept) },
                TapeMode::Lean => {
                    let (qkv, inner) = (&mut spare.qkv, &mut spare.inner);
                    Kept { qkv, inner, ..Kept::all(kept) }
                }
            };
            self.layer(forward, layer, scratch, kept);
        }
        scratch.spare = spare;
    }

    /// What tells passes apart that do not ask for the same operations in the same order.
    pub(super) fn kind(
        &self,
        forward: &Forward<'_>,
        mode: Option<TapeMode>,
        course: Course,
    ) -> u64 {
        let mode = match mode {
            None => 0,
            Some(TapeMode::Full) => 1,
            Some(TapeMode::Light) => 2,
            Some(TapeMode::Lean) => 3,
        };
        let groups =
            [Group::QueryKeyValue, Group::AttentionOutput, Group::Intermediate, Group::Output];
        let sites = (0..self.layers.len()).flat_map(|layer| groups.map(|group| (layer, group)));
        let adapted = sites.map(|(layer, group)| !forward.pairs(layer, group).is_empty());
        let first = mix(&[course as u64, mode, forward.first_layer() as u64]);
        adapted.fold(first, |kind, is_adapted| mix(&[kind, u64::from(is_adapted)]))
    }

    /// Writes the input of an encoder layer to `rows: [tokens, hidden]`, computed by the bare base
    /// model: what [`Start::Hidden`] takes.
    pub fn prefix(&self, batch: &Packed, layer: usize, scratch: &mut Scratch<B>, rows: &mut [f32]) {
        if batch.texts() == 0 {
            return;
        }
        let mut bare = Packed::default();
        bare.push((0..batch.texts()).map(|at| batch.text(at)), None, None);
        let forward = Forward { batch: &bare, adapters: &[], start: Start::Tokens };
        self.begin(&forward, scratch);
        self.untaped(&forward, 0..layer, scratch);
        self.backend.download(&scratch.x, rows);
    }

    /// Bytes that a tape holds for `tokens` tokens, from the lowest adapted layer `first` up.
    pub fn tape_bytes(&self, tokens: usize, first: usize, mode: TapeMode) -> usize {
        tape::tape_bytes(&self.config, tokens, first, mode)
    }

    /// Bytes of one thread's [`Scratch`] for batches of `tokens` tokens whose longest text has
    /// `longest` tokens.
    pub fn scratch_bytes(&self, tokens: usize, longest: usize) -> usize {
        tape::scratch_bytes(&self.config, tokens, longest)
    }

    pub(super) fn pools<'a>(&self, forward: &Forward<'a>) -> Pools<'a> {
        Pools { batch: forward.batch, adapters: forward.adapters, pooling: self.pooling }
    }

    /// Divides each embedding by its length where the model does, and reports the lengths; rows
    /// that a head reads stay as they are.
    fn scale(&self, forward: &Forward<'_>, out: &mut [f32], mut report: impl FnMut(f32)) {
        if !self.normalize {
            return;
        }
        for segment in forward.batch.segments() {
            let (from, to) = (segment.texts.start, segment.texts.end);
            let is_scored = reads_head(segment, forward.adapters);
            for row in out[from * self.config.hidden..to * self.config.hidden]
                .chunks_exact_mut(self.config.hidden)
            {
                report(if is_scored { 1.0 } else { scale_to_unit(row) });
            }
        }
    }

    pub(super) fn resize(&self, buffer: &mut B::Floats, batch: &Packed, width: usize) {
        self.backend.resize(buffer, batch.tokens().len() * width);
    }

    pub(super) fn attention<'a>(&self, batch: &'a Packed) -> Attention<'a> {
        Attention { batch, heads: self.config.heads, width: self.config.head() }
    }

    /// Puts the rows that the pass starts from into `scratch.x`.
    fn begin(&self, forward: &Forward<'_>, scratch: &mut Scratch<B>) {
        let Scratch { workspace, x, .. } = scratch;
        let scene = (forward.batch, forward.adapters);
        self.backend.begin(workspace, scene, Course::Forward);
        match forward.start {
            Start::Tokens => {
                self.resize(x, forward.batch, self.config.hidden);
                self.backend.embed(workspace, &self.tables, forward.batch, x);
            }
            Start::Hidden { rows, .. } => self.backend.upload(rows, x),
        }
    }

    /// Runs all layers from the start of the pass to `scratch.x` and keeps nothing.
    pub(super) fn all_untaped(&self, forward: &Forward<'_>, scratch: &mut Scratch<B>) {
        self.begin(forward, scratch);
        let kind = || self.kind(forward, None, Course::Forward);
        self.backend.as_one(&kind, &mut || {
            self.untaped(forward, forward.first_layer()..self.layers.len(), scratch);
        });
    }

    /// Runs layers from `scratch.x` to `scratch.x` and keeps nothing.
    fn untaped(&self, forward: &Forward<'_>, layers: Range<usize>, scratch: &mut Scratch<B>) {
        let mut spare = std::mem::take(&mut scratch.spare);
        for layer in layers {
            self.layer(forward, layer, scratch, Kept::nothing(&mut spare));
        }
        scratch.spare = spare;
    }

    /// One layer, from `scratch.x` to `scratch.x`.
    fn layer(
        &self,
        forward: &Forward<'_>,
        at: usize,
        scratch: &mut Scratch<B>,
        mut kept: Kept<'_, B>,
    ) {
        let (backend, batch, layer) = (&self.backend, forward.batch, &self.layers[at]);
        let hidden = self.config.hidden;
        self.qkv(forward, at, scratch, kept.qkv);
        let Scratch { workspace, x, y, context, delta, .. } = scratch;
        self.resize(context, batch, hidden);
        backend.attention(workspace, self.attention(batch), kept.qkv, context);
        self.resize(delta, batch, hidden);
        backend.linear(workspace, &layer.attention_output, context, delta);
        backend.adapt(workspace, forward.pairs(at, Group::AttentionOutput), context, delta);
        self.resize(y, batch, hidden);
        self.resize_norm(&mut kept.attention_norm, batch);
        backend.add_norm(&layer.attention_norm, x, delta, kept.attention_norm, y);
        self.inner(forward, at, scratch, kept.inner);
        self.resize(&mut scratch.activated, batch, self.config.intermediate);
        backend.gelu(kept.inner, &mut scratch.activated);
        let Scratch { workspace, x, y, activated, delta, .. } = scratch;
        backend.linear(workspace, &layer.output, activated, delta);
        backend.adapt(workspace, forward.pairs(at, Group::Output), activated, delta);
        self.resize_norm(&mut kept.output_norm, batch);
        backend.add_norm(&layer.output_norm, y, delta, kept.output_norm, x);
    }

    /// Queries, keys and values of a layer, from `scratch.x`.
    pub(super) fn qkv(
        &self,
        forward: &Forward<'_>,
        at: usize,
        scratch: &mut Scratch<B>,
        qkv: &mut B::Floats,
    ) {
        let Scratch { workspace, x, .. } = scratch;
        self.resize(qkv, forward.batch, 3 * self.config.hidden);
        self.backend.linear(workspace, &self.layers[at].qkv, x, qkv);
        self.backend.adapt(workspace, forward.pairs(at, Group::QueryKeyValue), x, qkv);
    }

    /// The feed-forward layer before GELU, from `scratch.y`.
    pub(super) fn inner(
        &self,
        forward: &Forward<'_>,
        at: usize,
        scratch: &mut Scratch<B>,
        inner: &mut B::Floats,
    ) {
        let Scratch { workspace, y, .. } = scratch;
        self.resize(inner, forward.batch, self.config.intermediate);
        self.backend.linear(workspace, &self.layers[at].intermediate, y, inner);
        self.backend.adapt(workspace, forward.pairs(at, Group::Intermediate), y, inner);
    }

    fn resize_norm(&self, tape: &mut Option<&mut NormTape<B::Floats>>, batch: &Packed) {
        if let Some(tape) = tape {
            self.resize(&mut tape.rows, batch, self.config.hidden);
            self.resize(&mut tape.scales, batch, 1);
        }
    }
}

/// Where a layer writes what backward may want.
struct Kept<'a, B: Backend> {
    qkv: &'a mut B::Floats,
    attention_norm: Option<&'a mut NormTape<B::Floats>>,
    inner: &'a mut B::Floats,
    output_norm: Option<&'a mut NormTape<B::Floats>>,
}

impl<'a, B: Backend> Kept<'a, B> {
    fn all(tape: &'a mut LayerTape<B>) -> Self {
        let LayerTape { qkv, attention_norm, inner, output_norm } = tape;
        Self { attention_norm: Some(attention_norm), output_norm: Some(output_norm), qkv, inner }
    }

    /// Nothing, but the pass needs somewhere to write on its way.
    fn nothing(spare: &'a mut LayerTape<B>) -> Self {
        Self { attention_norm: None, output_norm: None, ..Self::all(spare) }
    }
}

/// Divides a vector by its length, or by 1e-12 if it is shorter, and returns what it was divided by.
pub fn scale_to_unit(vector: &mut [f32]) -> f32 {
    let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
    vector.iter_mut().for_each(|v| *v /= length);
    length
}
