//! An embedding of a namespace: a vector for each document, from one model.
//!
//! A document has one vector under an embedding, for good: the same model gives the same vector for
//! the same text, and a text that changes gets a new slot.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::DamagedFile;
use super::live::LiveSet;
use super::spec::EmbeddingSpec;
use super::vectors::Run;
use crate::hit::Slot;

/// An embedding with its vectors.
#[derive(Debug)]
pub(crate) struct Embedding {
    pub(crate) number: u32,
    pub(crate) spec: EmbeddingSpec,
    /// Vectors on disk; a slot is in at most one run.
    pub(crate) runs: Vec<Arc<Run>>,
    /// Vectors that came since the last flush, of live slots.
    pub(crate) memory: BTreeMap<Slot, Vec<f32>>,
    /// The live slots that have a vector.
    covered: LiveSet,
}

impl Embedding {
    /// An embedding whose vectors are in these runs.
    pub(crate) fn new(
        number: u32,
        spec: EmbeddingSpec,
        runs: Vec<Arc<Run>>,
        live: &LiveSet,
    ) -> Self {
        let mut covered = LiveSet::default();
        for run in &runs {
            for slot in (0..run.len()).map(|row| run.slot(row)).filter(|&slot| live.contains(slot))
            {
                covered.insert(slot);
            }
        }
        Self { number, spec, runs, memory: BTreeMap::new(), covered }
    }

    /// The live slots that have a vector.
    pub(crate) fn covered(&self) -> &LiveSet {
        &self.covered
    }

    /// Adds the vector of a live slot that has none.
    pub(crate) fn insert(&mut self, slot: Slot, values: Vec<f32>) {
        if self.covered.insert(slot) {
            self.memory.insert(slot, values);
        }
    }

    /// Forgets a slot that died.
    pub(crate) fn remove(&mut self, slot: Slot) {
        if self.covered.remove(slot) {
            self.memory.remove(&slot);
        }
    }

    /// The vector of a live slot: `[dimensions]`.
    pub(crate) fn vector(&self, slot: Slot) -> Result<Option<Cow<'_, [f32]>>, DamagedFile> {
        if !self.covered.contains(slot) {
            return Ok(None);
        }
        if let Some(values) = self.memory.get(&slot) {
            return Ok(Some(Cow::Borrowed(values)));
        }
        let found = self.runs.iter().find_map(|run| run.row_of(slot).map(|row| run.get(row)));
        found.transpose()
    }
}
