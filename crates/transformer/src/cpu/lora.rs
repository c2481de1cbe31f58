//! Low-rank pairs on the rows of a segment: `y += scale * (dropout(x) · Aᵀ) · Bᵀ`, and gradients.
//!
//! A pair's matrices are copied into rows padded to whole vectors, which costs far less than the
//! products; everything else is read where it lies.

use std::ops::Range;

use super::lanes::{Isa, LANES};
use super::small::{Shape, SmallProduct, View, small};
use crate::backend::{Pair, Target};
use crate::packed::{Dropout, Packed};
use crate::random;

/// Buffers for one pair on one segment.
#[derive(Debug, Default)]
pub(super) struct LoraScratch {
    /// `x` after dropout, `[m, inputs]`.
    dropped: Vec<f32>,
    /// Factors of the mask, `[m, inputs]`: 0 or `1 / (1 - rate)`.
    mask: Vec<f32>,
    /// A matrix of the pair, padded.
    packed: Vec<f32>,
    /// `scale * x · Aᵀ`, `[m, padded rank]`.
    low: Vec<f32>,
    /// Its gradient.
    d_low: Vec<f32>,
    /// The gradient of `B`, padded, or of `x` before the mask.
    product: Vec<f32>,
}

/// The rows of a batch that a pair works on.
pub(super) struct Rows<'a> {
    pub isa: Isa,
    pub batch: &'a Packed,
    /// Values a row of `y` holds, of which the pair owns `entry.outputs`.
    pub y_width: usize,
}

impl Rows<'_> {
    fn of(&self, pair: &Pair<'_>) -> Range<usize> {
        self.batch.rows(pair.segment)
    }
}

/// Adds the pair's product to its columns of `y`.
pub(super) fn forward(
    rows: &Rows<'_>,
    pair: &Pair<'_>,
    scratch: &mut LoraScratch,
    x: &[f32],
    y: &mut [f32],
) {
    let range = rows.of(pair);
    if range.is_empty() {
        return;
    }
    let (m, entry) = (range.len(), pair.entry);
    let x = &x[range.start * entry.inputs..range.end * entry.inputs];
    low(rows, pair, scratch, x);
    let padded = entry.rank.next_multiple_of(LANES);
    transpose(&pair.values[entry.b.clone()], entry.rank, entry.outputs, &mut scratch.packed);
    small(
        rows.isa,
        SmallProduct {
            shape: Shape { m, n: entry.outputs, k: entry.rank },
            a: View { values: &scratch.low, row: padded, column: 1 },
            b: &scratch.packed,
            b_row: entry.outputs,
            c: &mut y[range.start * rows.y_width + pair.column..],
            c_row: rows.y_width,
            target: Target::Add,
        },
    );
}

/// The pair's gradients into `gradient` (the whole adapter's layout), and that of `x` added to
/// `dx` where it is wanted.
pub(super) fn backward(
    rows: &Rows<'_>,
    pair: &Pair<'_>,
    scratch: &mut LoraScratch,
    (x, dy): (&[f32], &[f32]),
    dx: Option<&mut [f32]>,
    gradient: &mut [f32],
) {
    let range = rows.of(pair);
    if range.is_empty() {
        return;
    }
    let (m, entry) = (range.len(), pair.entry);
    let (inputs, rank) = (entry.inputs, entry.rank);
    let padded = rank.next_multiple_of(LANES);
    let x = &x[range.start * inputs..range.end * inputs];
    let dy = &dy[range.start * rows.y_width + pair.column..];
    low(rows, pair, scratch, x);

    b_gradient(rows, pair, scratch, dy, &mut gradient[entry.b.clone()]);
    low_slopes(rows, pair, scratch, dy);
    // dA = d_lowᵀ · dropout(x)
    let read = if pair.segment.dropout.is_some() { &scratch.dropped } else { x };
    small(
        rows.isa,
        SmallProduct {
            shape: Shape { m: rank, n: inputs, k: m },
            a: View::columns(&scratch.d_low, padded),
            b: read,
            b_row: inputs,
            c: &mut gradient[entry.a.clone()],
            c_row: inputs,
            target: Target::Replace,
        },
    );
    if let Some(dx) = dx {
        let dx = &mut dx[range.start * inputs..range.end * inputs];
        input_slopes(rows.isa, pair, scratch, dx);
    }
}

/// `dB = dyᵀ · low`, whose scale is already in `low`; `dy` begins at the pair's first value.
fn b_gradient(
    rows: &Rows<'_>,
    pair: &Pair<'_>,
    scratch: &mut LoraScratch,
    dy: &[f32],
    gradient: &mut [f32],
) {
    let (rank, outputs) = (pair.entry.rank, pair.entry.outputs);
    let padded = rank.next_multiple_of(LANES);
    scratch.product.resize(outputs * padded, 0.0);
    small(
        rows.isa,
        SmallProduct {
            shape: Shape { m: outputs, n: padded, k: rows.of(pair).len() },
            a: View { values: dy, row: 1, column: rows.y_width },
            b: &scratch.low,
            b_row: padded,
            c: &mut scratch.product,
            c_row: padded,
            target: Target::Replace,
        },
    );
    let to = gradient.chunks_exact_mut(rank);
    for (to, from) in to.zip(scratch.product.chunks_exact(padded)) {
        to.copy_from_slice(&from[..rank]);
    }
}

