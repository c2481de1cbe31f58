//! How much the expected jobs that cannot run anywhere want of each shape of node.
//!
//! Jobs that name models, or that run on less than half of all cards, are poured over the shapes
//! that can run them so that the fullest is as empty as can be; what they fill of a shape is how
//! scarce its cards are.

use std::collections::BTreeMap;

use super::CARD;
use crate::policy::fleet::{Fleet, Models, Shape};
use crate::policy::mix::Mix;
use crate::policy::node::{Demand, Node};

/// Portions in which demand is poured out.
const PORTIONS: usize = 400;

/// What is wanted more often than that is no scarcer for it.
const LOAD_MAX: f64 = 1000.0;

/// For each shape, its load over what it has, in parts of [`CARD`].
pub(super) struct Scarcity(Vec<i64>);

impl Scarcity {
    pub(super) fn new(fleet: &Fleet, mix: &Mix) -> Self {
        let shapes = fleet.shapes();
        let mut groups: BTreeMap<Vec<usize>, u64> = BTreeMap::new();
        for (job, count) in mix.kinds().filter(|(job, _)| job.cards > 0) {
            let able: Vec<usize> = (0..shapes.len()).filter(|&at| shapes[at].fits(job)).collect();
            let compute: u64 = able.iter().map(|&at| shapes[at].compute()).sum();
            if !able.is_empty() && (job.models != Models::ANY || 2 * compute < fleet.compute()) {
                *groups.entry(able).or_default() += wanted(job, count);
            }
        }
        let mut loads = vec![0.0; shapes.len()];
        let load = |loads: &[f64], at: usize| loads[at] / capacity(&shapes[at]);
        for _ in 0..PORTIONS {
            for (able, wanted) in &groups {
                let emptiest =
                    able.iter().min_by(|&&a, &&b| load(&loads, a).total_cmp(&load(&loads, b)));
                loads[*emptiest.expect("some shape is able")] += *wanted as f64 / PORTIONS as f64;
            }
        }
        let scarce = |at: usize| (load(&loads, at).min(LOAD_MAX) * CARD as f64).round() as i64;
        let loads = (0..shapes.len()).map(scarce);
        Self(loads.collect())
    }

    /// How scarce the node's cards are.
    pub(super) fn of(&self, node: &Node) -> i64 {
        self.0[node.shape]
    }
}

fn wanted(job: &Demand, count: u64) -> u64 {
    job.compute_all() * count
}

/// Shapes without cards are in no group of jobs that want any, and divide nothing by zero.
fn capacity(shape: &Shape) -> f64 {
    shape.compute().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demand_spreads_until_the_fullest_is_emptiest() {
        let mut fleet = Fleet::default();
        let shape = |model, cards| Shape {
            model,
            cards,
            card_memory_mib: 0,
            cpu_milli: None,
            memory_mib: None,
            nodes: 0,
        };
        for (name, cards) in [("a", 4), ("b", 4), ("c", 8)] {
            let model = fleet.add_model(name).unwrap();
            fleet.add_node(shape(model, cards));
        }
        let job = |models| Demand {
            cpu_milli: 0,
            memory_mib: 0,
            cards: 1,
            compute: 1000,
            card_memory_mib: 0,
            models,
        };
        let a = Models::NONE.with(0);
        let jobs = [(job(a), 2), (job(a.with(1)), 4), (job(Models::ANY), 9)];
        let all: Vec<&Demand> =
            jobs.iter().flat_map(|(job, n)| std::iter::repeat_n(job, *n)).collect();
        let mix = Mix::of(all.into_iter().map(|job| (job, "")));
        let Scarcity(found) = Scarcity::new(&fleet, &mix);
        // Two on `a` alone and four on either are three on each, of four cards.
        for (found, expected) in found.iter().zip([0.75, 0.75, 0.0]) {
            assert!((*found as f64 / CARD as f64 - expected).abs() < 0.01, "{found} {expected}");
        }
    }
}
