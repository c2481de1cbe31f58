//! Making and opening a namespace.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use super::duties::Duties;
use super::locks::StateLock;
use super::state::{Segment, State};
use super::{Duty, Namespace, Writer};
use crate::dense::Dense;
use crate::store::background::Caller;
use crate::store::document::check_spec;
use crate::store::embedding::Embedding;
use crate::store::error::{DamagedFile, IndexError};
use crate::store::folder::Folder;
use crate::store::live::LiveSet;
use crate::store::log::{self, Log};
use crate::store::manifest::{self, EmbeddingEntry, NAME, NamespaceManifest, log_name};
use crate::store::memory::Memory;
use crate::store::new_files::Numbers;
use crate::store::record::Record;
use crate::store::spec::EmbeddingSpec;
use crate::text::{Bm25Options, TextBuffer};

/// What keeps other processes from an index, as long as it is there.
pub(crate) type FolderLock = Arc<dyn Debug + Send + Sync>;

/// What a namespace has of the index that opens it.
pub(crate) struct Owner {
    pub(crate) caller: Caller,
    /// Bytes in memory from which on they are to become files.
    pub(crate) flush_bytes: usize,
    pub(crate) lock: FolderLock,
}

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
            older_logs: Vec::new(),
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

    /// Opens a namespace: reads its manifest and tables, and what its logs have.
    pub(crate) fn open(name: &str, folder: Folder, owner: Owner) -> Result<Arc<Self>, IndexError> {
        // As for the index itself: only what is durable is built upon.
        folder.sync()?;
        let manifest: NamespaceManifest = manifest::read(&folder)?.ok_or_else(|| {
            DamagedFile::new(&folder.at(NAME), "the index names it, and it is not there")
        })?;
        remove_leftovers(&folder, &manifest)?;
        let mut state = State::open(&folder, &manifest)?;
        // What the logs have is compared one by one until somebody has time to join it.
        let held: Vec<Arc<Dense>> = state.embeddings.iter().map(Embedding::hold).collect();
        for older in &manifest.older_logs {
            let records = log::read_older(&folder, older)?;
            state.replay(&folder.at(&log_name(older.number)), records)?;
        }
        let (log, records) = Log::open(&folder, manifest.log)?;
        state.replay(&folder.at(&log_name(manifest.log)), records)?;
        for (embedding, held) in state.embeddings.iter_mut().zip(held) {
            embedding.reconcile(held)?;
        }
        let numbers = Numbers::new(manifest.next_file);
        let writer = Writer { manifest, log, is_stopped: false };
        let namespace = Arc::new_cyclic(|namespace| Self {
            name: name.to_owned(),
            folder,
            writer: Mutex::new(writer),
            state: StateLock::new(state),
            numbers,
            flushing: Mutex::default(),
            tidying: Mutex::default(),
            installing: Mutex::default(),
            duties: Duties::new(owner.caller, Weak::clone(namespace), owner.flush_bytes),
            is_dropped: AtomicBool::new(false),
            _lock: owner.lock,
        });
        // The process before may have ended with much to do.
        namespace.call_if_due()?;
        if namespace.read()?.embeddings.iter().any(|embedding| embedding.behind() > 0) {
            namespace.duties.call(Duty::Tidy);
        }
        Ok(namespace)
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
            let (segment, damaged) = Segment::open(folder, entry, &|slot| live.contains(slot))?;
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
            frozen: None,
            memory: Memory::default(),
            text: TextBuffer::new(Bm25Options::default()),
            memory_bytes: 0,
            deaths: 0,
            embeddings,
            active: manifest.active,
            notes: notes.collect(),
            revision: 0,
            columns: OnceLock::new(),
            remade,
        })
    }

    /// Makes the records of a log true.
    fn replay(&mut self, log: &Path, records: Vec<Record>) -> Result<(), DamagedFile> {
        for record in records {
            self.check(&record).map_err(|reason| DamagedFile::new(log, reason))?;
            let gone = self.gone(&record)?;
            let dead = record.dead.clone();
            self.apply(record, &gone);
            self.clean_up(&dead);
        }
        Ok(())
    }
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
