//! Fragmentation gradient descent: where fragmentation grows least (Weng et al., USENIX ATC 2023).
//!
//! The growth is squeezed by a sigmoid into whole points from 0 to 100. The rounding is a part of
//! the policy: most nodes tie, the order of nodes then fills them first to last, and without it the
//! policy allocates one to three points less.

mod rounding;

use crate::policy::fleet::Fleet;
use crate::policy::fragmentation::Fragmentation;
use crate::policy::mix::Mix;
use crate::policy::node::{Cards, Demand, Node, SizeClass, WHOLE};
use crate::policy::{Offer, PlacementPolicy, PolicyName};

use rounding::Rounding;

/// The policy.
pub(super) struct Fgd {
    fragmentation: Fragmentation,
    /// The least shrinking of fragmentation that earns 1, 2, … 99 points.
    earns: Vec<i64>,
    rounding: Rounding,
}

impl Fgd {
    pub(super) fn new(fleet: &Fleet, mix: &Mix) -> Self {
        let kinds: Vec<_> = mix.target().iter().map(|(job, n)| (job.clone(), *n as i64)).collect();
        let fragmentation = Fragmentation::new(fleet, &kinds);
        let scale = fragmentation.weight() as f64 * f64::from(WHOLE);
        // Points are floor(100 / (1 + e^-x)), so they change where x is ln(points / (100 - points)).
        let least = |points: i32| (f64::from(points) / f64::from(100 - points)).ln() * scale;
        let earns = (1..100).map(|points| least(points).ceil() as i64).collect();
        let jobs = mix.kinds().map(|(_, count)| count).sum();
        Self { fragmentation, earns, rounding: Rounding::new(mix.target(), jobs) }
    }

    /// The cost of so much growth.
    fn cost(&self, grown: i64) -> i64 {
        -(self.earns.partition_point(|least| *least <= -grown) as i64)
    }

    /// What it costs to put the job on these cards.
    fn offer(&self, (node, demand): (&Node, &Demand), grown: i64, cards: Cards) -> Offer {
        if grown != 0 || node.compute() == 0 {
            return Offer { cost: self.cost(grown), cards };
        }
        let mut after = node.clone();
        after.take(demand, cards);
        Offer { cost: -self.rounding.points(node, &after), cards }
    }
}

impl PlacementPolicy for Fgd {
    fn name(&self) -> PolicyName {
        PolicyName::Fgd
    }

    fn score(&self, node: &Node, demand: &Demand, _: u64) -> Option<Offer> {
        let before = self.fragmentation.of(node);
        let trial = self.fragmentation.trial(node, demand.cpu_milli);
        let offer = |after: i64, cards| self.offer((node, demand), after - before, cards);
        match demand.class() {
            SizeClass::CpuOnly => Some(offer(trial.now(), Cards::NONE)),
            SizeClass::Share => {
                let fits = |at: &usize| node.cards[*at].fits(demand);
                let cards = (0..node.cards.len()).filter(fits);
                let offers =
                    cards.map(|at| offer(trial.with_share(node, at, demand), Cards::one(at)));
                offers.min_by_key(|offer| offer.cost)
            }
            SizeClass::Whole(_) => {
                let cards = node.first_idle(demand)?;
                Some(offer(trial.with_whole(node, cards), cards))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_those_of_the_sigmoid() {
        let mix = Mix::default();
        let fgd = Fgd {
            earns: (1..100)
                .map(|n: i32| ((f64::from(n) / f64::from(100 - n)).ln() * 1e6).ceil() as i64)
                .collect(),
            ..Fgd::new(&Fleet::default(), &mix)
        };
        for shrunk in (-8_000_000..8_000_000).step_by(997).chain([0, -1, 1]) {
            let sigmoid = 1.0 / (1.0 + (-f64::from(shrunk) / 1e6).exp());
            let points = (100.0 * sigmoid).floor() as i64;
            assert_eq!(fgd.cost(-i64::from(shrunk)), -points, "{shrunk}");
        }
    }
}
