//! Sixteen floats at once, and one body of code compiled for every instruction set.
//!
//! Arithmetic on [`Lanes`] is written once, lane by lane, and always inlined. [`kernel!`] compiles a
//! function over it several times, so the optimizer turns the same body into AVX-512, AVX2 or
//! baseline instructions. The order of operations is the same in each, and so are the bits.

use std::ops::{Add, Mul, Sub};

/// Number of lanes.
pub(super) const LANES: usize = 16;

/// The instruction sets that kernels are compiled for; a value is proof that the processor has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Isa {
    /// What every processor of the target has.
    Baseline,
    /// x86-64 with AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// x86-64 with AVX-512 F, VL, BW and DQ.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// The best set of this processor.
    pub(super) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
            {
                return Isa::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Isa::Avx2;
            }
        }
        Isa::Baseline
    }
}

/// Defines `fn name(isa: Isa, ...)` whose body is compiled once for each [`Isa`].
macro_rules! kernel {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        $vis fn $name(isa: $crate::cpu::lanes::Isa, $($arg: $ty),*) {
            #[inline(always)]
            fn body($($arg: $ty),*) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $ty),*) { body($($arg),*) }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
            fn avx512($($arg: $ty),*) { body($($arg),*) }

            match isa {
                $crate::cpu::lanes::Isa::Baseline => body($($arg),*),
                // SAFETY: `Isa::detect` is the only source of this value and saw the features.
                #[cfg(target_arch = "x86_64")]
                $crate::cpu::lanes::Isa::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::cpu::lanes::Isa::Avx512 => unsafe { avx512($($arg),*) },
            }
        }
    };
}
pub(super) use kernel;

/// The same number, of which the compiler no longer knows where it came from.
///
/// A short loop over vectors, whose body is lane by lane until the optimizer joins it, otherwise
/// looks to the loop vectoriser like one over single values far apart: it gathers and scatters them,
/// which took ten times as long in softmax's gradient.
#[inline(always)]
pub(super) fn opaque(number: usize) -> usize {
    let mut number = number;
    // SAFETY: no instruction is added; the register is only claimed to be changed.
    unsafe {
        std::arch::asm!("/* {0} */", inlateout(reg) number, options(pure, nomem, nostack, preserves_flags));
    }
    number
}

/// `Lanes` whose lane `i` is an expression of `i`. A loop and not `array::from_fn`, whose closure the
/// compiler may leave outside of the function and so without its instruction set.
macro_rules! lanes {
    (|$i:ident| $value:expr) => {{
        let mut lanes = [0.0; LANES];
        for $i in 0..LANES {
            lanes[$i] = $value;
        }
        Lanes(lanes)
    }};
}

/// Sixteen floats.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Lanes([f32; LANES]);

impl Lanes {
    #[inline(always)]
    pub(super) fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    /// The first sixteen values of a slice.
    #[inline(always)]
    pub(super) fn load(from: &[f32]) -> Self {
        Self(*from.first_chunk().expect("sixteen values"))
    }

    /// All of a slice of fewer than sixteen values, then `rest`.
    #[inline(always)]
    pub(super) fn load_part(from: &[f32], rest: f32) -> Self {
        lanes!(|i| from.get(i).copied().unwrap_or(rest))
    }

    #[inline(always)]
    pub(super) fn store(self, to: &mut [f32]) {
        *to.first_chunk_mut().expect("sixteen values") = self.0;
    }

    /// The first values, as many as the slice holds.
    #[inline(always)]
    pub(super) fn store_part(self, to: &mut [f32]) {
        for (to, value) in to.iter_mut().zip(self.0) {
            *to = value;
        }
    }

    /// `self * factor + term`, rounded once.
    #[inline(always)]
    pub(super) fn mul_add(self, factor: Self, term: Self) -> Self {
        lanes!(|i| self.0[i].mul_add(factor.0[i], term.0[i]))
    }

    #[inline(always)]
    pub(super) fn max(self, other: Self) -> Self {
        lanes!(|i| if self.0[i] > other.0[i] { self.0[i] } else { other.0[i] })
    }

    #[inline(always)]
    pub(super) fn abs(self) -> Self {
        lanes!(|i| self.0[i].abs())
    }

