//! What a namespace holds at a moment: what searches look at, and what a write changes as a whole.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

use crate::filter::Columns;
use crate::hit::Slot;
use crate::store::document::{Document, LENGTH_MAX, metadata};
use crate::store::documents::{Documents, StoredRef};
use crate::store::embedding::Embedding;
use crate::store::error::{DamagedFile, IndexError};
use crate::store::live::LiveSet;
use crate::store::memory::Memory;
use crate::store::record::{Record, SlotVector, Stored};
use crate::store::sealed::Sealed;
use crate::text::{TextBuffer, TextSegment};

/// An immutable part of the documents.
pub(crate) struct Segment {
    pub(crate) documents: Arc<Documents>,
    /// Their full text, without what died.
    pub(crate) text: TextSegment,
    /// The file of the full text; `None` where it was damaged and made again.
    pub(crate) text_file: Option<Sealed>,
}

/// What a namespace holds.
pub(crate) struct State {
    /// The log's path, for what is wrong with a document in memory.
    pub(crate) log: PathBuf,
    /// The slot of the next document.
    pub(crate) next_slot: u32,
    /// Slots whose documents are there.
    pub(crate) live: LiveSet,
    /// By rising slots.
    pub(crate) segments: Vec<Segment>,
    /// What came since the last flush,
    pub(crate) memory: Memory,
    /// and its full text.
    pub(crate) text: TextBuffer,
    /// Bytes of documents and vectors that came since then, those that went again too.
    pub(crate) memory_bytes: usize,
    pub(crate) embeddings: Vec<Embedding>,
    /// The number of the embedding that searches use.
    pub(crate) active: Option<u32>,
    /// What others keep beside the documents, by name.
    pub(crate) notes: BTreeMap<String, Arc<str>>,
    /// Number of records that were applied since it was opened.
    pub(crate) revision: u64,
    /// Metadata by field and value, once a search has asked for it.
    pub(crate) columns: OnceLock<Columns>,
    /// Files that were damaged, and whose content was made again from others.
    pub(crate) remade: Vec<DamagedFile>,
}

