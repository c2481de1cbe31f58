//! What a ranking is worth, by the definitions of trec_eval.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use crate::judged::Judged;

/// A ranking metric; each is read at a depth, the number of best documents that it looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Metric {
    /// Discounted gain over that of the ideal ranking at the same depth; the gain is the grade
    /// itself and the discount `log2(rank + 1)` (trec_eval's `ndcg_cut`).
    Ndcg,
    /// Relevant documents found over all relevant documents, found or not (`recall`).
    Recall,
    /// Relevant documents found over the depth, even if the ranking is shorter (`P`).
    Precision,
    /// One over the rank of the first relevant document, 0 below the depth (`recip_rank`).
    Mrr,
    /// Mean of the precision at each relevant document; those not found give 0 (`map_cut`).
    Map,
    /// 1 if any relevant document was found, else 0 (`success`).
    HitRate,
}

/// All metrics of one query, or their means over queries, at one depth.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scores {
    /// See [`Metric::Ndcg`].
    pub ndcg: f64,
    /// See [`Metric::Recall`].
    pub recall: f64,
    /// See [`Metric::Precision`].
    pub precision: f64,
    /// See [`Metric::Mrr`].
    pub mrr: f64,
    /// See [`Metric::Map`].
    pub map: f64,
    /// See [`Metric::HitRate`].
    pub hit_rate: f64,
}

/// A name that is no metric's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownMetric(String);

impl Metric {
    /// Every metric, in the order of the fields of [`Scores`].
    pub const ALL: [Self; 6] =
        [Self::Ndcg, Self::Recall, Self::Precision, Self::Mrr, Self::Map, Self::HitRate];

