//! Weights and a way of fusion that a tenant's judged queries like best.
//!
//! The search is plain, because the objective is a step function of the weights: from several
//! beginnings (all lists equal, each alone) one weight after the other is moved over a grid while
//! that helps. The same input gives the same answer.

use crate::Hit;
use crate::fusion::{Fused, Fusion, Normalisation, Ranked};

/// Steps of a weight's grid from 0 to 1.
const GRID: u32 = 20;

/// Most rounds over all weights from one beginning; each round must have helped.
const ROUNDS_MAX: usize = 20;

/// Objectives that differ by no more are equal: a step must be worth something.
const WORTHWHILE: f64 = 1e-9;

/// Ways of fusion that are tried.
const CHOICES: [Fusion; 6] = [
    Fusion::ReciprocalRank { k: 60.0 },
    Fusion::ReciprocalRank { k: 20.0 },
    Fusion::ReciprocalRank { k: 5.0 },
    Fusion::ReciprocalRank { k: 0.0 },
    Fusion::WeightedScore { normalisation: Normalisation::MinMax },
    Fusion::WeightedScore { normalisation: Normalisation::ZScore },
];

/// What weights are learnt from.
pub struct Learning<'a> {
    /// For each dev query what each retriever found; every query has the same retrievers in the same
    /// order.
    pub queries: &'a [Vec<Vec<Hit>>],
    /// Documents that the objective looks at.
    pub depth: usize,
    /// How good an answer to the query at a place is, for example its nDCG@10; more is better.
    pub objective: &'a dyn Fn(usize, &[Fused]) -> f64,
}

/// What was learnt.
#[derive(Clone, Debug, PartialEq)]
pub struct Learned {
    /// The way of fusion.
    pub fusion: Fusion,
    /// A weight for each retriever; they add up to 1.
    pub weights: Vec<f32>,
    /// Mean of the objective over the queries.
    pub value: f64,
    /// The same for each retriever alone, to compare with.
    pub alone: Vec<f64>,
}

impl Learning<'_> {
    /// The best way of fusion and weights. Of equals the first stays: equal weights, and reciprocal
    /// rank with `k` 60. Nothing if there are no queries or no retrievers.
    ///
    /// # Panics
    /// If queries have different numbers of retrievers.
    pub fn learn(&self) -> Option<Learned> {
        let lists = self.queries.first().map(Vec::len).filter(|lists| *lists > 0)?;
        assert!(self.queries.iter().all(|query| query.len() == lists), "a list for each retriever");
        let corner = |at: usize| -> Vec<u32> {
            (0..lists).map(|list| u32::from(list == at) * GRID).collect()
        };
        let alone = (0..lists).map(|at| self.value(CHOICES[0], &corner(at))).collect();
        let mut best: Option<(Fusion, Vec<u32>, f64)> = None;
        for fusion in CHOICES {
            let equal = vec![GRID / 2; lists];
            for start in std::iter::once(equal).chain((0..lists).map(corner)) {
                let (weights, value) = self.climb(fusion, start);
                if best.as_ref().is_none_or(|best| value > best.2 + WORTHWHILE) {
                    best = Some((fusion, weights, value));
                }
            }
        }
        let (fusion, weights, value) = best?;
        let total: u32 = weights.iter().sum();
        let weights = weights.iter().map(|&weight| weight as f32 / total.max(1) as f32).collect();
        Some(Learned { fusion, weights, value, alone })
    }

    /// Moves one weight at a time to its best place until none helps.
    fn climb(&self, fusion: Fusion, mut weights: Vec<u32>) -> (Vec<u32>, f64) {
        let mut value = self.value(fusion, &weights);
        for _ in 0..ROUNDS_MAX {
            let before = value;
            for list in 0..weights.len() {
                for step in 0..=GRID {
                    let mut moved = weights.clone();
                    moved[list] = step;
                    let there = self.value(fusion, &moved);
                    if moved.iter().any(|weight| *weight > 0) && there > value + WORTHWHILE {
                        (weights, value) = (moved, there);
                    }
                }
            }
            if value <= before {
                break;
            }
        }
        (weights, value)
    }

    fn value(&self, fusion: Fusion, weights: &[u32]) -> f64 {
        let values = self.queries.iter().enumerate().map(|(query, lists)| {
            let lists: Vec<Ranked<'_>> = lists
                .iter()
                .zip(weights)
                .map(|(hits, &weight)| Ranked { hits, weight: weight as f32 / GRID as f32 })
                .collect();
            (self.objective)(query, &fusion.fuse(&lists, self.depth))
        });
        values.sum::<f64>() / self.queries.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Slot;

    fn list(slots: &[u32]) -> Vec<Hit> {
        let scores = (0..).map(|at| 1.0 / (1.0 + at as f32));
        slots.iter().zip(scores).map(|(&slot, score)| Hit { slot: Slot(slot), score }).collect()
    }

    /// One over the rank of document 1.
    fn reciprocal(_: usize, fused: &[Fused]) -> f64 {
        let at = fused.iter().position(|one| one.hit.slot == Slot(1));
        at.map_or(0.0, |at| 1.0 / (at as f64 + 1.0))
    }

    fn learn(queries: &[Vec<Vec<Hit>>]) -> Option<Learned> {
        Learning { queries, depth: 10, objective: &reciprocal }.learn()
    }

    #[test]
    fn the_retriever_that_is_right_gets_the_weight() {
        let queries = [vec![list(&[2, 3, 1]), list(&[1, 3, 2])], vec![list(&[4]), list(&[1, 4])]];
        let learned = learn(&queries).unwrap();
        assert!(learned.weights[1] > learned.weights[0], "{learned:?}");
        assert_eq!(learned.value, 1.0);
        assert_eq!(learned.alone, [(1.0 / 3.0 + 0.5) / 2.0, 1.0]);
        assert_eq!(learn(&queries).unwrap(), learned, "the same again");
    }

    #[test]
    fn what_both_say_is_better_than_what_one_says() {
        // Each alone has document 1 second; only both together have it first.
        let queries = [vec![list(&[2, 1, 5]), list(&[3, 1, 6])]];
        let learned = learn(&queries).unwrap();
        assert_eq!((learned.value, &learned.alone[..]), (1.0, &[0.5, 0.5][..]));
        assert_eq!(learned.weights, [0.5, 0.5]);
        assert_eq!(learned.fusion, Fusion::ReciprocalRank { k: 60.0 });
    }

    #[test]
    fn no_queries_teach_nothing() {
        assert_eq!(learn(&[]), None);
        assert_eq!(learn(&[vec![]]), None);
    }
}
