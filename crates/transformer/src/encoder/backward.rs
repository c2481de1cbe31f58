//! The backward pass: from gradients of embeddings to gradients of adapters.
//!
//! The base is frozen, so each product is differentiated by its rows only, and the pass ends at the
//! lowest adapted layer, below which nothing is trained.

use super::tape::{LayerTape, Scratch, Tape, TapeMode};
use super::{Encoder, Forward};
use crate::backend::{AdaptSlopes, Backend, Course, Group, Target, reads_head};
use crate::packed::Packed;

impl<B: Backend> Encoder<B> {
    /// Overwrites `gradients[s]`, of the length of segment `s`'s adapter (or 0 without one), with
    /// the gradient of a loss whose gradient by the embeddings is `d_out: [texts, hidden]`.
    ///
    /// `forward` and `tape` are those of the [`Encoder::forward`] pass.
    ///
    /// # Panics
    /// If the device multiplies in [`Precision::Int8`](crate::Precision::Int8), which does not train.
    pub fn backward(
        &self,
        forward: &Forward<'_>,
        scratch: &mut Scratch<B>,
        tape: &mut Tape<B>,
        d_out: &[f32],
        gradients: &mut [Vec<f32>],
    ) {
        let batch = forward.batch;
        assert_eq!(gradients.len(), batch.segments().len(), "one gradient a segment");
        for (segment, gradient) in batch.segments().iter().zip(gradients.iter_mut()) {
            let len = segment.adapter.map_or(0, |at| forward.adapters[at].layout.len());
            gradient.clear();
            gradient.resize(len, 0.0);
        }
        if tape.layers.is_empty() || batch.texts() == 0 {
            return;
        }
        let scene = (batch, forward.adapters);
        self.backend.begin(&mut scratch.workspace, scene, Course::Backward);
        self.unpool(forward, scratch, tape, d_out);
        self.layers_backward(forward, scratch, tape, gradients);
        self.backend.collect(&mut scratch.workspace, gradients);
    }

    /// From `scratch.d_y`, the gradient of the last layer's output, to the lowest adapted layer.
    pub(super) fn layers_backward(
        &self,
        forward: &Forward<'_>,
        scratch: &mut Scratch<B>,
        tape: &mut Tape<B>,
        gradients: &mut [Vec<f32>],
    ) {
        let mode = tape.mode;
        let kind = || self.kind(forward, Some(mode), Course::Backward);
        self.backend.as_one(&kind, &mut || {
            for at in (tape.first..self.layers.len()).rev() {
                self.feed_forward_backward(forward, at, scratch, tape, gradients);
                self.attention_backward(forward, at, scratch, tape, gradients);
            }
        });
    }

    /// `scratch.d_y`, the gradient of the last layer's output.
    fn unpool(
        &self,
        forward: &Forward<'_>,
        scratch: &mut Scratch<B>,
        tape: &mut Tape<B>,
        d_out: &[f32],
    ) {
        let hidden = self.config.hidden;
        let slopes = &mut scratch.d_pooled;
        slopes.clear();
        slopes.extend_from_slice(d_out);
        let segments = forward.batch.segments().iter();
        let embedded = segments.filter(|segment| !reads_head(segment, forward.adapters));
        for segment in embedded.filter(|_| self.normalize) {
            let texts = segment.texts.clone();
            let values = texts.start * hidden..texts.end * hidden;
            let rows = tape.embeddings[values.clone()].chunks_exact(hidden);
            let rows = slopes[values].chunks_exact_mut(hidden).zip(rows);
            for ((slope, row), length) in rows.zip(&tape.lengths[texts]) {
                let along: f32 = slope.iter().zip(row).map(|(slope, v)| slope * v).sum();
                for (slope, v) in slope.iter_mut().zip(row) {
                    *slope = (*slope - v * along) / length;
                }
            }
        }
        self.resize(&mut scratch.d_y, forward.batch, hidden);
        let Scratch { workspace, d_pooled, d_y, .. } = scratch;
        self.backend.pool_backward(workspace, self.pools(forward), d_pooled, d_y);
    }

