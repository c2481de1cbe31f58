//! Bid price: where what a job takes is worth least, at the prices that the expected jobs would pay.
//!
//! The name is that of revenue management: a linear program over what is expected gives each resource
//! a price, and a request goes where it displaces least. A node's potential is the sum of
//! - its fragmentation, as of FGD, a little;
//! - less the [value](value) of what is free on its cards, by the patterns in which the expected
//!   jobs fill a card;
//! - the value that lies on cards for which the node's processors do not suffice.
//!
//! A job costs what it adds to that, a little more on an empty node, what its cards are worth [where
//! cards are scarce](scarcity), and a little where other kinds have [few homes](homes).

mod homes;
mod program;
mod scarcity;
mod value;

use crate::policy::fleet::Fleet;
use crate::policy::fragmentation::{Fragmentation, Trial};
use crate::policy::mix::Mix;
use crate::policy::node::{Cards, Demand, Free, Node, SizeClass, WHOLE};
use crate::policy::{Offer, PlacementPolicy, PolicyName};

use homes::Homes;
use scarcity::Scarcity;
use value::Values;

/// What a whole card is worth. Many whole numbers divide it, so that thirds and twelfths of a card
/// add up without a remainder, and what is worth the same ties.
pub(super) const CARD: i64 = 720_720;

/// What a whole card is worth in costs.
pub(super) const CARD_COST: i64 = CARD * WHOLE as i64 * 20;

/// How much the parts of a cost count, in twentieths. Found by search on seeds that no published
/// figure uses; see `docs/placement.md`.
const FRAGMENTATION: i64 = 1;
const VALUE: i64 = 90;
const STRANDED: i64 = 24;
const EMPTY_NODE: i64 = 1;
const SCARCE: i64 = 24;
const NEEDED: i64 = 1;

/// Processors run out before cards do; so many per cent of what a card wants on average will do.
const CPU_PERCENT: f64 = 98.0;

/// The policy. Costs are in twentieths of a thousandth of [`CARD`].
pub(super) struct BidPrice {
    fragmentation: Fragmentation,
    values: Values,
    scarcity: Scarcity,
    homes: Homes,
    /// What a thousandth of a vCPU lets use, in thousandths of [`CARD`]; none if jobs with cards want
    /// no processors.
    cpu_worth: Option<i64>,
}

/// What a node has free, in the terms of the potential.
struct Holding {
    fragmentation: i64,
    value: i64,
    cpu_milli: Option<u64>,
}

impl BidPrice {
    pub(super) fn new(fleet: &Fleet, mix: &Mix) -> Self {
        let values = Values::new(fleet, mix);
        let fragmentation = Fragmentation::new(fleet, &weights(mix));
        let scarcity = Scarcity::new(fleet, mix);
        let homes = Homes::new(fleet, mix);
        let cpu_worth = cpu_worth(mix, &values);
        Self { fragmentation, values, scarcity, homes, cpu_worth }
    }

    fn potential(&self, holding: &Holding) -> i64 {
        let value = holding.value * i64::from(WHOLE);
        let stranded = match (holding.cpu_milli, self.cpu_worth) {
            (Some(free), Some(worth)) => {
                value.saturating_sub(worth.saturating_mul(free as i64)).max(0)
            }
            (None, _) | (_, None) => 0,
        };
        FRAGMENTATION * holding.fragmentation - VALUE * value + STRANDED * stranded
    }

    /// The card where a share costs least, the first of equals, and the potential after it.
    fn cheapest_card(
        &self,
        (node, demand): (&Node, &Demand),
        (trial, value, cpu_milli): (&Trial<'_>, i64, Option<u64>),
    ) -> Option<(i64, Cards)> {
        let mut best: Option<(i64, Cards)> = None;
        let mut seen: Option<Free> = None;
        for (at, &card) in node.cards.iter().enumerate() {
            // Equal neighbours, idle ones most often, cost the same.
            if !card.fits(demand) || seen == Some(card) {
                continue;
            }
            seen = Some(card);
            let lost = self.values.of(node, card) - self.values.of(node, card.less(demand));
            let after = self.potential(&Holding {
                fragmentation: trial.with_share(node, at, demand),
                value: value - lost,
                cpu_milli,
            });
            if best.is_none_or(|(least, _)| after < least) {
                best = Some((after, Cards::one(at)));
            }
        }
        best
    }
}

impl PlacementPolicy for BidPrice {
    fn name(&self) -> PolicyName {
        PolicyName::BidPrice
    }

    fn score(&self, node: &Node, demand: &Demand, _: u64) -> Option<Offer> {
        let value = node.cards.iter().map(|&card| self.values.of(node, card)).sum();
        let fragmentation = self.fragmentation.of(node);
        let before = self.potential(&Holding { fragmentation, value, cpu_milli: node.cpu_milli });
        let cpu_milli = node.cpu_milli.map(|free| free - demand.cpu_milli);
        let trial = self.fragmentation.trial(node, demand.cpu_milli);
        let (after, cards) = match demand.class() {
            SizeClass::CpuOnly => {
                let fragmentation = trial.now();
                (self.potential(&Holding { fragmentation, value, cpu_milli }), Cards::NONE)
            }
            SizeClass::Share => self.cheapest_card((node, demand), (&trial, value, cpu_milli))?,
            SizeClass::Whole(_) => {
                let cards = node.first_idle(demand)?;
                let taken = cards.iter().map(|at| self.values.of(node, node.cards[at]));
                let value = value - taken.sum::<i64>();
                let fragmentation = trial.with_whole(node, cards);
                (self.potential(&Holding { fragmentation, value, cpu_milli }), cards)
            }
        };
        let opened = if node.jobs == 0 { EMPTY_NODE * CARD * i64::from(WHOLE) } else { 0 };
        let scarce = self.scarcity.of(node) * demand.compute_all() as i64;
        let needed = NEEDED * self.homes.of(node) * i64::from(WHOLE);
        Some(Offer { cost: after - before + opened + SCARCE * scarce + needed, cards })
    }
}

/// The target kinds, those of several cards the heavier; weights that sum up to about [`CARD`].
fn weights(mix: &Mix) -> Vec<(Demand, i64)> {
    let heft = |job: &Demand, count: u64| match job.class() {
        SizeClass::CpuOnly | SizeClass::Share | SizeClass::Whole(1) => count as f64,
        SizeClass::Whole(cards) => count as f64 * (1.0 + 0.5 * f64::from(cards)),
    };
    let all: f64 = mix.target().iter().map(|(job, count)| heft(job, *count)).sum();
    let weight = |share: f64| (share / all * CARD as f64).round() as i64;
    mix.target().iter().map(|(job, count)| (job.clone(), weight(heft(job, *count)))).collect()
}

/// The worth of cards over the processors that the jobs on them want.
fn cpu_worth(mix: &Mix, values: &Values) -> Option<i64> {
    let (mut cpu_milli, mut cards) = (0.0, 0.0);
    for (job, count) in mix.kinds().filter(|(job, _)| job.cards > 0) {
        cpu_milli += job.cpu_milli as f64 * count as f64;
        cards += values.worth(job) as f64 / CARD as f64 * count as f64;
    }
    let worth = cards / cpu_milli / CPU_PERCENT * 100.0 * (CARD * i64::from(WHOLE)) as f64;
    worth.is_finite().then(|| worth.round() as i64)
}
