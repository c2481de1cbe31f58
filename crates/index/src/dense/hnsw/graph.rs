//! The structure as a whole.

use std::io;

use super::links::{Links, NONE};
use super::nested::NestedCodes;
use super::scratch::Pool;
use crate::dense::error::DamagedError;
use crate::dense::rotation::Rotation;
use crate::dense::saved::{Reader, Writer};
use crate::dense::search::{Found, SearchArgs};
use crate::dense::slots::SlotMap;
use crate::dense::spec::{DenseSpec, Hnsw};

/// In place of a slot: the node is gone or free.
pub(super) const NO_SLOT: u32 = u32::MAX;
/// Vectors at most: the highest bit of a node's number marks it in a walk.
pub(super) const NODES_MAX: usize = 1 << 31;

/// A hierarchical graph of neighbours.
pub(in crate::dense) struct Graph {
    pub(super) settings: Hnsw,
    pub(super) seed: u64,
    rotation: Rotation,
    pub(super) codes: NestedCodes,
    pub(super) links: Links,
    /// Each node's slot, [`NO_SLOT`] for those that are gone or free.
    pub(super) slot_of: Vec<u32>,
    map: SlotMap,
    /// Where walks begin: a living node of the highest level; `None` if there is none.
    pub(super) entry: Option<u32>,
    /// Nodes whose memory waits for the next one.
    pub(super) free: Vec<u32>,
    /// How many nodes are gone and not free.
    pub(super) gone: usize,
    /// The node that was swept last.
    pub(super) cursor: u32,
    pub(super) pool: Pool,
}

impl Graph {
    pub(in crate::dense) fn new(spec: &DenseSpec, settings: Hnsw) -> Self {
        Self {
            settings,
            seed: spec.seed,
            rotation: Rotation::new(spec.dimensions, spec.seed),
            codes: NestedCodes::new(spec.dimensions),
            links: Links::new(settings.links as usize),
            slot_of: Vec::new(),
            map: SlotMap::default(),
            entry: None,
            free: Vec::new(),
            gone: 0,
            cursor: 0,
            pool: Pool::default(),
        }
    }

    pub(in crate::dense) fn len(&self) -> usize {
        self.map.len()
    }

    pub(in crate::dense) fn map(&self) -> &SlotMap {
        &self.map
    }

    /// Vectors that are gone and whose memory is not free yet.
    pub(in crate::dense) fn gone(&self) -> usize {
        self.gone
    }

    pub(in crate::dense) fn memory_bytes(&self) -> usize {
        let nodes = (self.slot_of.capacity() + self.free.capacity()) * 4;
        let parts = self.rotation.memory_bytes() + self.map.memory_bytes() + nodes;
        parts + self.codes.memory_bytes() + self.links.memory_bytes()
    }

    /// Whether another vector finds room.
    pub(in crate::dense) fn is_full(&self) -> bool {
        self.free.is_empty() && self.links.len() == NODES_MAX
    }

    /// Adds a slot that is not there yet.
    pub(in crate::dense) fn insert(&mut self, slot: u32, mut vector: Vec<f32>) {
        self.rotation.apply(&mut vector);
        let node = self.free.pop().unwrap_or_else(|| {
            let node = self.links.len();
            self.links.grow();
            self.codes.resize(node + 1);
            self.slot_of.push(NO_SLOT);
            node as u32
        });
        self.codes.set(node, &vector);
        self.links.begin(node, self.level_of(slot));
        self.slot_of[node as usize] = slot;
        self.map.insert(slot, node);
        let mut scratch = self.pool.take();
        self.connect(node, &vector, &mut scratch);
        self.pool.give(scratch);
        self.sweep_some();
    }

    pub(in crate::dense) fn remove(&mut self, slot: u32) -> bool {
        let Some(node) = self.map.remove(slot) else { return false };
        self.bury(node);
        self.sweep_some();
        true
    }

    pub(in crate::dense) fn search(&self, args: &SearchArgs<'_>) -> Found {
        let mut vector = args.query.to_vec();
        self.rotation.apply(&mut vector);
        self.find(&vector, args)
    }

    pub(in crate::dense) fn save(&self, out: &mut Writer<'_>) -> io::Result<()> {
        self.codes.save(out)?;
        self.links.save(out)?;
        out.counted(&self.slot_of)?;
        out.number(self.entry.unwrap_or(NONE))?;
        out.number(self.cursor)
    }

    pub(in crate::dense) fn open(
        bytes: &mut Reader<'_>,
        spec: &DenseSpec,
        settings: Hnsw,
    ) -> Result<Self, DamagedError> {
        let damaged = |reason| Err(DamagedError { reason });
        let mut graph = Self::new(spec, settings);
        graph.codes = NestedCodes::open(bytes, spec.dimensions)?;
        graph.links = Links::open(bytes, settings.links as usize)?;
        graph.slot_of = bytes.counted()?;
        let nodes = graph.links.len();
        if graph.codes.len() != nodes || graph.slot_of.len() != nodes || nodes > NODES_MAX {
            return damaged("nodes do not fit together");
        }
        for (node, &slot) in graph.slot_of.iter().enumerate() {
            let node = node as u32;
            match (graph.links.level(node), slot) {
                (None, NO_SLOT) => graph.free.push(node),
                (Some(_), NO_SLOT) => graph.gone += 1,
                (Some(_), slot) => {
                    if graph.map.insert(slot, node).is_some() {
                        return damaged("a slot is there twice");
                    }
                }
                (None, _) => return damaged("a node that is not in use has a slot"),
            }
        }
        graph.entry = Some(bytes.number()?).filter(|&entry: &u32| entry != NONE);
        graph.cursor = bytes.number()?;
        let lives = |node: u32| graph.slot_of.get(node as usize).is_some_and(|&s| s != NO_SLOT);
        if graph.entry.is_some_and(|entry| !lives(entry))
            || graph.entry.is_some() != (graph.len() > 0)
        {
            return damaged("the entry is no living node");
        }
        graph.count_incoming()?;
        graph.check_tree()?;
        Ok(graph)
    }

    fn count_incoming(&mut self) -> Result<(), DamagedError> {
        for node in 0..self.links.len() as u32 {
            if self.slot_of[node as usize] == NO_SLOT {
                continue;
            }
            for level in 0..=self.links.level(node).unwrap_or(0) {
                let to: Vec<u32> = self.links.of(node, level).collect();
                if to.iter().any(|&to| self.links.level(to).is_none()) {
                    return Err(DamagedError {
                        reason: "a link leads to a node that is not in use",
                    });
                }
                to.into_iter().for_each(|to| self.links.count_more(to));
            }
        }
        Ok(())
    }
}
