//! What a namespace holds at a moment: what searches look at, and what a write changes as a whole.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use crate::hit::Slot;
use crate::store::document::{Document, metadata};
use crate::store::documents::{Documents, StoredRef};
use crate::store::embedding::Embedding;
use crate::store::error::{DamagedFile, IndexError};
use crate::store::live::LiveSet;
use crate::store::memory::Memory;
use crate::store::record::Record;

/// An immutable part of the documents.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) documents: Arc<Documents>,
}

/// What a namespace holds.
#[derive(Debug)]
pub(crate) struct State {
    /// The log's path, for what is wrong with a document in memory.
    pub(crate) log: PathBuf,
    /// The slot of the next document.
    pub(crate) next_slot: u32,
    /// Slots whose documents are there.
    pub(crate) live: LiveSet,
    /// By rising slots.
    pub(crate) segments: Vec<Segment>,
    /// What came since the last flush.
    pub(crate) memory: Memory,
    /// Bytes of documents and vectors that came since then, those that went again too.
    pub(crate) memory_bytes: usize,
    pub(crate) embeddings: Vec<Embedding>,
    /// The number of the embedding that searches use.
    pub(crate) active: Option<u32>,
}

impl State {
    /// The embedding that searches use.
    pub(crate) fn active(&self) -> Option<&Embedding> {
        let active = self.active?;
        self.embeddings.iter().find(|embedding| embedding.number == active)
    }

    /// The embedding of that name.
    pub(crate) fn embedding(&self, name: &str) -> Result<&Embedding, IndexError> {
        let found = self.embeddings.iter().find(|embedding| embedding.spec.name == name);
        found.ok_or_else(|| IndexError::UnknownEmbedding {
            name: name.to_owned(),
            known: self.embeddings.iter().map(|embedding| embedding.spec.name.clone()).collect(),
        })
    }

    /// The slot of a document that is there.
    pub(crate) fn find(&self, id: &str) -> Result<Option<Slot>, DamagedFile> {
        if let Some(slot) = self.memory.find(id) {
            return Ok(Some(slot));
        }
        for segment in self.segments.iter().rev() {
            let documents = &segment.documents;
            let slots = documents.find(id)?.into_iter().map(|row| documents.slot(row));
            if let Some(slot) = slots.into_iter().find(|&slot| self.live.contains(slot)) {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }

    /// What is kept of a live slot, and in which file.
    pub(crate) fn stored(&self, slot: Slot) -> Result<Option<(StoredRef<'_>, PathBuf)>, DamagedFile> {
        if !self.live.contains(slot) {
            return Ok(None);
        }
        if let Some(document) = self.memory.get(slot) {
            return Ok(Some((document.as_ref(), self.log.clone())));
        }
        let Some((segment, row)) = self.place(slot) else { return Ok(None) };
        let document = segment.documents.get(row)?;
        Ok(Some((document, segment.documents.file().path().to_owned())))
    }

    /// The segment of a slot, dead or live, and its row there.
    pub(crate) fn place(&self, slot: Slot) -> Option<(&Segment, usize)> {
        let at = self.segments.partition_point(|segment| segment.last() < slot);
        let segment = self.segments.get(at)?;
        Some((segment, segment.documents.row_of(slot)?))
    }

    /// A live document, with its vector under the active embedding.
    pub(crate) fn document(&self, slot: Slot) -> Result<Option<Document>, DamagedFile> {
        let Some((stored, path)) = self.stored(slot)? else { return Ok(None) };
        let vector = self.active().map(|embedding| embedding.vector(slot)).transpose()?.flatten();
        Ok(Some(Document {
            id: stored.id.to_owned(),
            text: stored.text.to_owned(),
            metadata: metadata(stored.metadata, &path)?,
            vector: vector.map(Cow::into_owned),
        }))
    }

    /// What is wrong with a record that is to be applied, if anything is.
    pub(crate) fn check(&self, record: &Record) -> Result<(), &'static str> {
        let given = (self.next_slot..).zip(&record.documents).all(|(next, (slot, _))| next == slot.0);
        let end = u64::from(self.next_slot) + record.documents.len() as u64;
        let is_known = |slot: &Slot| u64::from(slot.0) < end;
        let vectors = record.vectors.iter().all(|vector| {
            let embedding = self.embeddings.iter().find(|one| one.number == vector.embedding);
            is_known(&vector.slot)
                && vector.values.iter().all(|value| value.is_finite())
                && embedding.is_none_or(|one| one.spec.dimensions == vector.values.len())
        });
        match () {
            () if !given || end > u64::from(u32::MAX) => Err("a record gives slots out of order"),
            () if !record.dead.iter().all(is_known) => Err("a record removes an unknown slot"),
            () if !vectors => Err("a record has a vector that fits no slot or embedding"),
            () => Ok(()),
        }
    }

    /// Makes a record that was checked true.
    pub(crate) fn apply(&mut self, record: Record) {
        for slot in record.dead {
            self.kill(slot);
        }
        for (slot, document) in record.documents {
            self.memory_bytes += document.bytes();
            self.live.insert(slot);
            self.memory.insert(slot, document);
            self.next_slot = slot.0 + 1;
        }
        for vector in record.vectors {
            let embedding = self.embeddings.iter_mut().find(|one| one.number == vector.embedding);
            // An embedding that was dropped since leaves its vectors in the log.
            if let Some(embedding) = embedding.filter(|_| self.live.contains(vector.slot)) {
                self.memory_bytes += vector.values.len() * 4;
                embedding.insert(vector.slot, vector.values);
            }
        }
    }

    fn kill(&mut self, slot: Slot) {
        if !self.live.remove(slot) {
            return;
        }
        self.memory.remove(slot);
        for embedding in &mut self.embeddings {
            embedding.remove(slot);
        }
    }
}

impl Segment {
    /// Its last slot; a segment is never empty.
    pub(crate) fn last(&self) -> Slot {
        self.documents.slot(self.documents.len().saturating_sub(1))
    }

    /// Its first slot.
    pub(crate) fn first(&self) -> Slot {
        self.documents.slot(0)
    }
}
