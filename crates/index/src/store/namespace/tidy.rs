//! What searches vectors: fitted to their number, and saved, while writes go on.

use std::sync::Arc;

use super::Namespace;
use crate::dense::Dense;
use crate::hit::Slot;
use crate::store::embedding::Leisure;
use crate::store::error::IndexError;
use crate::store::new_files::NewFiles;
use crate::store::sealed::{FileEntry, FileKind, SealedWriter};

/// Vectors that are copied, or joined to a graph, while a write waits.
const VECTORS_AT_A_TIME: usize = 64;
/// Vectors that are joined while searches wait.
const JOINED_AT_A_TIME: usize = 16;

/// Times that what came meanwhile is joined before it takes the place of the old one.
const ROUNDS: usize = 4;

/// What searches the vectors of an embedding, made anew.
pub(crate) struct Refitted {
    number: u32,
    dense: Dense,
}

/// A file with what searches vectors, as it was at a moment.
pub(crate) struct SavedDense {
    number: u32,
    entry: FileEntry,
    changes: u64,
    files: NewFiles,
}

impl Namespace {
    /// Lets embeddings be searched in the way that suits the number of their vectors.
    pub(super) fn refit(&self, leisure: Leisure) -> Result<(), IndexError> {
        for number in self.embedding_numbers()? {
            if let Some(refitted) = self.make_refitted(number, leisure)? {
                self.install_refitted(refitted)?;
            }
        }
        Ok(())
    }

    /// Makes what would search the vectors of an embedding better, if there is one; searches and
    /// writes go on with what there is.
    pub(crate) fn make_refitted(
        &self,
        number: u32,
        leisure: Leisure,
    ) -> Result<Option<Refitted>, IndexError> {
        let state = self.read()?;
        let misfit = state.with_number(number).filter(|embedding| embedding.is_misfit(leisure));
        let Some(embedding) = misfit else { return Ok(None) };
        let spec = embedding.refitted();
        let covered = embedding.covered().clone();
        drop(state);
        let count = covered.len() as usize;
        let sample = match Dense::sample_len(&spec, count) {
            0 => Vec::new(),
            // Early and late ones alike.
            wanted => {
                let chosen: Vec<Slot> = covered.iter().step_by(count.div_ceil(wanted)).collect();
                self.sample_of(number, &chosen)?
            }
        };
        let dense = Dense::learnt(spec, count, &sample);
        let dense =
            dense.expect("specs are checked when an embedding begins, vectors as they come");
        let mut refitted = Refitted { number, dense };
        // What comes meanwhile is less each time, or else a write will have to wait for it.
        for _ in 0..ROUNDS {
            if self.catch_up_refitted(&mut refitted)? <= VECTORS_AT_A_TIME {
                break;
            }
        }
        Ok(Some(refitted))
    }

    /// Gives it the vectors that it lacks, takes those that died, and says how many these were.
    fn catch_up_refitted(&self, refitted: &mut Refitted) -> Result<usize, IndexError> {
        let state = self.read()?;
        let Some(embedding) = state.with_number(refitted.number) else { return Ok(0) };
        let covered = embedding.covered().clone();
        drop(state);
        let dense = &mut refitted.dense;
        let gone: Vec<Slot> = dense.slots().filter(|&slot| !covered.contains(slot)).collect();
        for &slot in &gone {
            dense.remove(slot);
        }
        let new: Vec<Slot> = covered.iter().filter(|&slot| !dense.contains(slot)).collect();
        for slots in new.chunks(VECTORS_AT_A_TIME) {
            let vectors = self.vectors_of(refitted.number, slots)?;
            for (slot, vector) in vectors {
                let inserted = refitted.dense.insert(slot, &vector);
                inserted.expect("it was inserted before, into another kind");
            }
        }
        Ok(gone.len() + new.len())
    }

    /// The values of those slots' vectors, one after the other.
    fn sample_of(&self, number: u32, slots: &[Slot]) -> Result<Vec<f32>, IndexError> {
        let mut sample = Vec::new();
        for slots in slots.chunks(VECTORS_AT_A_TIME) {
            let vectors = self.vectors_of(number, slots)?;
            vectors.iter().for_each(|(_, vector)| sample.extend_from_slice(vector));
        }
        Ok(sample)
    }

