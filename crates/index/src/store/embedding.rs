//! An embedding of a namespace: a vector for each document, from one model.
//!
//! A document has one vector under an embedding, for good: the same model gives the same vector for
//! the same text, and a text that changes gets a new slot. So what searches the vectors is brought
//! up to date by slots alone.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use super::error::{DamagedFile, IndexError};
use super::folder::Folder;
use super::live::LiveSet;
use super::manifest::EmbeddingEntry;
use super::sealed::{FileEntry, FileKind, Sealed};
use super::spec::EmbeddingSpec;
use super::vectors::Run;
use crate::dense::{Dense, DenseError, DenseSpec, Found, Kind, Originals, SearchArgs};
use crate::hit::Slot;

/// What searches the vectors is saved again once it has changed in this part of them,
const SAVE_SHARE: u64 = 8;
/// and at least so many times.
const SAVE_CHANGES_MIN: u64 = 1000;

/// An embedding with its vectors.
///
/// What searches the vectors changes in place, but not while it is being saved: then slots that came
/// or went are noted, compared one by one in each search, and caught up with afterwards.
pub(crate) struct Embedding {
    pub(crate) number: u32,
    pub(crate) spec: EmbeddingSpec,
    /// Vectors on disk; a slot is in at most one run.
    pub(crate) runs: Vec<Arc<Run>>,
    /// Vectors that came since what is frozen, of live slots.
    pub(crate) memory: BTreeMap<Slot, Vec<f32>>,
    /// Vectors that are being written to a file, of slots that were live when that began.
    pub(crate) frozen: Arc<BTreeMap<Slot, Vec<f32>>>,
    /// The live slots that have a vector.
    covered: LiveSet,
    /// What searches the covered slots. While a write is under way it has slots that are not live
    /// yet, or no longer.
    dense: Arc<Dense>,
    /// Slots that it may lack, or have though they died.
    behind: BTreeSet<Slot>,
    /// Changes of it since it was saved.
    unsaved: u64,
    /// The number of vectors for which its kind was chosen.
    fitted: u64,
}

impl Embedding {
    /// An embedding without vectors, whose spec was checked.
    pub(crate) fn new(number: u32, spec: EmbeddingSpec) -> Self {
        let dense = Arc::new(empty(&spec, 0, number));
        let (runs, memory, frozen) = (Vec::new(), BTreeMap::new(), Arc::default());
        let (covered, behind) = (LiveSet::default(), BTreeSet::new());
        Self { number, spec, runs, memory, frozen, covered, dense, behind, unsaved: 0, fitted: 0 }
    }

