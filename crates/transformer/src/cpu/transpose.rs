//! Transposing 32-bit values in blocks of 16 × 16.
//!
//! Single values would cost more than some of the products they serve. AVX-512 turns a block in
//! 64 shuffles between registers; elsewhere blocks are gathered through the stack.

use super::lanes::{Isa, LANES, kernel};

/// A matrix whose row `i` begins at `i * row` of a slice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub rows: usize,
    pub columns: usize,
    pub row: usize,
}

impl Grid {
    /// Values from the first to the last element.
    fn extent(&self) -> usize {
        if self.rows == 0 || self.columns == 0 {
            return 0;
        }
        (self.rows - 1) * self.row + self.columns
    }
}

/// `to[j * to_row + i] = from[i * grid.row + j]`, and nothing else is written.
pub(super) fn transpose(isa: Isa, from: &[f32], grid: Grid, to: &mut [f32], to_row: usize) {
    let turned = Grid { rows: grid.columns, columns: grid.rows, row: to_row };
    assert!(grid.extent() <= from.len() && turned.extent() <= to.len());
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the variant proves AVX-512, and both matrices lie within their slices.
        Isa::Avx512 => unsafe {
            avx512::transpose(from.as_ptr().cast(), grid, to.as_mut_ptr().cast(), to_row);
        },
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => blocks(isa, from, grid, to, to_row),
        Isa::Baseline => blocks(isa, from, grid, to, to_row),
    }
}

kernel! {
    fn blocks(from: &[f32], grid: Grid, to: &mut [f32], to_row: usize) {
        for i in (0..grid.rows).step_by(LANES) {
            let high = (grid.rows - i).min(LANES);
            for j in (0..grid.columns).step_by(LANES) {
                let wide = (grid.columns - j).min(LANES);
                let mut block = [[0.0f32; LANES]; LANES];
                for (r, line) in block.iter_mut().enumerate().take(high) {
                    line[..wide].copy_from_slice(&from[(i + r) * grid.row + j..][..wide]);
                }
                for c in 0..wide {
                    let mut line = [0.0f32; LANES];
                    for r in 0..LANES {
                        line[r] = block[r][c];
                    }
                    to[(j + c) * to_row + i..][..high].copy_from_slice(&line[..high]);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod avx512 {
    use std::arch::x86_64::{
        __m512i, _mm512_mask_storeu_epi32, _mm512_maskz_loadu_epi32, _mm512_setzero_si512,
        _mm512_shuffle_i32x4, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
        _mm512_unpacklo_epi64,
    };

    use super::{Grid, LANES};

    /// One bit for each of the next sixteen columns that exist.
    pub(in crate::cpu) fn mask(columns: usize) -> u16 {
        if columns >= LANES { u16::MAX } else { (1 << columns) - 1 }
    }

    /// # Safety
    /// The processor has AVX-512; `from` holds the grid, and `to` its transpose with rows `to_row`
    /// apart.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn transpose(from: *const i32, grid: Grid, to: *mut i32, to_row: usize) {
        for i in (0..grid.rows).step_by(LANES) {
            let high = (grid.rows - i).min(LANES);
            for j in (0..grid.columns).step_by(LANES) {
                let wide = (grid.columns - j).min(LANES);
                let mut block = [_mm512_setzero_si512(); LANES];
                for (r, line) in block.iter_mut().enumerate().take(high) {
                    // SAFETY: row `i + r` and the masked columns exist.
                    *line = unsafe {
                        _mm512_maskz_loadu_epi32(mask(wide), from.add((i + r) * grid.row + j))
                    };
                }
                for (c, line) in turn(block).into_iter().enumerate().take(wide) {
                    // SAFETY: column `j + c` and the masked rows exist.
                    unsafe {
                        _mm512_mask_storeu_epi32(to.add((j + c) * to_row + i), mask(high), line);
                    }
                }
            }
        }
    }

    /// The transpose of a block: pairs of rows, then fours, then quarters of registers.
    #[target_feature(enable = "avx512f")]
    pub(in crate::cpu) fn turn(rows: [__m512i; LANES]) -> [__m512i; LANES] {
        let (mut a, mut b) = (rows, rows);
        for i in (0..LANES).step_by(2) {
            b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
            b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
        }
        for i in (0..LANES).step_by(4) {
            a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
            a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
            a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
            a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
        }
        // Quarter `q` of `a[4 * g + c]` now holds column `4 * q + c` of rows `4 * g ..`.
        for c in 0..4 {
            b[c] = _mm512_shuffle_i32x4::<0x88>(a[c], a[4 + c]);
            b[4 + c] = _mm512_shuffle_i32x4::<0xDD>(a[c], a[4 + c]);
            b[8 + c] = _mm512_shuffle_i32x4::<0x88>(a[8 + c], a[12 + c]);
            b[12 + c] = _mm512_shuffle_i32x4::<0xDD>(a[8 + c], a[12 + c]);
        }
        for c in 0..4 {
            a[c] = _mm512_shuffle_i32x4::<0x88>(b[c], b[8 + c]);
            a[8 + c] = _mm512_shuffle_i32x4::<0xDD>(b[c], b[8 + c]);
            a[4 + c] = _mm512_shuffle_i32x4::<0x88>(b[4 + c], b[12 + c]);
            a[12 + c] = _mm512_shuffle_i32x4::<0xDD>(b[4 + c], b[12 + c]);
        }
        a
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_every_shape_and_writes_nothing_else() {
        for isa in [Isa::Baseline, Isa::detect()] {
            for (rows, columns) in [(1, 1), (3, 17), (16, 16), (33, 5), (20, 48), (0, 4)] {
                let grid = Grid { rows, columns, row: columns + 3 };
                let from: Vec<f32> = (0..rows * grid.row + 1).map(|at| at as f32).collect();
                let to_row = rows + 2;
                let mut to = vec![-1.0; columns * to_row];
                transpose(isa, &from, grid, &mut to, to_row);
                for (at, &value) in to.iter().enumerate() {
                    let (j, i) = (at / to_row, at % to_row);
                    let expected = if i < rows { from[i * grid.row + j] } else { -1.0 };
                    assert_eq!(value, expected, "{rows}x{columns} at {j},{i}");
                }
            }
        }
    }
}
