//! [`attention`](super::attention) with products in bf16: the same steps, whose factors are rounded
//! to pairs head by head. Scores, softmax and sums stay f32.
//!
//! Gradients of keys and values are summed over queries, so their products are turned around
//! (`dkᵀ = qᵀ · ds`): both factors then lie as the products want them, and what is transposed
//! is as small as a head.

use super::attention::{Heads, scale_rows, softmax, softmax_backward};
use super::bf16::Avx512Bf16;
use super::lanes::LANES;
use super::pairs16::{
    Floats, PairProduct, along_columns, along_columns_turned, along_rows, along_rows_turned,
    multiply,
};
use super::softmax16::{self, Scores};
use super::transpose::{Grid, transpose};

/// Buffers for one head of one text.
#[derive(Debug, Default)]
pub(super) struct HeadScratch16 {
    left: Vec<u32>,
    right: Vec<u32>,
    weights: Vec<f32>,
    /// What each row of unscaled weights is to be multiplied by.
    shares: Vec<f32>,
    slopes: Vec<f32>,
    turned: Vec<f32>,
}

/// As [`attention::forward`](super::attention::forward).
pub(super) fn forward(
    isa: Avx512Bf16,
    heads: Heads,
    qkv: &[f32],
    scratch: &mut HeadScratch16,
    context: &mut [f32],
) {
    let (hidden, width) = (heads.hidden(), heads.width);
    let n = qkv.len() / (3 * hidden);
    for at in (0..hidden).step_by(width) {
        let head = Head { isa, heads, qkv: &qkv[at..], n };
        head.scores(scratch);
        let HeadScratch16 { left, right, weights, shares, .. } = scratch;
        softmax16::softmax(isa, Scores { values: weights, n, scale: heads.scale() }, left, shares);
        along_rows(isa, head.part(2), right);
        let columns = n.next_multiple_of(LANES);
        head.multiply((left, columns / 2), right, &mut context[at..], hidden);
        scale_rows(isa.floats(), shares, &mut context[at..], (width, hidden));
    }
}

/// As [`attention::backward`](super::attention::backward).
pub(super) fn backward(
    isa: Avx512Bf16,
    heads: Heads,
    qkv: &[f32],
    d_context: &[f32],
    scratch: &mut HeadScratch16,
    d_qkv: &mut [f32],
) {
    let (hidden, width) = (heads.hidden(), heads.width);
    let row = 3 * hidden;
    let n = qkv.len() / row;
    for at in (0..hidden).step_by(width) {
        let head = Head { isa, heads, qkv: &qkv[at..], n };
        let d_context = Floats { values: &d_context[at..], row: hidden, rows: n, columns: width };
        head.weights(scratch);
        let HeadScratch16 { left, right, weights, slopes, turned, .. } = scratch;
        along_columns(isa, d_context, left);
        along_columns_turned(isa, head.part(2), right);
        head.multiply_square(left, right, slopes);
        softmax_backward(isa.floats(), weights, (n, heads.scale()), slopes);

        along_columns(isa, head.square(slopes), left);
        along_rows(isa, head.part(1), right);
        head.multiply((left, n.div_ceil(2)), right, &mut d_qkv[at..], row);
        for (part, factor, sums) in [(1, head.part(0), &*slopes), (2, d_context, &*weights)] {
            along_rows_turned(isa, factor, left);
            along_rows(isa, head.square(sums), right);
            head.multiply_turned(left, right, turned);
            let grid = Grid { rows: width, columns: n, row: n.next_multiple_of(LANES) };
            transpose(isa.floats(), turned, grid, &mut d_qkv[part * hidden + at..], row);
        }
    }
}

/// One head of one text.
struct Head<'a> {
    isa: Avx512Bf16,
    heads: Heads,
    /// From the head's queries on.
    qkv: &'a [f32],
    n: usize,
}

