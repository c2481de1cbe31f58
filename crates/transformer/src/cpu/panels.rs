//! Products with frozen weights, which are laid out once in panels that the kernels stream.
//!
//! A panel holds [`PANEL`] columns of the right-hand matrix, row after row. The left-hand rows are
//! read where they lie. Every element is one chain of fused multiply-adds over `k` from first to
//! last, whatever the tile it falls in: a row's result depends on neither its neighbours nor its
//! place, which is the ground of "alone = fused". (The `gemm` crate, tried first, sums one or two
//! rows of a short `k` in another order than many; speed on large shapes was the same.)

use super::lanes::{Isa, LANES, Lanes, kernel};
use super::rows::{of_height, tiles};
use crate::backend::Target;

/// Columns of a panel.
pub(super) const PANEL: usize = 2 * LANES;

/// Bytes of left-hand rows that stay in the second-level cache while panels stream past.
const BLOCK_BYTES: usize = 512 << 10;

/// A right-hand matrix `[k, n]` in panels of f32; the last one is padded with zeros.
#[derive(Clone, Debug)]
pub(super) struct Panels {
    values: Vec<f32>,
    k: usize,
    n: usize,
}

impl Panels {
    /// Lays out the matrix whose element `(p, j)` is `at(p, j)`.
    pub(super) fn new(k: usize, n: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let mut values = vec![0.0; n.div_ceil(PANEL) * k * PANEL];
        for (panel, values) in values.chunks_exact_mut(k * PANEL).enumerate() {
            for (p, row) in values.chunks_exact_mut(PANEL).enumerate() {
                for (j, value) in (panel * PANEL..n).zip(row) {
                    *value = at(p, j);
                }
            }
        }
        Self { values, k, n }
    }

    /// Multiplies rows of `k` values by this matrix, into rows of `n`.
    pub(super) fn multiply(&self, isa: Isa, operands: Operands<'_>) {
        operands.check(self.k, self.n);
        let Operands { x, bias, y, target } = operands;
        let rows = (BLOCK_BYTES / (4 * self.k)).max(TILE_ROWS).next_multiple_of(TILE_ROWS);
        for (x, y) in x.chunks(rows * self.k).zip(y.chunks_mut(rows * self.n)) {
            block(isa, self, Operands { x, bias, y, target });
        }
    }
}

/// `y = x · matrix (+ bias)` or `y += x · matrix (+ bias)`.
pub(super) struct Operands<'a> {
    /// `[m, k]`, row-major.
    pub x: &'a [f32],
    /// `[n]`, or empty.
    pub bias: &'a [f32],
    /// `[m, n]`, row-major.
    pub y: &'a mut [f32],
    pub target: Target,
}

impl Operands<'_> {
    /// What the kernels rely on.
    pub(super) fn check(&self, k: usize, n: usize) {
        assert!(self.bias.is_empty() || self.bias.len() == n, "a bias for every column");
        assert_eq!((self.x.len() % k, self.y.len() % n), (0, 0), "whole rows");
        assert_eq!(self.x.len() / k, self.y.len() / n, "as many rows out as in");
    }
}

/// Rows of a tile: 12 × 2 sums, two vectors of the panel and one factor fill AVX-512's registers.
const TILE_ROWS: usize = 12;

kernel! {
    fn block(panels: &Panels, operands: Operands<'_>) {
        let Operands { x, bias, y, target } = operands;
        let m = x.len() / panels.k;
        for (at, panel) in panels.values.chunks_exact(panels.k * PANEL).enumerate() {
            let place = Place { column: at * PANEL, bias, target };
            let mut rows = Rows { x, k: panels.k, panel, n: panels.n, place };
            for (i, height) in tiles(m, TILE_ROWS) {
                of_height!(height, tile::<_>(&mut rows, i, y));
            }
        }
    }
}

struct Rows<'a> {
    x: &'a [f32],
    k: usize,
    panel: &'a [f32],
    n: usize,
    place: Place<'a>,
}