    #[inline(always)]
    pub(super) fn recip(self) -> Self {
        lanes!(|i| 1.0 / self.0[i])
    }

    /// `negative` where `self` is below zero, else `other`.
    #[inline(always)]
    pub(super) fn where_negative(self, negative: Self, other: Self) -> Self {
        lanes!(|i| if self.0[i] < 0.0 { negative.0[i] } else { other.0[i] })
    }

    /// The first `len` lanes, and zeros.
    #[inline(always)]
    pub(super) fn keep(self, len: usize) -> Self {
        self.keep_or(len, 0.0)
    }

    /// The first `len` lanes, then `rest`.
    #[inline(always)]
    pub(super) fn keep_or(self, len: usize, rest: f32) -> Self {
        // Lanes are compared as wide as they are.
        let len = len.min(LANES) as u32;
        lanes!(|i| if (i as u32) < len { self.0[i] } else { rest })
    }

    /// The sum, in a fixed tree.
    #[inline(always)]
    pub(super) fn sum(self) -> f32 {
        let mut v = self.0;
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                v[i] += v[i + width];
            }
            width /= 2;
        }
        v[0]
    }

    /// The largest lane.
    #[inline(always)]
    pub(super) fn largest(self) -> f32 {
        let mut v = self.0;
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                v[i] = if v[i] > v[i + width] { v[i] } else { v[i + width] };
            }
            width /= 2;
        }
        v[0]
    }

    /// `e^x` to about one unit in the last place; 0 below -87.3, finite above 88.
    ///
    /// Range reduction by ln 2 in two parts and the degree-5 minimax polynomial of Cephes `expf`.
    #[inline(always)]
    pub(super) fn exp(self) -> Self {
        const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it leaves the nearest integer
        const LN2_HIGH: f32 = 0.693_359_4;
        const LN2_LOW: f32 = -2.121_944_4e-4;
        lanes!(|i| {
            let x = self.0[i];
            let x = if x < 88.0 { x } else { 88.0 };
            let clamped = if x > -87.3 { x } else { -87.3 };
            let shifted = clamped.mul_add(std::f32::consts::LOG2_E, ROUND);
            let n = shifted - ROUND;
            let r = n.mul_add(-LN2_HIGH, clamped);
            let r = n.mul_add(-LN2_LOW, r);
            let p = 1.987_569_1e-4_f32;
            let p = p.mul_add(r, 1.398_199_9e-3);
            let p = p.mul_add(r, 8.333_452e-3);
            let p = p.mul_add(r, 4.166_579_6e-2);
            let p = p.mul_add(r, 0.166_666_66);
            let p = p.mul_add(r, 0.5);
            let p = p.mul_add(r * r, r) + 1.0;
            // The low bits of `shifted` hold n; moved to the exponent they add n to it.
            let scaled = f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23));
            if x > -87.3 { scaled } else { 0.0 }
        })
    }
}

impl Add for Lanes {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        lanes!(|i| self.0[i] + other.0[i])
    }
}

impl Sub for Lanes {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        lanes!(|i| self.0[i] - other.0[i])
    }
}

impl Mul for Lanes {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        lanes!(|i| self.0[i] * other.0[i])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    kernel! {
        fn exp_all(from: &[f32], to: &mut [f32]) {
            for (from, to) in from.chunks_exact(LANES).zip(to.chunks_exact_mut(LANES)) {
                Lanes::load(from).exp().store(to);
            }
        }
    }

    #[test]
    fn exp_agrees_with_f64_and_every_instruction_set_with_the_others() {
        let xs: Vec<f32> = (0..1600).map(|i| -95.0 + i as f32 * 0.114).collect();
        let mut best = vec![0.0; xs.len()];
        let mut baseline = vec![0.0; xs.len()];
        exp_all(Isa::detect(), &xs, &mut best);
        exp_all(Isa::Baseline, &xs, &mut baseline);
        assert_eq!(best, baseline);
        for (&x, &y) in xs.iter().zip(&best).filter(|(x, _)| **x > -87.0 && **x < 88.0) {
            let exact = f64::from(x).exp();
            assert!(((f64::from(y) - exact) / exact).abs() < 2e-7, "exp({x}) = {y}, not {exact}");
        }
        assert_eq!(best[0], 0.0);
    }
}
