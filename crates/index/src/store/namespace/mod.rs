//! A tenant's part of an index.
//!
//! ```text
//!   add, delete, update, put_vectors          search, get, export
//!              |                                      |
//!        one at a time                           in parallel
//!              v                                      v
//!   log (synced) -> state in memory  <----------------+
//!              |
//!              |  flush: 64 MiB are there
//!              v
//!   files of documents and vectors -> manifest (swapped) -> new log
//!              |
//!              |  merge: four of a size, or half of one is dead
//!              v
//!   fewer files -> manifest (swapped)
//! ```

mod flush;
mod merge;
mod notes;
mod open;
mod passing;
mod search;
mod state;
mod switch;
mod verify;
mod view;
mod write;

use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde_json::json;

pub use search::{Answer, Found, Query, Weights};
pub use switch::Coverage;
pub use verify::Verified;
pub use view::View;
pub use write::Receipt;

use super::document::Document;
use super::error::IndexError;
use super::folder::Folder;
use super::log::Log;
use super::manifest::NamespaceManifest;
use super::spec::EmbeddingSpec;
use state::State;

/// Documents of one tenant, with their vectors and texts.
///
/// Searches run in parallel; writes wait for each other. A write returns once it is durable, and
/// the next search sees all of it.
pub struct Namespace {
    name: String,
    folder: Folder,
    writer: Mutex<Writer>,
    state: RwLock<State>,
    is_dropped: AtomicBool,
}

/// What only one write at a time may touch.
#[derive(Debug)]
struct Writer {
    /// What is on disk.
    manifest: NamespaceManifest,
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
        let files = state.segments.iter().map(|segment| {
            segment.documents.file().entry().bytes + segment.text.bytes_len() as u64
        });
        let rows: usize = state.segments.iter().map(|segment| segment.documents.len()).sum();
        let in_memory = state.memory.iter().count();
        let embedding = |embedding: &super::embedding::Embedding| EmbeddingStats {
            spec: embedding.spec.clone(),
            is_active: state.active == Some(embedding.number),
            vectors: embedding.covered().len(),
            kind: embedding.dense().spec().kind.name(),
            memory_bytes: embedding.dense().stats().memory_bytes,
        };
        Ok(Stats {
            documents: state.live.len(),
            dead: (rows + in_memory) as u64 - state.live.len(),
            segments: state.segments.len(),
            disk_bytes: run_bytes + files.sum::<u64>(),
            memory_bytes: state.memory_bytes as u64,
            embeddings: state.embeddings.iter().map(embedding).collect(),
        })
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
        Ok(self.state.read().expect("no write panicked"))
    }

    fn check_there(&self) -> Result<(), IndexError> {
        match self.is_dropped.load(Ordering::Acquire) {
            true => {
                Err(IndexError::UnknownNamespace { name: self.name.clone(), known: Vec::new() })
            }
            false => Ok(()),
        }
    }

    fn change(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().expect("no write panicked")
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().expect("no write panicked")
    }

    /// The one writer, unless it must not write.
    fn writing(&self) -> Result<MutexGuard<'_, Writer>, IndexError> {
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
