//! The normal distribution and Student's, as far as intervals and tests need them.

use std::f64::consts::PI;

/// Steps of a search by halves after which a double cannot be halved further.
const HALVINGS: usize = 120;
/// Terms after which a series or a continued fraction has long converged.
const TERMS_MAX: usize = 10_000;
/// Beyond this many standard deviations the tail comes from a continued fraction.
const TAIL_FROM: f64 = 5.0;

/// The share of a standard normal distribution below a value.
pub(crate) fn normal_below(value: f64) -> f64 {
    let density = (-value * value / 2.0).exp() / (2.0 * PI).sqrt();
    if value.abs() > TAIL_FROM {
        // Mills' ratio, 1/(x + 1/(x + 2/(x + 3/…))), from its end to its beginning.
        let size = value.abs();
        let fraction = (1..200).rev().fold(size, |below, term| size + f64::from(term) / below);
        let tail = density / fraction;
        return if value < 0.0 { tail } else { 1.0 - tail };
    }
    let (mut term, mut sum) = (value, value);
    for odd in (3..).step_by(2).take(TERMS_MAX) {
        term *= value * value / f64::from(odd);
        if sum + term == sum {
            break;
        }
        sum += term;
    }
    0.5 + density * sum
}

/// The value below which a share of a standard normal distribution lies; infinite at 0 and 1.
pub(crate) fn normal_quantile(share: f64) -> f64 {
    if share > 0.5 {
        return -normal_quantile(1.0 - share);
    }
    if share <= 0.0 {
        return f64::NEG_INFINITY;
    }
    -halved(40.0, |size| normal_below(-size) > share)
}

/// The share of Student's distribution that is as far from zero as `t`, on both sides.
pub(crate) fn student_beyond(t: f64, degrees: f64) -> f64 {
    if t.is_infinite() {
        return 0.0;
    }
    incomplete_beta(degrees / (degrees + t * t), degrees / 2.0, 0.5)
}

/// The distance from zero beyond which a share of Student's distribution lies, on both sides.
pub(crate) fn student_distance(share: f64, degrees: f64) -> f64 {
    let mut bound = 1.0;
    while student_beyond(bound, degrees) > share && bound < 1e300 {
        bound *= 2.0;
    }
    halved(bound, |distance| student_beyond(distance, degrees) > share)
}

/// The place in `[0, bound]` where a claim that holds at the beginning ends.
fn halved(bound: f64, holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, bound);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if holds(middle) { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// The regularised incomplete beta function, by its continued fraction.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    // The fraction converges fast on one side of the mean only.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(1.0 - x, b, a);
    }
    let logarithm = a * x.ln() + b * (-x).ln_1p() + log_gamma(a + b) - log_gamma(a) - log_gamma(b);
    // Lentz's method, with the usual small number in place of a zero.
    let not_zero = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let mut numerator = 1.0;
    let mut denominator = 1.0 / not_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = denominator;
    for step in 1..=TERMS_MAX {
        let m = step as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for coefficient in [even, odd] {
            denominator = 1.0 / not_zero(1.0 + coefficient * denominator);
            numerator = not_zero(1.0 + coefficient / numerator);
            change = numerator * denominator;
            fraction *= change;
        }
        if (change - 1.0).abs() < 1e-16 {
            break;
        }
    }
    logarithm.exp() * fraction / a
}

/// The logarithm of the gamma function of a positive number (C. Lanczos, 1964, with seven terms).
fn log_gamma(value: f64) -> f64 {
    const SHIFT: f64 = 7.0;
    const TERMS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let value = value - 1.0;
    let terms = TERMS.iter().zip(0u32..).skip(1);
    let sum: f64 = terms.map(|(term, place)| term / (value + f64::from(place))).sum();
    let base = value + SHIFT + 0.5;
    (2.0 * PI).sqrt().ln() + (value + 0.5) * base.ln() - base + (TERMS[0] + sum).ln()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    fn golden() -> Value {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/peer_metrics.json");
        let text = fs::read_to_string(path).expect("golden/peer_metrics.json is committed");
        serde_json::from_str(&text).unwrap()
    }

    /// scipy's quantiles, and back again.
    #[test]
    fn quantiles_are_those_of_scipy() {
        let golden = golden();
        let number = |row: &Value, place: usize| row[place].as_f64().unwrap();
        for row in golden["normal"].as_array().unwrap() {
            let (share, expected) = (number(row, 0), number(row, 1));
            let found = normal_quantile(share);
            assert!((found - expected).abs() < 1e-7 * expected.abs().max(1e-3), "{share}: {found}");
            assert!((normal_below(expected) - share).abs() < 1e-9 * share, "{share}");
        }
        for row in golden["student"].as_array().unwrap() {
            let (share, degrees, expected) = (number(row, 0), number(row, 1), number(row, 2));
            let both = 2.0 * (1.0 - share);
            let found = student_distance(both, degrees);
            assert!((found / expected - 1.0).abs() < 1e-9, "{share} {degrees}: {found}");
            assert!((student_beyond(expected, degrees) - both).abs() < 1e-9, "{share} {degrees}");
        }
        assert_eq!(student_beyond(0.0, 5.0), 1.0);
        assert_eq!(student_beyond(f64::INFINITY, 5.0), 0.0);
        assert_eq!(normal_quantile(0.0), f64::NEG_INFINITY);
    }
}
