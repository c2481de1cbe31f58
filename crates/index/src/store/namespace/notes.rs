//! What others keep beside the documents: short texts under names, such as what was learnt about
//! searching them. They go with the namespace, and survive what its documents survive.

use std::sync::Arc;

use super::Namespace;
use crate::store::document::check_name;
use crate::store::error::{IndexError, check_limit};
use crate::store::limits::{NOTE_BYTES_MAX, NOTES_MAX};
use crate::store::new_files::NewFiles;

impl Namespace {
    /// Keeps a text under a name, in the place of the one that was there; `None` forgets it. It is
    /// durable once this returns. [`View::note`](super::View::note) reads it.
    ///
    /// # Errors
    /// If the text or its name is too long, there are too many, or the disk fails.
    pub fn keep_note(&self, name: &str, text: Option<&str>) -> Result<(), IndexError> {
        check_name("the name of a note", name)?;
        let bytes = text.map_or(0, str::len);
        check_limit(|| format!("the note {name:?}"), (bytes, NOTE_BYTES_MAX), "bytes")?;
        let mut writer = self.writing()?;
        let mut manifest = writer.manifest.clone();
        let before = match text {
            Some(text) => manifest.notes.insert(name.to_owned(), text.to_owned()),
            None => manifest.notes.remove(name),
        };
        if before.as_deref() == text {
            return Ok(());
        }
        check_limit(|| "the namespace".to_owned(), (manifest.notes.len(), NOTES_MAX), "notes")?;
        self.swap(&mut writer, manifest, NewFiles::new(&self.folder))?;
        let notes = &mut self.change().notes;
        match text {
            Some(text) => notes.insert(name.to_owned(), Arc::from(text)),
            None => notes.remove(name),
        };
        Ok(())
    }
}
