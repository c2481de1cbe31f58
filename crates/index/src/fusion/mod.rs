//! One answer from the answers of several retrievers.
//!
//! Reciprocal rank looks at ranks only: a list gives the document at rank `r`, counted from 1, its
//! weight over `k + r` (Cormack, Clarke and Büttcher, SIGIR 2009, with `k` 60 and equal weights).
//! Weighted score makes the scores of each list comparable first and adds them up by weight; that is
//! as good or better once weights are chosen on some judged queries (Bruch, Gai and Ingber,
//! arXiv:2210.11934). [`Learning`] chooses them.

mod learn;

use std::collections::{HashMap, HashSet};

use crate::{Hit, Slot};

pub use learn::{Learned, Learning};

/// How lists become one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fusion {
    /// By ranks.
    ReciprocalRank {
        /// How little the first ranks stand out, 0 or more; 60 is usual.
        k: f32,
    },
    /// By scores.
    WeightedScore {
        /// What makes scores of different lists comparable.
        normalisation: Normalisation,
    },
}

/// What happens to a list's scores before they are added up. A document that is in another list
/// only counts as the last of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalisation {
    /// The lowest becomes 0 and the highest 1; if they are the same, all become 1.
    MinMax,
    /// Less the mean, over the standard deviation; if all are the same, all become 0.
    ZScore,
}

/// What one retriever found.
#[derive(Clone, Copy, Debug)]
pub struct Ranked<'a> {
    /// Best first.
    pub hits: &'a [Hit],
    /// How much it counts, 0 or more; only ratios of weights matter.
    pub weight: f32,
}

/// Where a document stands in one list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Counted from 1.
    pub rank: u32,
    /// As the retriever gave it.
    pub score: f32,
}

/// A document of the fused list.
#[derive(Clone, Debug, PartialEq)]
pub struct Fused {
    /// Which document, and its fused score.
    pub hit: Hit,
    /// For each list in order, where the document stands in it, if it does.
    pub standings: Vec<Option<Standing>>,
}

impl Fusion {
    /// The best `k` documents of all lists together, in the order of [`Hit::best_first`].
    ///
    /// A document that a list names twice stands where it is named first. Scores that are not finite
    /// and weights that are not above 0 count as 0.
    pub fn fuse(self, lists: &[Ranked<'_>], k: usize) -> Vec<Fused> {
        let mut order = Vec::new();
        let mut standings: HashMap<Slot, Vec<Option<Standing>>> = HashMap::new();
        for (list, ranked) in lists.iter().enumerate() {
            for (rank, hit) in (1..).zip(ranked.hits) {
                let of_slot = standings.entry(hit.slot).or_insert_with(|| {
                    order.push(hit.slot);
                    vec![None; lists.len()]
                });
                of_slot[list].get_or_insert(Standing { rank, score: hit.score });
            }
        }
        let scores: Vec<Scores> = lists.iter().map(|list| Scores::of(self, list)).collect();
        let mut fused: Vec<Fused> = order
            .into_iter()
            .map(|slot| {
                let standings = standings.remove(&slot).expect("each slot was put in once");
                let parts = scores.iter().zip(&standings);
                let score: f64 =
                    parts.map(|(scores, standing)| scores.of_standing(*standing)).sum();
                Fused { hit: Hit { slot, score: score as f32 }, standings }
            })
            .collect();
        fused.sort_unstable_by(|one, other| one.hit.best_first(&other.hit));
        fused.truncate(k);
        fused
    }
}

/// Most documents that may hold a code for it to name them.
pub const NAMED_MAX: usize = 3;

/// Those of the documents which hold a code that are meant by it: all, if they are few. What a part
/// number names is one part, whatever else the query says; a code that many hold is a word like
/// others.
pub fn named(holding: &[Hit]) -> &[Hit] {
    if holding.len() <= NAMED_MAX { holding } else { &[] }
}

/// The documents that a list names before all others; otherwise the order stays.
pub fn put_first(fused: Vec<Fused>, first: &[Hit]) -> Vec<Fused> {
    let first: HashSet<Slot> = first.iter().map(|hit| hit.slot).collect();
    let is_first = |one: &Fused| first.contains(&one.hit.slot);
    let (mut found, rest): (Vec<Fused>, Vec<Fused>) = fused.into_iter().partition(is_first);
    found.extend(rest);
    found
}

/// What a list gives its documents.
enum Scores {
    Rank {
        weight: f64,
        k: f64,
    },
    /// `(score - shift) * factor`.
    Score {
        shift: f64,
        factor: f64,
        absent: f64,
    },
}

impl Scores {
    fn of(fusion: Fusion, list: &Ranked<'_>) -> Self {
        let weight = f64::from(positive(list.weight));
        let normalisation = match fusion {
            Fusion::ReciprocalRank { k } => return Self::Rank { weight, k: positive(k).into() },
            Fusion::WeightedScore { normalisation } => normalisation,
        };
        let scores = || list.hits.iter().map(|hit| f64::from(finite(hit.score)));
        let lowest = scores().fold(f64::INFINITY, f64::min);
        let highest = scores().fold(f64::NEG_INFINITY, f64::max);
        let (shift, spread) = match normalisation {
            // All the same: one above the lowest, over one.
            Normalisation::MinMax if highest <= lowest => (lowest - 1.0, 1.0),
            Normalisation::MinMax => (lowest, highest - lowest),
            Normalisation::ZScore => {
                let count = list.hits.len().max(1) as f64;
                let mean = scores().sum::<f64>() / count;
                let variance = scores().map(|score| (score - mean).powi(2)).sum::<f64>() / count;
                (mean, if highest > lowest { variance.sqrt() } else { 1.0 })
            }
        };
        let factor = weight / spread;
        let absent = match normalisation {
            _ if list.hits.is_empty() => 0.0,
            Normalisation::MinMax => 0.0,
            Normalisation::ZScore => (lowest - shift) * factor,
        };
        Self::Score { shift, factor, absent }
    }

