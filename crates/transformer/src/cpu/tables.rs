//! Embedding tables and pooling: where packed rows begin and end.

use super::lanes::Isa;
use super::norm::add_norm_alone;
use crate::encoder::Pooling;
use crate::model::Norm;
use crate::packed::Packed;

/// Word, position and type tables, frozen, with the norm that follows them.
#[derive(Debug)]
pub struct Tables {
    pub(super) words: Vec<f32>,
    pub(super) positions: Vec<f32>,
    /// The row of token type 0, the only type that single texts have.
    pub(super) kind: Vec<f32>,
    pub(super) norm: (Norm, f32),
    pub(super) position_offset: usize,
}

impl Tables {
    /// `x: [tokens, hidden]`.
    pub(super) fn embed(&self, isa: Isa, batch: &Packed, x: &mut [f32]) {
        let hidden = self.kind.len();
        let mut words = vec![0.0; hidden];
        for text in batch.offsets().windows(2) {
            for (position, at) in (text[0]..text[1]).enumerate() {
                let word = batch.tokens()[at] as usize;
                let from = &self.words[word * hidden..][..hidden];
                for ((to, word), kind) in words.iter_mut().zip(from).zip(&self.kind) {
                    *to = word + kind;
                }
                let row = position + self.position_offset;
                let positions = &self.positions[row * hidden..][..hidden];
                let norm = (&self.norm.0, self.norm.1);
                add_norm_alone(isa, &words, positions, norm, &mut x[at * hidden..][..hidden]);
            }
        }
    }
}

/// `out: [texts, hidden]` from `x: [tokens, hidden]`.
pub(super) fn pool(batch: &Packed, pooling: Pooling, x: &[f32], out: &mut [f32]) {
    let hidden = out.len() / batch.texts().max(1);
    for (text, out) in batch.offsets().windows(2).zip(out.chunks_exact_mut(hidden)) {
        match pooling {
            Pooling::Cls => out.copy_from_slice(&x[text[0] * hidden..][..hidden]),
            Pooling::Mean => {
                out.fill(0.0);
                for row in x[text[0] * hidden..text[1] * hidden].chunks_exact(hidden) {
                    for (out, value) in out.iter_mut().zip(row) {
                        *out += value;
                    }
                }
                let share = 1.0 / (text[1] - text[0]) as f32;
                for out in out {
                    *out *= share;
                }
            }
        }
    }
}

/// `dx: [tokens, hidden]` from `d_out: [texts, hidden]`.
pub(super) fn pool_backward(batch: &Packed, pooling: Pooling, d_out: &[f32], dx: &mut [f32]) {
    let hidden = d_out.len() / batch.texts().max(1);
    for (text, d_out) in batch.offsets().windows(2).zip(d_out.chunks_exact(hidden)) {
        let rows = &mut dx[text[0] * hidden..text[1] * hidden];
        match pooling {
            Pooling::Cls => {
                rows.fill(0.0);
                rows[..hidden].copy_from_slice(d_out);
            }
            Pooling::Mean => {
                let share = 1.0 / (text[1] - text[0]) as f32;
                for row in rows.chunks_exact_mut(hidden) {
                    for (dx, slope) in row.iter_mut().zip(d_out) {
                        *dx = slope * share;
                    }
                }
            }
        }
    }
}