/// Documents in segments that a record removes, by their slots: what counts them must be told what
/// they were.
pub(crate) type Gone = HashMap<Slot, Stored>;

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

    /// The embedding of that number; it may have been dropped.
    pub(crate) fn numbered(&mut self, number: u32) -> Option<&mut Embedding> {
        self.embeddings.iter_mut().find(|embedding| embedding.number == number)
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
    pub(crate) fn stored(&self, slot: Slot) -> Result<Option<(StoredRef<'_>, &Path)>, DamagedFile> {
        if !self.live.contains(slot) {
            return Ok(None);
        }
        if let Some(document) = self.memory.get(slot) {
            return Ok(Some((document.as_ref(), &self.log)));
        }
        let Some((at, row)) = self.place(slot) else { return Ok(None) };
        let documents = &self.segments[at].documents;
        Ok(Some((documents.get(row)?, documents.file().path())))
    }

    /// The segment of a slot, dead or live, and its row there.
    fn place(&self, slot: Slot) -> Option<(usize, usize)> {
        let at = self.segments.partition_point(|segment| segment.last() < slot);
        let segment = self.segments.get(at)?;
        Some((at, segment.documents.row_of(slot)?))
    }

    /// A live document, with its vector under the active embedding.
    pub(crate) fn document(&self, slot: Slot) -> Result<Option<Document>, DamagedFile> {
        let Some((stored, path)) = self.stored(slot)? else { return Ok(None) };
        let vector = self.active().map(|embedding| embedding.vector(slot)).transpose()?.flatten();
        Ok(Some(Document {
            id: stored.id.to_owned(),
            text: stored.text.to_owned(),
            metadata: metadata(stored.metadata, path)?,
            vector: vector.map(Cow::into_owned),
        }))
    }

    /// The metadata of a live document.
    pub(crate) fn metadata(&self, slot: Slot) -> Result<Option<Map<String, Value>>, DamagedFile> {
        let Some((stored, path)) = self.stored(slot)? else { return Ok(None) };
        metadata(stored.metadata, path).map(Some)
    }

    /// Metadata by field and value. The first search with a filter reads all documents for it; who
    /// never filters never pays.
    pub(crate) fn columns(&self) -> Result<&Columns, DamagedFile> {
        if let Some(columns) = self.columns.get() {
            return Ok(columns);
        }
        let mut columns = Columns::new();
        for slot in self.live.iter() {
            if let Some(metadata) = self.metadata(slot)? {
                columns.insert(slot, &metadata);
            }
        }
        Ok(self.columns.get_or_init(|| columns))
    }

    /// What is wrong with a record that is to be applied, if anything is.
    pub(crate) fn check(&self, record: &Record) -> Result<(), &'static str> {
        let given =
            (self.next_slot..).zip(&record.documents).all(|(next, (slot, _))| next == slot.0);
        let end = u64::from(self.next_slot) + record.documents.len() as u64;
        let is_known = |slot: &Slot| u64::from(slot.0) < end;
        let is_short = |values: &[f32]| {
            let square: f64 = values.iter().map(|&value| f64::from(value).powi(2)).sum();
            square <= LENGTH_MAX * LENGTH_MAX
        };
        let vectors = record.vectors.iter().all(|vector| {
            let embedding = self.embeddings.iter().find(|one| one.number == vector.embedding);
            is_known(&vector.slot)
                && is_short(&vector.values)
                && embedding.is_none_or(|one| one.spec.dimensions == vector.values.len())
        });
        match () {
            () if !given || end > u64::from(u32::MAX) => Err("a record gives slots out of order"),
            () if !record.dead.iter().all(is_known) => Err("a record removes an unknown slot"),
            () if !vectors => Err("a record has a vector that fits no slot or embedding"),
            () => Ok(()),
        }
    }

    /// The documents that applying a record will need.
    pub(crate) fn gone(&self, record: &Record) -> Result<Gone, DamagedFile> {
        let mut gone = Gone::new();
        for &slot in record.dead.iter().filter(|&&slot| self.live.contains(slot)) {
            if let Some((at, row)) = self.place(slot) {
                gone.insert(slot, self.segments[at].documents.get(row)?.to_owned());
            }
        }
        Ok(gone)
    }

    /// Lets the vectors of a record be searched before it is applied: none of them is found yet.
    pub(crate) fn prepare(&mut self, vectors: &[SlotVector]) {
        for vector in vectors {
            if let Some(embedding) = self.numbered(vector.embedding) {
                embedding.search_for(vector.slot, &vector.values);
            }
        }
    }

    /// Makes a record that was checked true.
    pub(crate) fn apply(&mut self, record: Record, gone: &Gone) {
        self.revision += 1;
        for slot in record.dead {
            self.kill(slot, gone);
        }
        for (slot, document) in record.documents {
            self.memory_bytes += document.bytes();
            self.live.insert(slot);
            let added = self.text.add(slot, &document.text);
            added.expect("slots rise and texts are far shorter than a part of the text may be");
            if let Some(columns) = self.columns.get_mut() {
                columns.insert(slot, &known_metadata(&document.metadata));
            }
            self.memory.insert(slot, document);
            self.next_slot = slot.0 + 1;
        }
        for vector in record.vectors {
            let is_live = self.live.contains(vector.slot);
            let bytes = vector.values.len() * 4;
            // An embedding that was dropped since leaves its vectors in the log.
            if let Some(embedding) = self.numbered(vector.embedding).filter(|_| is_live) {
                embedding.insert(vector.slot, vector.values);
                self.memory_bytes += bytes;
            }
        }
    }

    /// Removes what died from what searches vectors; it was not found any more.
    pub(crate) fn clean_up(&mut self, dead: &[Slot]) {
        for embedding in &mut self.embeddings {
            dead.iter().for_each(|&slot| embedding.unsearch(slot));
        }
    }

    fn kill(&mut self, slot: Slot, gone: &Gone) {
        if !self.live.remove(slot) {
            return;
        }
        let fresh = self.memory.remove(slot);
        let Some(document) = fresh.as_ref().or(gone.get(&slot)) else { return };
        let removed = match self.place(slot).filter(|_| fresh.is_none()) {
            Some((at, _)) => self.segments[at].text.remove(slot, &document.text),
            None => self.text.remove(slot, &document.text),
        };
        // The text is the one that was added, by its checksum. Were it not, it would be counted
        // where words are weighed, and not be found.
        debug_assert!(removed.is_ok(), "{removed:?}");
        if let Some(columns) = self.columns.get_mut() {
            columns.remove(slot, &known_metadata(&document.metadata));
        }
        for embedding in &mut self.embeddings {
            embedding.remove(slot);
        }
    }
}

/// The metadata of a document that was checked when it came.
fn known_metadata(json: &str) -> Map<String, Value> {
    serde_json::from_str(json).unwrap_or_default()
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

    /// The rows whose documents are there.
    pub(crate) fn live_rows(&self, live: &LiveSet) -> impl Iterator<Item = usize> {
        (0..self.documents.len()).filter(|&row| live.contains(self.documents.slot(row)))
    }
}
