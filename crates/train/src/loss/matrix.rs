//! The few products that losses need, as plain loops in one fixed order that compilers vectorise.

use cotenant_transformer::HeadTape;

/// Embeddings of a batch's texts.
#[derive(Clone, Copy, Debug)]
pub struct Embedded<'a> {
    /// `[texts, hidden]`
    pub rows: &'a [f32],
    /// Width of an embedding.
    pub hidden: usize,
}

impl<'a> Embedded<'a> {
    pub(super) fn row(&self, row: u32) -> &'a [f32] {
        &self.rows[row as usize * self.hidden..][..self.hidden]
    }
}

/// Memory that losses reuse from step to step.
#[derive(Clone, Debug, Default)]
pub struct LossBuffers {
    pub(super) left: Units,
    pub(super) right: Units,
    /// `[left, right]`
    pub(super) scores: Vec<f32>,
    /// Gradient of the loss by `scores`.
    pub(super) slopes: Vec<f32>,
    /// What a head keeps between scores and their gradients.
    pub(super) head: HeadTape,
    /// The gradient by a head's values that there was before.
    pub(super) before: Vec<f32>,
}

/// Rows scaled to length 1, and the gradient by them.
#[derive(Clone, Debug, Default)]
pub(super) struct Units {
    /// `[rows, hidden]`
    pub(super) units: Vec<f32>,
    /// `[rows, hidden]`, the gradient by `units`.
    pub(super) slopes: Vec<f32>,
    /// Lengths before scaling.
    norms: Vec<f32>,
}

/// A shorter vector has no direction, and gets no gradient.
const NORM_MIN: f32 = 1e-12;

impl Units {
    /// Gathers and scales the named rows and clears the gradient.
    pub(super) fn gather(&mut self, embedded: Embedded, rows: &[u32]) {
        self.units.clear();
        self.norms.clear();
        for &row in rows {
            let values = embedded.row(row);
            let norm = dot(values, values).sqrt();
            // Not `max`, which would hide a NaN.
            let divisor = if norm < NORM_MIN { NORM_MIN } else { norm };
            self.norms.push(norm);
            self.units.extend(values.iter().map(|value| value / divisor));
        }
        self.slopes.clear();
        self.slopes.resize(self.units.len(), 0.0);
    }

    /// Adds the gradient by the rows before scaling to `gradient` (`[texts, hidden]`).
    pub(super) fn scatter(&self, rows: &[u32], hidden: usize, gradient: &mut [f32]) {
        let units = self.units.chunks_exact(hidden).zip(self.slopes.chunks_exact(hidden));
        for ((&row, (unit, slope)), &norm) in rows.iter().zip(units).zip(&self.norms) {
            if norm < NORM_MIN {
                continue;
            }
            let along = dot(unit, slope);
            let into = &mut gradient[row as usize * hidden..][..hidden];
            for ((into, unit), slope) in into.iter_mut().zip(unit).zip(slope) {
                *into += (slope - unit * along) / norm;
            }
        }
    }
}

/// Sum of products, in 16 running sums that are added up in the end.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 16];
    let (a_blocks, b_blocks) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest: f32 = a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_blocks.zip(b_blocks) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// `out[i, j] = factor * a[i] · b[j]` for row-major `a` and `b` of width `hidden`.
pub(super) fn products(a: &[f32], b: &[f32], hidden: usize, factor: f32, out: &mut Vec<f32>) {
    out.clear();
    for a in a.chunks_exact(hidden) {
        out.extend(b.chunks_exact(hidden).map(|b| factor * dot(a, b)));
    }
}

/// `into += Σ weights[k] * rows[k]`, four rows at a time.
pub(super) fn add_weighted(into: &mut [f32], weights: impl Iterator<Item = f32>, rows: &[f32]) {
    let hidden = into.len();
    let mut weights = weights.fuse();
    let blocks = rows.chunks_exact(4 * hidden);
    let rest = blocks.remainder();
    for block in blocks {
        let mut take = || weights.next().unwrap_or(0.0);
        let [w0, w1, w2, w3] = [take(), take(), take(), take()];
        let (first, second) = block.split_at(2 * hidden);
        let ((r0, r1), (r2, r3)) = (first.split_at(hidden), second.split_at(hidden));
        let rows = r0.iter().zip(r1).zip(r2.iter().zip(r3));
        for (into, ((r0, r1), (r2, r3))) in into.iter_mut().zip(rows) {
            *into += (w0 * r0 + w1 * r1) + (w2 * r2 + w3 * r3);
        }
    }
    for (row, weight) in rest.chunks_exact(hidden).zip(weights) {
        for (into, value) in into.iter_mut().zip(row) {
            *into += weight * value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{add_weighted, dot, products};

    fn values(count: usize, step: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * step) % 17) as f32 - 8.0).collect()
    }

    fn check(rows: usize, hidden: usize) {
        let (a, b) = (values(2 * hidden, 3), values(rows * hidden, 5));
        let mut out = Vec::new();
        products(&a, &b, hidden, 0.5, &mut out);
        for i in 0..2 {
            for j in 0..rows {
                let expected: f32 =
                    (0..hidden).map(|k| 0.5 * a[i * hidden + k] * b[j * hidden + k]).sum();
                assert_eq!(out[i * rows + j], expected, "[{i}, {j}] of {rows}x{hidden}");
            }
        }
        let weights = values(rows, 7);
        let mut into = values(hidden, 2);
        add_weighted(&mut into, weights.iter().copied(), &b);
        for k in 0..hidden {
            let sum: f32 = (0..rows).map(|j| weights[j] * b[j * hidden + k]).sum();
            assert_eq!(into[k], values(hidden, 2)[k] + sum, "column {k} of {rows}x{hidden}");
        }
    }

    #[test]
    fn products_are_those_of_plain_loops_on_whole_numbers() {
        for (rows, hidden) in [(1, 1), (3, 15), (4, 16), (5, 17), (9, 384)] {
            check(rows, hidden);
        }
        assert_eq!(dot(&[], &[]), 0.0);
    }
}
