//! Embedding tables and pooling: where packed rows begin and end.

use super::lanes::Isa;
use super::norm::add_norm_alone;
use crate::backend::Pools;
use crate::encoder::Pooling;
use crate::model::Norm;
use crate::packed::Packed;

/// Word, position and type tables, frozen, with the norm that follows them.
#[derive(Debug)]
pub struct Tables {
    pub(super) words: Vec<f32>,
    pub(super) positions: Vec<f32>,
    /// The rows of token types 0 and 1; texts that are read alone have type 0 only, and some models
    /// no other.
    pub(super) kinds: [Vec<f32>; 2],
    pub(super) norm: (Norm, f32),
    pub(super) position_offset: usize,
}

impl Tables {
    /// `x: [tokens, hidden]`.
    pub(super) fn embed(&self, isa: Isa, batch: &Packed, x: &mut [f32]) {
        let hidden = self.kinds[0].len();
        let mut words = vec![0.0; hidden];
        for (text, offset) in batch.offsets()[..batch.texts()].iter().enumerate() {
            let text = batch.text(text);
            for (position, &word) in text.tokens.iter().enumerate() {
                let at = offset + position;
                let from = &self.words[word as usize * hidden..][..hidden];
                let kind = &self.kinds[usize::from(position >= text.first)];
                assert_eq!(kind.len(), hidden, "the model has this token type");
                for ((to, word), kind) in words.iter_mut().zip(from).zip(kind) {
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
pub(super) fn pool(pools: Pools<'_>, x: &[f32], out: &mut [f32]) {
    let hidden = out.len() / pools.batch.texts().max(1);
    for ((text, pooling), out) in pools.iter().zip(out.chunks_exact_mut(hidden)) {
        match pooling {
            Pooling::Cls => out.copy_from_slice(&x[text.start * hidden..][..hidden]),
            Pooling::Mean => {
                out.fill(0.0);
                for row in x[text.start * hidden..text.end * hidden].chunks_exact(hidden) {
                    for (out, value) in out.iter_mut().zip(row) {
                        *out += value;
                    }
                }
                let share = 1.0 / text.len() as f32;
                for out in out {
                    *out *= share;
                }
            }
        }
    }
}

/// `dx: [tokens, hidden]` from `d_out: [texts, hidden]`.
pub(super) fn pool_backward(pools: Pools<'_>, d_out: &[f32], dx: &mut [f32]) {
    let hidden = d_out.len() / pools.batch.texts().max(1);
    for ((text, pooling), d_out) in pools.iter().zip(d_out.chunks_exact(hidden)) {
        let rows = &mut dx[text.start * hidden..text.end * hidden];
        match pooling {
            Pooling::Cls => {
                rows.fill(0.0);
                rows[..hidden].copy_from_slice(d_out);
            }
            Pooling::Mean => {
                let share = 1.0 / text.len() as f32;
                for row in rows.chunks_exact_mut(hidden) {
                    for (dx, slope) in row.iter_mut().zip(d_out) {
                        *dx = slope * share;
                    }
                }
            }
        }
    }
}
