//! Products with frozen weights in bf16, summed in f32, by AVX512-BF16.
//!
//! Panels as in [`panels`](super::panels), but each step takes two values of `k` at once
//! (`vdpbf16ps`), so a panel's row holds pairs. An element is still one chain over `k` from first to
//! last, and rows stay independent of their neighbours.

use super::lanes::{Isa, LANES, kernel};
use super::panels::{Operands, PANEL};
use crate::backend::Target;

/// Proof that the processor has AVX512-BF16, beside what it has for f32.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bf16Isa(Isa);

impl Bf16Isa {
    /// The proof, if the processor has it.
    pub(super) fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512bf16") && Isa::detect() == Isa::Avx512 {
            return Some(Self(Isa::Avx512));
        }
        None
    }

    /// What the processor has for f32.
    pub(super) fn floats(self) -> Isa {
        self.0
    }
}

/// A right-hand matrix `[k, n]` in panels of bf16 pairs: `[panel][k / 2][column][2]`.
#[derive(Clone, Debug)]
pub(super) struct Panels16 {
    values: Vec<u16>,
    k: usize,
    n: usize,
}

impl Panels16 {
    /// Lays out and rounds the matrix whose element `(p, j)` is `at(p, j)`.
    pub(super) fn new(k: usize, n: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let pairs = k.div_ceil(2);
        let mut values = vec![0; n.div_ceil(PANEL) * pairs * 2 * PANEL];
        for (panel, values) in values.chunks_exact_mut(pairs * 2 * PANEL).enumerate() {
            for (pair, row) in values.chunks_exact_mut(2 * PANEL).enumerate() {
                for (j, value) in (panel * PANEL..n).zip(row.chunks_exact_mut(2)) {
                    for (p, value) in (2 * pair..k).zip(value) {
                        *value = round(at(p, j));
                    }
                }
            }
        }
        Self { values, k, n }
    }

