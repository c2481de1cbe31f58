//! Dot product: where the product of what is free and what is asked for is least, so that a job goes
//! where its kind of resource is scarce.

use crate::policy::best_fit::{COMPUTE, CPU_MILLI};
use crate::policy::card_choice::fullest;
use crate::policy::node::{Demand, Node};
use crate::policy::{Offer, PlacementPolicy, PolicyName};

/// The policy.
pub(super) struct DotProduct;

impl PlacementPolicy for DotProduct {
    fn name(&self) -> PolicyName {
        PolicyName::DotProduct
    }

    fn score(&self, node: &Node, demand: &Demand, _: u64) -> Option<Offer> {
        let cards = fullest(node, demand)?;
        let cpu = node.cpu_milli.unwrap_or_default() as f64 / CPU_MILLI;
        let compute = f64::from(node.compute()) / COMPUTE;
        let cpu = cpu * (demand.cpu_milli as f64 / CPU_MILLI);
        let compute = compute * (demand.compute_all() as f64 / COMPUTE);
        let points = 100.0 * (1.0 - 0.5 * (cpu + compute));
        Some(Offer { cost: -(points.floor() as i64), cards })
    }
}
