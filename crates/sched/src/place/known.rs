//! What asks would cost on the nodes of a ledger, remembered until a node changes.

use std::collections::BTreeMap;

use cotenant_types::Ask;

use super::member::Cost;

/// Costs that are remembered at most, 32 bytes each; then all are forgotten.
const COSTS_MAX: usize = 1 << 20;

/// Costs by ask and node. They are of one ledger, which may change and whose copies may not.
#[derive(Default)]
pub(crate) struct Known<'a> {
    asks: BTreeMap<&'a Ask, Costs>,
}

/// Costs of an ask by node, each with the version of the node that it is of.
#[derive(Default)]
pub(crate) struct Costs(Vec<(u64, Option<Cost>)>);

impl<'a> Known<'a> {
    /// What is known of an ask on so many nodes.
    pub(crate) fn of(&mut self, ask: &'a Ask, nodes: usize) -> &mut Costs {
        if self.asks.len().saturating_mul(nodes) >= COSTS_MAX && !self.asks.contains_key(ask) {
            self.asks.clear();
        }
        let costs = self.asks.entry(ask).or_default();
        // No node has version 0.
        costs.0.resize(nodes, (0, None));
        costs
    }
}

impl Costs {
    /// The cost on a node of this version, worked out if it is not known.
    pub(super) fn get(
        &mut self,
        (node, version): (usize, u64),
        work_out: impl FnOnce() -> Option<Cost>,
    ) -> Option<Cost> {
        let known = &mut self.0[node];
        if known.0 != version {
            *known = (version, work_out());
        }
        known.1
    }
}
