//! Best fit: where least is left over, of processors and of cards alike.

use crate::policy::card_choice::fullest;
use crate::policy::node::{Demand, Node};
use crate::policy::{Offer, PlacementPolicy, PolicyName};

/// What a large node has: 128 vCPU, and 8 cards, in thousandths.
pub(super) const CPU_MILLI: f64 = 128_000.0;
/// See [`CPU_MILLI`].
pub(super) const COMPUTE: f64 = 8000.0;

/// The policy.
pub(super) struct BestFit;

impl PlacementPolicy for BestFit {
    fn name(&self) -> PolicyName {
        PolicyName::BestFit
    }

    fn score(&self, node: &Node, demand: &Demand, _: u64) -> Option<Offer> {
        let cards = fullest(node, demand)?;
        // Whole points, rounded down from floating point as the published experiment did: its ties
        // are a part of the policy.
        let cpu = node.cpu_milli.unwrap_or_default().saturating_sub(demand.cpu_milli) as f64;
        let compute = (u64::from(node.compute()) - demand.compute_all()) as f64;
        let points = 100.0 * (1.0 - (0.5 * (cpu / CPU_MILLI) + 0.5 * (compute / COMPUTE)));
        Some(Offer { cost: -(points.floor() as i64), cards })
    }
}
