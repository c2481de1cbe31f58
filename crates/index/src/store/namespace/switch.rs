//! From one embedding to another, while searches go on.
//!
//! ```text
//! begin_embedding -> put_vectors, again and again -> switch_embedding
//!       |                                                   |
//!       +------------------- drop_embedding                 +-> the old one is dropped
//! ```

use super::{Namespace, Writer};
use crate::store::document::check_spec;
use crate::store::embedding::Embedding;
use crate::store::error::{IndexError, check_limit};
use crate::store::limits::EMBEDDINGS_MAX;
use crate::store::manifest::{EmbeddingEntry, NamespaceManifest};
use crate::store::new_files::NewFiles;
use crate::store::spec::EmbeddingSpec;

/// How many documents have a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Documents with one.
    pub covered: u64,
    /// All documents.
    pub documents: u64,
}

impl Namespace {
    /// Begins another embedding beside the active one; searches do not see it. The first embedding
    /// of a namespace that has none must be switched to as well.
    pub fn begin_embedding(&self, spec: &EmbeddingSpec) -> Result<(), IndexError> {
        check_spec(spec)?;
        let mut writer = self.writing()?;
        let mut manifest = writer.manifest.clone();
        if manifest.embeddings.iter().any(|entry| entry.spec.name == spec.name) {
            return Err(IndexError::EmbeddingExists { name: spec.name.clone() });
        }
        let count = (manifest.embeddings.len() + 1, EMBEDDINGS_MAX);
        check_limit(|| "the namespace".to_owned(), count, "embeddings")?;
        let number = manifest.next_embedding;
        manifest.next_embedding += 1;
        let entry = EmbeddingEntry { number, spec: spec.clone(), runs: Vec::new(), dense: None };
        manifest.embeddings.push(entry);
        self.swap_embeddings(&mut writer, manifest)?;
        self.change().embeddings.push(Embedding::new(number, spec.clone()));
        Ok(())
    }

    /// How many documents have a vector of an embedding.
    pub fn coverage(&self, name: &str) -> Result<Coverage, IndexError> {
        let state = self.read()?;
        let covered = state.embedding(name)?.covered().len();
        Ok(Coverage { covered, documents: state.live.len() })
    }

    /// The ids and texts of some documents that have no vector of an embedding yet, oldest first.
    pub fn missing(&self, name: &str, count: usize) -> Result<Vec<(String, String)>, IndexError> {
        let state = self.read()?;
        let embedding = state.embedding(name)?;
        let slots = state.live.iter().filter(|&slot| !embedding.covered().contains(slot));
        let mut found = Vec::new();
        for slot in slots.take(count) {
            if let Some((document, _)) = state.stored(slot)? {
                found.push((document.id.to_owned(), document.text.to_owned()));
            }
        }
        Ok(found)
    }

    /// Makes an embedding the active one, if every document has a vector of it, and drops the one
    /// that was active. A search sees the one or the other.
    pub fn switch_embedding(&self, name: &str) -> Result<(), IndexError> {
        let mut writer = self.writing()?;
        let state = self.read()?;
        let embedding = state.embedding(name)?;
        let (number, before) = (embedding.number, state.active);
        if before == Some(number) {
            return Ok(());
        }
        let (covered, documents) = (embedding.covered().len(), state.live.len());
        if covered < documents {
            let (name, missing) = (name.to_owned(), documents - covered);
            return Err(IndexError::NotCovered { name, missing, documents });
        }
        drop(state);
        let mut manifest = writer.manifest.clone();
        manifest.active = Some(number);
        manifest.embeddings.retain(|entry| Some(entry.number) != before);
        self.swap_embeddings(&mut writer, manifest)?;
        let mut state = self.change();
        state.active = Some(number);
        state.embeddings.retain(|embedding| Some(embedding.number) != before);
        Ok(())
    }

    /// Drops an embedding that is not active.
    pub fn drop_embedding(&self, name: &str) -> Result<(), IndexError> {
        let mut writer = self.writing()?;
        let state = self.read()?;
        let number = state.embedding(name)?.number;
        if state.active == Some(number) {
            return Err(IndexError::EmbeddingActive { name: name.to_owned() });
        }
        drop(state);
        let mut manifest = writer.manifest.clone();
        manifest.embeddings.retain(|entry| entry.number != number);
        self.swap_embeddings(&mut writer, manifest)?;
        self.change().embeddings.retain(|embedding| embedding.number != number);
        Ok(())
    }

    fn swap_embeddings(
        &self,
        writer: &mut Writer,
        manifest: NamespaceManifest,
    ) -> Result<(), IndexError> {
        self.swap(writer, manifest, NewFiles::new(&self.folder))
    }
}

impl NamespaceManifest {
    /// The files of an embedding; it may have been dropped.
    pub(super) fn entry_of(&mut self, number: u32) -> Option<&mut EmbeddingEntry> {
        self.embeddings.iter_mut().find(|entry| entry.number == number)
    }
}