/// `d_low = scale * dy · B`; `dy` begins at the pair's first value.
fn low_slopes(rows: &Rows<'_>, pair: &Pair<'_>, scratch: &mut LoraScratch, dy: &[f32]) {
    let entry = pair.entry;
    let m = rows.of(pair).len();
    let padded = entry.rank.next_multiple_of(LANES);
    pad(&pair.values[entry.b.clone()], entry.rank, &mut scratch.packed);
    scratch.d_low.resize(m * padded, 0.0);
    small(
        rows.isa,
        SmallProduct {
            shape: Shape { m, n: padded, k: entry.outputs },
            a: View { values: dy, row: rows.y_width, column: 1 },
            b: &scratch.packed,
            b_row: padded,
            c: &mut scratch.d_low,
            c_row: padded,
            target: Target::Replace,
        },
    );
    scratch.d_low.iter_mut().for_each(|value| *value *= entry.scale);
}

/// `dx += mask * (d_low · A)`.
fn input_slopes(isa: Isa, pair: &Pair<'_>, scratch: &mut LoraScratch, dx: &mut [f32]) {
    let entry = pair.entry;
    let m = dx.len() / entry.inputs;
    let padded = entry.rank.next_multiple_of(LANES);
    let product = |c: &mut [f32], target: Target, d_low: &[f32]| {
        small(
            isa,
            SmallProduct {
                shape: Shape { m, n: entry.inputs, k: entry.rank },
                a: View { values: d_low, row: padded, column: 1 },
                b: &pair.values[entry.a.clone()],
                b_row: entry.inputs,
                c,
                c_row: entry.inputs,
                target,
            },
        );
    };
    if pair.segment.dropout.is_none() {
        return product(dx, Target::Add, &scratch.d_low);
    }
    scratch.product.resize(dx.len(), 0.0);
    product(&mut scratch.product, Target::Replace, &scratch.d_low);
    for ((dx, slope), mask) in dx.iter_mut().zip(&scratch.product).zip(&scratch.mask) {
        *dx += slope * mask;
    }
}

/// `scratch.low = scale * dropout(x) · Aᵀ`, padded with zeros.
fn low(rows: &Rows<'_>, pair: &Pair<'_>, scratch: &mut LoraScratch, x: &[f32]) {
    let entry = pair.entry;
    let m = x.len() / entry.inputs;
    let padded = entry.rank.next_multiple_of(LANES);
    if let Some(dropout) = &pair.segment.dropout {
        draw_mask(rows.batch, pair, dropout, &mut scratch.mask);
        scratch.dropped.clear();
        scratch.dropped.extend(x.iter().zip(&scratch.mask).map(|(x, mask)| x * mask));
    }
    transpose(&pair.values[entry.a.clone()], entry.inputs, padded, &mut scratch.packed);
    scratch.low.resize(m * padded, 0.0);
    small(
        rows.isa,
        SmallProduct {
            shape: Shape { m, n: padded, k: entry.inputs },
            a: View::rows(
                if pair.segment.dropout.is_some() { &scratch.dropped } else { x },
                entry.inputs,
            ),
            b: &scratch.packed,
            b_row: padded,
            c: &mut scratch.low,
            c_row: padded,
            target: Target::Replace,
        },
    );
    scratch.low.iter_mut().for_each(|value| *value *= entry.scale);
}

/// One factor a feature, from a counter keyed by step, site, text, token and feature, so that the
/// mask is the same wherever the text stands in whatever batch.
fn draw_mask(batch: &Packed, pair: &Pair<'_>, dropout: &Dropout, mask: &mut Vec<f32>) {
    let entry = pair.entry;
    let site = (entry.site.layer as u64) << 8 | entry.site.module as u64;
    let threshold = u64::from(dropout.rate_per_mille) << 32;
    let kept = 1000.0 / (1000 - dropout.rate_per_mille) as f32;
    mask.clear();
    for (text, &text_key) in pair.segment.texts.clone().zip(&dropout.text_keys) {
        let key = random::mix(&[dropout.key, site, text_key]);
        let tokens = batch.offsets()[text + 1] - batch.offsets()[text];
        mask.extend((0..(tokens * entry.inputs) as u64).map(|i| {
            let draw = random::scramble(key.wrapping_add(i)) >> 32;
            if draw * 1000 < threshold { 0.0 } else { kept }
        }));
    }
}

/// `to: [columns, padded]` from `from: [rows, columns]`, zero beyond `rows`.
fn transpose(from: &[f32], columns: usize, padded: usize, to: &mut Vec<f32>) {
    to.clear();
    to.resize(columns * padded, 0.0);
    for (i, row) in from.chunks_exact(columns).enumerate() {
        for (j, &value) in row.iter().enumerate() {
            to[j * padded + i] = value;
        }
    }
}

/// Rows of `columns` values, each padded with zeros to whole vectors.
fn pad(from: &[f32], columns: usize, to: &mut Vec<f32>) {
    let padded = columns.next_multiple_of(LANES);
    to.clear();
    to.resize(from.len() / columns * padded, 0.0);
    for (from, to) in from.chunks_exact(columns).zip(to.chunks_exact_mut(padded)) {
        to[..columns].copy_from_slice(from);
    }
}
