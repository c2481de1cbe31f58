//! The files of a segment: written as one, opened as one; and what died in it.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Namespace;
use super::state::{Segment, State};
use crate::bytes::Bytes;
use crate::filter::Columns;
use crate::hit::Slot;
use crate::store::documents::{Documents, DocumentsWriter, StoredRef};
use crate::store::error::{DamagedFile, IndexError};
use crate::store::folder::Folder;
use crate::store::limits::REMOVALS_MIN;
use crate::store::live::LiveSet;
use crate::store::manifest::{NamespaceManifest, SegmentEntry};
use crate::store::new_files::NewFiles;
use crate::store::sealed::{self, FileEntry, FileKind, Sealed};
use crate::text::{Bm25Options, TextBuffer, TextSegment};

/// Writes a segment's files.
pub(super) struct SegmentWriter<'a> {
    namespace: &'a Namespace,
    name: String,
    documents: DocumentsWriter,
    columns: Columns,
}

impl<'a> SegmentWriter<'a> {
    pub(super) fn create(
        namespace: &'a Namespace,
        files: &mut NewFiles,
    ) -> Result<Self, IndexError> {
        let name = files.name(&namespace.numbers, "documents");
        let documents = DocumentsWriter::create(&namespace.folder, &name)?;
        Ok(Self { namespace, name, documents, columns: Columns::new() })
    }

    /// Adds a document, by rising slots.
    pub(super) fn put(&mut self, slot: Slot, document: StoredRef<'_>) -> Result<(), IndexError> {
        // It was checked when it came; were it no object, reading the document would say so.
        let metadata: Map<String, Value> =
            serde_json::from_str(document.metadata).unwrap_or_default();
        self.columns.insert(slot, &metadata);
        self.documents.put(slot, document)
    }

    /// Finishes the files and opens them, with a text that is made now; `None` without documents.
    pub(super) fn seal(
        self,
        files: &mut NewFiles,
        text: impl FnOnce() -> Vec<u8>,
    ) -> Result<Option<(SegmentEntry, Segment)>, IndexError> {
        if self.documents.is_empty() {
            files.discard(&self.name);
            return Ok(None);
        }
        let Namespace { folder, numbers, .. } = self.namespace;
        let documents = self.documents.seal()?;
        let name = files.name(numbers, "text");
        let text = sealed::write(folder, &name, FileKind::Text, &text())?;
        let name = files.name(numbers, "columns");
        let columns = sealed::write(folder, &name, FileKind::Columns, &self.columns.save())?;
        let entry = SegmentEntry { documents, text, columns: Some(columns), removals: None };
        let (segment, damaged) = Segment::open(folder, &entry, &|_| true)?;
        match damaged.into_iter().next() {
            Some(damaged) => Err(damaged.into()),
            None => Ok(Some((entry, segment))),
        }
    }
}

/// Files that say what is dead, as it was at a moment.
pub(super) struct SavedDead {
    live: FileEntry,
    /// Of segments by the names of their documents, and how many documents these are.
    removals: Vec<(String, FileEntry, usize)>,
}

impl Namespace {
    /// Writes which slots below `end` are live, and what the full text of segments no longer counts.
    /// A new segment, whose documents may have died while it was written, forgets them.
    /// Whoever calls holds `installing`.
    pub(super) fn save_dead(
        &self,
        end: u32,
        files: &mut NewFiles,
        new: Option<&mut Segment>,
    ) -> Result<SavedDead, IndexError> {
        let state = self.read()?;
        let live = state.live.below(end);
        let due = state
            .segments
            .iter()
            .filter(|segment| segment.text.removed_len() >= segment.removals_saved + REMOVALS_MIN);
        let due: Vec<(String, TextSegment)> =
            due.map(|one| (one.documents.file().entry().name.clone(), one.text.clone())).collect();
        drop(state);
        let mut removals = Vec::new();
        for (documents, text) in due {
            let name = files.name(&self.numbers, "removals");
            let bytes = text.removals();
            let entry = sealed::write(&self.folder, &name, FileKind::Removals, &bytes)?;
            removals.push((documents, entry, text.removed_len()));
        }
        new.map(|segment| segment.remove_dead(&live)).transpose()?;
        let live = live.save(&self.folder, &files.name(&self.numbers, "live"))?;
        Ok(SavedDead { live, removals })
    }
}

impl SavedDead {
    /// Lets a manifest name them.
    pub(super) fn put(&self, manifest: &mut NamespaceManifest) {
        manifest.live = self.live.clone();
        for (documents, entry, _) in &self.removals {
            let segments = &mut manifest.segments;
            if let Some(segment) = segments.iter_mut().find(|one| one.documents.name == *documents)
            {
                segment.removals = Some(entry.clone());
            }
        }
    }

