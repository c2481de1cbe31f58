//! An embedding of a namespace: a vector for each document, from one model.
//!
//! A document has one vector under an embedding, for good: the same model gives the same vector for
//! the same text, and a text that changes gets a new slot. So what searches the vectors is brought
//! up to date by slots alone.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use super::error::{DamagedFile, IndexError};
use super::folder::Folder;
use super::live::LiveSet;
use super::manifest::EmbeddingEntry;
use super::sealed::{FileEntry, FileKind, Sealed, SealedWriter};
use super::spec::EmbeddingSpec;
use super::vectors::Run;
use crate::dense::{Dense, Kind, Originals};
use crate::hit::Slot;

/// What searches the vectors is saved again once it has changed in this part of them,
const SAVE_SHARE: u64 = 8;
/// and at least so many times.
const SAVE_CHANGES_MIN: u64 = 1000;

/// An embedding with its vectors.
pub(crate) struct Embedding {
    pub(crate) number: u32,
    pub(crate) spec: EmbeddingSpec,
    /// Vectors on disk; a slot is in at most one run.
    pub(crate) runs: Vec<Arc<Run>>,
    /// Vectors that came since the last flush, of live slots.
    pub(crate) memory: BTreeMap<Slot, Vec<f32>>,
    /// The live slots that have a vector.
    covered: LiveSet,
    /// What searches the covered slots. While a write is under way it has slots that are not live
    /// yet, or no longer.
    dense: Dense,
    /// Changes of it since it was saved.
    unsaved: u64,
    /// The number of vectors for which its kind was chosen.
    fitted: u64,
}

impl Embedding {
    /// An embedding without vectors, whose spec was checked.
    pub(crate) fn new(number: u32, spec: EmbeddingSpec) -> Self {
        let dense = empty(&spec, 0, number);
        let (runs, memory, covered) = (Vec::new(), BTreeMap::new(), LiveSet::default());
        Self { number, spec, runs, memory, covered, dense, unsaved: 0, fitted: 0 }
    }

    /// Opens an embedding whose spec was checked. Of its files, what searches the vectors can be
    /// made again; that it had to be is returned beside.
    pub(crate) fn open(
        folder: &Folder,
        entry: &EmbeddingEntry,
        live: &LiveSet,
    ) -> Result<(Self, Option<DamagedFile>), IndexError> {
        let mut embedding = Self::new(entry.number, entry.spec.clone());
        for run in &entry.runs {
            let run = Run::open(folder, run, &entry.spec)?;
            for &slot in run.slots().iter().filter(|&&slot| live.contains(slot)) {
                if !embedding.covered.insert(slot) {
                    let reason = format!("slot {} is in another file too", slot.0);
                    return Err(DamagedFile::new(run.file().path(), reason).into());
                }
            }
            embedding.runs.push(Arc::new(run));
        }
        let saved = entry.dense.as_ref().map(|file| embedding.read_dense(folder, file));
        let damaged = match saved {
            Some(Err(IndexError::Damaged(damaged))) => {
                embedding.unsaved = u64::MAX / 2;
                Some(damaged)
            }
            Some(Err(error)) => return Err(error),
            Some(Ok(())) => None,
            None => {
                embedding.dense = empty(&entry.spec, embedding.covered.len(), entry.number);
                None
            }
        };
        embedding.fitted = embedding.covered.len();
        embedding.reconcile()?;
        Ok((embedding, damaged))
    }

    fn read_dense(&mut self, folder: &Folder, file: &FileEntry) -> Result<(), IndexError> {
        let file = Sealed::open(folder, file, FileKind::Dense)?;
        let damaged = |reason: String| DamagedFile::new(file.path(), reason);
        let dense = Dense::open(&file.data()).map_err(|error| damaged(error.to_string()))?;
        let found = dense.spec();
        if found.dimensions != self.spec.dimensions || found.metric != self.spec.metric {
            return Err(damaged("it is of another embedding".to_owned()).into());
        }
        self.dense = dense;
        Ok(())
    }

    /// Gives what searches the vectors the slots that it lacks, and takes those that died.
    fn reconcile(&mut self) -> Result<(), DamagedFile> {
        let dead: Vec<Slot> =
            self.dense.slots().filter(|&slot| !self.covered.contains(slot)).collect();
        dead.into_iter().for_each(|slot| self.unsearch(slot));
        let new: Vec<Slot> =
            self.covered.iter().filter(|&slot| !self.dense.contains(slot)).collect();
        for slot in new {
            if let Some(vector) = self.vector(slot)?.map(Cow::into_owned) {
                self.search_for(slot, &vector);
            }
        }
        Ok(())
    }

