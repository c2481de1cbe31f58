//! GELU with the exact normal distribution (Hendrycks and Gimpel, arXiv:1606.08415), and its
//! derivative.

use super::lanes::{LANES, Lanes, kernel};

/// `(cdf, density)` of the standard normal distribution.
///
/// The upper tail is Abramowitz and Stegun 7.1.26 (absolute error below 1.5e-7), evaluated on the
/// side where it is small, so that the tail keeps its relative precision.
#[inline(always)]
fn normal(x: Lanes) -> (Lanes, Lanes) {
    let half_square = x * x * Lanes::splat(-0.5);
    let exp = half_square.exp();
    let t =
        x.abs().mul_add(Lanes::splat(0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2), one()).recip();
    let p = Lanes::splat(1.061_405_4);
    let p = p.mul_add(t, Lanes::splat(-1.453_152));
    let p = p.mul_add(t, Lanes::splat(1.421_413_7));
    let p = p.mul_add(t, Lanes::splat(-0.284_496_74));
    let p = p.mul_add(t, Lanes::splat(0.254_829_6));
    let tail = p * t * exp * Lanes::splat(0.5);
    let density = exp * Lanes::splat(0.398_942_3);
    (x.where_negative(tail, one() - tail), density)
}

#[inline(always)]
fn one() -> Lanes {
    Lanes::splat(1.0)
}

kernel! {
    /// `y = gelu(x)`.
    pub(super) fn gelu(x: &[f32], y: &mut [f32]) {
        let (blocks, rest) = x.as_chunks::<LANES>();
        let (to, to_rest) = y.as_chunks_mut::<LANES>();
        for (x, y) in blocks.iter().zip(to) {
            let x = Lanes::load(x);
            (x * normal(x).0).store(y);
        }
        let x = Lanes::load_part(rest, 0.0);
        (x * normal(x).0).store_part(to_rest);
    }
}

kernel! {
    /// `dy *= gelu'(x)`, in place.
    pub(super) fn gelu_backward(x: &[f32], dy: &mut [f32]) {
        let (blocks, rest) = x.as_chunks::<LANES>();
        let (to, to_rest) = dy.as_chunks_mut::<LANES>();
        for (x, dy) in blocks.iter().zip(to) {
            let x = Lanes::load(x);
            let (cdf, density) = normal(x);
            (Lanes::load(dy) * x.mul_add(density, cdf)).store(dy);
        }
        let x = Lanes::load_part(rest, 0.0);
        let (cdf, density) = normal(x);
        (Lanes::load_part(to_rest, 0.0) * x.mul_add(density, cdf)).store_part(to_rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::lanes::Isa;

    /// The normal distribution by Simpson's rule, as a second source.
    fn cdf(x: f64) -> f64 {
        let steps = 2000;
        let h = x / f64::from(steps);
        let f = |t: f64| (-t * t / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let inner: f64 =
            (1..steps).map(|i| f(f64::from(i) * h) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
        0.5 + (f(0.0) + inner + f(x)) * h / 3.0
    }

    #[test]
    fn value_and_derivative_agree_with_the_integral() {
        let xs: Vec<f32> = (0..203).map(|i| -5.0 + i as f32 * 0.05).collect();
        let mut y = vec![0.0; xs.len()];
        let mut dy = vec![2.0; xs.len()];
        gelu(Isa::detect(), &xs, &mut y);
        gelu_backward(Isa::detect(), &xs, &mut dy);
        for ((&x, &y), &dy) in xs.iter().zip(&y).zip(&dy) {
            let x = f64::from(x);
            let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
            assert!((f64::from(y) - x * cdf(x)).abs() < 1e-6, "gelu({x}) = {y}");
            assert!(
                (f64::from(dy) - 2.0 * (cdf(x) + x * density)).abs() < 2e-6,
                "gelu'({x}) = {dy}"
            );
        }
    }
}
