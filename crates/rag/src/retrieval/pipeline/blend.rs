//! What a reranker says of a document, beside how the document was found.
//!
//! A reranker that saw a few hundred questions knows less than words and vectors do, and may still
//! know something else. So its score is added to that of finding, times a weight that judged
//! queries like. It counts only if they surely like it: the best of some weights always seems to
//! help on the few queries that it was chosen by. Otherwise nothing is read again.

use cotenant_index::Hit;
use serde::{Deserialize, Serialize};

use super::mean::mean_and_error;

/// Documents over which the scores of finding go from 0 to 1, however many are read again.
pub(crate) const FOUND_DEPTH: usize = 50;

/// Weights that are tried: parts of the one with which both scores vary alike.
const PARTS: [f64; 7] = [0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 16.0];

/// Standard errors by which a gain is lowered. The weight is chosen from several, on an adapter that
/// was chosen on the same queries.
const CAUTION: f64 = 2.0;

/// How much a reranker counts; by default not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Blend {
    weight: f32,
}

/// Documents of a query that were read again, in the order in which they were found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scored {
    /// From 0 to 1, what finding says of each.
    pub found: Vec<f32>,
    /// What the reranker says of each.
    pub reread: Vec<f32>,
}

/// What finding says of documents, from 1 for the best to 0 for the last; 1 for all where they are
/// alike.
pub(crate) fn found_scores(hits: &[Hit]) -> Vec<f32> {
    let hits = &hits[..hits.len().min(FOUND_DEPTH)];
    let scores = || hits.iter().map(|hit| hit.score);
    let (low, high) = (scores().fold(f32::INFINITY, f32::min), scores().fold(f32::MIN, f32::max));
    let part = |score: f32| if high > low { (score - low) / (high - low) } else { 1.0 };
    scores().map(part).collect()
}

/// Puts documents that were read again, the first of those that were found, in order: by finding and
/// reading together, or by reading alone where nothing was learnt of both.
pub(crate) fn put_in_order(hits: &mut [Hit], reread: &[f32], blend: Option<Blend>) {
    let found = found_scores(hits);
    for ((hit, &reread), found) in hits.iter_mut().zip(reread).zip(found) {
        hit.score = blend.map_or(reread, |blend| blend.score(found, reread));
    }
    hits[..reread.len()].sort_by(Hit::best_first);
}

impl Blend {
    /// A reranker that counts so much; `None` unless that is a number, 0 or more.
    #[cfg(test)]
    pub(crate) fn new(weight: f32) -> Option<Self> {
        let blend = Self { weight };
        blend.is_sound().then_some(blend)
    }

    /// By what a reranker's score is multiplied before it is added to that of finding.
    pub fn weight(self) -> f32 {
        self.weight
    }

    /// Whether the reranker counts at all.
    pub fn counts(self) -> bool {
        self.weight > 0.0
    }

    /// What a document is worth.
    pub(super) fn score(self, found: f32, reread: f32) -> f32 {
        found + self.weight * reread
    }

    pub(super) fn is_sound(self) -> bool {
        self.weight.is_finite() && self.weight >= 0.0
    }

    /// The places of a query's documents, best first; equal ones stay as they were found.
    pub(crate) fn order(self, scored: &Scored) -> Vec<usize> {
        let both = scored.found.iter().zip(&scored.reread);
        let scores: Vec<f32> = both.map(|(&found, &reread)| self.score(found, reread)).collect();
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&one, &other| scores[other].total_cmp(&scores[one]));
        order
    }

    /// The weight that judged queries surely like best, and the least of those that they like alike;
    /// `quality` says how good an order of a query's documents is.
    pub(crate) fn learn(queries: &[Scored], quality: &dyn Fn(usize, &[usize]) -> f64) -> Self {
        best(queries, quality, CAUTION).0
    }

    /// How much more judged queries like the weight that seems best than none: what adapters may be
    /// compared by, and no promise.
    pub(crate) fn gain(queries: &[Scored], quality: &dyn Fn(usize, &[usize]) -> f64) -> f64 {
        best(queries, quality, 0.0).1
    }
}

