//! Times between arrivals, and of runs.

use crate::keyed::keyed;

/// Means that a time is longer than with a chance of e^-64: it is cut there.
const MEANS_MAX: u64 = 64;

/// A time with an exponential distribution of this mean, fixed by a key, in the mean's unit.
///
/// By comparisons of uniform numbers alone (von Neumann, "Various techniques used in connection with
/// random digits", 1951): a logarithm need not have the same last bit on every machine.
pub(super) fn exponential(mean: u64, key: &[u64]) -> u64 {
    let key = keyed(key);
    let mut draws = 0;
    let mut uniform = || {
        draws += 1;
        keyed(&[key, draws])
    };
    for means in 0..MEANS_MAX {
        let first = uniform();
        let (mut last, mut drawn) = (first, 1u32);
        loop {
            let next = uniform();
            drawn += 1;
            if next > last {
                break;
            }
            last = next;
        }
        // A falling run from `first` = x is of even length, with what broke it, by chance e^-x.
        if drawn.is_multiple_of(2) {
            let part = (u128::from(mean) * u128::from(first)) >> 64;
            return mean.saturating_mul(means).saturating_add(part as u64);
        }
    }
    mean.saturating_mul(MEANS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exponential() {
        const COUNT: u64 = 100_000;
        let times: Vec<u64> = (0..COUNT).map(|draw| exponential(1000, &[7, draw])).collect();
        // The bounds are four standard deviations of so many draws.
        let mean = times.iter().sum::<u64>() as f64 / COUNT as f64;
        assert!((mean - 999.5).abs() < 13.0, "{mean}");
        for limit in [100u64, 500, 1000, 2000, 4000] {
            let longer = times.iter().filter(|&&time| time >= limit).count() as f64;
            let chance = (-(limit as f64) / 1000.0).exp();
            let deviation = (COUNT as f64 * chance * (1.0 - chance)).sqrt();
            let off = (longer - COUNT as f64 * chance).abs();
            assert!(off < 4.0 * deviation, "{limit}: {longer}");
        }
    }

    #[test]
    fn a_key_always_gives_the_same_time() {
        let times = [0, 1, 2].map(|draw| exponential(1000, &[42, draw]));
        assert_eq!(times, [0, 1, 2].map(|draw| exponential(1000, &[42, draw])));
        assert_ne!(times, [0, 1, 2].map(|draw| exponential(1000, &[43, draw])));
        assert_eq!(exponential(0, &[1]), 0);
        assert!(exponential(u64::MAX, &[1]) > 0);
    }
}
