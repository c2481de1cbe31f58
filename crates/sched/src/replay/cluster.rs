//! The nodes of a trace, in the order of their names.

use crate::policy::{Fleet, MODELS_MAX, Node, Shape};
use crate::replay::trace::{NodeRow, TraceError};

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

    /// A node by its place among the names.
    pub(crate) fn node(&self, at: usize) -> Node {
        self.fleet.empty_node(self.shapes[at], at as u64)
    }
}
