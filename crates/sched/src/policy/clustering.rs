//! Clustering: beside jobs of the same kind, so that shares do not mix with jobs of whole cards.

use crate::policy::best_fit::COMPUTE;
use crate::policy::card_choice::fullest;
use crate::policy::node::{Demand, Node, SizeClass};
use crate::policy::{Offer, PlacementPolicy, PolicyName};

/// The policy.
pub(super) struct Clustering;

impl PlacementPolicy for Clustering {
    fn name(&self) -> PolicyName {
        PolicyName::Clustering
    }

    fn score(&self, node: &Node, demand: &Demand, _: u64) -> Option<Offer> {
        let cards = fullest(node, demand)?;
        let own = match demand.class() {
            SizeClass::CpuOnly => return Some(Offer { cost: 0, cards }),
            SizeClass::Share => 1,
            SizeClass::Whole(count) => 1 << count.min(63),
        };
        let company = match node.hosted {
            hosted if hosted == own => 75,
            hosted if hosted & own != 0 => 50,
            0 => 25,
            _ => 0,
        };
        let full = (COMPUTE as i64 - i64::from(node.compute())) * 25 / COMPUTE as i64;
        Some(Offer { cost: -(company + full), cards })
    }
}
