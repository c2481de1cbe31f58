//! From scores to a ranking, the same one every time.

use std::cmp::Ordering;

/// A document and what a retriever gave it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked<I> {
    /// The document: an id, or an index into a list that is sorted by id.
    pub document: I,
    /// Larger is better; no unit.
    pub score: f32,
}

/// The order of a ranking: score descending, then document ascending. NaN comes last.
///
/// This is a total order, so a ranking does not depend on the order in which documents come.
/// trec_eval breaks ties by id *descending*, so a file of tied scores may differ there.
pub fn by_score<I: Ord>(left: &Ranked<I>, right: &Ranked<I>) -> Ordering {
    let scores = right.score.partial_cmp(&left.score);
    scores
        .unwrap_or_else(|| left.score.is_nan().cmp(&right.score.is_nan()))
        .then_with(|| left.document.cmp(&right.document))
}

/// The best `depth` documents in the order of [`by_score`]; fewer if there are fewer.
///
/// Takes time in proportion to the documents, plus a sort of the kept ones.
pub fn top<I: Ord>(documents: impl IntoIterator<Item = Ranked<I>>, depth: usize) -> Vec<Ranked<I>> {
    let mut ranking: Vec<_> = documents.into_iter().collect();
    if depth < ranking.len() {
        if depth > 0 {
            ranking.select_nth_unstable_by(depth - 1, by_score);
        }
        ranking.truncate(depth);
    }
    ranking.sort_unstable_by(by_score);
    ranking
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(scores: &[f32], depth: usize, expected: &[usize]) {
        let ranked = |(document, score): (usize, &f32)| Ranked { document, score: *score };
        let forward = top(scores.iter().enumerate().map(ranked), depth);
        let backward = top(scores.iter().enumerate().rev().map(ranked), depth);
        for ranking in [forward, backward] {
            let documents: Vec<_> = ranking.iter().map(|ranked| ranked.document).collect();
            assert_eq!(documents, expected, "{scores:?} to {depth}");
        }
    }

    #[test]
    fn the_best_come_first_and_ties_break_by_document() {
        check(&[0.1, 0.9, 0.5], 2, &[1, 2]);
        check(&[0.5, 0.5, 0.5, 0.9], 3, &[3, 0, 1]);
        check(&[0.0, -0.0, 0.0], 2, &[0, 1]);
        check(&[f32::NAN, f32::NEG_INFINITY, f32::INFINITY, f32::NAN], 4, &[2, 1, 0, 3]);
        check(&[0.2, 0.1], 9, &[0, 1]);
        check(&[0.2, 0.1], 0, &[]);
        check(&[], 3, &[]);
    }
}
