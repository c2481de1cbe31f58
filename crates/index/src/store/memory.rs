//! The documents that came since the last flush.

use std::collections::{BTreeMap, HashMap};

use super::record::Stored;
use crate::hit::Slot;

/// Documents that are not in a segment yet. All of them are live, until they are frozen.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    documents: BTreeMap<Slot, Stored>,
    ids: HashMap<String, Slot>,
}

impl Memory {
    /// Adds a document whose id is not in it.
    pub(crate) fn insert(&mut self, slot: Slot, document: Stored) {
        self.ids.insert(document.id.clone(), slot);
        self.documents.insert(slot, document);
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Stored> {
        let document = self.documents.remove(&slot)?;
        self.ids.remove(&document.id);
        Some(document)
    }

    pub(crate) fn find(&self, id: &str) -> Option<Slot> {
        self.ids.get(id).copied()
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Stored> {
        self.documents.get(&slot)
    }

    /// Number of documents.
    pub(crate) fn len(&self) -> usize {
        self.documents.len()
    }

    /// All documents by rising slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Stored)> {
        self.documents.iter().map(|(&slot, document)| (slot, document))
    }
}