    fn of_standing(&self, standing: Option<Standing>) -> f64 {
        match (self, standing) {
            (Self::Rank { .. }, None) => 0.0,
            (Self::Rank { weight, k }, Some(standing)) => weight / (k + f64::from(standing.rank)),
            (Self::Score { absent, .. }, None) => *absent,
            (Self::Score { shift, factor, .. }, Some(standing)) => {
                (f64::from(finite(standing.score)) - shift) * factor
            }
        }
    }
}

fn finite(value: f32) -> f32 {
    if value.is_finite() { value } else { 0.0 }
}

fn positive(value: f32) -> f32 {
    finite(value).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(list: &[(u32, f32)]) -> Vec<Hit> {
        list.iter().map(|&(slot, score)| Hit { slot: Slot(slot), score }).collect()
    }

    fn check(fusion: Fusion, lists: &[(&[(u32, f32)], f32)], expected: &[(u32, f32)]) {
        let hits: Vec<(Vec<Hit>, f32)> =
            lists.iter().map(|&(list, weight)| (hits(list), weight)).collect();
        let lists: Vec<Ranked<'_>> =
            hits.iter().map(|(hits, weight)| Ranked { hits, weight: *weight }).collect();
        let fused = fusion.fuse(&lists, 9);
        let found: Vec<u32> = fused.iter().map(|one| one.hit.slot.0).collect();
        assert_eq!(found, expected.iter().map(|one| one.0).collect::<Vec<_>>(), "{fused:?}");
        for (one, (_, score)) in fused.iter().zip(expected) {
            assert!((one.hit.score - score).abs() < 1e-6, "{one:?} should score {score}");
            for (list, standing) in lists.iter().zip(&one.standings) {
                let at = list.hits.iter().position(|hit| hit.slot == one.hit.slot);
                let expected =
                    at.map(|at| Standing { rank: at as u32 + 1, score: list.hits[at].score });
                assert_eq!(*standing, expected);
            }
        }
        assert_eq!(fusion.fuse(&lists, 1), fused[..fused.len().min(1)]);
    }

    #[test]
    fn ranks_are_fused() {
        let rank = Fusion::ReciprocalRank { k: 60.0 };
        let (one, other) = (&[(7, 9.0), (3, 8.0)], &[(3, 0.2), (5, 0.1)]);
        let both = 1.0 / 62.0 + 1.0 / 61.0;
        let expected = [(3, both), (7, 1.0 / 61.0), (5, 1.0 / 62.0)];
        check(rank, &[(one, 1.0), (other, 1.0)], &expected);
        // Equal scores: the lower slot. A weight of 0 keeps the documents.
        check(rank, &[(&[(9, 1.0)], 1.0), (&[(4, 1.0)], 1.0)], &[(4, 1.0 / 61.0), (9, 1.0 / 61.0)]);
        check(rank, &[(&[(9, 1.0)], 2.0), (&[(4, 1.0)], 0.0)], &[(9, 2.0 / 61.0), (4, 0.0)]);
        check(rank, &[(&[], 1.0), (&[], 1.0)], &[]);
        check(rank, &[], &[]);
    }

    #[test]
    fn what_is_put_first_keeps_its_order() {
        let rank = Fusion::ReciprocalRank { k: 60.0 };
        let list = hits(&[(1, 4.0), (2, 3.0), (3, 2.0), (4, 1.0)]);
        let fused = rank.fuse(&[Ranked { hits: &list, weight: 1.0 }], 9);
        let first = put_first(fused.clone(), &hits(&[(4, 9.0), (2, 1.0), (8, 1.0)]));
        let slots: Vec<u32> = first.iter().map(|one| one.hit.slot.0).collect();
        assert_eq!(slots, [2, 4, 1, 3]);
        assert_eq!(put_first(fused.clone(), &[]), fused);
    }

    #[test]
    fn scores_are_made_comparable_and_added() {
        let min_max = Fusion::WeightedScore { normalisation: Normalisation::MinMax };
        let z = Fusion::WeightedScore { normalisation: Normalisation::ZScore };
        let (one, other) = (&[(1, 30.0), (2, 20.0), (3, 10.0)], &[(3, 0.9), (4, 0.1)]);
        let expected = [(3, 0.75), (1, 0.25), (2, 0.125), (4, 0.0)];
        check(min_max, &[(one, 0.25), (other, 0.75)], &expected);
        check(min_max, &[(&[(1, 5.0), (2, 5.0)], 0.5)], &[(1, 0.5), (2, 0.5)]);
        let far = 1.5f32.sqrt();
        let expected = [(1, far - 1.0), (3, 1.0 - far), (2, -1.0), (4, -1.0 - far)];
        check(z, &[(one, 1.0), (other, 1.0)], &expected);
        check(z, &[(&[(1, 5.0), (2, 5.0)], 0.5)], &[(1, 0.0), (2, 0.0)]);
        check(z, &[(&[(1, 5.0)], 1.0), (&[], 1.0)], &[(1, 0.0)]);
    }
}
