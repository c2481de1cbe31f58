//! Random: any node that has room, and any card of it that has.

use crate::keyed::keyed;
use crate::policy::card_choice::fullest;
use crate::policy::node::{Cards, Demand, Node, SizeClass};
use crate::policy::{Draw, Offer, PlacementPolicy, PolicyName};

/// The policy.
pub(super) struct Random {
    pub(super) seed: u64,
}

impl PlacementPolicy for Random {
    fn name(&self) -> PolicyName {
        PolicyName::Random
    }

    fn draw(&self) -> Draw {
        Draw::EachArrival
    }

    fn score(&self, node: &Node, demand: &Demand, arrival: u64) -> Option<Offer> {
        let draw = |place: u64| keyed(&[self.seed, arrival, node.key, place]);
        let cards = match demand.class() {
            SizeClass::CpuOnly | SizeClass::Whole(_) => fullest(node, demand)?,
            SizeClass::Share => {
                let fits = |at: &usize| node.cards[*at].fits(demand);
                let cards = (0..node.cards.len()).filter(fits);
                Cards::one(cards.min_by_key(|&at| draw(1 + at as u64))?)
            }
        };
        Some(Offer { cost: (draw(0) >> 1) as i64, cards })
    }
}
