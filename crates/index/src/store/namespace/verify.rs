//! Reading everything again.

use std::collections::HashSet;

use super::state::State;
use super::{Namespace, Writer};
use crate::store::document::metadata;
use crate::store::embedding::Embedding;
use crate::store::error::{DamagedFile, IndexError};
use crate::store::manifest::{self, NAME, NamespaceManifest};

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
        let live = writer.manifest.live.clone();
        let end = writer.manifest.next_slot;
        verified.note(crate::store::live::LiveSet::load(&self.folder, &live, end).map(|_| ()))?;
        let segments = state.segments.iter().map(|segment| segment.documents.file());
        let runs = state.embeddings.iter().flat_map(|embedding| &embedding.runs);
        for file in segments.chain(runs.map(|run| run.file())) {
            verified.bytes += file.entry().bytes;
            verified.files += 1;
            verified.note(file.verify().map_err(IndexError::from))?;
        }
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
            metadata(document.metadata, &path)?;
            if !ids.insert(document.id) || self.find(document.id)? != Some(slot) {
                let reason = format!("document {:?} is not found by its id", document.id);
                return Err(DamagedFile::new(&path, reason));
            }
        }
        Ok(())
    }

    /// Every covered slot has one vector, of finite values.
    fn verify_vectors(&self, embedding: &Embedding) -> Result<(), DamagedFile> {
        for slot in embedding.covered().iter() {
            let runs = embedding.runs.iter().filter(|run| run.row_of(slot).is_some());
            let copies = runs.count() + usize::from(embedding.memory.contains_key(&slot));
            let is_finite = embedding
                .vector(slot)?
                .is_some_and(|vector| vector.iter().all(|value| value.is_finite()));
            if copies != 1 || !is_finite || !self.live.contains(slot) {
                let path = embedding.runs.first().map_or(self.log.as_path(), |r| r.file().path());
                let reason = format!("slot {} has {copies} vectors, or a bad one", slot.0);
                return Err(DamagedFile::new(path, reason));
            }
        }
        Ok(())
    }
}
