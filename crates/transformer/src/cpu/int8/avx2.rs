//! The product by AVX2: bytes widened to 16 bits, whose products `vpmaddwd` adds in pairs without
//! overflow. (`vpmaddubsw` takes bytes as they are, but its 16-bit sums saturate.)

use std::arch::x86_64::{
    __m256i, _mm_cvtepu8_epi16, _mm_loadl_epi64, _mm_loadu_si128, _mm256_add_epi32,
    _mm256_broadcastq_epi64, _mm256_cvtepi8_epi16, _mm256_madd_epi16, _mm256_setzero_si256,
    _mm256_storeu_si256,
};

use super::super::lanes::LANES;
use super::super::panels::PANEL;
use super::super::rows::tiles;
use super::{Product, QUAD};

/// Rows of a tile: with four vectors of sums each, and a factor.
const ROWS: usize = 2;

/// Columns of one vector of sums, two for each.
const COLUMNS: usize = 4;

/// # Safety
/// The processor has AVX2 and FMA, and the operands' shapes agree.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn multiply(mut product: Product<'_>) {
    for column in (0..product.panels.n).step_by(LANES) {
        for (i, height) in tiles(product.rounded.rows.len(), ROWS) {
            // SAFETY: the tile's rows and columns exist.
            unsafe {
                match height {
                    2 => tile::<2>(&mut product, column, i),
                    _ => tile::<1>(&mut product, column, i),
                }
            }
        }
    }
}

/// Sixteen columns of `R` rows.
///
/// # Safety
/// As [`multiply`], rows `i..i + R` exist, and `column` is the first of a quad.
#[target_feature(enable = "avx2,fma")]
unsafe fn tile<const R: usize>(product: &mut Product<'_>, column: usize, i: usize) {
    let Product { panels, rounded, bias, ref mut y } = *product;
    let (depth, n) = (panels.depth(), panels.n);
    let quads = &panels.panel(column / PANEL)[column % PANEL / LANES..];
    let x = &rounded.bytes[i * depth * QUAD..][..R * depth * QUAD];
    let mut sums: [[__m256i; LANES / COLUMNS]; R] = [[_mm256_setzero_si256(); LANES / COLUMNS]; R];
    for p in 0..depth {
        let quad = quads[p * (PANEL / LANES)].0.as_ptr();
        let mut factors = [_mm256_setzero_si256(); R];
        for (r, factor) in factors.iter_mut().enumerate() {
            let four: [u8; QUAD] = *x[(r * depth + p) * QUAD..].first_chunk().expect("a quad");
            let eight = (u64::from(u32::from_le_bytes(four))).to_le_bytes();
            // SAFETY: eight bytes are read of eight.
            let wide = unsafe { _mm_cvtepu8_epi16(_mm_loadl_epi64(eight.as_ptr().cast())) };
            *factor = _mm256_broadcastq_epi64(wide);
        }
        for at in 0..LANES / COLUMNS {
            // SAFETY: a quad has sixteen bytes for each of its vectors.
            let bytes = unsafe { _mm_loadu_si128(quad.add(at * COLUMNS * QUAD).cast()) };
            let wide = _mm256_cvtepi8_epi16(bytes);
            for (sums, factor) in sums.iter_mut().zip(factors) {
                sums[at] = _mm256_add_epi32(sums[at], _mm256_madd_epi16(wide, factor));
            }
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        let mut halves = [0i32; 2 * LANES];
        for (at, sum) in sums.into_iter().enumerate() {
            // SAFETY: eight of the 32 values are written.
            unsafe { _mm256_storeu_si256(halves.as_mut_ptr().add(8 * at).cast(), sum) };
        }
        let row = rounded.rows[i + r];
        let y = &mut y[(i + r) * n..][..n];
        for (at, halves) in halves.chunks_exact(2).enumerate().take(n - column) {
            let j = column + at;
            let sum = halves[0] + halves[1] - row.zero * panels.sums[j];
            y[j] = (sum as f32).mul_add(row.step * panels.steps[j], bias[j]);
        }
    }
}
