//! How well embeddings rank what was judged relevant.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use cotenant_eval::{Evaluation, Judged, Metric};
use serde::{Deserialize, Serialize};

use super::vectors::Vectors;
use crate::data::{self, Dataset, Judgements};

/// Documents that a ranking is judged by.
pub(crate) const DEPTH: usize = 10;

/// Mean quality over queries, each in 0..=1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Linear-gain nDCG of the ten best, as trec_eval has it.
    pub ndcg10: f64,
    /// Part of the relevant documents among the ten best.
    pub recall10: f64,
    /// Reciprocal rank of the first relevant document, 0 beyond ten.
    pub mrr10: f64,
}

/// Rankings of judged queries and their scores, in the order of the judgements.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// The ten best documents of each query.
    pub rankings: Vec<Vec<u32>>,
    /// Scores of each query.
    pub evaluation: Evaluation,
}

impl Measurement {
    /// What rankings are worth, one for each judged query.
    pub fn of(rankings: Vec<Vec<u32>>, judgements: &Judgements) -> Self {
        let judged: Vec<Judged> = rankings
            .iter()
            .zip(&judgements.queries)
            .filter_map(|(ranking, query)| judged(ranking, query))
            .collect();
        Self { rankings, evaluation: Evaluation::new(DEPTH, &judged) }
    }

    /// The means; zeros without a query.
    pub fn quality(&self) -> Quality {
        let mean = |metric| self.evaluation.mean_of(metric).unwrap_or(0.0);
        Quality {
            ndcg10: mean(Metric::Ndcg),
            recall10: mean(Metric::Recall),
            mrr10: mean(Metric::Mrr),
        }
    }
}

/// A ranking beside what was judged; `None` where nothing is relevant.
pub(crate) fn judged(ranking: &[u32], query: &data::Judged) -> Option<Judged> {
    let gains: Vec<(u32, i64)> =
        query.gains.iter().map(|&(document, gain)| (document, gain.into())).collect();
    Judged::new(ranking, &gains)
}

/// How much of the machine ranking may use, and what ends it early.
#[derive(Clone, Copy, Debug)]
pub struct Pace<'a> {
    /// Threads that compute.
    pub threads: usize,
    /// Looked at before each query: once true, there is no result.
    pub stop: &'a AtomicBool,
}

/// Ranks documents for every judged query and scores the rankings; `None` if stopped.
///
/// `queries` has one row for each judged query; `documents` one for each of `pool`, the dataset's
/// documents that are searched. Where the data set says so, a document whose id is the query's own
/// is left out.
pub fn measure(
    dataset: &Dataset,
    judgements: &Judgements,
    queries: &Vectors,
    (pool, documents): (&[u32], &Vectors),
    pace: Pace<'_>,
) -> Option<Measurement> {
    let rank = |at: usize| {
        if pace.stop.load(Ordering::Relaxed) {
            return None;
        }
        let query = &dataset.queries[judgements.queries[at].query as usize];
        let found = documents.search(queries.row(at), DEPTH + 1).into_iter();
        let found = found.map(|ranked| pool[ranked.document as usize]);
        let is_own = |document: u32| {
            dataset.leaves_out_own_id && dataset.documents[document as usize].id == query.id
        };
        found.filter(|&document| !is_own(document)).take(DEPTH).collect::<Vec<u32>>().into()
    };
    let share = judgements.len().div_ceil(pace.threads.max(1)).max(1);
    let parts: Vec<usize> = (0..judgements.len()).step_by(share).collect();
    let rankings: Option<Vec<Vec<u32>>> = thread::scope(|scope| {
        let ends = parts.iter().map(|&from| from..(from + share).min(judgements.len()));
        let threads: Vec<_> =
            ends.map(|part| scope.spawn(|| part.map(rank).collect::<Vec<Option<_>>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("ranking cannot fail")).collect()
    });
    Some(Measurement::of(rankings?, judgements))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{self, Document, Query};

    /// A query whose one answer has the query's own id, and is nearest to it.
    fn check(leaves_out_own_id: bool, expected: &[u32]) {
        let named = |id: &str| Document { id: id.to_owned(), ..Document::default() };
        let dataset = Dataset {
            documents: vec![named("1"), named("2")],
            queries: vec![Query { id: "1".to_owned(), text: String::new() }],
            leaves_out_own_id,
            ..Dataset::default()
        };
        let judgements =
            Judgements { queries: vec![data::Judged { query: 0, gains: vec![(0, 1)] }] };
        let queries = Vectors { values: vec![1.0, 0.0], width: 2 };
        let documents = Vectors { values: vec![1.0, 0.0, 0.6, 0.8], width: 2 };
        let stop = AtomicBool::new(false);
        let pace = Pace { threads: 2, stop: &stop };
        let rank = || measure(&dataset, &judgements, &queries, (&[0, 1], &documents), pace);
        let found = rank().expect("nobody stops it");
        assert_eq!(found.rankings, [expected], "{leaves_out_own_id}");
        assert_eq!(found.quality().mrr10, if leaves_out_own_id { 0.0 } else { 1.0 });
        stop.store(true, Ordering::Relaxed);
        assert_eq!(rank(), None);
    }

    #[test]
    fn an_own_id_is_left_out_where_the_data_says_so() {
        check(true, &[1]);
        check(false, &[0, 1]);
    }
}
