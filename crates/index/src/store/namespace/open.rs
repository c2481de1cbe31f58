//! Making and opening a namespace.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use super::flush::open_text;
use super::state::{Segment, State};
use super::{Namespace, Writer};
use crate::bytes::Bytes;
use crate::store::document::check_spec;
use crate::store::documents::Documents;
use crate::store::embedding::Embedding;
use crate::store::error::{DamagedFile, IndexError};
use crate::store::folder::Folder;
use crate::store::live::LiveSet;
use crate::store::log::Log;
use crate::store::manifest::{
    self, EmbeddingEntry, NAME, NamespaceManifest, SegmentEntry, log_name,
};
use crate::store::memory::Memory;
use crate::store::record::Record;
use crate::store::spec::EmbeddingSpec;
use crate::text::{Bm25Options, TextBuffer, TextSegment};

impl Namespace {
    /// Makes the folder of a new namespace; it is not there until the index names it.
    pub(crate) fn create(
        folder: &Folder,
        embedding: Option<&EmbeddingSpec>,
    ) -> Result<(), IndexError> {
        embedding.map(check_spec).transpose()?;
        folder.make()?;
        let live = LiveSet::default().save(folder, "live-000000")?;
        drop(Log::create(folder, 1)?);
        let entry = |spec: &EmbeddingSpec| EmbeddingEntry {
            number: 0,
            spec: spec.clone(),
            runs: Vec::new(),
            dense: None,
        };
        let embeddings: Vec<EmbeddingEntry> = embedding.map(entry).into_iter().collect();
        let manifest = NamespaceManifest {
            next_file: 2,
            log: 1,
            next_slot: 0,
            next_embedding: embeddings.len() as u32,
            live,
            segments: Vec::new(),
            active: embedding.map(|_| 0),
            embeddings,
            notes: BTreeMap::new(),
        };
        manifest::swap(folder, &manifest).map_err(|failed| failed.error)
    }

    /// Opens a namespace: reads its manifest and tables, and what its log has.
    pub(crate) fn open(name: &str, folder: Folder) -> Result<Self, IndexError> {
        let manifest: NamespaceManifest = manifest::read(&folder)?.ok_or_else(|| {
            DamagedFile::new(&folder.at(NAME), "the index names it, and it is not there")
        })?;
        remove_leftovers(&folder, &manifest)?;
        let (log, records) = Log::open(&folder, manifest.log)?;
        let mut state = State::open(&folder, &manifest)?;
        for record in records {
            state.replay(record)?;
        }
        let writer = Writer { manifest, log, is_stopped: false };
        Ok(Self {
            name: name.to_owned(),
            folder,
            writer: Mutex::new(writer),
            state: RwLock::new(state),
            is_dropped: AtomicBool::new(false),
        })
    }
}

/// Removes what a write that did not happen left behind.
fn remove_leftovers(folder: &Folder, manifest: &NamespaceManifest) -> Result<(), IndexError> {
    let needed = manifest.files();
    let names = folder.names()?.into_iter().filter(|name| !needed.contains(name));
    names.for_each(|name| folder.discard(&name));
    Ok(())
}

impl State {
    fn open(folder: &Folder, manifest: &NamespaceManifest) -> Result<Self, IndexError> {
        let live = LiveSet::load(folder, &manifest.live, manifest.next_slot)?;
        let mut remade = Vec::new();
        let mut segments = Vec::new();
        for entry in &manifest.segments {
            let (segment, damaged) = Segment::open(folder, entry, &live)?;
            segments.push(segment);
            remade.extend(damaged);
        }
        check_slots(&segments, manifest, &live)?;
        let mut embeddings = Vec::new();
        for entry in &manifest.embeddings {
            check_spec(&entry.spec)
                .map_err(|error| DamagedFile::new(&folder.at(NAME), error.to_string()))?;
            let (embedding, damaged) = Embedding::open(folder, entry, &live)?;
            embeddings.push(embedding);
            remade.extend(damaged);
        }
        let notes = manifest.notes.iter();
        let notes = notes.map(|(name, text)| (name.clone(), Arc::from(text.as_str())));
        Ok(Self {
            log: folder.at(&log_name(manifest.log)),
            next_slot: manifest.next_slot,
            live,
            segments,
            memory: Memory::default(),
            text: TextBuffer::new(Bm25Options::default()),
            memory_bytes: 0,
            embeddings,
            active: manifest.active,
            notes: notes.collect(),
            revision: 0,
            columns: OnceLock::new(),
            remade,
        })
    }