/// The best weight and its mean gain over 0, less so many standard errors.
fn best(
    queries: &[Scored],
    quality: &dyn Fn(usize, &[usize]) -> f64,
    caution: f64,
) -> (Blend, f64) {
    let alike = spread(queries, |one| &one.found) / spread(queries, |one| &one.reread);
    let unit = if alike.is_finite() { alike } else { 0.0 };
    let qualities = |blend: Blend| -> Vec<f64> {
        queries.iter().enumerate().map(|(at, one)| quality(at, &blend.order(one))).collect()
    };
    let nothing = Blend::default();
    let without = qualities(nothing);
    let mut best = (nothing, 0.0);
    for part in PARTS {
        let blend = Blend { weight: (part * unit) as f32 };
        let with = qualities(blend);
        let gains: Vec<f64> =
            with.iter().zip(&without).map(|(with, without)| with - without).collect();
        let (mean, error) = mean_and_error(&gains);
        let gain = mean - caution * error;
        if gain > best.1 {
            best = (blend, gain);
        }
    }
    best
}

/// By how much scores differ from the mean of their own query's, on average over all.
fn spread(queries: &[Scored], of: fn(&Scored) -> &Vec<f32>) -> f64 {
    let (mut squares, mut count) = (0.0, 0_usize);
    for scores in queries.iter().map(of) {
        let mean = scores.iter().map(|&s| f64::from(s)).sum::<f64>() / scores.len().max(1) as f64;
        squares += scores.iter().map(|&score| (f64::from(score) - mean).powi(2)).sum::<f64>();
        count += scores.len();
    }
    (squares / count.max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use cotenant_index::Slot;

    use super::*;

    fn hits(scores: &[f32]) -> Vec<Hit> {
        (0..).zip(scores).map(|(slot, &score)| Hit { slot: Slot(slot), score }).collect()
    }

    #[test]
    fn what_was_found_is_worth_0_to_1_whatever_the_scores() {
        assert_eq!(found_scores(&hits(&[30.0, 20.0, 10.0])), [1.0, 0.5, 0.0]);
        assert_eq!(found_scores(&hits(&[0.5, 0.5])), [1.0, 1.0]);
        assert_eq!(found_scores(&[]), [0.0; 0]);
        let many: Vec<f32> = (0..80).map(|at| -(at as f32)).collect();
        assert_eq!(found_scores(&hits(&many)).len(), FOUND_DEPTH);
    }

    /// Two queries whose second document answers.
    fn check(reread: [f32; 3], counts: bool, order: [usize; 3]) {
        let scored = Scored { found: vec![1.0, 0.6, 0.0], reread: reread.to_vec() };
        let quality = |_: usize, order: &[usize]| {
            1.0 / (1.0 + order.iter().position(|&at| at == 1).unwrap() as f64)
        };
        let blend = Blend::learn(&[scored.clone(), scored.clone()], &quality);
        assert_eq!(blend.counts(), counts, "{reread:?}");
        assert_eq!(blend.order(&scored), order, "{reread:?}");
    }

    #[test]
    fn a_reranker_counts_where_it_helps_and_no_more_than_it_must() {
        check([-1.0, 1.0, -1.0], true, [1, 0, 2]);
        // It likes a wrong document best, and is of use in a small part.
        check([-3.0, 1.0, 1.1], true, [1, 0, 2]);
        check([1.0, -1.0, -1.0], false, [0, 1, 2]);
        check([0.0; 3], false, [0, 1, 2]);
    }

    #[test]
    fn a_gain_that_may_be_chance_is_none() {
        // It puts the second document first for some queries, and it is right for so many of them.
        let check = |right: usize, counts: bool| {
            let scored = Scored { found: vec![1.0, 0.9], reread: vec![-1.0, 1.0] };
            let queries = vec![scored; 12];
            let quality = |at: usize, order: &[usize]| f64::from((order[0] == 1) == (at < right));
            assert_eq!(Blend::learn(&queries, &quality).counts(), counts, "{right}");
            assert_eq!(Blend::gain(&queries, &quality) > 0.0, right > 6, "{right}");
        };
        check(6, false);
        check(7, false);
        check(11, true);
    }

    #[test]
    fn a_weight_is_a_number() {
        assert!(Blend::new(0.5).is_some_and(Blend::counts));
        assert!(Blend::new(0.0).is_some_and(|blend| !blend.counts()));
        assert_eq!([f32::NAN, -1.0, f32::INFINITY].map(Blend::new), [None; 3]);
    }
}
