//! Multi-head attention of each text over itself, on packed rows, and its gradient.
//!
//! One text and one head at a time: scores, softmax and weighted sums of a head fit the first
//! caches, so nothing but queries, keys and values is ever kept. The backward pass computes the
//! weights again (as FlashAttention does, arXiv:2205.14135) instead of reading them back.

use super::lanes::{Isa, LANES, Lanes, kernel, opaque};
use super::norm::product;
use super::small::{Shape, SmallProduct, View, small};
use super::transpose::{Grid, transpose};
use crate::backend::Target;

/// Where heads lie in `[rows, 3 * hidden]` (query, key, value side by side).
#[derive(Clone, Copy, Debug)]
pub(super) struct Heads {
    pub count: usize,
    pub width: usize,
}

impl Heads {
    pub(super) fn hidden(&self) -> usize {
        self.count * self.width
    }

    pub(super) fn scale(&self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }
}

/// Buffers for one head of one text.
#[derive(Debug, Default)]
pub(super) struct HeadScratch {
    transposed: Vec<f32>,
    weights: Vec<f32>,
    /// What each row of unscaled weights is to be multiplied by.
    shares: Vec<f32>,
    slopes: Vec<f32>,
}

impl HeadScratch {
    fn resize(&mut self, tokens: usize, width: usize) {
        let columns = tokens.next_multiple_of(LANES);
        self.transposed.resize(width * columns, 0.0);
        self.weights.resize(tokens * columns, 0.0);
        self.shares.resize(tokens, 0.0);
        self.slopes.resize(tokens * columns, 0.0);
    }
}

/// `context = softmax(q · kᵀ / sqrt(width)) · v` of one text; `qkv: [n, 3 * hidden]`,
/// `context: [n, hidden]`.
pub(super) fn forward(
    isa: Isa,
    heads: Heads,
    qkv: &[f32],
    scratch: &mut HeadScratch,
    context: &mut [f32],
) {
    let (hidden, width) = (heads.hidden(), heads.width);
    let n = qkv.len() / (3 * hidden);
    let columns = n.next_multiple_of(LANES);
    scratch.resize(n, width);
    for at in (0..hidden).step_by(width) {
        scores(isa, heads, &qkv[at..], n, scratch);
        let HeadScratch { weights, shares, .. } = &mut *scratch;
        exponentials(isa, weights, (n, heads.scale()), shares);
        let context = &mut context[at..];
        small(
            isa,
            SmallProduct {
                shape: Shape { m: n, n: width, k: n },
                a: View::rows(weights, columns),
                b: &qkv[2 * hidden + at..],
                b_row: 3 * hidden,
                c: context,
                c_row: hidden,
                target: Target::Replace,
            },
        );
        scale_rows(isa, shares, context, (width, hidden));
    }
}

/// The gradient of [`forward`]: `d_qkv: [n, 3 * hidden]` from `d_context: [n, hidden]`.
pub(super) fn backward(
    isa: Isa,
    heads: Heads,
    qkv: &[f32],
    d_context: &[f32],
    scratch: &mut HeadScratch,
    d_qkv: &mut [f32],
) {
    let (hidden, width) = (heads.hidden(), heads.width);
    let row = 3 * hidden;
    let n = qkv.len() / row;
    let columns = n.next_multiple_of(LANES);
    scratch.resize(n, width);
    for at in (0..hidden).step_by(width) {
        weights(isa, heads, &qkv[at..], n, scratch);
        let HeadScratch { transposed, weights, slopes, .. } = scratch;
        let grid = Grid { rows: n, columns: width, row };
        turn_head(isa, &qkv[2 * hidden + at..], grid, transposed);
        small(
            isa,
            SmallProduct {
                shape: Shape { m: n, n: columns, k: width },
                a: View { values: &d_context[at..], row: hidden, column: 1 },
                b: transposed,
                b_row: columns,
                c: slopes,
                c_row: columns,
                target: Target::Replace,
            },
        );
        softmax_backward(isa, weights, (n, heads.scale()), slopes);
        let mut multiply = |a: View<'_>, b: &[f32], b_row: usize, part: usize| {
            small(
                isa,
                SmallProduct {
                    shape: Shape { m: n, n: width, k: n },
                    a,
                    b,
                    b_row,
                    c: &mut d_qkv[part * hidden + at..],
                    c_row: row,
                    target: Target::Replace,
                },
            );
        };
        multiply(View::rows(slopes, columns), &qkv[hidden + at..], row, 0);
        multiply(View::columns(slopes, columns), &qkv[at..], row, 1);
        multiply(View::columns(weights, columns), &d_context[at..], hidden, 2);
    }
}

/// The softmax weights of one head, `[n, columns]`, whose columns from `n` on are zero.
fn weights(isa: Isa, heads: Heads, qkv: &[f32], n: usize, scratch: &mut HeadScratch) {
    scores(isa, heads, qkv, n, scratch);
    softmax(isa, &mut scratch.weights, n, heads.scale());
}

