//! Reading everything again.

use std::collections::HashSet;
use std::path::Path;

use super::state::{Segment, State};
use super::{Namespace, Writer};
use crate::store::document::metadata;
use crate::store::embedding::Embedding;
use crate::store::error::{DamagedFile, IndexError};
use crate::store::log;
use crate::store::manifest::{self, NAME, NamespaceManifest};
use crate::store::sealed::{FileKind, Sealed};

/// What was read, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Documents that are there.
    pub documents: u64,
    /// Files that do not hold what was written to them.
    pub damaged: Vec<DamagedFile>,
}

impl Namespace {
    /// Reads every byte on disk, checks every checksum, and whether files say the same of each
    /// other. Writes wait meanwhile. An error is one of the disk; damage is in what is returned.
    pub fn verify(&self) -> Result<Verified, IndexError> {
        let writer = self.writer();
        let state = self.read()?;
        let mut verified = Verified { documents: state.live.len(), ..Verified::default() };
        verified.note(self.verify_manifest(&writer))?;
        verified.note(writer.log.verify(&self.folder))?;
        for older in &writer.manifest.older_logs {
            verified.note(log::read_older(&self.folder, older).map(|_| ()))?;
            verified.bytes += older.bytes;
            verified.files += 1;
        }
        let live = writer.manifest.live.clone();
        let end = writer.manifest.next_slot;
        verified.note(crate::store::live::LiveSet::load(&self.folder, &live, end).map(|_| ()))?;
        let segments = state.segments.iter().map(|segment| segment.documents.file());
        let texts = state.segments.iter().flat_map(|segment| &segment.text_file);
        let runs = state.embeddings.iter().flat_map(|embedding| &embedding.runs);
        for file in segments.chain(texts).chain(runs.map(|run| run.file())) {
            verified.bytes += file.entry().bytes;
            verified.files += 1;
            verified.note(file.verify().map_err(IndexError::from))?;
        }
        let columns = state.segments.iter().flat_map(|segment| &segment.columns);
        for file in columns {
            verified.bytes += file.entry().bytes;
            verified.files += 1;
            verified.note(file.verify().map_err(IndexError::from))?;
        }
        let dense = writer.manifest.embeddings.iter().flat_map(|embedding| &embedding.dense);
        let removals = writer.manifest.segments.iter().flat_map(|segment| &segment.removals);
        let dense = dense.map(|entry| (entry, FileKind::Dense));
        for (entry, kind) in dense.chain(removals.map(|entry| (entry, FileKind::Removals))) {
            let file = Sealed::open(&self.folder, entry, kind);
            verified.note(file.and_then(|file| Ok(file.verify()?)))?;
            verified.bytes += entry.bytes;
            verified.files += 1;
        }
        // The texts among them are not held open, and what is damaged counts until it is gone.
        let files = writer.manifest.files();
        let is_needed =
            |damaged: &&DamagedFile| files.iter().any(|name| damaged.path == self.folder.at(name));
        let remade = state.remade.iter().filter(is_needed).cloned();
        let remade: Vec<_> = remade.filter(|one| !verified.names(&one.path)).collect();
        verified.damaged.extend(remade);
        // Log, mark and manifest.
        verified.files += 3;
        if verified.damaged.is_empty() {
            verified.note(state.verify_documents().map_err(IndexError::from))?;
            for embedding in &state.embeddings {
                verified.note(state.verify_vectors(embedding).map_err(IndexError::from))?;
            }
        }
        Ok(verified)
    }

    fn verify_manifest(&self, writer: &Writer) -> Result<(), IndexError> {
        let found: Option<NamespaceManifest> = manifest::read(&self.folder)?;
        match found.as_ref() == Some(&writer.manifest) {
            true => Ok(()),
            false => Err(DamagedFile::new(&self.folder.at(NAME), "it is another one").into()),
        }
    }
}

impl Verified {
    /// Adds what was found elsewhere.
    pub(crate) fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.documents += other.documents;
        self.damaged.extend(other.damaged);
    }

    fn names(&self, path: &Path) -> bool {
        self.damaged.iter().any(|damaged| damaged.path == path)
    }

    /// Keeps damage, and passes other errors on.
    pub(crate) fn note(&mut self, result: Result<(), IndexError>) -> Result<(), IndexError> {
        match result {
            Err(IndexError::Damaged(damaged)) => self.damaged.push(damaged),
            result => result?,
        }
        Ok(())
    }
}

impl State {
    /// Every live document is read, is found by its id, and is the only one that has it.
    fn verify_documents(&self) -> Result<(), DamagedFile> {
        let mut ids = HashSet::new();
        for slot in self.live.iter() {
            let Some((document, path)) = self.stored(slot)? else {
                return Err(DamagedFile::new(&self.log, format!("slot {} is nowhere", slot.0)));
            };
            metadata(document.metadata, path)?;
            if !ids.insert(document.id) || self.find(document.id)? != Some(slot) {
                let reason = format!("document {:?} is not found by its id", document.id);
                return Err(DamagedFile::new(path, reason));
            }
        }
        self.segments.iter().try_for_each(Segment::check_columns)?;
        let of_segment = |segment: &Segment| {
            segment.live_rows(&self.live).count() == segment.text.len()
                && segment
                    .live_rows(&self.live)
                    .all(|row| segment.text.contains(segment.documents.slot(row)))
        };
        match self.segments.iter().find(|segment| !of_segment(segment)) {
            Some(segment) => {
                let reason = "its full text has other documents than it";
                Err(DamagedFile::new(segment.documents.file().path(), reason))
            }
            None => Ok(()),
        }
    }

    /// Every covered slot has one vector, of finite values.
    fn verify_vectors(&self, embedding: &Embedding) -> Result<(), DamagedFile> {
        for slot in embedding.covered().iter() {
            let runs = embedding.runs.iter().filter(|run| run.row_of(slot).is_some());
            let in_memory = [&embedding.memory, &*embedding.frozen];
            let in_memory = in_memory.iter().filter(|vectors| vectors.contains_key(&slot));
            let copies = runs.count() + in_memory.count();
            let is_finite = embedding
                .vector(slot)?
                .is_some_and(|vector| vector.iter().all(|value| value.is_finite()));
            let is_searched = embedding.dense().contains(slot);
            if copies != 1 || !is_finite || !is_searched || !self.live.contains(slot) {
                let path = embedding.runs.first().map_or(self.log.as_path(), |r| r.file().path());
                let reason = format!("slot {} has {copies} vectors, or a bad one", slot.0);
                return Err(DamagedFile::new(path, reason));
            }
        }
        let (searched, covered) = (embedding.dense().len() as u64, embedding.covered().len());
        match searched == covered {
            true => Ok(()),
            false => {
                let reason = format!("{searched} vectors are searched, and {covered} are there");
                Err(DamagedFile::new(&self.log, reason))
            }
        }
    }
}