    /// A manifest names them.
    pub(super) fn on_saved(&self, state: &mut State) {
        for (documents, _, count) in &self.removals {
            let of = |segment: &&mut Segment| segment.documents.file().entry().name == *documents;
            if let Some(segment) = state.segments.iter_mut().find(of) {
                segment.removals_saved = *count;
            }
        }
    }
}

impl Segment {
    /// Opens a segment. What can be made again from its documents is; that it had to be is returned
    /// beside.
    pub(super) fn open(
        folder: &Folder,
        entry: &SegmentEntry,
        is_live: &dyn Fn(Slot) -> bool,
    ) -> Result<(Self, Vec<DamagedFile>), IndexError> {
        let mut damaged = Vec::new();
        let mut keep = |error| match error {
            IndexError::Damaged(file) => {
                damaged.push(file);
                Ok(())
            }
            error => Err(error),
        };
        let documents = Arc::new(Documents::open(folder, &entry.documents)?);
        let (text, text_file) = match open_text(folder, &entry.text) {
            Ok((text, file)) => (text, Some(file)),
            Err(error) => {
                keep(error)?;
                (remake_text(&documents, is_live)?, None)
            }
        };
        let columns = entry.columns.as_ref();
        let columns = columns.map(|file| Sealed::open(folder, file, FileKind::Columns));
        let columns = match columns.transpose() {
            Ok(columns) => columns.map(Arc::new),
            Err(error) => {
                keep(error)?;
                None
            }
        };
        let (removals_saved, is_remade) = (0, false);
        let mut segment = Self { documents, text, text_file, columns, removals_saved, is_remade };
        // A text that was made again has nothing dead in it.
        if let (Some(entry), Some(_)) = (&entry.removals, &segment.text_file)
            && let Err(error) = segment.read_removals(folder, entry, is_live)
        {
            keep(error)?;
        }
        segment.remove_all(is_live)?;
        segment.is_remade = !damaged.is_empty();
        Ok((segment, damaged))
    }

    fn read_removals(
        &mut self,
        folder: &Folder,
        entry: &FileEntry,
        is_live: &dyn Fn(Slot) -> bool,
    ) -> Result<(), IndexError> {
        let file = Sealed::open(folder, entry, FileKind::Removals)?;
        match self.text.set_removals(file.read(0, file.len())?, |slot| !is_live(slot)) {
            true => {
                self.removals_saved = self.text.removed_len();
                Ok(())
            }
            false => Err(DamagedFile::new(file.path(), "it is of another full text").into()),
        }
    }

    /// Lets the full text forget the documents that are not live.
    pub(super) fn remove_dead(&mut self, live: &LiveSet) -> Result<(), DamagedFile> {
        self.remove_all(&|slot| live.contains(slot))
    }

    fn remove_all(&mut self, is_live: &dyn Fn(Slot) -> bool) -> Result<(), DamagedFile> {
        let documents = Arc::clone(&self.documents);
        for row in 0..documents.len() {
            let slot = documents.slot(row);
            if !is_live(slot) && self.text.contains(slot) {
                let removed = self.text.remove(slot, documents.get(row)?.text);
                let path = self.text_file.as_ref().map_or(Path::new(""), |file| file.path());
                removed.map_err(|error| DamagedFile::new(path, error.to_string()))?;
            }
        }
        Ok(())
    }
}

/// Opens the full text of a segment, with what died in it.
fn open_text(folder: &Folder, entry: &FileEntry) -> Result<(TextSegment, Sealed), IndexError> {
    let file = Sealed::open(folder, entry, FileKind::Text)?;
    let text = TextSegment::open(file.data());
    let text = text.map_err(|error| DamagedFile::new(file.path(), error.to_string()))?;
    Ok((text, file))
}

/// The full text of the live documents of a segment, in memory.
fn remake_text(
    documents: &Documents,
    is_live: &dyn Fn(Slot) -> bool,
) -> Result<TextSegment, DamagedFile> {
    let damaged = |reason: String| DamagedFile::new(documents.file().path(), reason);
    let mut buffer = TextBuffer::new(Bm25Options::default());
    for row in 0..documents.len() {
        let slot = documents.slot(row);
        if is_live(slot) {
            let added = buffer.add(slot, documents.get(row)?.text);
            added.map_err(|error| damaged(error.to_string()))?;
        }
    }
    let text = TextSegment::open(Bytes::from_vec(buffer.freeze()));
    text.map_err(|error| damaged(error.to_string()))
}