    fn replay(&mut self, record: Record) -> Result<(), DamagedFile> {
        self.check(&record).map_err(|reason| DamagedFile::new(&self.log, reason))?;
        let gone = self.gone(&record)?;
        let dead = record.dead.clone();
        self.apply(record, &gone);
        self.clean_up(&dead);
        Ok(())
    }
}

impl Segment {
    /// Opens a segment. Its full text can be made again from its documents; that it had to be is
    /// returned beside.
    fn open(
        folder: &Folder,
        entry: &SegmentEntry,
        live: &LiveSet,
    ) -> Result<(Self, Option<DamagedFile>), IndexError> {
        let documents = Arc::new(Documents::open(folder, &entry.documents)?);
        match open_text(folder, &entry.text) {
            Ok((text, file)) => {
                let mut segment = Self { documents, text, text_file: Some(file) };
                segment.remove_dead(live)?;
                Ok((segment, None))
            }
            Err(IndexError::Damaged(damaged)) => {
                let text = remake_text(&documents, live)?;
                Ok((Self { documents, text, text_file: None }, Some(damaged)))
            }
            Err(error) => Err(error),
        }
    }

    fn remove_dead(&mut self, live: &LiveSet) -> Result<(), DamagedFile> {
        let documents = Arc::clone(&self.documents);
        for row in 0..documents.len() {
            let slot = documents.slot(row);
            if !live.contains(slot) {
                let removed = self.text.remove(slot, documents.get(row)?.text);
                let path = self.text_file.as_ref().map_or(Path::new(""), |file| file.path());
                removed.map_err(|error| DamagedFile::new(path, error.to_string()))?;
            }
        }
        Ok(())
    }
}

/// The full text of the live documents of a segment, in memory.
fn remake_text(documents: &Documents, live: &LiveSet) -> Result<TextSegment, DamagedFile> {
    let damaged = |reason: String| DamagedFile::new(documents.file().path(), reason);
    let mut buffer = TextBuffer::new(Bm25Options::default());
    for row in 0..documents.len() {
        let slot = documents.slot(row);
        if live.contains(slot) {
            let added = buffer.add(slot, documents.get(row)?.text);
            added.map_err(|error| damaged(error.to_string()))?;
        }
    }
    let text = TextSegment::open(Bytes::from_vec(buffer.freeze()));
    text.map_err(|error| damaged(error.to_string()))
}

/// Checks that slots rise from segment to segment, and that each live one is in one.
fn check_slots(
    segments: &[Segment],
    manifest: &NamespaceManifest,
    live: &LiveSet,
) -> Result<(), DamagedFile> {
    let mut next = 0;
    let mut found = 0;
    for segment in segments {
        let path = segment.documents.file().path();
        if segment.documents.len() == 0 || segment.first().0 < next {
            return Err(DamagedFile::new(path, "its slots are those of an earlier segment"));
        }
        next = segment.last().0.saturating_add(1);
        if next > manifest.next_slot {
            return Err(DamagedFile::new(path, "it has slots that were not given yet"));
        }
        let slots = (0..segment.documents.len()).map(|row| segment.documents.slot(row));
        found += slots.filter(|&slot| live.contains(slot)).count() as u64;
    }
    match found == live.len() {
        true => Ok(()),
        false => {
            let path = segments.last().map(|segment| segment.documents.file().path());
            let path = path.and_then(Path::parent).unwrap_or_else(|| Path::new(""));
            let path = path.join(&manifest.live.name);
            let reason = format!("{} slots are live, and segments have {found}", live.len());
            Err(DamagedFile::new(&path, reason))
        }
    }
}