    /// The live slots that have a vector.
    pub(crate) fn covered(&self) -> &LiveSet {
        &self.covered
    }

    /// What searches the vectors.
    pub(crate) fn dense(&self) -> &Dense {
        &self.dense
    }

    /// Adds the vector of a live slot that has none.
    pub(crate) fn insert(&mut self, slot: Slot, values: Vec<f32>) {
        if self.covered.insert(slot) {
            self.search_for(slot, &values);
            self.memory.insert(slot, values);
        }
    }

    /// Lets a slot be searched, before it is live: it is found once it is.
    pub(crate) fn search_for(&mut self, slot: Slot, vector: &[f32]) {
        if !self.dense.contains(slot) {
            let inserted = self.dense.insert(slot, vector);
            inserted.expect("a vector is checked when it comes or is read from the log");
            self.unsaved = self.unsaved.saturating_add(1);
        }
    }

    /// Forgets a slot that died; it may still be searched, and is not found.
    pub(crate) fn remove(&mut self, slot: Slot) {
        if self.covered.remove(slot) {
            self.memory.remove(&slot);
        }
    }

    /// Lets a slot that died no longer be searched.
    pub(crate) fn unsearch(&mut self, slot: Slot) {
        if self.dense.remove(slot) {
            self.unsaved = self.unsaved.saturating_add(1);
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

    /// Whether another kind suits the vectors better by now. It is asked again when they have
    /// doubled, so that few vectors more or less do not change it to and fro; or at leisure.
    pub(crate) fn is_misfit(&self, is_at_leisure: Leisure) -> bool {
        let count = self.covered.len();
        let is_time = match is_at_leisure {
            Leisure::None => count >= self.fitted.saturating_mul(2),
            Leisure::Compaction => true,
        };
        let suits = self.spec.dense(count, 0).kind.name() == self.dense.spec().kind.name();
        is_time && !suits
    }

    /// What would search the vectors better.
    pub(crate) fn refitted(&self) -> Result<Dense, DamagedFile> {
        let mut dense = empty(&self.spec, self.covered.len(), self.number);
        for slot in self.covered.iter() {
            if let Some(vector) = self.vector(slot)? {
                let inserted = dense.insert(slot, &vector);
                inserted.expect("it was inserted before, into another kind");
            }
        }
        Ok(dense)
    }

    /// Takes it.
    pub(crate) fn refit(&mut self, dense: Dense) {
        self.dense = dense;
        self.fitted = self.covered.len();
        self.unsaved = u64::MAX / 2;
    }

    /// Whether what searches the vectors is worth saving: making it again would take long.
    pub(crate) fn is_worth_saving(&self, leisure: Leisure) -> bool {
        let is_cheap = matches!(self.dense.spec().kind, Kind::ExactF32);
        let changes = match leisure {
            Leisure::None => SAVE_CHANGES_MIN.max(self.covered.len() / SAVE_SHARE),
            Leisure::Compaction => 1,
        };
        !is_cheap && self.unsaved >= changes
    }

    /// Saves what searches the vectors.
    pub(crate) fn save(&self, folder: &Folder, name: &str) -> Result<FileEntry, IndexError> {
        let mut file = SealedWriter::create(folder, name, FileKind::Dense)?;
        let write = IndexError::disk("write", &folder.at(name));
        self.dense.save(&mut file).map_err(write)?;
        file.seal()
    }

    /// It was saved.
    pub(crate) fn on_saved(&mut self) {
        self.unsaved = 0;
    }
}

/// How much time there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leisure {
    /// A write waits.
    None,
    /// Everything is being written anew in any case.
    Compaction,
}

/// What searches no vectors yet.
fn empty(spec: &EmbeddingSpec, vectors: u64, number: u32) -> Dense {
    let dense = Dense::new(spec.dense(vectors, u64::from(number)));
    dense.expect("specs are checked when an embedding begins and when it is opened")
}

/// Vectors in full precision, for a search; and what was wrong with one of them.
pub(crate) struct Vectors<'a> {
    pub(crate) embedding: &'a Embedding,
    pub(crate) damaged: OnceLock<DamagedFile>,
}

impl Originals for Vectors<'_> {
    fn vector(&self, slot: Slot) -> Option<Cow<'_, [f32]>> {
        let vector = self.embedding.vector(slot);
        vector.unwrap_or_else(|damaged| {
            let _ = self.damaged.set(damaged);
            None
        })
    }
}
