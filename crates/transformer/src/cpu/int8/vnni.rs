//! The product by AVX512-VNNI, whose `vpdpbusd` adds four products of unsigned by signed bytes.

use std::arch::x86_64::{
    __m512i, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_mul_ps,
    _mm512_mullo_epi32, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512, _mm512_sub_epi32,
};

use super::super::lanes::LANES;
use super::super::panels::PANEL;
use super::super::rows::{of_height, tiles};
use super::super::transpose::avx512::mask;
use super::{Product, QUAD, ROWS};

/// # Safety
/// The processor has AVX512-VNNI, and the operands' shapes agree.
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) unsafe fn multiply(mut product: Product<'_>) {
    for panel in 0..product.panels.n.div_ceil(PANEL) {
        for (i, height) in tiles(product.rounded.rows.len(), ROWS) {
            // SAFETY: the tile's rows exist.
            unsafe { of_height!(height, tile::<_>(&mut product, panel, i)) }
        }
    }
}

/// # Safety
/// As [`multiply`], and rows `i..i + R` exist.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn tile<const R: usize>(product: &mut Product<'_>, at: usize, i: usize) {
    let Product { panels, rounded, bias, ref mut y } = *product;
    let depth = panels.depth();
    let panel = panels.panel(at).as_ptr();
    let x = rounded.bytes[i * depth * QUAD..][..R * depth * QUAD].as_ptr();
    let mut sums: [[__m512i; 2]; R] = [[_mm512_setzero_si512(); 2]; R];
    for p in 0..depth {
        // SAFETY: the panel has two quads for each of `depth` rows, and each row of `x` as many.
        let row = unsafe {
            let row = panel.add(2 * p);
            [_mm512_loadu_si512(row.cast()), _mm512_loadu_si512(row.add(1).cast())]
        };
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: as above.
            let value = unsafe { x.add((r * depth + p) * QUAD).cast::<i32>().read_unaligned() };
            let factor = _mm512_set1_epi32(value);
            sums[0] = _mm512_dpbusd_epi32(sums[0], factor, row[0]);
            sums[1] = _mm512_dpbusd_epi32(sums[1], factor, row[1]);
        }
    }
    let n = panels.n;
    let y = y[i * n..][..R * n].as_mut_ptr();
    for half in 0..2 {
        let column = at * PANEL + half * LANES;
        let mask = mask(n.saturating_sub(column));
        if mask == 0 {
            continue;
        }
        // SAFETY: steps and sums are padded to whole panels, and the mask keeps to `n` values.
        let (steps, columns, bias) = unsafe {
            let steps = _mm512_loadu_ps(panels.steps.as_ptr().add(column));
            let columns = _mm512_loadu_si512(panels.sums.as_ptr().add(column).cast());
            (steps, columns, _mm512_maskz_loadu_ps(mask, bias.as_ptr().add(column)))
        };
        for (r, sums) in sums.iter().enumerate() {
            let row = rounded.rows[i + r];
            let shift = _mm512_mullo_epi32(_mm512_set1_epi32(row.zero), columns);
            let sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(sums[half], shift));
            let sum = _mm512_fmadd_ps(sum, _mm512_mul_ps(_mm512_set1_ps(row.step), steps), bias);
            // SAFETY: the mask keeps the store within the row.
            unsafe { _mm512_mask_storeu_ps(y.add(r * n + column), mask, sum) };
        }
    }
}
