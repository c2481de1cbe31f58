//! A tenant's part of an index.
//!
//! ```text
//!   add, delete, update, put_vectors          search, get, export
//!              |                                      |
//!        one at a time                           in parallel
//!              v                                      v
//!   log (synced) -> state in memory  <----------------+
//!              |
//!              |  flush, behind: 64 MiB are there; another log begins
//!              v
//!   files of documents and vectors -> manifest (swapped)
//!              |
//!              |  merge, behind: four of a size, or a quarter of one is dead
//!              v
//!   fewer files -> manifest (swapped)
//! ```
//! Locks are taken in this order: flushing or tidying, installing, writer, state. What takes
//! long happens under the first two alone, for which no write and no search waits.

mod duties;
mod flush;
mod locks;
mod merge;
mod notes;
mod open;
mod passing;
mod search;
mod segment_files;
mod state;
mod switch;
mod tidy;
mod verify;
mod view;
mod write;

use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLockReadGuard};
use serde_json::json;

/// What happens behind writes, stage by stage, for tests that let other things happen in between.
#[cfg(test)]
pub(crate) mod work {
    pub(crate) use super::flush::{Flushed, Flushing};
    pub(crate) use super::merge::{MergedRuns, MergedSegments, what_can_be, what_is_due};
    pub(crate) use super::tidy::SavedDense;
}

pub(crate) use open::{FolderLock, Owner};
pub use search::{Answer, Found, Query, Weights};
pub use switch::Coverage;
pub use verify::Verified;
pub use view::{AnswerRoom, View};
pub use write::Receipt;

use super::background::Duty;
use super::document::Document;
use super::error::IndexError;
use super::folder::Folder;
use super::log::Log;
use super::manifest::NamespaceManifest;
use super::new_files::Numbers;
use super::spec::EmbeddingSpec;
use duties::Duties;
use locks::{Changing, StateLock, Writing};
use state::State;

/// Documents of one tenant, with their vectors and texts.
///
/// Searches run in parallel; writes wait for each other. A write returns once it is durable, and
/// the next search sees all of it. Files are written, merged and fitted behind, by threads of the
/// index; a write waits for them only where they cannot keep up.
pub struct Namespace {
    name: String,
    folder: Folder,
    writer: Mutex<Writer>,
    state: StateLock,
    numbers: Numbers,
    /// Held by whoever writes what is frozen to files.
    flushing: Mutex<()>,
    /// Held by whoever merges files, or fits and saves searches of vectors.
    tidying: Mutex<()>,
    /// Held from the moment at which live slots are saved until a manifest names them: the segments
    /// of the manifest stay those that they are of.
    installing: Mutex<()>,
    duties: Duties,
    is_dropped: AtomicBool,
    /// Nobody else opens the index while this can still write.
    _lock: FolderLock,
}

/// What only one write at a time may touch.
#[derive(Debug)]
struct Writer {
    /// What is on disk.
    manifest: NamespaceManifest,
    /// The log that is written to.
    log: Log,
    /// Whether nobody knows which manifest the disk keeps.
    is_stopped: bool,
}

/// How large a namespace is.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// Documents.
    pub documents: u64,
    /// Documents that went and still take room in segments.
    pub dead: u64,
    /// Files of documents.
    pub segments: usize,
    /// Bytes of segments and vectors on disk.
    pub disk_bytes: u64,
    /// Bytes of documents and vectors that are in the log and not in files yet.
    pub memory_bytes: u64,
    /// Each embedding.
    pub embeddings: Vec<EmbeddingStats>,
    /// Why the work behind writes failed when it was tried last; `None` if it did not. It is tried
    /// again after the next write.
    pub failure: Option<String>,
}

/// How far an embedding is.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingStats {
    /// What it is.
    pub spec: EmbeddingSpec,
    /// Whether searches use it.
    pub is_active: bool,
    /// Documents that have a vector of it.
    pub vectors: u64,
    /// How its vectors are searched now.
    pub kind: &'static str,
    /// Memory that this takes, in bytes.
    pub memory_bytes: usize,
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "namespace {:?} in {}", self.name, self.folder.path().display())
    }
}

impl Namespace {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A document by its id, with its vector under the active embedding.
    pub fn get(&self, id: &str) -> Result<Option<Document>, IndexError> {
        let state = self.read()?;
        let slot = state.find(id)?;
        Ok(slot.map(|slot| state.document(slot)).transpose()?.flatten())
    }

