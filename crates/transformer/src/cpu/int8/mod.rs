//! Products with frozen weights in whole 8-bit steps, for embedding alone.
//!
//! Each column of a matrix has a step of its own, by its largest value, and is rounded once. Each
//! left-hand row is rounded when it comes, to 0..=255 between its own extremes, with the place of
//! zero among them (Jacob et al., arXiv:1712.05877; steps by row as in LLM.int8(), arXiv:2208.07339).
//! What a product sums are whole numbers, so every instruction set gives the same bits, and a row
//! depends on nothing but itself.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod vnni;

use super::lanes::{Isa, LANES, Lanes, kernel};
use super::panels::PANEL;

/// Values along `k` that the instructions sum at once.
const QUAD: usize = 4;

/// Values along `k` whose products surely sum to less than 2^31, whatever they are.
pub(super) const INPUTS_MAX: usize = 1 << 16;

/// Bytes of left-hand rows and results that stay in the second-level cache while panels stream past.
const BLOCK_BYTES: usize = 512 << 10;

/// The instructions that multiply; a value is proof that the processor has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Int8Isa {
    /// What every processor has.
    Plain(Isa),
    /// Pairs of 16-bit products, as AVX2 has them.
    #[cfg(target_arch = "x86_64")]
    Avx2(Isa),
    /// Four 8-bit products at once: AVX512-VNNI.
    #[cfg(target_arch = "x86_64")]
    Vnni(Isa),
}

impl Int8Isa {
    /// The fastest of this processor.
    pub(super) fn detect() -> Self {
        Self::every().pop().expect("every processor has the plain one")
    }

    /// All of this processor, the fastest last.
    fn every() -> Vec<Self> {
        let isa = Isa::detect();
        let mut every = vec![Self::Plain(isa)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                every.push(Self::Avx2(isa));
            }
            if is_x86_feature_detected!("avx512vnni") && isa == Isa::Avx512 {
                every.push(Self::Vnni(isa));
            }
        }
        every
    }

    /// What the processor has for f32.
    pub(super) fn floats(self) -> Isa {
        match self {
            Self::Plain(isa) => isa,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(isa) | Self::Vnni(isa) => isa,
        }
    }
}

/// Sixteen columns of four values along `k`: a vector register.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Quads([i8; QUAD * LANES]);

/// A right-hand matrix `[k, n]` in panels of quads: `[panel][k / 4][column][4]`, padded with zeros.
#[derive(Clone, Debug)]
pub(super) struct Panels8 {
    quads: Vec<Quads>,
    /// For each column, padded to whole panels: what one step is worth.
    steps: Vec<f32>,
    /// For each column, padded: the sum of its whole numbers, which a row's zero shifts by.
    sums: Vec<i32>,
    k: usize,
    n: usize,
}

impl Panels8 {
    /// Lays out and rounds the matrix whose element `(p, j)` is `at(p, j)`.
    pub(super) fn new(k: usize, n: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        assert!(k <= INPUTS_MAX, "sums of {k} products may not fit");
        let (depth, columns) = (k.div_ceil(QUAD), n.next_multiple_of(PANEL));
        let mut quads = vec![Quads([0; QUAD * LANES]); columns / LANES * depth];
        let (mut steps, mut sums) = (vec![0.0; columns], vec![0; columns]);
        for j in 0..n {
            let largest = (0..k).map(|p| at(p, j).abs()).fold(0.0, f32::max);
            steps[j] = if largest > 0.0 { largest / 127.0 } else { 1.0 };
            let (panel, half, lane) = (j / PANEL, j % PANEL / LANES, j % LANES);
            for p in 0..k {
                let value = (at(p, j) / steps[j]).round_ties_even() as i8;
                let quad = (panel * depth + p / QUAD) * (PANEL / LANES) + half;
                quads[quad].0[lane * QUAD + p % QUAD] = value;
                sums[j] += i32::from(value);
            }
        }
        Self { quads, steps, sums, k, n }
    }

