//! Small products in bf16, on matrices that are rounded to pairs just before.
//!
//! A pair is two neighbours along the summed dimension in one `u32`, the first in the low half, as
//! `vdpbf16ps` takes them. The left-hand matrix lies row by row, `[m][pairs]`, the right-hand one
//! `[pairs][columns]`. Every element is one chain over the pairs from first to last, so a row's
//! result depends on neither its neighbours nor its place.

use super::bf16::Avx512Bf16;
use super::lanes::LANES;

/// A matrix of floats to be rounded: row `i < rows` begins at `i * row`.
#[derive(Clone, Copy)]
pub(super) struct Floats<'a> {
    pub values: &'a [f32],
    pub row: usize,
    pub rows: usize,
    pub columns: usize,
}

impl Floats<'_> {
    fn check(&self) {
        assert!(self.rows == 0 || (self.rows - 1) * self.row + self.columns <= self.values.len());
    }
}

/// `c = a · b` for [`multiply`]: `c[i * c_row + j]` for `i < m` and `j < n`.
pub(super) struct PairProduct<'a> {
    pub m: usize,
    pub n: usize,
    pub pairs: usize,
    /// `[m][a_row]`, of which the first `pairs` are read.
    pub a: &'a [u32],
    pub a_row: usize,
    /// `[pairs][b_row]`.
    pub b: &'a [u32],
    pub b_row: usize,
    pub c: &'a mut [f32],
    pub c_row: usize,
}

/// Pairs along the columns: `to[i][p]` of `[rows][columns / 2]`, an odd last column paired with 0.
pub(super) fn along_columns(isa: Avx512Bf16, from: Floats<'_>, to: &mut Vec<u32>) {
    from.check();
    to.resize(from.rows * from.columns.div_ceil(2), 0);
    // SAFETY: `isa` proves the instructions, and both matrices lie within their slices.
    unsafe { avx512::along_columns(isa, from, to.as_mut_ptr()) }
}

/// Pairs along the columns, transposed: `to[p][i]` of `[columns / 2][rows rounded up to a vector]`,
/// zeros beyond the rows.
pub(super) fn along_columns_turned(isa: Avx512Bf16, from: Floats<'_>, to: &mut Vec<u32>) {
    from.check();
    to.resize(from.columns.div_ceil(2) * from.rows.next_multiple_of(LANES), 0);
    // SAFETY: as above.
    unsafe { avx512::along_columns_turned(isa, from, to.as_mut_ptr()) }
}

/// Pairs along the rows: `to[p][j]` of `[rows / 2][columns rounded up to a vector]`, an odd last
/// row paired with zeros, zeros beyond the columns.
pub(super) fn along_rows(isa: Avx512Bf16, from: Floats<'_>, to: &mut Vec<u32>) {
    from.check();
    to.resize(from.rows.div_ceil(2) * from.columns.next_multiple_of(LANES), 0);
    // SAFETY: as above.
    unsafe { avx512::along_rows(isa, from, to.as_mut_ptr()) }
}

/// Pairs along the rows, transposed: `to[j][p]` of `[columns][rows / 2]`.
pub(super) fn along_rows_turned(isa: Avx512Bf16, from: Floats<'_>, to: &mut Vec<u32>) {
    from.check();
    to.resize(from.columns * from.rows.div_ceil(2), 0);
    // SAFETY: as above.
    unsafe { avx512::along_rows_turned(isa, from, to.as_mut_ptr()) }
}

/// Writes `c = a · b`.
pub(super) fn multiply(isa: Avx512Bf16, product: PairProduct<'_>) {
    let PairProduct { m, n, pairs, a, a_row, b, b_row, ref c, c_row } = product;
    assert!(m == 0 || a.len() >= (m - 1) * a_row + pairs);
    assert!(pairs == 0 || b.len() >= (pairs - 1) * b_row + n.next_multiple_of(LANES));
    assert!(m == 0 || c.len() >= (m - 1) * c_row + n);
    // SAFETY: `isa` proves the instructions, and the three matrices lie within their slices.
    unsafe { avx512::multiply(isa, product) }
}

mod avx512 {
    use std::arch::x86_64::{
        __m512, __m512bh, __m512i, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_loadu_si512,
        _mm512_mask_storeu_epi32, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps,
        _mm512_permutexvar_epi16, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_setzero_si512,
    };