    /// Opens an embedding whose spec was checked; it is to be reconciled once the log was read. Of
    /// its files, what searches the vectors can be made again; that it had to be is returned beside.
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
        embedding.fitted = embedding.covered.len();
        let saved = entry.dense.as_ref().map(|file| embedding.read_dense(folder, file));
        let damaged = match saved {
            // To make another one takes time: until it is compacted, all vectors are compared.
            Some(Err(IndexError::Damaged(damaged))) => {
                embedding.unsaved = u64::MAX / 2;
                Some(damaged)
            }
            Some(Err(error)) => return Err(error),
            Some(Ok(())) => None,
            None => {
                let vectors = embedding.covered.len();
                embedding.dense = Arc::new(empty(&entry.spec, vectors, entry.number));
                None
            }
        };
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
        self.dense = Arc::new(dense);
        Ok(())
    }

    /// Gives what searches the vectors the slots that it lacks, and takes those that died; all but
    /// those of a graph, which takes a while and can be caught up with. Whoever opens it keeps it
    /// held until then.
    pub(crate) fn reconcile(&mut self, held: Arc<Dense>) -> Result<(), DamagedFile> {
        self.behind = self.differs_by(&held);
        drop(held);
        if !matches!(self.dense.spec().kind, Kind::Hnsw(_)) {
            self.catch_up(usize::MAX)?;
        }
        Ok(())
    }

    /// The live slots that have a vector.
    pub(crate) fn covered(&self) -> &LiveSet {
        &self.covered
    }

    /// What searches the vectors.
    pub(crate) fn dense(&self) -> Searched<'_> {
        Searched(self)
    }

    /// It, as it is now, for whoever saves it; until that one lets go it does not change.
    pub(crate) fn hold(&self) -> Arc<Dense> {
        Arc::clone(&self.dense)
    }

    /// How many slots it is behind by.
    pub(crate) fn behind(&self) -> usize {
        self.behind.len()
    }

    /// Lets vectors that came from now on be others than those that are to be written to a file.
    pub(crate) fn freeze(&mut self) {
        self.frozen = Arc::new(std::mem::take(&mut self.memory));
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
        if self.dense.contains(slot) {
            return;
        }
        match Arc::get_mut(&mut self.dense) {
            Some(dense) => {
                let inserted = dense.insert(slot, vector);
                inserted.expect("a vector is checked when it comes or is read from the log");
                self.unsaved = self.unsaved.saturating_add(1);
            }
            None => _ = self.behind.insert(slot),
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
        if !self.dense.contains(slot) {
            return;
        }
        match Arc::get_mut(&mut self.dense) {
            Some(dense) => {
                dense.remove(slot);
                self.unsaved = self.unsaved.saturating_add(1);
            }
            None => _ = self.behind.insert(slot),
        }
    }

    /// Catches up with some of the slots that came or went while it was held, and says whether more
    /// are left.
    pub(crate) fn catch_up(&mut self, slots: usize) -> Result<bool, DamagedFile> {
        if Arc::get_mut(&mut self.dense).is_none() {
            return Ok(false);
        }
        for _ in 0..slots {
            let Some(&slot) = self.behind.first() else { break };
            // One that cannot be read stays behind, and is asked for again.
            match self.vector(slot)?.map(Cow::into_owned) {
                Some(vector) => self.search_for(slot, &vector),
                None => self.unsearch(slot),
            }
            self.behind.remove(&slot);
        }
        Ok(!self.behind.is_empty())
    }

    /// The vector of a live slot: `[dimensions]`.
    pub(crate) fn vector(&self, slot: Slot) -> Result<Option<Cow<'_, [f32]>>, DamagedFile> {
        if !self.covered.contains(slot) {
            return Ok(None);
        }
        if let Some(values) = self.memory.get(&slot).or_else(|| self.frozen.get(&slot)) {
            return Ok(Some(Cow::Borrowed(values)));
        }
        let found = self.runs.iter().find_map(|run| run.row_of(slot).map(|row| run.get(row)));
        found.transpose()
    }

    /// Whether another kind suits the vectors better by now, or one that learns from them anew. The
    /// kind is asked about again when they have doubled, so that few vectors more or less do not
    /// change it to and fro; or at leisure.
    pub(crate) fn is_misfit(&self, is_at_leisure: Leisure) -> bool {
        let count = self.covered.len();
        let is_time = match is_at_leisure {
            Leisure::None => count >= self.fitted.saturating_mul(2),
            Leisure::Compaction => true,
        };
        let suits = self.spec.dense(count, 0).kind.name() == self.dense.spec().kind.name();
        (is_time && !suits) || self.dense.wants_learning()
    }

    /// What would search the vectors better.
    pub(crate) fn refitted(&self) -> DenseSpec {
        self.spec.dense(self.covered.len(), u64::from(self.number))
    }

    /// The slots that one lacks, or has though they died.
    pub(crate) fn differs_by(&self, dense: &Dense) -> BTreeSet<Slot> {
        let absent = self.covered.iter().filter(|&slot| !dense.contains(slot));
        absent.chain(dense.slots().filter(|&slot| !self.covered.contains(slot))).collect()
    }

    /// Takes one that differs by these slots. What was there before is returned: letting go of it
    /// takes a while.
    pub(crate) fn refit(&mut self, dense: Dense, behind: BTreeSet<Slot>) -> Arc<Dense> {
        self.fitted = self.covered.len();
        self.unsaved = u64::MAX / 2;
        self.behind = behind;
        std::mem::replace(&mut self.dense, Arc::new(dense))
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

    /// So many changes of it were saved.
    pub(crate) fn on_saved(&mut self, changes: u64) {
        self.unsaved = self.unsaved.saturating_sub(changes);
    }

    /// Changes that are not saved.
    pub(crate) fn unsaved(&self) -> u64 {
        self.unsaved
    }
}

/// What searches the covered slots of an embedding.
#[derive(Clone, Copy)]
pub(crate) struct Searched<'a>(&'a Embedding);

impl Searched<'_> {
    /// Finds the best slots; originals must be given, since slots that it is behind by are compared
    /// with theirs alone.
    pub(crate) fn search(&self, args: &SearchArgs<'_>) -> Result<Found, DenseError> {
        self.with_those_behind(args, self.0.dense.search(args)?)
    }

    /// The same by comparing each vector's original, whatever the kind.
    pub(crate) fn search_originals(&self, args: &SearchArgs<'_>) -> Result<Found, DenseError> {
        self.with_those_behind(args, self.0.dense.search_originals(args)?)
    }

    fn with_those_behind(
        &self,
        args: &SearchArgs<'_>,
        mut found: Found,
    ) -> Result<Found, DenseError> {
        let Self(embedding) = self;
        let is_absent =
            |slot: &Slot| embedding.covered.contains(*slot) && !embedding.dense.contains(*slot);
        let absent = embedding.behind.iter().copied().filter(is_absent);
        embedding.dense.compare_too(&mut found, args, absent)?;
        Ok(found)
    }

    /// What it was made for.
    pub(crate) fn spec(&self) -> &DenseSpec {
        self.0.dense.spec()
    }

    /// Whether a slot is found.
    pub(crate) fn contains(&self, slot: Slot) -> bool {
        let Self(embedding) = self;
        embedding.covered.contains(slot)
            && (embedding.dense.contains(slot) || embedding.behind.contains(&slot))
    }

    /// Number of slots that it has, or is behind by: that of the covered ones.
    pub(crate) fn len(&self) -> usize {
        let Self(embedding) = self;
        let lacks = |slot: &&Slot| !embedding.dense.contains(**slot);
        let is_covered = |slot: &&Slot| embedding.covered.contains(**slot);
        let (absent, there): (Vec<_>, Vec<_>) = embedding.behind.iter().partition(lacks);
        let gone = there.iter().filter(|slot| !is_covered(slot)).count();
        embedding.dense.len() + absent.iter().filter(|slot| is_covered(slot)).count() - gone
    }

    /// Memory that it takes, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.0.dense.stats().memory_bytes
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
