//! Making and opening a namespace.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock};

use super::state::{Segment, State};
use super::{Namespace, Writer};
use crate::store::document::check_spec;
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
use crate::store::vectors::Run;

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
        let open = |entry: &SegmentEntry| Segment::open(folder, entry);
        let segments: Vec<Segment> =
            manifest.segments.iter().map(open).collect::<Result<_, _>>()?;
        check_slots(&segments, manifest, &live)?;
        let embedding = |entry: &EmbeddingEntry| -> Result<Embedding, IndexError> {
            check_spec(&entry.spec)?;
            let open = |run| Run::open(folder, run, &entry.spec).map(Arc::new);
            let runs: Vec<Arc<Run>> = entry.runs.iter().map(open).collect::<Result<_, _>>()?;
            Ok(Embedding::new(entry.number, entry.spec.clone(), runs, &live))
        };
        let embeddings = manifest.embeddings.iter().map(embedding).collect::<Result<_, _>>()?;
        Ok(Self {
            log: folder.at(&log_name(manifest.log)),
            next_slot: manifest.next_slot,
            live,
            segments,
            memory: Memory::default(),
            memory_bytes: 0,
            embeddings,
            active: manifest.active,
        })
    }

    fn replay(&mut self, record: Record) -> Result<(), DamagedFile> {
        self.check(&record).map_err(|reason| DamagedFile::new(&self.log, reason))?;
        self.apply(record);
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
            let path = path.and_then(std::path::Path::parent).unwrap_or_else(|| "".as_ref());
            let path = path.join(&manifest.live.name);
            let reason = format!("{} slots are live, and segments have {found}", live.len());
            Err(DamagedFile::new(&path, reason))
        }
    }
}