    /// The name that people and files use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ndcg => "ndcg",
            Self::Recall => "recall",
            Self::Precision => "precision",
            Self::Mrr => "mrr",
            Self::Map => "map",
            Self::HitRate => "hit_rate",
        }
    }

    /// The metric of one query at a depth, in `[0, 1]`.
    ///
    /// # Panics
    /// If `depth` is 0, at which no ranking has a value.
    pub fn at(self, depth: usize, judged: &Judged) -> f64 {
        assert!(depth > 0, "a metric looks at one document or more");
        let grades = &judged.grades()[..depth.min(judged.grades().len())];
        let found = grades.iter().filter(|grade| **grade > 0).count();
        match self {
            Self::Ndcg => gain(grades) / gain(&judged.ideal()[..depth.min(judged.relevant())]),
            Self::Recall => found as f64 / judged.relevant() as f64,
            Self::Precision => found as f64 / depth as f64,
            Self::Mrr => reciprocal_rank(grades),
            Self::Map => precisions_at_relevant(grades) / judged.relevant() as f64,
            Self::HitRate => f64::from(u8::from(found > 0)),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Metric {
    type Err = UnknownMetric;

    fn from_str(name: &str) -> Result<Self, UnknownMetric> {
        let known = Self::ALL.into_iter().find(|metric| metric.name() == name);
        known.ok_or_else(|| UnknownMetric(name.to_owned()))
    }
}

impl fmt::Display for UnknownMetric {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Metric::ALL.map(Metric::name).join(", ");
        write!(formatter, "no metric is called '{}'\nhint: the metrics are {names}", self.0)
    }
}

impl Error for UnknownMetric {}

impl Scores {
    /// All metrics of one query.
    ///
    /// # Panics
    /// If `depth` is 0.
    pub fn at(depth: usize, judged: &Judged) -> Self {
        Self {
            ndcg: Metric::Ndcg.at(depth, judged),
            recall: Metric::Recall.at(depth, judged),
            precision: Metric::Precision.at(depth, judged),
            mrr: Metric::Mrr.at(depth, judged),
            map: Metric::Map.at(depth, judged),
            hit_rate: Metric::HitRate.at(depth, judged),
        }
    }

    /// The value of one metric.
    pub fn get(&self, metric: Metric) -> f64 {
        match metric {
            Metric::Ndcg => self.ndcg,
            Metric::Recall => self.recall,
            Metric::Precision => self.precision,
            Metric::Mrr => self.mrr,
            Metric::Map => self.map,
            Metric::HitRate => self.hit_rate,
        }
    }
}

fn gain(grades: &[u32]) -> f64 {
    let terms = grades.iter().zip(1u32..);
    // An empty sum is -0.0.
    0.0 + terms.map(|(grade, rank)| f64::from(*grade) / (f64::from(rank) + 1.0).log2()).sum::<f64>()
}

fn reciprocal_rank(grades: &[u32]) -> f64 {
    let first = grades.iter().position(|grade| *grade > 0);
    first.map_or(0.0, |index| 1.0 / (index as f64 + 1.0))
}

fn precisions_at_relevant(grades: &[u32]) -> f64 {
    let ranks = grades.iter().zip(1u32..).filter(|(grade, _)| **grade > 0).map(|(_, rank)| rank);
    // An empty sum is -0.0.
    0.0 + ranks.zip(1u32..).map(|(rank, found)| f64::from(found) / f64::from(rank)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worked by hand; `1 / log2(3) = 0.630930`, `1 / log2(4) = 0.5`, `1 / log2(5) = 0.430677`.
    fn check(depth: usize, grades: &[u32], positives: &[u32], expected: [f64; 6]) {
        let judged = Judged::from_grades(grades.to_vec(), positives.to_vec()).unwrap().unwrap();
        let scores = Scores::at(depth, &judged);
        for (metric, expected) in Metric::ALL.into_iter().zip(expected) {
            let found = scores.get(metric);
            assert!(
                (found - expected).abs() < 1e-6,
                "{metric}@{depth} of {grades:?} among {positives:?}: {found}, not {expected}"
            );
        }
    }

    #[test]
    fn hand_computed_rankings_score_as_computed() {
        // In the order ndcg, recall, precision, mrr, map, hit rate.
        check(3, &[1, 0, 0], &[1], [1.0, 1.0, 1.0 / 3.0, 1.0, 1.0, 1.0]);
        check(3, &[0, 1, 0], &[1], [0.630930, 1.0, 1.0 / 3.0, 0.5, 0.5, 1.0]);
        check(1, &[0, 1, 0], &[1], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        // 1 / 2 of the relevant; ideal 1 + 0.630930.
        check(2, &[1, 0, 1], &[1, 1], [0.613147, 0.5, 0.5, 1.0, 0.5, 1.0]);
        // Average precision (1/1 + 2/3) / 2; gain 1.5 of 1.630930.
        check(3, &[1, 0, 1], &[1, 1], [0.919721, 1.0, 2.0 / 3.0, 1.0, 0.833333, 1.0]);
        // Linear gain: 1 + 3 * 0.630930 = 2.892789 of 3 + 0.630930 = 3.630930.
        check(2, &[1, 3], &[3, 1], [0.796708, 1.0, 1.0, 1.0, 1.0, 1.0]);
        // Shorter than the depth: precision still divides by the depth.
        check(10, &[2], &[2, 1, 1, 1], [2.0 / 3.561607, 0.25, 0.1, 1.0, 0.25, 1.0]);
        // Nothing ranked at all.
        check(5, &[], &[1, 2], [0.0; 6]);
    }

    #[test]
    fn names_are_read_back() {
        for metric in Metric::ALL {
            assert_eq!(metric.to_string().parse(), Ok(metric));
        }
        let error = "nDCG".parse::<Metric>().unwrap_err().to_string();
        assert!(error.contains("'nDCG'") && error.contains("ndcg, recall"), "{error}");
    }

    #[test]
    #[should_panic(expected = "one document or more")]
    fn depth_zero_is_a_mistake_of_the_caller() {
        let judged = Judged::from_grades(vec![1], vec![1]).unwrap().unwrap();
        Metric::Ndcg.at(0, &judged);
    }
}
