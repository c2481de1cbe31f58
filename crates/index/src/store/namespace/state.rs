//! What a namespace holds at a moment: what searches look at, and what a write changes as a whole.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use roaring::RoaringBitmap;
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
use crate::text::{Bm25Options, TextBuffer, TextPart, TextSegment};

/// An immutable part of the documents.
pub(crate) struct Segment {
    pub(crate) documents: Arc<Documents>,
    /// Their full text, without what died.
    pub(crate) text: TextSegment,
    /// The file of the full text; `None` where it was damaged and made again.
    pub(crate) text_file: Option<Sealed>,
    /// Metadata by field and value; `None` where that was damaged, or an older version wrote none.
    pub(crate) columns: Option<Arc<Sealed>>,
    /// Whether something of it was damaged and made again.
    pub(crate) is_remade: bool,
    /// Documents that the full text no longer counted when that was saved last.
    pub(crate) removals_saved: usize,
}

/// What is being written to files, while writes go on.
pub(crate) struct Frozen {
    /// Its documents, with those that died since.
    pub(crate) documents: Arc<Memory>,
    /// Their full text, without what died.
    pub(crate) text: TextBuffer,
    /// Bytes of its documents and vectors.
    pub(crate) bytes: usize,
    /// The first slot that was not given when it was frozen.
    pub(crate) end: u32,
    /// The number of the log with what came since.
    pub(crate) next_log: u64,
    /// The path of the log before that one.
    pub(crate) log: PathBuf,
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
    /// What is being written to a segment, if anything is.
    pub(crate) frozen: Option<Frozen>,
    /// What came since then or since the last flush,
    pub(crate) memory: Memory,
    /// and its full text.
    pub(crate) text: TextBuffer,
    /// Bytes of documents and vectors that came since then, those that went again too.
    pub(crate) memory_bytes: usize,
    /// Documents that went since then.
    pub(crate) deaths: usize,
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
    pub(crate) fn with_number(&self, number: u32) -> Option<&Embedding> {
        self.embeddings.iter().find(|embedding| embedding.number == number)
    }

    /// The same, to be changed.
    pub(crate) fn numbered(&mut self, number: u32) -> Option<&mut Embedding> {
        self.embeddings.iter_mut().find(|embedding| embedding.number == number)
    }

    /// The slot of a document that is there.
    pub(crate) fn find(&self, id: &str) -> Result<Option<Slot>, DamagedFile> {
        if let Some(slot) = self.memory.find(id) {
            return Ok(Some(slot));
        }
        let frozen = self.frozen.as_ref().and_then(|frozen| frozen.documents.find(id));
        if let Some(slot) = frozen.filter(|&slot| self.live.contains(slot)) {
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
        if let Some(frozen) = &self.frozen
            && let Some(document) = frozen.documents.get(slot)
        {
            return Ok(Some((document.as_ref(), &frozen.log)));
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

    /// Metadata by field and value. The first search with a filter makes it of what each segment has;
    /// who never filters never pays.
    pub(crate) fn columns(&self) -> Result<&Columns, DamagedFile> {
        if let Some(columns) = self.columns.get() {
            return Ok(columns);
        }
        let mut columns = Columns::new();
        for segment in &self.segments {
            columns = segment.add_columns(columns, &self.live)?;
        }
        let frozen = self.frozen.iter().flat_map(|frozen| frozen.documents.iter());
        for (slot, document) in frozen.chain(self.memory.iter()) {
            if self.live.contains(slot) {
                columns.insert(slot, &known_metadata(&document.metadata));
            }
        }
        Ok(self.columns.get_or_init(|| columns))
    }

    /// The full text, part by part.
    pub(crate) fn text_parts(&self) -> Vec<TextPart<'_>> {
        let segments = self.segments.iter().map(|segment| TextPart::Segment(&segment.text));
        let frozen = self.frozen.iter().map(|frozen| TextPart::Buffer(&frozen.text));
        segments.chain(frozen).chain([TextPart::Buffer(&self.text)]).collect()
    }

    /// Lets what is in memory rest, so that it can be written to files; what comes from now on is in
    /// another log.
    pub(crate) fn freeze(&mut self, next_log: u64, log: PathBuf) {
        debug_assert!(self.frozen.is_none(), "two things are frozen");
        self.frozen = Some(Frozen {
            documents: Arc::new(std::mem::take(&mut self.memory)),
            text: std::mem::replace(&mut self.text, TextBuffer::new(Bm25Options::default())),
            bytes: std::mem::take(&mut self.memory_bytes),
            end: self.next_slot,
            next_log,
            log: std::mem::replace(&mut self.log, log),
        });
        self.deaths = 0;
        self.embeddings.iter_mut().for_each(Embedding::freeze);
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
        self.deaths += 1;
        let fresh = self.memory.remove(slot);
        let frozen = self.frozen.as_ref().map(|frozen| Arc::clone(&frozen.documents));
        let frozen = frozen.as_ref().and_then(|documents| documents.get(slot));
        let Some(document) = fresh.as_ref().or(frozen).or(gone.get(&slot)) else { return };
        let place = self.place(slot).map(|(at, _)| at);
        let removed = match (&fresh, place, &mut self.frozen) {
            (Some(_), ..) | (None, None, None) => self.text.remove(slot, &document.text),
            (None, Some(at), _) => self.segments[at].text.remove(slot, &document.text),
            (None, None, Some(frozen)) => frozen.text.remove(slot, &document.text),
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
    /// Columns with those of its live documents beside.
    fn add_columns(&self, mut columns: Columns, live: &LiveSet) -> Result<Columns, DamagedFile> {
        let slots = self.live_rows(live).map(|row| self.documents.slot(row).0);
        let passing: RoaringBitmap = slots.collect();
        if let Some(file) = &self.columns
            && let Ok(bytes) = file.read(0, file.len())
        {
            // What is wrong with it costs time, and is found by verifying.
            let saved = Columns::open(bytes, &passing).map(|(saved, _)| saved);
            if let Ok(saved) = saved
                && saved.len() == passing.len()
            {
                columns.join(saved);
                return Ok(columns);
            }
        }
        for row in self.live_rows(live) {
            let metadata =
                metadata(self.documents.get(row)?.metadata, self.documents.file().path())?;
            columns.insert(self.documents.slot(row), &metadata);
        }
        Ok(columns)
    }

    /// Whether its columns are those of its documents, as far as slots tell.
    pub(crate) fn check_columns(&self) -> Result<(), DamagedFile> {
        let Some(file) = &self.columns else { return Ok(()) };
        let damaged = |reason: &str| DamagedFile::new(file.path(), reason);
        let slots = (0..self.documents.len()).map(|row| self.documents.slot(row).0);
        let all: RoaringBitmap = slots.collect();
        let (_, found) = Columns::open(file.read(0, file.len())?, &all).map_err(damaged)?;
        match found == all {
            true => Ok(()),
            false => Err(damaged("it is of other documents")),
        }
    }

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