impl Head<'_> {
    /// Queries (0), keys (1) or values (2).
    fn part(&self, part: usize) -> Floats<'_> {
        let hidden = self.heads.hidden();
        let values = &self.qkv[part * hidden..];
        Floats { values, row: 3 * hidden, rows: self.n, columns: self.heads.width }
    }

    fn square<'a>(&self, values: &'a [f32]) -> Floats<'a> {
        let row = self.n.next_multiple_of(LANES);
        Floats { values, row, rows: self.n, columns: self.n }
    }

    /// Products of queries and keys, `[n, columns]`.
    fn scores(&self, scratch: &mut HeadScratch16) {
        let HeadScratch16 { left, right, weights, .. } = scratch;
        along_columns(self.isa, self.part(0), left);
        along_columns_turned(self.isa, self.part(1), right);
        self.multiply_square(left, right, weights);
    }

    /// The softmax weights, `[n, columns]`, whose columns from `n` on are zero.
    fn weights(&self, scratch: &mut HeadScratch16) {
        self.scores(scratch);
        softmax(self.isa.floats(), &mut scratch.weights, self.n, self.heads.scale());
    }

    /// `[n, columns]` from pairs of features.
    fn multiply_square(&self, a: &[u32], b: &[u32], to: &mut Vec<f32>) {
        let columns = self.n.next_multiple_of(LANES);
        let pairs = self.heads.width.div_ceil(2);
        to.resize(self.n * columns, 0.0);
        let (m, n) = (self.n, columns);
        let c_row = n;
        multiply(self.isa, PairProduct { m, n, pairs, a, a_row: pairs, b, b_row: n, c: to, c_row });
    }

    /// `[n, width]` from pairs of tokens, of which each row of `a` has so many.
    fn multiply(&self, (a, a_row): (&[u32], usize), b: &[u32], c: &mut [f32], c_row: usize) {
        let (m, n, pairs) = (self.n, self.heads.width, self.n.div_ceil(2));
        let b_row = n.next_multiple_of(LANES);
        multiply(self.isa, PairProduct { m, n, pairs, a, a_row, b, b_row, c, c_row });
    }

    /// `[width, columns]` from pairs of tokens.
    fn multiply_turned(&self, a: &[u32], b: &[u32], to: &mut Vec<f32>) {
        let (m, n) = (self.heads.width, self.n.next_multiple_of(LANES));
        let pairs = self.n.div_ceil(2);
        to.resize(m * n, 0.0);
        let c_row = n;
        multiply(self.isa, PairProduct { m, n, pairs, a, a_row: pairs, b, b_row: n, c: to, c_row });
    }
}

#[cfg(test)]
mod tests {
    use super::super::attention::{self, HeadScratch};
    use super::*;
    use crate::random::{mix, unit};

    fn random(len: usize, seed: u64) -> Vec<f32> {
        (0..len).map(|i| 4.0 * unit(mix(&[seed, i as u64])) - 2.0).collect()
    }

    /// The largest difference over the largest value.
    fn distance(found: &[f32], expected: &[f32]) -> f32 {
        let largest = expected.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
        differences.fold(0.0f32, f32::max) / largest
    }

    #[test]
    fn agrees_with_f32_in_any_shape() {
        let Some(isa) = Avx512Bf16::detect() else {
            eprintln!("skipped: this processor has no AVX512-BF16");
            return;
        };
        // Buffers are used again from larger to smaller texts, as in a batch.
        let (mut scratch, mut scratch16) = (HeadScratch::default(), HeadScratch16::default());
        for (n, count, width) in [(70, 2, 32), (33, 1, 64), (16, 3, 20), (5, 2, 7), (1, 1, 32)] {
            let heads = Heads { count, width };
            let hidden = count * width;
            let (qkv, slopes) = (random(n * 3 * hidden, 1), random(n * hidden, 2));
            let (mut found, mut expected) = (vec![9.0; n * hidden], vec![9.0; n * hidden]);
            forward(isa, heads, &qkv, &mut scratch16, &mut found);
            attention::forward(isa.floats(), heads, &qkv, &mut scratch, &mut expected);
            assert!(distance(&found, &expected) < 0.02, "{n} tokens, {count} of {width}: forward");
            let (mut found, mut expected) = (vec![9.0; qkv.len()], vec![9.0; qkv.len()]);
            backward(isa, heads, &qkv, &slopes, &mut scratch16, &mut found);
            attention::backward(isa.floats(), heads, &qkv, &slopes, &mut scratch, &mut expected);
            assert!(distance(&found, &expected) < 0.02, "{n} tokens, {count} of {width}: backward");
        }
    }
}
