//! One number a query or an answer: its mean, and what another system gains.

use cotenant_eval::{
    Resampling, bootstrap_interval, corrected_interval, paired_t_test, permutation_p_value,
};
use serde::Serialize;

/// A mean and how sure it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mean {
    /// Which metric.
    pub metric: String,
    /// Over all queries or answers, in `[0, 1]`.
    pub mean: f64,
    /// Lower end of the 95 % interval, by the corrected bootstrap.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What a second system gains over the first on the same queries or answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gain {
    /// Which metric.
    pub metric: String,
    /// Mean of the second less that of the first.
    pub difference: f64,
    /// Lower end of the 95 % interval, by the corrected bootstrap of the pairs.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// How likely so large a difference is by chance, by Fisher's randomisation.
    pub randomisation_p: f64,
    /// The same by Student's paired test; nothing if all differences are the same.
    pub student_p: Option<f64>,
    /// The mean difference over its standard deviation; nothing if all differences are the same.
    pub effect: Option<f64>,
}

impl Mean {
    /// Of a column that is not empty, of finite numbers.
    pub(super) fn of(metric: impl Into<String>, column: &[f64]) -> Self {
        let (mean, low, high) = interval(column);
        Self { metric: metric.into(), mean, low, high }
    }
}

impl Gain {
    /// Of two columns of the same length that are not empty, of finite numbers.
    pub(super) fn of(metric: impl Into<String>, [before, after]: [&[f64]; 2]) -> Self {
        let differences: Vec<f64> =
            before.iter().zip(after).map(|(before, after)| after - before).collect();
        let (difference, low, high) = interval(&differences);
        let student = paired_t_test(&differences, Resampling::default().confidence_per_mille).ok();
        Self {
            metric: metric.into(),
            difference,
            low,
            high,
            randomisation_p: permutation_p_value(&differences, Resampling::default())
                .expect("the differences of finite numbers of one query or more"),
            student_p: student.map(|test| test.p_value),
            effect: student.map(|test| test.effect),
        }
    }
}

/// Names and values for a record of measurements.
pub(super) fn measured(means: &[Mean], gains: Option<&[Gain]>, suffix: &str) -> Vec<(String, f64)> {
    let means = means.iter().map(|mean| (format!("{}{suffix}", mean.metric), mean.mean));
    let gains = gains.into_iter().flatten().flat_map(|gain| {
        let name = format!("{}{suffix}_gain", gain.metric);
        [(name.clone(), gain.difference), (format!("{name}_p"), gain.randomisation_p)]
    });
    means.chain(gains).collect()
}

/// The mean and its interval; where all numbers are the same, there is nothing to correct.
fn interval(column: &[f64]) -> (f64, f64, f64) {
    let mean = column.iter().sum::<f64>() / column.len() as f64;
    let (low, high) = corrected_interval(column, Resampling::default())
        .or_else(|_| bootstrap_interval(column, Resampling::default()))
        .expect("finite numbers of one query or more");
    (mean, low, high)
}