    /// Writes `y = x · matrix + bias`, where `x` is `[m, k]` and `y` `[m, n]`; `rounded` is scratch.
    pub(super) fn multiply(
        &self,
        isa: Int8Isa,
        rounded: &mut Rounded,
        (x, bias, y): (&[f32], &[f32], &mut [f32]),
    ) {
        assert_eq!(bias.len(), self.n, "a bias for every column");
        assert_eq!((x.len() % self.k, y.len() % self.n), (0, 0), "whole rows");
        assert_eq!(x.len() / self.k, y.len() / self.n, "as many rows out as in");
        let rows = (BLOCK_BYTES / (self.k + 4 * self.n)).max(ROWS).next_multiple_of(ROWS);
        for (x, y) in x.chunks(rows * self.k).zip(y.chunks_mut(rows * self.n)) {
            rounded.round(isa.floats(), x, self.k);
            let product = Product { panels: self, rounded, bias, y };
            match isa {
                Int8Isa::Plain(_) => plain(product),
                // SAFETY: the value proves the instructions, and the shapes were just checked.
                #[cfg(target_arch = "x86_64")]
                Int8Isa::Avx2(_) => unsafe { avx2::multiply(product) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Int8Isa::Vnni(_) => unsafe { vnni::multiply(product) },
            }
        }
    }

    /// Quads from one row of a panel's top to its bottom.
    fn depth(&self) -> usize {
        self.k.div_ceil(QUAD)
    }

    /// The quads of a panel, two for each row of it.
    fn panel(&self, at: usize) -> &[Quads] {
        let len = self.depth() * (PANEL / LANES);
        &self.quads[at * len..][..len]
    }
}

/// Rows of a tile: 12 × 2 sums, two vectors of the panel and one factor fill AVX-512's registers.
const ROWS: usize = 12;

/// Left-hand rows in whole steps: value `p` of row `i` is about `(bytes - zero) * step`.
#[derive(Debug, Default)]
pub(super) struct Rounded {
    /// `[m]` rows, each padded to whole quads.
    bytes: Vec<u8>,
    rows: Vec<Row>,
}

/// How a row was rounded.
#[derive(Clone, Copy, Debug)]
struct Row {
    step: f32,
    zero: i32,
}

/// Operands whose shapes were checked.
struct Product<'a> {
    panels: &'a Panels8,
    rounded: &'a Rounded,
    bias: &'a [f32],
    y: &'a mut [f32],
}

/// Adding this leaves a float's nearest whole number in its lowest bits: 1.5 * 2^23.
const NEAREST: f32 = 12_582_912.0;

impl Rounded {
    fn round(&mut self, isa: Isa, x: &[f32], k: usize) {
        let width = k.next_multiple_of(QUAD);
        self.bytes.resize(x.len() / k * width, 0);
        self.rows.resize(x.len() / k, Row { step: 1.0, zero: 0 });
        round_rows(isa, x, k, &mut self.bytes, &mut self.rows);
    }
}

kernel! {
    fn round_rows(x: &[f32], k: usize, bytes: &mut [u8], rows: &mut [Row]) {
        let width = k.next_multiple_of(QUAD);
        for ((x, bytes), row) in x.chunks_exact(k).zip(bytes.chunks_exact_mut(width)).zip(rows) {
            let (low, high) = extremes(x);
            let step = (high - low) / 255.0;
            let step = if step > 0.0 { step } else { 1.0 };
            let share = 1.0 / step;
            // Below 2^22, so that adding and subtracting rounds it to the nearest.
            let zero = (-low * share + NEAREST) - NEAREST;
            *row = Row { step, zero: zero as i32 };
            let (bytes, rest) = bytes.split_at_mut(k);
            for (byte, x) in bytes.iter_mut().zip(x) {
                // The largest may come out as 256; what is no number comes out as the lowest.
                let value = x.mul_add(share, NEAREST + zero);
                let value = if value > NEAREST { value } else { NEAREST };
                let value = if value < NEAREST + 255.0 { value } else { NEAREST + 255.0 };
                *byte = value.to_bits() as u8;
            }
            rest.fill(0);
        }
    }
}

/// The lowest and the highest value of a row and of zero.
#[inline(always)]
fn extremes(x: &[f32]) -> (f32, f32) {
    let (blocks, rest) = x.as_chunks::<LANES>();
    let rest = Lanes::load_part(rest, 0.0);
    let zero = Lanes::splat(0.0);
    let (mut high, mut low) = (rest.max(zero), (zero - rest).max(zero));
    for block in blocks {
        let block = Lanes::load(block);
        high = block.max(high);
        low = (zero - block).max(low);
    }
    (-low.largest(), high.largest())
}

/// The twin that other kernels are compared with.
fn plain(product: Product<'_>) {
    let Product { panels, rounded, bias, y } = product;
    let rows = rounded.bytes.chunks_exact(panels.depth() * QUAD).zip(&rounded.rows);
    for ((bytes, row), y) in rows.zip(y.chunks_exact_mut(panels.n)) {
        for (j, (y, bias)) in y.iter_mut().zip(bias).enumerate() {
            let (half, lane) = (j % PANEL / LANES, j % LANES);
            let quads = panels.panel(j / PANEL).iter().skip(half).step_by(PANEL / LANES);
            let products = bytes.chunks_exact(QUAD).zip(quads).map(|(x, quads)| {
                let w = &quads.0[lane * QUAD..][..QUAD];
                x.iter().zip(w).map(|(x, w)| i32::from(*x) * i32::from(*w)).sum::<i32>()
            });
            let sum = products.sum::<i32>() - row.zero * panels.sums[j];
            *y = (sum as f32).mul_add(row.step * panels.steps[j], *bias);
        }
    }
}

#[cfg(test)]
mod tests {
    //! Every kernel against the plain one, bit for bit, and that one against real numbers.

    use super::*;
    use crate::random::{mix, unit};

