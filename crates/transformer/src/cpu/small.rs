//! Small or skewed matrix products in f32, on matrices as they lie.
//!
//! Every element is summed over `k` from first to last by fused multiply-adds, whatever the tile it
//! falls in, so a row's result depends on neither its neighbours nor its place.

use super::lanes::{LANES, Lanes, kernel};
use crate::backend::Target;

/// A read-only matrix: element `(i, p)` lies at `i * row + p * column`.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub values: &'a [f32],
    pub row: usize,
    pub column: usize,
}

impl<'a> View<'a> {
    /// Row-major with `width` values a row.
    pub(super) fn rows(values: &'a [f32], width: usize) -> Self {
        Self { values, row: width, column: 1 }
    }

    /// The transpose of a row-major matrix with `width` values a row.
    pub(super) fn columns(values: &'a [f32], width: usize) -> Self {
        Self { values, row: 1, column: width }
    }

    fn holds(&self, rows: usize, columns: usize) -> bool {
        rows == 0
            || columns == 0
            || (rows - 1) * self.row + (columns - 1) * self.column < self.values.len()
    }
}

/// `m` rows, `n` columns, summed over `k`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

/// A product for [`small`]: `b` is row-major with `b_row` values a row, `c` with `c_row`.
pub(super) struct SmallProduct<'a> {
    pub shape: Shape,
    pub a: View<'a>,
    pub b: &'a [f32],
    pub b_row: usize,
    pub c: &'a mut [f32],
    pub c_row: usize,
    pub target: Target,
}

kernel! {
    /// `c = a · b` or `c += a · b` without packing: fastest where a packed copy would not pay,
    /// as in one head of attention or a low-rank pair.
    pub(super) fn small(product: SmallProduct<'_>) {
        let Shape { m, n, k } = product.shape;
        assert!(product.a.holds(m, k));
        assert!(n == 0 || k == 0 || product.b.len() >= (k - 1) * product.b_row + n);
        assert!(n == 0 || m == 0 || product.c.len() >= (m - 1) * product.c_row + n);
        let mut product = product;
        let mut j = 0;
        while j + 2 * LANES <= n {
            column_block::<2>(&mut product, j);
            j += 2 * LANES;
        }
        if j + LANES <= n {
            column_block::<1>(&mut product, j);
            j += LANES;
        }
        if j < n {
            last_columns(&mut product, j);
        }
    }
}

/// Rows that one tile computes at once: 8 × 2 sums, two vectors of `b` and one of `a` fit the
/// 32 registers of AVX-512.
const TILE_ROWS: usize = 8;

/// Columns `j..j + V * LANES` of every row.
#[inline(always)]
fn column_block<const V: usize>(product: &mut SmallProduct<'_>, j: usize) {
    let m = product.shape.m;
    let mut i = 0;
    while i + TILE_ROWS <= m {
        tile::<TILE_ROWS, V>(product, i, j);
        i += TILE_ROWS;
    }
    while i + 2 <= m {
        tile::<2, V>(product, i, j);
        i += 2;
    }
    if i < m {
        tile::<1, V>(product, i, j);
    }
}

#[inline(always)]
fn tile<const R: usize, const V: usize>(product: &mut SmallProduct<'_>, i: usize, j: usize) {
    let SmallProduct { shape, a, b, b_row, c_row, target, .. } = *product;
    debug_assert!(i + R <= shape.m && j + V * LANES <= shape.n);
    let mut sums = [[Lanes::splat(0.0); V]; R];
    for p in 0..shape.k {
        let row = p * b_row + j;
        // SAFETY: `small` asserted that row `p < k` of `b` holds `n` values from `p * b_row`, and
        // that `a` holds `m` rows of `k`; the tile lies within `m` and `n`.
        let (row, column) = unsafe {
            (b.get_unchecked(row..row + V * LANES), a.values.as_ptr().add(i * a.row + p * a.column))
        };
        let row: [Lanes; V] = std::array::from_fn(|v| Lanes::load(&row[v * LANES..]));
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: as above.
            let factor = Lanes::splat(unsafe { *column.add(r * a.row) });
            for (sum, row) in sums.iter_mut().zip(row) {
                *sum = factor.mul_add(row, *sum);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        for (v, &sum) in sums.iter().enumerate() {
            let to = &mut product.c[(i + r) * c_row + j + v * LANES..];
            match target {
                Target::Replace => sum.store(to),
                Target::Add => (Lanes::load(to) + sum).store(to),
            }
        }
    }
}

/// The last columns, fewer than [`LANES`], of every row.
#[inline(always)]
fn last_columns(product: &mut SmallProduct<'_>, j: usize) {
    let SmallProduct { shape, a, b, b_row, c_row, target, .. } = *product;
    for i in 0..shape.m {
        let mut sum = Lanes::splat(0.0);
        for p in 0..shape.k {
            let row = &b[p * b_row + j..p * b_row + shape.n];
            let factor = a.values[i * a.row + p * a.column];
            sum = Lanes::splat(factor).mul_add(Lanes::load_part(row, 0.0), sum);
        }
        let to = &mut product.c[i * c_row + j..i * c_row + shape.n];
        match target {
            Target::Replace => sum.store_part(to),
            Target::Add => (Lanes::load_part(to, 0.0) + sum).store_part(to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::lanes::Isa;
    use crate::random::{mix, unit};

    fn random(len: usize, seed: u64) -> Vec<f32> {
        (0..len).map(|i| unit(mix(&[seed, i as u64])) - 0.5).collect()
    }

    fn naive(shape: Shape, a: &[f32], b: &[f32]) -> Vec<f64> {
        let Shape { m, n, k } = shape;
        let mut c = vec![0.0; m * n];
        for i in 0..m {
            for j in 0..n {
                c[i * n + j] =
                    (0..k).map(|p| f64::from(a[i * k + p]) * f64::from(b[p * n + j])).sum();
            }
        }
        c
    }

    #[test]
    fn agrees_with_a_naive_product_in_any_shape() {
        for (m, n, k) in
            [(1, 2, 1), (1, 16, 7), (2, 33, 5), (9, 40, 64), (17, 8, 384), (31, 65, 3), (5, 3, 20)]
        {
            let shape = Shape { m, n, k };
            let (a, b) = (random(m * k, 1), random(k * n, 2));
            let expected = naive(shape, &a, &b);
            let at: Vec<f32> = (0..k * m).map(|i| a[(i % m) * k + i / m]).collect();
            for (isa, a) in
                [(Isa::Baseline, View::rows(&a, k)), (Isa::detect(), View::columns(&at, m))]
            {
                let mut c = vec![9.0; m * n];
                for target in [Target::Replace, Target::Add] {
                    small(
                        isa,
                        SmallProduct { shape, a, b: &b, b_row: n, c: &mut c, c_row: n, target },
                    );
                }
                for (c, e) in c.iter().zip(&expected) {
                    assert!((f64::from(*c) - 2.0 * e).abs() < 1e-4, "{m}x{n}x{k}: {c}, not {e}");
                }
            }
        }
    }
}
