//! All queries of one system at one depth, and one system against another.

use std::error::Error;
use std::fmt;

use crate::judged::Judged;
use crate::metrics::{Metric, Scores};
use crate::significance::{Comparison, Resampling, UnusableSample, compare};

/// The scores of every query that can be scored, in the order in which the queries came.
///
/// A query without a relevant document is never a [`Judged`], so it is not here: the means divide
/// by the number of scored queries. A query whose ranking is empty is here and scores 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    depth: usize,
    queries: Vec<Scores>,
}

/// Why two evaluations cannot be compared.
#[derive(Clone, Debug, PartialEq)]
pub enum UnpairedEvaluations {
    /// They look at different depths.
    Depth {
        /// Depth of the first.
        before: usize,
        /// Depth of the second.
        after: usize,
    },
    /// Their queries do not pair up, or there are none.
    Sample(UnusableSample),
}

impl Evaluation {
    /// Scores queries at a depth.
    ///
    /// # Panics
    /// If `depth` is 0.
    pub fn new<'a>(depth: usize, queries: impl IntoIterator<Item = &'a Judged>) -> Self {
        let queries = queries.into_iter().map(|judged| Scores::at(depth, judged)).collect();
        Self { depth, queries }
    }

    /// How many of the best documents the scores look at.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The scores of each query.
    pub fn queries(&self) -> &[Scores] {
        &self.queries
    }

    /// One metric of each query.
    pub fn column(&self, metric: Metric) -> Vec<f64> {
        self.queries.iter().map(|scores| scores.get(metric)).collect()
    }

    /// The mean of one metric over the scored queries; `None` if there is no query.
    pub fn mean_of(&self, metric: Metric) -> Option<f64> {
        let sum: f64 = self.queries.iter().map(|scores| scores.get(metric)).sum();
        (!self.queries.is_empty()).then(|| sum / self.queries.len() as f64)
    }

    /// The mean of every metric over the scored queries; `None` if there is no query.
    pub fn mean(&self) -> Option<Scores> {
        Some(Scores {
            ndcg: self.mean_of(Metric::Ndcg)?,
            recall: self.mean_of(Metric::Recall)?,
            precision: self.mean_of(Metric::Precision)?,
            mrr: self.mean_of(Metric::Mrr)?,
            map: self.mean_of(Metric::Map)?,
            hit_rate: self.mean_of(Metric::HitRate)?,
        })
    }

    /// Compares this system with a later one on the same queries in the same order.
    ///
    /// # Errors
    /// [`UnpairedEvaluations`] if depths or numbers of queries differ, or there is no query.
    pub fn compare(
        &self,
        after: &Self,
        metric: Metric,
        resampling: Resampling,
    ) -> Result<Comparison, UnpairedEvaluations> {
        if self.depth != after.depth {
            return Err(UnpairedEvaluations::Depth { before: self.depth, after: after.depth });
        }
        compare(&self.column(metric), &after.column(metric), resampling)
            .map_err(UnpairedEvaluations::Sample)
    }
}

impl fmt::Display for UnpairedEvaluations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Depth { before, after } => {
                write!(formatter, "scores at depth {before} do not compare with depth {after}")
            }
            Self::Sample(_) => write!(formatter, "the scores of the two systems do not pair up"),
        }
    }
}

impl Error for UnpairedEvaluations {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Depth { .. } => None,
            Self::Sample(cause) => Some(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(grades: &[u32], positives: &[u32]) -> Judged {
        Judged::from_grades(grades.to_vec(), positives.to_vec()).unwrap().unwrap()
    }

    #[test]
    fn means_divide_by_the_scored_queries() {
        let queries = [judged(&[1, 0], &[1]), judged(&[0, 1], &[1]), judged(&[], &[1])];
        let mean = Evaluation::new(2, &queries).mean().unwrap();
        assert!((mean.mrr - 0.5).abs() < 1e-12, "{mean:?}");
        assert!((mean.recall - 2.0 / 3.0).abs() < 1e-12, "{mean:?}");
        assert_eq!(Evaluation::new(2, &[]).mean(), None);
    }

    #[test]
    fn systems_compare_query_by_query() {
        let before = Evaluation::new(2, &[judged(&[0, 1], &[1]), judged(&[1], &[1])]);
        let after = Evaluation::new(2, &[judged(&[1, 0], &[1]), judged(&[1], &[1])]);
        let comparison = before.compare(&after, Metric::Mrr, Resampling::default()).unwrap();
        assert_eq!((comparison.before, comparison.after), (0.75, 1.0));
        // Differences 0.5 and 0: both signs of the first are as far, so p is 1.
        assert_eq!((comparison.low, comparison.high, comparison.p_value), (0.0, 0.5, 1.0));

        let deeper = Evaluation::new(3, &[judged(&[1], &[1])]);
        let error = before.compare(&deeper, Metric::Mrr, Resampling::default());
        assert_eq!(error, Err(UnpairedEvaluations::Depth { before: 2, after: 3 }));
        let shorter = Evaluation::new(2, &[judged(&[1], &[1])]);
        let error = before.compare(&shorter, Metric::Mrr, Resampling::default()).unwrap_err();
        assert!(error.source().unwrap().to_string().contains("2 scores stand against 1"));
    }
}
