//! Whether a difference between two systems on the same queries is more than luck.
//!
//! Both methods resample the per-query differences and assume nothing of their distribution:
//! - the paired bootstrap draws queries with replacement and reads the percentiles of the mean;
//! - Fisher's randomisation test asks how often differences with random signs have a mean as far
//!   from zero as the one seen (Smucker, Allan and Carterette, CIKM 2007, compare it with others).

use std::error::Error;
use std::fmt;

use crate::random::{Draws, Stream};

/// Two systems on the same queries: means, their difference, and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Mean of the first system.
    pub before: f64,
    /// Mean of the second system.
    pub after: f64,
    /// `after - before`.
    pub difference: f64,
    /// Lower end of the confidence interval of the difference.
    pub low: f64,
    /// Upper end of the confidence interval of the difference.
    pub high: f64,
    /// How likely a difference this far from zero is if both systems are alike; two-sided.
    pub p_value: f64,
}

/// How hard to resample, and from which seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resampling {
    /// Number of resamples; at least 1. The ends of an interval are order statistics of these.
    pub samples: u32,
    /// Share of the resamples that the interval covers, in thousandths, below 1000.
    pub confidence_per_mille: u32,
    /// The same seed gives the same result, bit for bit.
    pub seed: u64,
}

/// Numbers that say nothing about a difference.
#[derive(Clone, Debug, PartialEq)]
pub enum UnusableSample {
    /// There is no query to compare.
    Empty,
    /// The two systems were scored on different numbers of queries.
    Unpaired {
        /// Queries of the first system.
        before: usize,
        /// Queries of the second system.
        after: usize,
    },
    /// A score is not a finite number.
    NotFinite {
        /// Which query, counted from 0.
        query: usize,
    },
    /// Every query differs by the same amount, so nothing is known about how much they vary.
    Constant,
}

impl Default for Resampling {
    /// 10 000 samples, 95 %, seed 0.
    fn default() -> Self {
        Self { samples: 10_000, confidence_per_mille: 950, seed: 0 }
    }
}

impl fmt::Display for UnusableSample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(formatter, "there is no query to compare"),
            Self::Unpaired { before, after } => write!(
                formatter,
                "{before} scores stand against {after}, so they are not of the same queries"
            ),
            Self::NotFinite { query } => {
                write!(formatter, "the score of query number {query} is not a finite number")
            }
            Self::Constant => write!(formatter, "all queries differ by the same amount"),
        }
    }
}

impl Error for UnusableSample {}

/// Compares two systems by their scores of the same queries in the same order.
///
/// # Errors
/// [`UnusableSample`] if the slices differ in length, are empty, or hold a value that is not finite.
pub fn compare(
    before: &[f64],
    after: &[f64],
    resampling: Resampling,
) -> Result<Comparison, UnusableSample> {
    if before.len() != after.len() {
        return Err(UnusableSample::Unpaired { before: before.len(), after: after.len() });
    }
    let differences: Vec<f64> =
        before.iter().zip(after).map(|(before, after)| after - before).collect();
    let (low, high) = bootstrap_interval(&differences, resampling)?;
    let p_value = permutation_p_value(&differences, resampling)?;
    let (before, after) = (mean(before), mean(after));
    Ok(Comparison { before, after, difference: after - before, low, high, p_value })
}

/// The percentile bootstrap interval `(low, high)` of the mean of paired differences.
///
/// # Errors
/// [`UnusableSample`] if there are no differences or one is not finite.
///
/// # Panics
/// If `samples` is 0 or `confidence_per_mille` is 1000 or more.
pub fn bootstrap_interval(
    differences: &[f64],
    resampling: Resampling,
) -> Result<(f64, f64), UnusableSample> {
    let means = resampled_means(differences, resampling)?;
    // As many samples are cut below as above, rounded down, so the interval never claims too much.
    let outside = u64::from(1000 - resampling.confidence_per_mille);
    let cut = (u64::from(resampling.samples) * outside / 2000) as usize;
    Ok((means[cut], means[means.len() - 1 - cut]))
}

/// The mean of each bootstrap sample, in ascending order.
pub(crate) fn resampled_means(
    differences: &[f64],
    resampling: Resampling,
) -> Result<Vec<f64>, UnusableSample> {
    usable(differences, resampling)?;
    let draws = Draws::new(resampling.seed, Stream::Bootstrap);
    let count = differences.len();
    let resample = |sample: u32| {
        let sample = u64::from(sample);
        let drawn = (0..count as u64).map(|place| differences[draws.below(count, sample, place)]);
        drawn.sum::<f64>() / count as f64
    };
    let mut means: Vec<f64> = (0..resampling.samples).map(resample).collect();
    means.sort_unstable_by(f64::total_cmp);
    Ok(means)
}