    /// As [`Panels::multiply`](super::panels::Panels::multiply); `rounded` is scratch for `x`.
    pub(super) fn multiply(&self, isa: Bf16Isa, rounded: &mut Vec<u16>, operands: Operands<'_>) {
        operands.check(self.k, self.n);
        let width = self.k.next_multiple_of(2);
        rounded.resize(operands.x.len() / self.k * width, 0);
        round_rows(isa.0, operands.x, self.k, rounded);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Bf16Isa` proves the instructions; the check above bounds rows and columns.
        unsafe {
            avx512::multiply(self, rounded, operands);
        }
    }
}

/// To the nearest bf16, ties to even; a NaN stays one.
#[inline(always)]
fn round(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = (bits.wrapping_add(0x7FFF + ((bits >> 16) & 1)) >> 16) as u16;
    if value.is_nan() { 0x7FC0 } else { rounded }
}

kernel! {
    fn round_rows(x: &[f32], k: usize, rounded: &mut [u16]) {
        let width = k.next_multiple_of(2);
        for (x, rounded) in x.chunks_exact(k).zip(rounded.chunks_exact_mut(width)) {
            for (rounded, &x) in rounded.iter_mut().zip(x) {
                *rounded = round(x);
            }
            if width > k {
                rounded[k] = 0;
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::{
        __m512, __m512bh, __m512i, _mm512_add_ps, _mm512_dpbf16_ps, _mm512_loadu_si512,
        _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_set1_epi32, _mm512_setzero_ps,
    };

    use super::{LANES, Operands, PANEL, Panels16, Target};

    /// Rows of a tile: 12 × 2 sums, two vectors of the panel and one factor.
    const TILE_ROWS: usize = 12;

    /// Bytes of left-hand rows that stay in the second-level cache while panels stream past.
    const BLOCK_BYTES: usize = 512 << 10;

    struct Tile<'a> {
        panels: &'a Panels16,
        pairs: usize,
        panel: usize,
        x: *const u16,
        y: *mut f32,
        bias: &'a [f32],
        target: Target,
    }

    /// # Safety
    /// The processor has AVX512-BF16, the operands passed their check, and `x` is their rows rounded,
    /// each padded to an even number of values.
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) unsafe fn multiply(panels: &Panels16, x: &[u16], operands: Operands<'_>) {
        let Operands { bias, y, target, .. } = operands;
        let pairs = panels.k.div_ceil(2);
        let rows = (BLOCK_BYTES / (4 * pairs)).max(TILE_ROWS);
        for (x, y) in x.chunks(rows * 2 * pairs).zip(y.chunks_mut(rows * panels.n)) {
            let m = x.len() / (2 * pairs);
            for panel in 0..panels.n.div_ceil(PANEL) {
                let (x, y) = (x.as_ptr(), y.as_mut_ptr());
                let tile = Tile { panels, pairs, panel, x, y, bias, target };
                // SAFETY: `i + R <= m` in each call, and `m` counts the rows of both slices.
                unsafe {
                    let mut i = 0;
                    while i + TILE_ROWS <= m {
                        run::<TILE_ROWS>(&tile, i);
                        i += TILE_ROWS;
                    }
                    // What is left over, in at most three tiles.
                    if i + 6 <= m {
                        run::<6>(&tile, i);
                        i += 6;
                    }
                    if i + 3 <= m {
                        run::<3>(&tile, i);
                        i += 3;
                    }
                    match m - i {
                        2 => run::<2>(&tile, i),
                        1 => run::<1>(&tile, i),
                        _ => {}
                    }
                }
            }
        }
    }

    /// # Safety
    /// As [`multiply`], and rows `i..i + R` exist.
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn run<const R: usize>(tile: &Tile<'_>, i: usize) {
        let Tile { pairs, .. } = *tile;
        let mut sums: [[__m512; 2]; R] = [[_mm512_setzero_ps(); 2]; R];
        let from = tile.panel * pairs * 2 * PANEL;
        let panel = tile.panels.values[from..from + pairs * 2 * PANEL].as_ptr();
        for p in 0..pairs {
            // SAFETY: the panel holds `pairs` rows of `2 * PANEL` values, and each row of `x`
            // `2 * pairs`; pairs of u16 need no alignment beyond what the unaligned loads give.
            let (row, x) = unsafe {
                let at = panel.add(p * 2 * PANEL);
                let first = _mm512_loadu_si512(at.cast());
                let second = _mm512_loadu_si512(at.add(2 * LANES).cast());
                ([pair(first), pair(second)], tile.x.add(i * 2 * pairs + 2 * p))
            };
            for (r, sums) in sums.iter_mut().enumerate() {
                // SAFETY: as above.
                let value = unsafe { x.add(r * 2 * pairs).cast::<i32>().read_unaligned() };
                let factor = pair(_mm512_set1_epi32(value));
                sums[0] = _mm512_dpbf16_ps(sums[0], factor, row[0]);
                sums[1] = _mm512_dpbf16_ps(sums[1], factor, row[1]);
            }
        }
        let n = tile.panels.n;
        for (r, sums) in sums.into_iter().enumerate() {
            for (half, sum) in sums.into_iter().enumerate() {
                let column = tile.panel * PANEL + half * LANES;
                let mask = mask(n.saturating_sub(column));
                if mask == 0 {
                    continue;
                }
                // SAFETY: the mask keeps loads and the store within the row's `n` values.
                unsafe {
                    let y = tile.y.add((i + r) * n + column);
                    let mut sum = sum;
                    if !tile.bias.is_empty() {
                        let bias = _mm512_maskz_loadu_ps(mask, tile.bias.as_ptr().add(column));
                        sum = _mm512_add_ps(sum, bias);
                    }
                    if tile.target == Target::Add {
                        sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, y), sum);
                    }
                    _mm512_mask_storeu_ps(y, mask, sum);
                }
            }
        }
    }

    /// One bit for each of the next sixteen columns that exist.
    fn mask(columns: usize) -> u16 {
        if columns >= LANES { u16::MAX } else { (1 << columns) - 1 }
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    fn pair(bits: __m512i) -> __m512bh {
        // SAFETY: both are 512 bits without invalid values.
        unsafe { std::mem::transmute(bits) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{mix, unit};

    fn random(len: usize, seed: u64) -> Vec<f32> {
        (0..len).map(|i| unit(mix(&[seed, i as u64])) - 0.5).collect()
    }

    fn widen(value: u16) -> f64 {
        f64::from(f32::from_bits(u32::from(value) << 16))
    }

    #[test]
    fn agrees_with_a_naive_product_of_the_rounded_factors() {
        let Some(bf16) = Bf16Isa::detect() else {
            eprintln!("skipped: this processor has no AVX512-BF16");
            return;
        };
        for (m, k, n) in [(1, 3, 2), (2, 40, 33), (13, 32, 40), (29, 384, 96), (5, 7, 100)] {
            let (x, w, bias) = (random(m * k, 1), random(k * n, 2), random(n, 3));
            let panels = Panels16::new(k, n, |p, j| w[p * n + j]);
            let (mut y, mut scratch) = (vec![9.0; m * n], Vec::new());
            let operands = Operands { x: &x, bias: &bias, y: &mut y, target: Target::Replace };
            panels.multiply(bf16, &mut scratch, operands);
            let operands = Operands { x: &x, bias: &[], y: &mut y, target: Target::Add };
            panels.multiply(bf16, &mut scratch, operands);
            for (i, y) in y.iter().enumerate() {
                let sum: f64 = (0..k)
                    .map(|p| widen(round(x[i / n * k + p])) * widen(round(w[p * n + i % n])))
                    .sum();
                let expected = 2.0 * sum + f64::from(bias[i % n]);
                assert!(
                    (f64::from(*y) - expected).abs() < 1e-4,
                    "{m}x{k}x{n}: {y}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn rounds_to_nearest_even_and_keeps_specials() {
        for (value, expected) in [
            (1.0, 0x3F80),
            (f32::from_bits(0x3F80_8000), 0x3F80),
            (f32::from_bits(0x3F81_8000), 0x3F82),
            (f32::from_bits(0x3F80_8001), 0x3F81),
            (f32::INFINITY, 0x7F80),
            (f32::NEG_INFINITY, 0xFF80),
            (f32::NAN, 0x7FC0),
        ] {
            assert_eq!(round(value), expected, "{value}");
        }
    }
}
