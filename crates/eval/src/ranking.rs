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

/// Which of two documents with the same score comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ties {
    /// The smaller id, as everywhere in this project.
    #[default]
    SmallerFirst,
    /// The larger id by its bytes, as trec_eval does it.
    LargerFirst,
}

/// The order of a ranking: score descending, then document ascending. NaN comes last.
///
/// This is a total order, so a ranking does not depend on the order in which documents come.
/// trec_eval breaks ties the other way round; [`rank`] does either.
pub fn by_score<I: Ord>(left: &Ranked<I>, right: &Ranked<I>) -> Ordering {
    by_score_alone(left, right).then_with(|| left.document.cmp(&right.document))
}

/// All documents, best first, with ties broken as told. The order of arrival changes nothing.
pub fn rank<I: Ord>(documents: impl IntoIterator<Item = Ranked<I>>, ties: Ties) -> Vec<Ranked<I>> {
    let mut ranking: Vec<_> = documents.into_iter().collect();
    ranking.sort_unstable_by(|left, right| {
        let documents = match ties {
            Ties::SmallerFirst => left.document.cmp(&right.document),
            Ties::LargerFirst => right.document.cmp(&left.document),
        };
        by_score_alone(left, right).then(documents)
    });
    ranking
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

fn by_score_alone<I>(left: &Ranked<I>, right: &Ranked<I>) -> Ordering {
    let scores = right.score.partial_cmp(&left.score);
    scores.unwrap_or_else(|| left.score.is_nan().cmp(&right.score.is_nan()))
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

    #[test]
    fn ties_break_as_told() {
        let documents = [("a", 0.5), ("b", 0.5), ("B", 0.5), ("c", 0.9)];
        let documents = documents.map(|(document, score)| Ranked { document, score });
        for (ties, expected) in
            [(Ties::SmallerFirst, ["c", "B", "a", "b"]), (Ties::LargerFirst, ["c", "b", "a", "B"])]
        {
            let ranking = rank(documents, ties);
            let found: Vec<_> = ranking.iter().map(|ranked| ranked.document).collect();
            assert_eq!(found, expected, "{ties:?}");
        }
    }
}
