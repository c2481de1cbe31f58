//! The nodes of a trace, in the order of their names.

use crate::keyed::keyed;
use crate::policy::{Fleet, MODELS_MAX, Node, Shape};
use crate::replay::trace::{NodeRow, TraceError};

/// Tells which nodes are kept from what else a seed fixes.
const KEPT: u64 = 0x4B45_4550;

/// The nodes of a trace, all empty.
#[derive(Clone, Debug)]
pub struct Cluster {
    fleet: Fleet,
    /// The shape of each node.
    shapes: Vec<usize>,
}

impl Cluster {
    /// The cluster of these nodes; refused if they have too many models of cards.
    pub fn new(mut rows: Vec<NodeRow>) -> Result<Self, TraceError> {
        rows.sort_by(|one, other| one.name.cmp(&other.name));
        let mut fleet = Fleet::default();
        let mut shapes = Vec::with_capacity(rows.len());
        for row in rows {
            let too_many = TraceError::Models { line: row.line, most: MODELS_MAX };
            let model = fleet.add_model(&row.model).ok_or(too_many)?;
            shapes.push(fleet.add_node(Shape {
                model,
                cards: row.cards,
                card_memory_mib: row.card_memory_mib,
                cpu_milli: Some(row.cpu_milli),
                memory_mib: Some(row.memory_mib),
                nodes: 0,
            }));
        }
        Ok(Self { fleet, shapes })
    }

    /// Its models and shapes.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.shapes.len()
    }

    /// So many of its nodes, at least one: those that come first in an order that the seed fixes, so
    /// that a smaller cluster is a part of a larger one.
    #[must_use]
    pub fn keep(&self, nodes: usize, seed: u64) -> Self {
        let mut order: Vec<usize> = (0..self.nodes()).collect();
        order.sort_by_key(|&at| (keyed(&[seed, at as u64, KEPT]), at));
        order.truncate(nodes.max(1));
        order.sort_unstable();
        let all = self.fleet.shapes();
        let kept = order.into_iter().map(|at| all[self.shapes[at]].clone());
        let mut fleet = self.fleet.without_nodes();
        let shapes = kept.map(|shape| fleet.add_node(shape)).collect();
        Self { fleet, shapes }
    }

    /// A node by its place among the names.
    pub(crate) fn node(&self, at: usize) -> Node {
        self.fleet.empty_node(self.shapes[at], at as u64)
    }
}
