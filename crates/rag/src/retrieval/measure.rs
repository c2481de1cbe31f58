//! How well embeddings rank what was judged relevant.

use std::thread;

use cotenant_eval::{Evaluation, Judged, Metric};
use serde::{Deserialize, Serialize};

use super::vectors::Vectors;
use crate::data::{Dataset, Judgements};

/// Documents that a ranking is judged by.
const DEPTH: usize = 10;

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

/// Ranks documents for every judged query and scores the rankings.
///
/// `queries` has one row for each judged query; `documents` one for each of `pool`, the dataset's
/// documents that are searched. As in BEIR, a document whose id is the query's own is left out.
pub fn measure(
    dataset: &Dataset,
    judgements: &Judgements,
    queries: &Vectors,
    (pool, documents): (&[u32], &Vectors),
    threads: usize,
) -> Measurement {
    let rank = |at: usize| {
        let query = &dataset.queries[judgements.queries[at].query as usize];
        let found = documents.search(queries.row(at), DEPTH + 1).into_iter();
        let found = found.map(|ranked| pool[ranked.document as usize]);
        let others = found.filter(|&document| dataset.documents[document as usize].id != query.id);
        others.take(DEPTH).collect::<Vec<u32>>()
    };
    let share = judgements.len().div_ceil(threads.max(1)).max(1);
    let parts: Vec<usize> = (0..judgements.len()).step_by(share).collect();
    let rankings: Vec<Vec<u32>> = thread::scope(|scope| {
        let ends = parts.iter().map(|&from| from..(from + share).min(judgements.len()));
        let threads: Vec<_> =
            ends.map(|part| scope.spawn(|| part.map(rank).collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("ranking cannot fail")).collect()
    });
    let judged: Vec<Judged> = rankings
        .iter()
        .zip(&judgements.queries)
        .filter_map(|(ranking, judged)| {
            let gains: Vec<(u32, i64)> =
                judged.gains.iter().map(|&(document, gain)| (document, gain.into())).collect();
            Judged::new(ranking, &gains)
        })
        .collect();
    Measurement { rankings, evaluation: Evaluation::new(DEPTH, &judged) }
}
