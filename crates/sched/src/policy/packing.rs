//! Packing: cards that are in use first, then idle cards of nodes in use, then idle nodes, the
//! smallest first.

use crate::policy::card_choice::fullest;
use crate::policy::node::{Demand, Node, SizeClass};
use crate::policy::{Offer, PlacementPolicy, PolicyName};

/// The policy.
pub(super) struct Packing;

impl PlacementPolicy for Packing {
    fn name(&self) -> PolicyName {
        PolicyName::Packing
    }

    fn score(&self, node: &Node, demand: &Demand, _: u64) -> Option<Offer> {
        let cards = fullest(node, demand)?;
        let points = match demand.class() {
            SizeClass::CpuOnly => 0,
            SizeClass::Share | SizeClass::Whole(_) => {
                let idle = i64::from(node.idle());
                let taken = || cards.iter().map(|at| node.cards[at]);
                let taken_idle = taken().filter(|&card| node.is_idle(card)).count() as i64;
                let hundredths: i64 = taken().map(|card| i64::from(card.compute / 10)).sum();
                match (idle == node.cards.len() as i64, taken_idle) {
                    (true, _) => (33 - idle).max(idle),
                    (false, 0) => (100 - hundredths / 10).max(50),
                    (false, taken_idle) => (50 - taken_idle).max(33),
                }
            }
        };
        Some(Offer { cost: -points, cards })
    }
}
