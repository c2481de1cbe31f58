//! What nodes there are when nothing runs: models, and shapes that many nodes share.

use crate::policy::node::{Demand, Free, Node, SizeClass, WHOLE};

/// Models that a set of them can hold.
pub const MODELS_MAX: usize = 64;

/// Models of cards, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Models(u64);

/// The nodes of a pool, by shape.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    models: Vec<String>,
    shapes: Vec<Shape>,
}

/// What nodes have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The model of the cards among those of the fleet.
    pub model: usize,
    /// Cards of each node.
    pub cards: u32,
    /// Memory of each card in MiB; 0 where it is not known.
    pub card_memory_mib: u64,
    /// vCPU in thousandths; none where processors are not shared out.
    pub cpu_milli: Option<u64>,
    /// Memory of the host in MiB; none where it is not shared out.
    pub memory_mib: Option<u64>,
    /// Nodes of the shape.
    pub nodes: u64,
}

impl Models {
    /// Every model.
    pub const ANY: Self = Self(u64::MAX);
    /// No model: what names only models that the fleet lacks.
    pub const NONE: Self = Self(0);

    /// The set with one more.
    pub fn with(self, model: usize) -> Self {
        Self(self.0 | 1 << model)
    }

    /// Whether the model is among them.
    pub fn allow(self, model: usize) -> bool {
        self.0 >> model & 1 == 1
    }
}

impl Fleet {
    /// The number of a model; none if there are too many.
    pub fn add_model(&mut self, name: &str) -> Option<usize> {
        if let Some(at) = self.model(name) {
            return Some(at);
        }
        if self.models.len() == MODELS_MAX {
            return None;
        }
        self.models.push(name.to_owned());
        Some(self.models.len() - 1)
    }

    /// The number of a model that some node has.
    pub fn model(&self, name: &str) -> Option<usize> {
        self.models.iter().position(|known| known == name)
    }

    /// The same models, with the same numbers, and no nodes.
    pub(crate) fn without_nodes(&self) -> Self {
        Self { models: self.models.clone(), shapes: Vec::new() }
    }

    /// Adds a node, and says which of the shapes it has; `nodes` of the argument does not count.
    pub fn add_node(&mut self, shape: Shape) -> usize {
        let shape = Shape { nodes: 0, ..shape };
        let known =
            self.shapes.iter().position(|known| Shape { nodes: 0, ..known.clone() } == shape);
        let at = known.unwrap_or_else(|| {
            self.shapes.push(shape);
            self.shapes.len() - 1
        });
        self.shapes[at].nodes += 1;
        at
    }

    /// Its shapes.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// A node of a shape on which nothing runs.
    pub fn empty_node(&self, shape: usize, key: u64) -> Node {
        let Shape { model, cards, card_memory_mib, cpu_milli, memory_mib, .. } = self.shapes[shape];
        let free = Free { compute: WHOLE, memory_mib: card_memory_mib };
        Node {
            shape,
            model,
            key,
            cpu_milli,
            memory_mib,
            card_memory_mib,
            cards: vec![free; cards as usize],
            jobs: 0,
            hosted: 0,
        }
    }

    /// Compute of all cards, in thousandths of a card.
    pub fn compute(&self) -> u64 {
        self.shapes.iter().map(Shape::compute).sum()
    }
}

impl Shape {
    /// Compute of the cards of all its nodes, in thousandths of a card.
    pub fn compute(&self) -> u64 {
        self.nodes * u64::from(self.cards) * u64::from(WHOLE)
    }

    /// Whether a node of the shape could run the job if nothing else ran.
    pub(crate) fn fits(&self, demand: &Demand) -> bool {
        let cards = match demand.class() {
            SizeClass::CpuOnly => true,
            SizeClass::Share | SizeClass::Whole(_) => {
                self.cards >= demand.cards && self.card_memory_mib >= demand.card_memory_mib
            }
        };
        cards
            && demand.models.allow(self.model)
            && self.cpu_milli.is_none_or(|all| all >= demand.cpu_milli)
            && self.memory_mib.is_none_or(|all| all >= demand.memory_mib)
    }
}