    use super::super::bf16::avx512::pair;
    use super::super::rows::{of_height, tiles};
    use super::super::transpose::avx512::{mask, turn};
    use super::{Avx512Bf16, Floats, LANES, PairProduct};

    /// Rows of a tile: 12 × 2 sums, two vectors of `b` and one factor.
    const TILE_ROWS: usize = 12;

    /// Words of two halves, taken in turn.
    const IN_TURN: [u16; 32] = {
        let mut order = [0; 32];
        let mut at = 0;
        while at < 32 {
            order[at] = at as u16 / 2 + 16 * (at as u16 % 2);
            at += 1;
        }
        order
    };

    /// # Safety
    /// As for every function here: the isa is proof of the instructions, and the caller checked that
    /// the matrices lie within what the pointers may reach.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(super) unsafe fn along_columns(_: Avx512Bf16, from: Floats<'_>, to: *mut u32) {
        let pairs = from.columns.div_ceil(2);
        for i in 0..from.rows {
            for at in (0..from.columns).step_by(2 * LANES) {
                // SAFETY: row `i` exists, and the mask keeps to its pairs.
                unsafe {
                    let to = to.add(i * pairs + at / 2);
                    _mm512_mask_storeu_epi32(to.cast(), mask(pairs - at / 2), row(&from, i, at));
                }
            }
        }
    }

    /// # Safety
    /// As [`along_columns`].
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(super) unsafe fn along_columns_turned(_: Avx512Bf16, from: Floats<'_>, to: *mut u32) {
        let (pairs, width) = (from.columns.div_ceil(2), from.rows.next_multiple_of(LANES));
        for i in (0..from.rows).step_by(LANES) {
            for at in (0..from.columns).step_by(2 * LANES) {
                let mut block = [_mm512_setzero_si512(); LANES];
                for (r, line) in block.iter_mut().enumerate().take(from.rows - i) {
                    // SAFETY: row `i + r` exists.
                    *line = unsafe { row(&from, i + r, at) };
                }
                for (p, line) in turn(block).into_iter().enumerate().take(pairs - at / 2) {
                    // SAFETY: pair `at / 2 + p` exists, and its row holds whole vectors.
                    unsafe { store(to.add((at / 2 + p) * width + i), line) };
                }
            }
        }
    }

    /// # Safety
    /// As [`along_columns`].
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(super) unsafe fn along_rows(_: Avx512Bf16, from: Floats<'_>, to: *mut u32) {
        let width = from.columns.next_multiple_of(LANES);
        for pair in 0..from.rows.div_ceil(2) {
            for at in (0..from.columns).step_by(LANES) {
                // SAFETY: row `2 * pair` exists, and the pair's row holds whole vectors.
                unsafe { store(to.add(pair * width + at), two_rows(&from, pair, at)) };
            }
        }
    }

    /// # Safety
    /// As [`along_columns`].
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(super) unsafe fn along_rows_turned(_: Avx512Bf16, from: Floats<'_>, to: *mut u32) {
        let pairs = from.rows.div_ceil(2);
        for pair in (0..pairs).step_by(LANES) {
            for at in (0..from.columns).step_by(LANES) {
                let mut block = [_mm512_setzero_si512(); LANES];
                for (p, line) in block.iter_mut().enumerate().take(pairs - pair) {
                    // SAFETY: pair `pair + p` exists.
                    *line = unsafe { two_rows(&from, pair + p, at) };
                }
                for (c, line) in turn(block).into_iter().enumerate().take(from.columns - at) {
                    // SAFETY: column `at + c` exists, and the mask keeps to its pairs.
                    unsafe {
                        let to = to.add((at + c) * pairs + pair);
                        _mm512_mask_storeu_epi32(to.cast(), mask(pairs - pair), line);
                    }
                }
            }
        }
    }

    /// 32 values of row `i` from column `at` on, rounded; zeros beyond the columns.
    ///
    /// # Safety
    /// Row `i` exists.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn row(from: &Floats<'_>, i: usize, at: usize) -> __m512i {
        let left = from.columns - at;
        // SAFETY: the masks keep to the row.
        unsafe {
            let from = from.values.as_ptr().add(i * from.row + at);
            let low = _mm512_maskz_loadu_ps(mask(left), from);
            let high = mask(left.saturating_sub(LANES));
            let high = _mm512_maskz_loadu_ps(high, from.wrapping_add(LANES));
            bits(_mm512_cvtne2ps_pbh(high, low))
        }
    }

    /// Sixteen columns of rows `2 * pair` and the next one, rounded and paired.
    ///
    /// # Safety
    /// Row `2 * pair` exists.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn two_rows(from: &Floats<'_>, pair: usize, at: usize) -> __m512i {
        let mask = mask(from.columns - at);
        // SAFETY: the mask keeps to the rows, and a second row is only read if it exists.
        unsafe {
            let first = from.values.as_ptr().add(2 * pair * from.row + at);
            let is_paired = 2 * pair + 1 < from.rows;
            let second = if is_paired {
                _mm512_maskz_loadu_ps(mask, first.add(from.row))
            } else {
                _mm512_setzero_ps()
            };
            let both = bits(_mm512_cvtne2ps_pbh(second, _mm512_maskz_loadu_ps(mask, first)));
            _mm512_permutexvar_epi16(_mm512_loadu_si512(IN_TURN.as_ptr().cast()), both)
        }
    }

    /// # Safety
    /// As [`along_columns`].
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(super) unsafe fn multiply(_: Avx512Bf16, product: PairProduct<'_>) {
        let mut product = product;
        let (m, n) = (product.m, product.n);
        for j in (0..n).step_by(2 * LANES) {
            // SAFETY: each tile's rows and columns exist.
            unsafe {
                if n - j > LANES {
                    columns::<2>(&mut product, m, j);
                } else {
                    columns::<1>(&mut product, m, j);
                }
            }
        }
    }

    /// # Safety
    /// Columns `j..` exist, more than `(V - 1) * LANES` of them.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn columns<const V: usize>(product: &mut PairProduct<'_>, m: usize, j: usize) {
        for (i, height) in tiles(m, TILE_ROWS) {
            // SAFETY: the tile's rows exist.
            unsafe { of_height!(height, tile::<_, V>(product, i, j)) }
        }
    }

    /// # Safety
    /// Rows `i..i + R` and columns `j..` exist, more than `(V - 1) * LANES` of them.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn tile<const R: usize, const V: usize>(
        product: &mut PairProduct<'_>,
        i: usize,
        j: usize,
    ) {
        let PairProduct { n, pairs, a_row, b_row, c_row, .. } = *product;
        let mut sums: [[__m512; V]; R] = [[_mm512_setzero_ps(); V]; R];
        let (a, b) = (product.a.as_ptr(), product.b.as_ptr());
        for p in 0..pairs {
            let mut row = [_mm512_setzero_si512(); V];
            for (v, row) in row.iter_mut().enumerate() {
                // SAFETY: rows of `b` hold whole vectors.
                *row = unsafe { _mm512_loadu_si512(b.add(p * b_row + j + v * LANES).cast()) };
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                // SAFETY: row `i + r` of `a` holds `pairs` pairs.
                let factor = unsafe { *a.add((i + r) * a_row + p) };
                let factor = pair(_mm512_set1_epi32(factor as i32));
                for (sum, row) in sums.iter_mut().zip(row) {
                    *sum = _mm512_dpbf16_ps(*sum, factor, pair(row));
                }
            }
        }
        let c = product.c.as_mut_ptr();
        for (r, sums) in sums.into_iter().enumerate() {
            for (v, sum) in sums.into_iter().enumerate() {
                let column = j + v * LANES;
                // SAFETY: the mask keeps to the row's `n` columns.
                unsafe {
                    let c = c.add((i + r) * c_row + column);
                    _mm512_mask_storeu_ps(c, mask(n - column), sum);
                }
            }
        }
    }

    /// # Safety
    /// Sixteen values may be written.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store(to: *mut u32, values: __m512i) {
        // SAFETY: the caller's.
        unsafe { _mm512_mask_storeu_epi32(to.cast(), u16::MAX, values) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn bits(pairs: __m512bh) -> __m512i {
        // SAFETY: both are 512 bits without invalid values.
        unsafe { std::mem::transmute(pairs) }
    }
}