/// Products of queries and keys of one head, `[n, columns]`. `qkv` begins at the head's queries.
fn scores(isa: Isa, heads: Heads, qkv: &[f32], n: usize, scratch: &mut HeadScratch) {
    let hidden = heads.hidden();
    let columns = n.next_multiple_of(LANES);
    let grid = Grid { rows: n, columns: heads.width, row: 3 * hidden };
    turn_head(isa, &qkv[hidden..], grid, &mut scratch.transposed);
    small(
        isa,
        SmallProduct {
            shape: Shape { m: n, n: columns, k: heads.width },
            a: View { values: qkv, row: 3 * hidden, column: 1 },
            b: &scratch.transposed,
            b_row: columns,
            c: &mut scratch.weights,
            c_row: columns,
            target: Target::Replace,
        },
    );
}

/// `to[d][j]` is value `d` of the head in row `j < n`, zero up to the next multiple of [`LANES`].
fn turn_head(isa: Isa, from: &[f32], grid: Grid, to: &mut [f32]) {
    let columns = grid.rows.next_multiple_of(LANES);
    transpose(isa, from, grid, to, columns);
    for row in to.chunks_exact_mut(columns) {
        row[grid.rows..].fill(0.0);
    }
}

kernel! {
    /// Each row becomes `softmax(scale * row[..n])`, and zeros beyond.
    pub(super) fn softmax(rows: &mut [f32], n: usize, scale: f32) {
        for row in rows.chunks_exact_mut(n.next_multiple_of(LANES)) {
            let share = Lanes::splat(exponential_row(row, n, scale));
            let (blocks, _) = row.as_chunks_mut::<LANES>();
            for at in 0..blocks.len() {
                let block = &mut blocks[opaque(at)];
                (Lanes::load(block) * share).store(block);
            }
        }
    }
}

kernel! {
    /// Each row becomes its softmax but for a factor, its share, which it is left without, since
    /// scaling the product it goes into is less work.
    fn exponentials(rows: &mut [f32], shape: (usize, f32), shares: &mut [f32]) {
        let (n, scale) = shape;
        for (row, share) in rows.chunks_exact_mut(n.next_multiple_of(LANES)).zip(shares) {
            *share = exponential_row(row, n, scale);
        }
    }
}

/// `row[..n]` becomes `e^(scale * (row - its largest))`, the rest zero; returns one over the sum.
#[inline(always)]
fn exponential_row(row: &mut [f32], n: usize, scale: f32) -> f32 {
    let scale = Lanes::splat(scale);
    let (blocks, _) = row.as_chunks_mut::<LANES>();
    let Some((last, blocks)) = blocks.split_last_mut() else { return 0.0 };
    // Only the last block has values beyond the row. Filling them in memory would hold up the load
    // that follows.
    let len = n - blocks.len() * LANES;
    let mut largest = Lanes::splat(f32::NEG_INFINITY);
    for at in 0..blocks.len() {
        largest = largest.max(Lanes::load(&blocks[opaque(at)]));
    }
    let largest = largest.max(Lanes::load(last).keep_or(len, f32::NEG_INFINITY));
    let largest = Lanes::splat(largest.largest());
    let mut sum = Lanes::splat(0.0);
    for at in 0..blocks.len() {
        let block = &mut blocks[opaque(at)];
        let value = ((Lanes::load(block) - largest) * scale).exp();
        sum = sum + value;
        value.store(block);
    }
    let value = ((Lanes::load(last) - largest) * scale).exp().keep(len);
    value.store(last);
    let sum = sum + value;
    1.0 / sum.sum()
}

kernel! {
    /// Multiplies the first `width` values of row `i` by `factors[i]`, rows `row` apart.
    pub(super) fn scale_rows(factors: &[f32], values: &mut [f32], shape: (usize, usize)) {
        let (width, row) = shape;
        for (values, factor) in values.chunks_mut(row).zip(factors) {
            for value in &mut values[..width] {
                *value *= factor;
            }
        }
    }
}

kernel! {
    /// `slopes` goes from the gradient of the weights to that of the unscaled scores.
    pub(super) fn softmax_backward(weights: &[f32], shape: (usize, f32), slopes: &mut [f32]) {
        let (n, scale) = shape;
        let columns = n.next_multiple_of(LANES);
        for (weights, slopes) in weights.chunks_exact(columns).zip(slopes.chunks_exact_mut(columns)) {
            let mean = Lanes::splat(product(weights, slopes));
            let (weights, _) = weights.as_chunks::<LANES>();
            let (slopes, _) = slopes.as_chunks_mut::<LANES>();
            for at in 0..weights.len().min(slopes.len()) {
                let at = opaque(at);
                let weight = Lanes::load(&weights[at]) * Lanes::splat(scale);
                (weight * (Lanes::load(&slopes[at]) - mean)).store(&mut slopes[at]);
            }
        }
    }
}
