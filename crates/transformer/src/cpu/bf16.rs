//! Products with frozen weights in bf16, summed in f32, by AMX or AVX512-BF16.
//!
//! Panels as in [`panels`](super::panels), but `k` comes in pairs, as both instruction sets take it:
//! `vdpbf16ps` one pair of a row at once, [`amx`](super::amx) sixteen pairs of sixteen rows. Within
//! one of them an element is a chain over `k` in a fixed order and rows stay independent of their
//! neighbours; between the two, last bits differ.

use super::lanes::{Isa, LANES, kernel};
use super::panels::{Operands, PANEL};
use crate::backend::Target;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::amx::Amx;

/// Proof that the processor has bf16 products, beside what it has for f32.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bf16Isa {
    isa: Isa,
    unit: Unit,
}

/// What multiplies.
#[derive(Clone, Copy, Debug)]
enum Unit {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Amx(Amx),
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Bf16Isa {
    /// The proof of the fastest, if the processor has any.
    pub(super) fn detect() -> Option<Self> {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if let Some(amx) = Amx::detect(Isa::detect()) {
            return Some(amx.into());
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(avx512) = Avx512Bf16::detect() {
            return Some(Self { isa: avx512.floats(), unit: Unit::Avx512 });
        }
        None
    }

    /// Everything that can be tested here: AVX512-BF16 where the processor has it, and AMX, by
    /// emulation where it has not.
    #[cfg(test)]
    pub(super) fn every() -> Vec<Self> {
        let mut every: Vec<Self> = Vec::new();
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        every.push(Amx::detect_or_emulate(Isa::detect()).into());
        #[cfg(target_arch = "x86_64")]
        if let Some(avx512) = Avx512Bf16::detect() {
            every.push(Self { isa: avx512.floats(), unit: Unit::Avx512 });
        }
        every
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
impl From<Amx> for Bf16Isa {
    fn from(amx: Amx) -> Self {
        Self { isa: amx.isa, unit: Unit::Amx(amx) }
    }
}

/// Proof that the processor has AVX512-BF16, beside AVX-512 for f32.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512Bf16(Isa);

impl Avx512Bf16 {
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

/// Sixteen pairs: a vector register, or a row of an AMX tile. Aligned, so that no load takes two
/// cache lines.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Line(pub(super) [u16; 2 * LANES]);

impl Line {
    pub(super) const ZERO: Self = Self([0; 2 * LANES]);
}

/// Rows of the left-hand side come in multiples of this, the last ones zero: the rows of a tile.
pub(super) const ROWS: usize = 16;

/// A right-hand matrix `[k, n]` in panels of bf16 pairs: `[panel][k / 2][column][2]`, where `k` is
/// padded with zeros to whole [`Line`]s of a left-hand row.
#[derive(Clone, Debug)]
pub(super) struct Panels16 {
    lines: Vec<Line>,
    k: usize,
    n: usize,
}

impl Panels16 {
    /// Lays out and rounds the matrix whose element `(p, j)` is `at(p, j)`.
    pub(super) fn new(k: usize, n: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let pairs = k.div_ceil(2 * LANES) * LANES;
        let mut lines = vec![Line::ZERO; n.div_ceil(PANEL) * pairs * 2];
        for (panel, lines) in lines.chunks_exact_mut(pairs * 2).enumerate() {
            for (pair, row) in lines.chunks_exact_mut(2).enumerate() {
                let values = row.iter_mut().flat_map(|line| line.0.chunks_exact_mut(2));
                for (j, value) in (panel * PANEL..n).zip(values) {
                    for (p, value) in (2 * pair..k).zip(value) {
                        *value = round(at(p, j));
                    }
                }
            }
        }
        Self { lines, k, n }
    }

    /// As [`Panels::multiply`](super::panels::Panels::multiply); `rounded` is scratch for `x`.
    pub(super) fn multiply(&self, bf16: Bf16Isa, rounded: &mut Vec<Line>, operands: Operands<'_>) {
        operands.check(self.k, self.n);
        let rows = operands.x.len() / self.k;
        rounded.resize(rows.next_multiple_of(ROWS) * self.row_lines(), Line::ZERO);
        round_rows(bf16.isa, operands.x, self.k, rounded);
        match bf16.unit {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Unit::Amx(amx) => amx.multiply(self, rounded, operands),
            // SAFETY: the value proves the instructions; the check above bounds rows and columns.
            #[cfg(target_arch = "x86_64")]
            Unit::Avx512 => unsafe { avx512::multiply(self, rounded, operands) },
        }
    }

    /// Columns of the matrix.
    pub(super) fn columns(&self) -> usize {
        self.n
    }

    /// Lines of one left-hand row.
    pub(super) fn row_lines(&self) -> usize {
        self.k.div_ceil(2 * LANES)
    }

    /// The panels from left to right, each two lines a pair.
    pub(super) fn panels(&self) -> impl Iterator<Item = &[Line]> {
        self.lines.chunks_exact(self.panel_lines())
    }

    fn panel_lines(&self) -> usize {
        self.row_lines() * LANES * 2
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
    /// Rounds rows of `k` values into whole lines; what is over, at a row's end or of rows, is zero.
    fn round_rows(x: &[f32], k: usize, rounded: &mut [Line]) {
        let mut rows = x.chunks_exact(k);
        for lines in rounded.chunks_exact_mut(k.div_ceil(2 * LANES)) {
            let (whole, rest) = rows.next().unwrap_or_default().as_chunks::<{ 2 * LANES }>();
            for (line, x) in lines.iter_mut().zip(whole) {
                for (rounded, &x) in line.0.iter_mut().zip(x) {
                    *rounded = round(x);
                }
            }
            for line in &mut lines[whole.len()..] {
                *line = Line::ZERO;
                for (rounded, &x) in line.0.iter_mut().zip(rest) {
                    *rounded = round(x);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod avx512 {
    use std::arch::x86_64::{
        __m512, __m512bh, __m512i, _mm512_add_ps, _mm512_dpbf16_ps, _mm512_loadu_si512,
        _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_set1_epi32, _mm512_setzero_ps,
    };

    use super::super::rows::{of_height, tiles};
    use super::super::transpose::avx512::mask;
    use super::{LANES, Line, Operands, PANEL, Panels16, Target};

    /// Rows of a tile: 12 × 2 sums, two vectors of the panel and one factor.
    const TILE_ROWS: usize = 12;

    /// Bytes of left-hand rows that stay in the second-level cache while panels stream past.
    const BLOCK_BYTES: usize = 512 << 10;

    struct Tile<'a> {
        panels: &'a Panels16,
        /// Without the zeros that both sides end with. (A count known to be a multiple of sixteen
        /// made the compiler keep sums in memory, for a quarter of the speed.)
        pairs: usize,
        panel: usize,
        x: *const u16,
        y: *mut f32,
        bias: &'a [f32],
        target: Target,
    }

    /// # Safety
    /// The processor has AVX512-BF16, the operands passed their check, and `x` is their rows rounded,
    /// each [`Panels16::row_lines`].
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) unsafe fn multiply(panels: &Panels16, x: &[Line], operands: Operands<'_>) {
        let Operands { bias, y, target, .. } = operands;
        let pairs = panels.k.div_ceil(2);
        let rows = (BLOCK_BYTES / (4 * pairs)).max(TILE_ROWS).next_multiple_of(TILE_ROWS);
        for (x, y) in x.chunks(rows * panels.row_lines()).zip(y.chunks_mut(rows * panels.n)) {
            let m = y.len() / panels.n;
            for panel in 0..panels.n.div_ceil(PANEL) {
                let (x, y) = (x.as_ptr().cast(), y.as_mut_ptr());
                let tile = Tile { panels, pairs, panel, x, y, bias, target };
                for (i, height) in tiles(m, TILE_ROWS) {
                    // SAFETY: the tile's rows exist, and both slices have `m` rows.
                    unsafe { of_height!(height, run::<_>(&tile, i)) }
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
        let (width, lines) = (tile.panels.row_lines() * 2 * LANES, tile.panels.panel_lines());
        let panel = tile.panels.lines[tile.panel * lines..][..lines].as_ptr().cast::<u16>();
        for p in 0..pairs {
            // SAFETY: the panel holds at least `pairs` rows of `2 * PANEL` values, and each row of `x`
            // `width`, which is no less than `2 * pairs`; the loads need no alignment.
            let (row, x) = unsafe {
                let at = panel.add(p * 2 * PANEL);
                let first = _mm512_loadu_si512(at.cast());
                let second = _mm512_loadu_si512(at.add(2 * LANES).cast());
                ([pair(first), pair(second)], tile.x.add(i * width + 2 * p))
            };
            for (r, sums) in sums.iter_mut().enumerate() {
                // SAFETY: as above.
                let value = unsafe { x.add(r * width).cast::<i32>().read_unaligned() };
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

    /// A register of pairs, as products take it.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(in crate::cpu) fn pair(bits: __m512i) -> __m512bh {
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

    fn every() -> Vec<Bf16Isa> {
        let (every, own) = (Bf16Isa::every(), Bf16Isa::detect());
        eprintln!("tested: {every:?}; the processor's own best, and not emulated: {own:?}");
        every
    }

    /// What lies around a result.
    const UNTOUCHED: f32 = -12345.0;

    /// `x · w + bias`, then added once more without the bias.
    fn check_product(bf16: Bf16Isa, m: usize, k: usize, n: usize) {
        let (x, w, bias) = (random(m * k, 1), random(k * n, 2), random(n, 3));
        let panels = Panels16::new(k, n, |p, j| w[p * n + j]);
        let around = 3 * PANEL;
        let mut y = vec![UNTOUCHED; around + m * n + around];
        // What an earlier product leaves in the scratch: here, no number at all.
        let mut scratch = vec![Line([0x7FC0; 2 * LANES]); 100];
        for (bias, target) in [(&bias[..], Target::Replace), (&[], Target::Add)] {
            let y = &mut y[around..around + m * n];
            panels.multiply(bf16, &mut scratch, Operands { x: &x, bias, y, target });
        }
        let outside = y[..around].iter().chain(&y[around + m * n..]);
        assert!(outside.into_iter().all(|y| *y == UNTOUCHED), "{m}x{k}x{n} writes outside");
        let x: Vec<f64> = x.into_iter().map(|x| widen(round(x))).collect();
        let w: Vec<f64> = w.into_iter().map(|w| widen(round(w))).collect();
        for (i, y) in y[around..around + m * n].iter().enumerate() {
            let sum: f64 = (0..k).map(|p| x[i / n * k + p] * w[p * n + i % n]).sum();
            let expected = 2.0 * sum + f64::from(bias[i % n]);
            let error = (f64::from(*y) - expected).abs();
            assert!(
                error < 1e-4_f64.max(2e-8 * k as f64),
                "{bf16:?} {m}x{k}x{n} at {i}: {y}, not {expected}"
            );
        }
    }

    #[test]
    fn agrees_with_a_naive_product_of_the_rounded_factors() {
        for bf16 in every() {
            for (m, k, n) in [(1, 3, 2), (2, 40, 33), (13, 32, 40), (29, 384, 96), (5, 7, 100)] {
                check_product(bf16, m, k, n);
            }
            for m in 0..=70 {
                check_product(bf16, m, 40, 33);
            }
            for k in [1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 95, 96, 97, 1152] {
                check_product(bf16, 19, k, 34);
            }
            for n in [1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 96] {
                check_product(bf16, 35, 70, n);
            }
            // More rows than stay in the cache.
            check_product(bf16, 70, 16384, 2);
        }
    }

    #[test]
    fn rows_do_not_depend_on_their_neighbours() {
        for (bf16, (k, n)) in every()
            .into_iter()
            .flat_map(|bf16| [(384, 96), (70, 40), (32, 32)].map(|shape| (bf16, shape)))
        {
            let m = 70;
            let (mut x, w) = (random(m * k, 3), random(k * n, 4));
            // Not even on one that is no number.
            x[20 * k..21 * k].fill(f32::NAN);
            let panels = Panels16::new(k, n, |p, j| w[p * n + j]);
            let product = |first: usize, rows: usize| {
                let mut y = vec![0.0; rows * n];
                let x = &x[first * k..(first + rows) * k];
                let operands = Operands { x, bias: &[], y: &mut y, target: Target::Replace };
                panels.multiply(bf16, &mut Vec::new(), operands);
                y.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let whole = product(0, m);
            let numbers = whole.iter().filter(|bits| !f32::from_bits(**bits).is_nan()).count();
            assert_eq!(numbers, (m - 1) * n, "{bf16:?}");
            for (first, rows) in (1..m).map(|rows| (m - rows, rows)).chain((1..m).map(|r| (0, r))) {
                let same = product(first, rows) == whole[first * n..(first + rows) * n];
                assert!(same, "{bf16:?}: {rows} rows from {first} of {m}x{k}x{n} differ");
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