/// The two-sided p-value of Fisher's randomisation test on paired differences.
///
/// Every assignment of signs is tried when there are no more of them than `samples`, and the value
/// is exact; otherwise signs are drawn, and the one seen counts among them, so it is never 0.
///
/// # Errors
/// [`UnusableSample`] if there are no differences or one is not finite.
///
/// # Panics
/// If `samples` is 0 or `confidence_per_mille` is 1000 or more.
pub fn permutation_p_value(
    differences: &[f64],
    resampling: Resampling,
) -> Result<f64, UnusableSample> {
    usable(differences, resampling)?;
    // Signed sums of the same numbers differ by rounding; equal ones must count as equal.
    let size: f64 = differences.iter().map(|difference| difference.abs()).sum();
    let seen = signed_sum(differences, |_| 0).abs() - 1e-12 * size;
    let is_as_far = |sum: f64| sum.abs() >= seen;
    let assignments = u32::try_from(differences.len()).ok().and_then(|n| 1u64.checked_shl(n));
    if let Some(assignments) = assignments.filter(|all| *all <= u64::from(resampling.samples)) {
        let sums = (0..assignments).map(|signs| signed_sum(differences, |_| signs));
        return Ok(sums.filter(|sum| is_as_far(*sum)).count() as f64 / assignments as f64);
    }
    let draws = Draws::new(resampling.seed, Stream::Permutation);
    let sums = (0..u64::from(resampling.samples))
        .map(|sample| signed_sum(differences, |word| draws.bits(sample, word)));
    let as_far = sums.filter(|sum| is_as_far(*sum)).count();
    Ok((as_far as f64 + 1.0) / (f64::from(resampling.samples) + 1.0))
}

/// The sum with the signs of `signs(word)`: bit `i` of word `w` turns difference `64 w + i`.
fn signed_sum(differences: &[f64], signs: impl Fn(u64) -> u64) -> f64 {
    let mut sum = 0.0;
    for (block, word) in differences.chunks(64).zip(0..) {
        let turned = signs(word);
        for (bit, difference) in block.iter().enumerate() {
            sum += if turned >> bit & 1 == 1 { -difference } else { *difference };
        }
    }
    sum
}

fn usable(differences: &[f64], resampling: Resampling) -> Result<(), UnusableSample> {
    assert!(resampling.samples > 0, "resampling draws one sample or more");
    assert!(resampling.confidence_per_mille < 1000, "no interval of a sample is certain");
    if differences.is_empty() {
        return Err(UnusableSample::Empty);
    }
    match differences.iter().position(|difference| !difference.is_finite()) {
        Some(query) => Err(UnusableSample::NotFinite { query }),
        None => Ok(()),
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: Resampling = Resampling { samples: 2000, confidence_per_mille: 950, seed: 3 };

    fn check_p(differences: &[f64], expected: f64) {
        let found = permutation_p_value(differences, FEW).unwrap();
        assert!((found - expected).abs() < 1e-12, "{differences:?}: {found}, not {expected}");
    }

    #[test]
    fn small_samples_are_tested_exactly() {
        // All four of one sign: only it and its mirror image are as far, 2 of 16.
        check_p(&[0.1, 0.2, 0.3, 0.4], 2.0 / 16.0);
        // Signs of 3 that reach |sum| >= 1 + 2 - 3 = 0: all of them.
        check_p(&[1.0, 2.0, -3.0], 1.0);
        // |sum| >= 1 + 2 + 3 - 4 = 2: all but the sums of size 0, which are 1 - 2 - 3 + 4 and its
        // mirror image: 14 of 16.
        check_p(&[1.0, 2.0, 3.0, -4.0], 14.0 / 16.0);
        check_p(&[0.0, 0.0, 0.0], 1.0);
        check_p(&[0.7], 1.0);
        // Equal sums in another order of rounding still count as equal.
        check_p(&[0.1, 0.2, 0.3], 2.0 / 8.0);
    }

    #[test]
    fn drawn_signs_agree_with_all_signs() {
        // 15 differences: 32 768 assignments are tried at once, or 20 000 of them drawn.
        let differences: Vec<f64> = (0..15).map(|i| f64::from(i % 5) * 0.1 - 0.1).collect();
        let all = Resampling { samples: 1 << 15, ..FEW };
        let drawn = Resampling { samples: 20_000, ..FEW };
        let exact = permutation_p_value(&differences, all).unwrap();
        let sampled = permutation_p_value(&differences, drawn).unwrap();
        // The standard error of a share among 20 000 is at most 0.0036.
        assert!((exact - sampled).abs() < 0.015, "{exact} {sampled}");
        assert!(exact > 0.01 && exact < 0.5, "the case says nothing: {exact}");
    }

    #[test]
    fn the_interval_agrees_with_the_normal_one() {
        // 400 even steps in [-0.5, 0.5] around 0.02: the mean's standard error is about 0.01445.
        let differences: Vec<f64> = (0..400).map(|i| f64::from(i) / 399.0 - 0.5 + 0.02).collect();
        let (low, high) = bootstrap_interval(&differences, Resampling::default()).unwrap();
        let half = 1.96 * 0.01445;
        assert!((low - (0.02 - half)).abs() < 0.002, "{low}");
        assert!((high - (0.02 + half)).abs() < 0.002, "{high}");
    }

    #[test]
    fn a_constant_difference_is_certain() {
        let comparison = compare(&[0.25; 20], &[0.5; 20], FEW).unwrap();
        assert_eq!((comparison.before, comparison.after), (0.25, 0.5));
        assert_eq!((comparison.difference, comparison.low, comparison.high), (0.25, 0.25, 0.25));
        assert!(comparison.p_value <= 1.0 / 2001.0 + 1e-12, "{}", comparison.p_value);
    }

    #[test]
    fn unusable_numbers_are_refused() {
        assert_eq!(compare(&[], &[], FEW), Err(UnusableSample::Empty));
        let unpaired = Err(UnusableSample::Unpaired { before: 1, after: 2 });
        assert_eq!(compare(&[0.0], &[0.0, 0.1], FEW), unpaired);
        let not_finite = Err(UnusableSample::NotFinite { query: 1 });
        assert_eq!(compare(&[0.0, f64::NAN], &[0.0, 0.1], FEW), not_finite);
    }
}