    fn random(len: usize, seed: u64) -> Vec<f32> {
        (0..len).map(|i| unit(mix(&[seed, i as u64])) - 0.3).collect()
    }

    fn panels(k: usize, n: usize, w: &[f32]) -> Panels8 {
        Panels8::new(k, n, |p, j| w[p * n + j])
    }

    fn product(isa: Int8Isa, panels: &Panels8, x: &[f32], bias: &[f32]) -> Vec<f32> {
        // What an earlier product leaves behind is longer than what this one needs.
        let row = Row { step: f32::NAN, zero: 77 };
        let mut rounded = Rounded { bytes: vec![255; x.len() + 999], rows: vec![row; 99] };
        let mut y = vec![f32::NAN; x.len() / panels.k * panels.n];
        panels.multiply(isa, &mut rounded, (x, bias, &mut y));
        y
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    fn check_product(m: usize, k: usize, n: usize) {
        let (x, w, bias) = (random(m * k, 1), random(k * n, 2), random(n, 3));
        let panels = panels(k, n, &w);
        let expected = product(Int8Isa::Plain(Isa::Baseline), &panels, &x, &bias);
        for isa in Int8Isa::every() {
            let found = product(isa, &panels, &x, &bias);
            assert_eq!(bits(&found), bits(&expected), "{isa:?}, {m}x{k}x{n}");
        }
        for (i, found) in expected.iter().enumerate() {
            let (x, column) = (&x[i / n * k..][..k], i % n);
            let exact: f64 =
                (0..k).map(|p| f64::from(x[p]) * f64::from(w[p * n + column])).sum::<f64>();
            let exact = exact + f64::from(bias[column]);
            // Each factor is off by half a step at most: 0.5 / 255 of 1, and 0.5 / 127 of 0.7.
            let worst = k as f64 * (0.0021 * 0.7 + 0.0029 * 0.7 + 1e-5) + 1e-6;
            assert!((f64::from(*found) - exact).abs() < worst, "{m}x{k}x{n}: {found}, not {exact}");
        }
    }

    #[test]
    fn every_kernel_gives_the_same_bits_in_any_shape_and_they_are_near() {
        eprintln!("tested: {:?}", Int8Isa::every());
        for (m, k, n) in [(1, 3, 2), (2, 40, 33), (13, 32, 40), (29, 384, 96), (5, 7, 100)] {
            check_product(m, k, n);
        }
        (1..=40).for_each(|m| check_product(m, 40, 33));
        [1, 2, 3, 4, 5, 63, 64, 65, 1536].into_iter().for_each(|k| check_product(7, k, 34));
        [1, 15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 65]
            .into_iter()
            .for_each(|n| check_product(5, 9, n));
        // More rows than stay in the cache.
        check_product(70, 16384, 2);
    }

    #[test]
    fn rows_do_not_depend_on_their_neighbours() {
        let (m, k, n) = (70, 44, 40);
        let (mut x, w, bias) = (random(m * k, 3), random(k * n, 4), random(n, 5));
        // Not even on ones that are no numbers, or very large.
        x[20 * k..21 * k].fill(f32::NAN);
        x[21 * k..22 * k].fill(f32::INFINITY);
        x[22 * k] = 1e30;
        let panels = panels(k, n, &w);
        for isa in Int8Isa::every() {
            let whole = bits(&product(isa, &panels, &x, &bias));
            for (first, rows) in [(0, 1), (69, 1), (5, 2), (13, 7), (1, 33), (0, 63), (37, 27)] {
                let part = product(isa, &panels, &x[first * k..(first + rows) * k], &bias);
                let same = bits(&part) == whole[first * n..(first + rows) * n];
                assert!(same, "{isa:?}: {rows} rows from {first} differ");
            }
        }
    }

    #[test]
    fn rows_are_rounded_to_the_nearest_step_between_their_extremes() {
        let check = |x: &[f32], step: f32, zero: i32, bytes: &[u8]| {
            let mut rounded = Rounded::default();
            rounded.round(Isa::detect(), x, x.len());
            let row = rounded.rows[0];
            assert!((row.step / step - 1.0).abs() < 1e-6, "{x:?}: {row:?}");
            assert_eq!((row.zero, &rounded.bytes[..x.len()]), (zero, bytes), "{x:?}");
        };
        check(&[0.0, 1.0, 2.0, 255.0], 1.0, 0, &[0, 1, 2, 255]);
        check(&[-51.0, 0.4, 0.6, 204.0, 10.4], 1.0, 51, &[0, 51, 52, 255, 61]);
        // All of one sign still has a zero, so that what is zero stays so.
        check(&[5.1, 2.56], 0.02, 0, &[255, 128]);
        check(&[-5.1, -2.54], 0.02, 255, &[0, 128]);
        check(&[0.0, 0.0], 1.0, 0, &[0, 0]);
        // Half a step from the lowest and the highest; neither leaves the bytes.
        check(&[-101.5, 153.5], 1.0, 102, &[0, 255]);
    }
}