#[inline(always)]
fn tile<const R: usize>(rows: &mut Rows<'_>, i: usize, y: &mut [f32]) {
    let k = rows.k;
    let x = &rows.x[i * k..(i + R) * k];
    let mut sums = [[Lanes::splat(0.0); 2]; R];
    for (p, row) in rows.panel.chunks_exact(PANEL).enumerate() {
        let row = [Lanes::load(row), Lanes::load(&row[LANES..])];
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the panel has `k` rows, so `p < k`, and `x` is `R` rows of `k`.
            let factor = Lanes::splat(unsafe { *x.get_unchecked(r * k + p) });
            sums[0] = factor.mul_add(row[0], sums[0]);
            sums[1] = factor.mul_add(row[1], sums[1]);
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        rows.place.finish(sums, &mut y[(i + r) * rows.n..(i + r + 1) * rows.n]);
    }
}

/// Where a panel's sums go, and what is added to them.
pub(super) struct Place<'a> {
    /// First column of the panel.
    pub column: usize,
    /// `[n]`, or empty.
    pub bias: &'a [f32],
    pub target: Target,
}

impl Place<'_> {
    /// Adds bias or target and writes one row's part of a panel.
    #[inline(always)]
    pub(super) fn finish(&self, sums: [Lanes; 2], y: &mut [f32]) {
        let end = y.len().min(self.column + PANEL);
        for (half, mut sum) in sums.into_iter().enumerate() {
            let from = self.column + half * LANES;
            if from >= end {
                continue;
            }
            if from + LANES <= end {
                if !self.bias.is_empty() {
                    sum = sum + Lanes::load(&self.bias[from..]);
                }
                if self.target == Target::Add {
                    sum = Lanes::load(&y[from..]) + sum;
                }
                sum.store(&mut y[from..]);
            } else {
                if !self.bias.is_empty() {
                    sum = sum + Lanes::load_part(&self.bias[from..end], 0.0);
                }
                if self.target == Target::Add {
                    sum = Lanes::load_part(&y[from..end], 0.0) + sum;
                }
                sum.store_part(&mut y[from..end]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{mix, unit};

    fn random(len: usize, seed: u64) -> Vec<f32> {
        (0..len).map(|i| unit(mix(&[seed, i as u64])) - 0.5).collect()
    }

    #[test]
    fn agrees_with_a_naive_product_in_any_shape() {
        for (m, k, n) in [(1, 3, 2), (2, 40, 33), (13, 32, 40), (29, 384, 96), (5, 7, 100)] {
            let (x, w, bias) = (random(m * k, 1), random(k * n, 2), random(n, 3));
            let panels = Panels::new(k, n, |p, j| w[p * n + j]);
            for isa in [Isa::Baseline, Isa::detect()] {
                let mut y = vec![9.0; m * n];
                let operands = Operands { x: &x, bias: &bias, y: &mut y, target: Target::Replace };
                panels.multiply(isa, operands);
                let operands = Operands { x: &x, bias: &[], y: &mut y, target: Target::Add };
                panels.multiply(isa, operands);
                for (i, y) in y.iter().enumerate() {
                    let sum: f64 = (0..k)
                        .map(|p| f64::from(x[i / n * k + p]) * f64::from(w[p * n + i % n]))
                        .sum();
                    let expected = 2.0 * sum + f64::from(bias[i % n]);
                    assert!((f64::from(*y) - expected).abs() < 1e-4, "{m}x{k}x{n}: {y}");
                }
            }
        }
    }

    #[test]
    fn rows_do_not_depend_on_their_neighbours() {
        let isa = Isa::detect();
        for (k, n) in [(384, 1152), (1536, 384), (32, 40), (384, 32)] {
            let m = 64;
            let (x, w) = (random(m * k, 3), random(k * n, 4));
            let panels = Panels::new(k, n, |p, j| w[p * n + j]);
            let mut whole = vec![0.0; m * n];
            let target = Target::Replace;
            panels.multiply(isa, Operands { x: &x, bias: &[], y: &mut whole, target });
            for (first, rows) in [(0, 1), (63, 1), (5, 2), (13, 7), (1, 33), (0, 63), (37, 27)] {
                let mut part = vec![0.0; rows * n];
                let x = &x[first * k..(first + rows) * k];
                panels.multiply(isa, Operands { x, bias: &[], y: &mut part, target });
                let same = part == whole[first * n..(first + rows) * n];
                assert!(same, "{rows} rows from {first} of {m}x{k}x{n} differ");
            }
        }
    }
}