    /// The embedding that searches use, if there is one.
    pub fn embedding(&self) -> Result<Option<EmbeddingSpec>, IndexError> {
        let state = self.read()?;
        Ok(state.active().map(|embedding| embedding.spec.clone()))
    }

    /// How large it is.
    pub fn stats(&self) -> Result<Stats, IndexError> {
        let state = self.read()?;
        let runs = state.embeddings.iter().flat_map(|embedding| &embedding.runs);
        let run_bytes: u64 = runs.map(|run| run.file().entry().bytes).sum();
        let columns = |segment: &state::Segment| {
            segment.columns.as_ref().map_or(0, |columns| columns.entry().bytes)
        };
        let files = state.segments.iter().map(|segment| {
            let documents = segment.documents.file().entry().bytes;
            documents + segment.text.bytes_len() as u64 + columns(segment)
        });
        let rows: usize = state.segments.iter().map(|segment| segment.documents.len()).sum();
        let frozen = state.frozen.as_ref();
        let in_memory = state.memory.len() + frozen.map_or(0, |frozen| frozen.documents.len());
        let embedding = |embedding: &super::embedding::Embedding| EmbeddingStats {
            spec: embedding.spec.clone(),
            is_active: state.active == Some(embedding.number),
            vectors: embedding.covered().len(),
            kind: embedding.dense().spec().kind.name(),
            memory_bytes: embedding.dense().memory_bytes(),
        };
        Ok(Stats {
            documents: state.live.len(),
            dead: (rows + in_memory) as u64 - state.live.len(),
            segments: state.segments.len(),
            disk_bytes: run_bytes + files.sum::<u64>(),
            memory_bytes: (state.memory_bytes + frozen.map_or(0, |frozen| frozen.bytes)) as u64,
            embeddings: state.embeddings.iter().map(embedding).collect(),
            failure: self.duties.failure(),
        })
    }

    /// Why the work behind writes failed when it was tried last, as [`Stats::failure`] has it, without
    /// looking at anything else.
    pub fn failure(&self) -> Option<String> {
        self.duties.failure()
    }

    /// Writes every document as a line of JSON, by rising slots: `_id`, `text`, `metadata`, and
    /// `vector` where there is one. Writes wait meanwhile.
    pub fn export(&self, out: &mut dyn Write) -> Result<u64, IndexError> {
        let state = self.read()?;
        let failed = |source| IndexError::Disk {
            action: "export",
            path: self.folder.path().to_owned(),
            source,
        };
        for slot in state.live.iter() {
            let Some(document) = state.document(slot)? else { continue };
            let mut line = json!({
                "_id": document.id,
                "text": document.text,
                "metadata": document.metadata,
            });
            if let Some(vector) = document.vector {
                line["vector"] = json!(vector);
            }
            writeln!(out, "{line}").map_err(failed)?;
        }
        out.flush().map_err(failed)?;
        Ok(state.live.len())
    }

    /// Shows a test what it holds.
    #[cfg(test)]
    pub(crate) fn with_state<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.read().unwrap())
    }

    /// Marks it as gone: whoever still holds it is told so. A write that is under way ends before.
    pub(crate) fn on_dropped(&self) {
        let writer = self.writer();
        self.is_dropped.store(true, Ordering::Release);
        drop(writer);
    }

    fn read(&self) -> Result<RwLockReadGuard<'_, State>, IndexError> {
        self.check_there()?;
        Ok(self.state.read())
    }

    fn check_there(&self) -> Result<(), IndexError> {
        match self.is_dropped.load(Ordering::Acquire) {
            true => {
                Err(IndexError::UnknownNamespace { name: self.name.clone(), known: Vec::new() })
            }
            false => Ok(()),
        }
    }

    fn change(&self) -> Changing<'_> {
        self.state.change()
    }

    fn writer(&self) -> Writing<'_> {
        Writing::new(&self.writer)
    }

    /// The one writer, unless it must not write.
    fn writing(&self) -> Result<Writing<'_>, IndexError> {
        let writer = self.writer();
        self.check_there()?;
        // Not even a write that would change nothing is acknowledged: whether it would change
        // something depends on what the disk kept.
        match writer.is_stopped || writer.log.is_broken() {
            true => Err(IndexError::Stopped { folder: self.folder.path().to_owned() }),
            false => Ok(writer),
        }
    }
}