    /// `scratch.d_y` goes from the layer's output to its middle.
    fn feed_forward_backward(
        &self,
        forward: &Forward<'_>,
        at: usize,
        scratch: &mut Scratch<B>,
        tape: &mut Tape<B>,
        gradients: &mut [Vec<f32>],
    ) {
        let (backend, batch, layer) = (&self.backend, forward.batch, &self.layers[at]);
        let LayerTape { attention_norm, inner, output_norm, .. } =
            &mut tape.layers[at - tape.first];
        backend.norm_backward(&layer.output_norm, output_norm, &mut scratch.d_y);

        let (outer_pairs, inner_pairs) =
            (forward.pairs(at, Group::Output), forward.pairs(at, Group::Intermediate));
        if tape.mode != TapeMode::Full || !inner_pairs.is_empty() {
            self.resize(&mut scratch.y, batch, self.config.hidden);
            backend.norm_again(&layer.attention_norm, attention_norm, &mut scratch.y);
        }
        let mut spare = std::mem::take(&mut scratch.spare);
        let inner = match tape.mode {
            TapeMode::Full => inner,
            TapeMode::Light | TapeMode::Lean => {
                self.inner(forward, at, scratch, &mut spare.inner);
                &mut spare.inner
            }
        };

        let Scratch { workspace, y, activated, d_y, d_inner, .. } = scratch;
        self.resize(d_inner, batch, self.config.intermediate);
        backend.linear_backward(workspace, &layer.output, d_y, d_inner, Target::Replace);
        if !outer_pairs.is_empty() {
            self.resize(activated, batch, self.config.intermediate);
            backend.gelu(inner, activated);
            let slopes = AdaptSlopes { x: &*activated, dy: &*d_y, dx: Some(&mut *d_inner) };
            backend.adapt_backward(workspace, outer_pairs, slopes, gradients);
        }
        backend.gelu_backward(inner, d_inner);
        backend.linear_backward(workspace, &layer.intermediate, d_inner, d_y, Target::Add);
        let slopes = AdaptSlopes { x: &*y, dy: &*d_inner, dx: Some(d_y) };
        backend.adapt_backward(workspace, inner_pairs, slopes, gradients);
        scratch.spare = spare;
    }

    /// `scratch.d_y` goes from the layer's middle to its input.
    fn attention_backward(
        &self,
        forward: &Forward<'_>,
        at: usize,
        scratch: &mut Scratch<B>,
        tape: &mut Tape<B>,
        gradients: &mut [Vec<f32>],
    ) {
        let (backend, batch, layer) = (&self.backend, forward.batch, &self.layers[at]);
        let hidden = self.config.hidden;
        let pairs = forward.pairs(at, Group::QueryKeyValue);
        let is_lean = tape.mode == TapeMode::Lean;
        if is_lean || !pairs.is_empty() {
            self.layer_input(at, scratch, tape, batch);
        }
        let mut spare = std::mem::take(&mut scratch.spare);
        if is_lean {
            self.qkv(forward, at, scratch, &mut spare.qkv);
        }
        let kept = &tape.layers[at - tape.first];
        let qkv = if is_lean { &spare.qkv } else { &kept.qkv };
        let Scratch { workspace, x, context, delta, d_y, d_qkv, .. } = scratch;
        backend.norm_backward(&layer.attention_norm, &kept.attention_norm, d_y);

        let d_context = delta;
        self.resize(d_context, batch, hidden);
        let dense = &layer.attention_output;
        backend.linear_backward(workspace, dense, d_y, d_context, Target::Replace);
        let dense_pairs = forward.pairs(at, Group::AttentionOutput);
        if !dense_pairs.is_empty() {
            self.resize(context, batch, hidden);
            backend.attention(workspace, self.attention(batch), qkv, context);
            let slopes = AdaptSlopes { x: &*context, dy: &*d_y, dx: Some(&mut *d_context) };
            backend.adapt_backward(workspace, dense_pairs, slopes, gradients);
        }
        self.resize(d_qkv, batch, 3 * hidden);
        backend.attention_backward(workspace, self.attention(batch), qkv, d_context, d_qkv);

        let is_last = at == tape.first;
        if !is_last {
            backend.linear_backward(workspace, &layer.qkv, d_qkv, d_y, Target::Add);
        }
        let slopes = AdaptSlopes { x: &*x, dy: &*d_qkv, dx: (!is_last).then_some(d_y) };
        backend.adapt_backward(workspace, pairs, slopes, gradients);
        scratch.spare = spare;
    }

    /// `scratch.x` becomes the input of a layer again.
    fn layer_input(&self, at: usize, scratch: &mut Scratch<B>, tape: &Tape<B>, batch: &Packed) {
        self.resize(&mut scratch.x, batch, self.config.hidden);
        if at == tape.first {
            return self.backend.copy(&tape.input, &mut scratch.x);
        }
        let below = &tape.layers[at - 1 - tape.first].output_norm;
        self.backend.norm_again(&self.layers[at - 1].output_norm, below, &mut scratch.x);
    }
}
