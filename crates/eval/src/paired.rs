//! The paired t-test, the size of an effect, and bootstrap intervals that mind skewness.

use crate::distribution::{normal_below, normal_quantile, student_beyond, student_distance};
use crate::significance::{Resampling, UnusableSample, resampled_means};

/// What Student's test says about paired differences.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedTest {
    /// The mean in units of its standard error.
    pub t: f64,
    /// Degrees of freedom: differences less one.
    pub degrees: usize,
    /// How likely a `t` this far from zero is if the mean is zero; two-sided.
    pub p_value: f64,
    /// Lower end of the interval of the mean.
    pub low: f64,
    /// Upper end of the interval of the mean.
    pub high: f64,
    /// The mean over the standard deviation of the differences (Cohen's d of pairs).
    pub effect: f64,
}

/// Student's paired t-test of differences, with an interval that covers so many thousandths.
///
/// Per-query differences are seldom normal; over 50 queries or more that matters little for the
/// mean, and below [`permutation_p_value`](crate::permutation_p_value) assumes less.
///
/// # Errors
/// [`UnusableSample`] if there are no differences, one is not finite, or all are the same.
///
/// # Panics
/// If `confidence_per_mille` is 1000 or more.
pub fn paired_t_test(
    differences: &[f64],
    confidence_per_mille: u32,
) -> Result<PairedTest, UnusableSample> {
    assert!(confidence_per_mille < 1000, "no interval is certain");
    let (mean, deviation) = spread(differences)?;
    let degrees = differences.len() - 1;
    let error = deviation / (differences.len() as f64).sqrt();
    let outside = f64::from(1000 - confidence_per_mille) / 1000.0;
    let reach = student_distance(outside, degrees as f64) * error;
    let t = mean / error;
    let p_value = student_beyond(t, degrees as f64);
    let (low, high) = (mean - reach, mean + reach);
    Ok(PairedTest { t, degrees, p_value, low, high, effect: mean / deviation })
}

/// The bootstrap interval `(low, high)` of a sample's mean, corrected for bias and acceleration
/// (B. Efron, "Better Bootstrap Confidence Intervals", JASA 82, 1987).
///
/// On skewed samples it covers nearer to what it claims than
/// [`bootstrap_interval`](crate::bootstrap_interval), which cuts as much below as above.
///
/// # Errors
/// [`UnusableSample`] if the sample is empty, a value is not finite, or all are the same.
///
/// # Panics
/// If `samples` is 0 or `confidence_per_mille` is 1000 or more.
pub fn corrected_interval(
    sample: &[f64],
    resampling: Resampling,
) -> Result<(f64, f64), UnusableSample> {
    let means = resampled_means(sample, resampling)?;
    let (mean, _) = spread(sample)?;
    let count = means.len() as f64;
    let below = means.partition_point(|value| *value < mean) as f64;
    let level = means.partition_point(|value| *value <= mean) as f64 - below;
    // Half a sample from either end, so that the bias stays finite.
    let bias = ((below + level / 2.0) / count).clamp(0.5 / count, 1.0 - 0.5 / count);
    let bias = normal_quantile(bias);
    let powers = |power: i32| -> f64 { sample.iter().map(|v| (v - mean).powi(power)).sum() };
    let acceleration = powers(3) / (6.0 * powers(2).powf(1.5));
    let corrected = |share: f64| {
        let moved = bias + normal_quantile(share);
        normal_below(bias + moved / (1.0 - acceleration * moved))
    };
    let outside = f64::from(1000 - resampling.confidence_per_mille) / 2000.0;
    let cut = |share: f64| ((share * count) as usize).min(means.len() - 1);
    let low = cut(corrected(outside));
    let high = means.len() - 1 - cut(1.0 - corrected(1.0 - outside));
    Ok((means[low.min(high)], means[high.max(low)]))
}

/// Mean and standard deviation (over n - 1) of a sample that varies.
fn spread(sample: &[f64]) -> Result<(f64, f64), UnusableSample> {
    if sample.is_empty() {
        return Err(UnusableSample::Empty);
    }
    if let Some(query) = sample.iter().position(|value| !value.is_finite()) {
        return Err(UnusableSample::NotFinite { query });
    }
    if sample.iter().all(|value| *value == sample[0]) {
        return Err(UnusableSample::Constant);
    }
    let count = sample.len() as f64;
    let mean = sample.iter().sum::<f64>() / count;
    let squares: f64 = sample.iter().map(|value| (value - mean).powi(2)).sum();
    Ok((mean, (squares / (count - 1.0)).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_samples_are_refused() {
        let check = |sample: &[f64], expected: UnusableSample| {
            assert_eq!(paired_t_test(sample, 950), Err(expected.clone()), "{sample:?}");
            assert_eq!(corrected_interval(sample, Resampling::default()), Err(expected));
        };
        check(&[], UnusableSample::Empty);
        check(&[0.5], UnusableSample::Constant);
        check(&[0.0; 4], UnusableSample::Constant);
        check(&[0.0, f64::NAN], UnusableSample::NotFinite { query: 1 });
    }

    #[test]
    fn an_interval_follows_the_longer_tail() {
        let skewed: Vec<f64> = (0..40).map(|i| if i % 8 == 0 { 1.0 } else { 0.1 }).collect();
        let mean = skewed.iter().sum::<f64>() / 40.0;
        let (low, high) = corrected_interval(&skewed, Resampling::default()).unwrap();
        assert!(high - mean > 1.2 * (mean - low), "{low} {mean} {high}");
        let turned: Vec<f64> = skewed.iter().map(|value| -value).collect();
        let (turned_low, turned_high) = corrected_interval(&turned, Resampling::default()).unwrap();
        assert!((turned_low + high).abs() < 0.02 && (turned_high + low).abs() < 0.02);
    }
}