    /// The vectors of those slots that have one.
    fn vectors_of(&self, number: u32, slots: &[Slot]) -> Result<Vec<(Slot, Vec<f32>)>, IndexError> {
        let state = self.read()?;
        let Some(embedding) = state.with_number(number) else { return Ok(Vec::new()) };
        let mut vectors = Vec::new();
        for &slot in slots {
            if let Some(vector) = embedding.vector(slot)? {
                vectors.push((slot, vector.into_owned()));
            }
        }
        Ok(vectors)
    }

    /// Lets it search from now on.
    pub(crate) fn install_refitted(&self, refitted: Refitted) -> Result<(), IndexError> {
        let Refitted { number, dense } = refitted;
        // No write comes in between, and searches do not wait for the comparison of slots.
        let writer = self.writing()?;
        let state = self.read()?;
        let behind = state.with_number(number).map(|embedding| embedding.differs_by(&dense));
        drop(state);
        let mut state = self.change();
        let before = state.numbered(number).zip(behind);
        let before = before.map(|(embedding, behind)| embedding.refit(dense, behind));
        drop((state, writer));
        // Letting go of a graph takes a while.
        drop(before);
        self.catch_up(number)
    }

    /// The numbers of all embeddings.
    pub(super) fn embedding_numbers(&self) -> Result<Vec<u32>, IndexError> {
        Ok(self.read()?.embeddings.iter().map(|embedding| embedding.number).collect())
    }

    /// Saves what searches vectors, where that is worth it.
    pub(super) fn save_dense(&self, leisure: Leisure) -> Result<(), IndexError> {
        for number in self.embedding_numbers()? {
            if let Some(saved) = self.write_dense(number, leisure)? {
                self.install_dense(saved)?;
            }
        }
        Ok(())
    }

    /// Writes what searches the vectors of an embedding, if that is worth it; it does not change
    /// meanwhile, and is caught up with afterwards.
    pub(crate) fn write_dense(
        &self,
        number: u32,
        leisure: Leisure,
    ) -> Result<Option<SavedDense>, IndexError> {
        let state = self.read()?;
        let due = state.with_number(number).filter(|embedding| embedding.is_worth_saving(leisure));
        let Some(embedding) = due else { return Ok(None) };
        let changes = embedding.unsaved();
        let held = embedding.hold();
        drop(state);
        let written = self.write_held(number, changes, &held);
        drop(held);
        self.catch_up(number)?;
        written.map(Some)
    }

    fn write_held(
        &self,
        number: u32,
        changes: u64,
        held: &Arc<Dense>,
    ) -> Result<SavedDense, IndexError> {
        let mut files = NewFiles::new(&self.folder);
        let name = files.name(&self.numbers, "dense");
        let mut file = SealedWriter::create(&self.folder, &name, FileKind::Dense)?;
        held.save(&mut file).map_err(IndexError::disk("write", &self.folder.at(&name)))?;
        Ok(SavedDense { number, entry: file.seal()?, changes, files })
    }

    /// Lets an embedding's search take in what came while it was held.
    pub(crate) fn catch_up(&self, number: u32) -> Result<(), IndexError> {
        while self.catch_up_some(number)? {}
        Ok(())
    }

    /// Lets it take in some of that, and says whether more is left.
    fn catch_up_some(&self, number: u32) -> Result<bool, IndexError> {
        self.check_there()?;
        let mut state = self.change();
        let embedding = state.numbered(number);
        let is_behind = embedding.map(|embedding| embedding.catch_up(JOINED_AT_A_TIME));
        let is_behind = is_behind.transpose()?.unwrap_or(false);
        drop(state);
        self.duties.on_progress();
        Ok(is_behind)
    }

    /// Takes in some of what every embedding is behind by, unless somebody is at it; says whether it
    /// did. The thread for that may have its hands full with another namespace for long.
    pub(super) fn catch_up_beside(&self) -> Result<bool, IndexError> {
        let Some(_tidying) = self.tidying.try_lock() else { return Ok(false) };
        for number in self.embedding_numbers()? {
            self.catch_up_some(number)?;
        }
        Ok(true)
    }

    /// Lets a manifest name it.
    pub(crate) fn install_dense(&self, saved: SavedDense) -> Result<(), IndexError> {
        let SavedDense { number, entry, changes, files } = saved;
        let mut writer = self.writing()?;
        let mut manifest = writer.manifest.clone();
        // It may have been dropped meanwhile, and then its new file goes.
        let Some(embedding) = manifest.entry_of(number) else { return Ok(()) };
        embedding.dense = Some(entry);
        self.swap(&mut writer, manifest, files)?;
        if let Some(embedding) = self.change().numbered(number) {
            embedding.on_saved(changes);
        }
        Ok(())
    }
}
