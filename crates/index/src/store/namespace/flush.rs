//! From the log and memory to files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::state::{Segment, State};
use super::{Namespace, Writer};
use crate::store::documents::{Documents, DocumentsWriter};
use crate::store::embedding::{Embedding, Leisure};
use crate::store::error::{DamagedFile, IndexError};
use crate::store::folder::Folder;
use crate::store::log::Log;
use crate::store::manifest::{self, NamespaceManifest, SegmentEntry, log_name, mark_name};
use crate::store::memory::Memory;
use crate::store::new_files::NewFiles;
use crate::store::sealed::{FileEntry, FileKind, Sealed, SealedWriter};
use crate::store::vectors::{Run, RunWriter};
use crate::text::{Bm25Options, TextBuffer, TextSegment};

/// What takes the place of the memory.
struct Flushed {
    segment: Option<Segment>,
    /// By the number of the embedding.
    runs: Vec<(u32, Arc<Run>)>,
    /// The numbers of embeddings whose search was saved.
    saved: Vec<u32>,
}

impl Namespace {
    /// Writes what is in memory to files, so that opening need not read it from the log, and merges
    /// files that have become many. It happens by itself whenever 64 MiB are there.
    pub fn flush(&self) -> Result<(), IndexError> {
        let mut writer = self.writing()?;
        self.flush_with(&mut writer)?;
        self.merge_with(&mut writer)
    }

    /// Makes what is in memory durable as files, and begins a new log.
    pub(super) fn flush_with(&self, writer: &mut Writer) -> Result<(), IndexError> {
        if writer.log.is_empty() {
            return Ok(());
        }
        let state = self.read()?;
        let mut manifest = writer.manifest.clone();
        let mut files = NewFiles::new(&self.folder);
        let flushed = self.write_files(&state, &mut manifest, &mut files)?;
        let name = files.name(&mut manifest, "live");
        manifest.live = state.live.save(&self.folder, &name)?;
        manifest.log = NewFiles::number(&mut manifest);
        manifest.next_slot = state.next_slot;
        files.add(log_name(manifest.log));
        files.add(mark_name(manifest.log));
        let log = Log::create(&self.folder, manifest.log)?;
        drop(state);
        self.swap(writer, manifest, files)?;
        writer.log = log;
        self.change().on_flushed(flushed, self.folder.at(&log_name(writer.manifest.log)));
        Ok(())
    }

    fn write_files(
        &self,
        state: &State,
        manifest: &mut NamespaceManifest,
        files: &mut NewFiles<'_>,
    ) -> Result<Flushed, IndexError> {
        let mut flushed = Flushed { segment: None, runs: Vec::new(), saved: Vec::new() };
        if !state.memory.is_empty() {
            let name = files.name(manifest, "documents");
            let mut writer = DocumentsWriter::create(&self.folder, &name)?;
            for (slot, document) in state.memory.iter() {
                writer.put(slot, document.as_ref())?;
            }
            let documents = writer.seal()?;
            let name = files.name(manifest, "text");
            let text = write_text(&self.folder, &name, &state.text.freeze())?;
            let entry = SegmentEntry { documents, text };
            flushed.segment = Some(Segment::open_new(&self.folder, &entry)?);
            manifest.segments.push(entry);
        }
        for embedding in state.embeddings.iter().filter(|embedding| !embedding.memory.is_empty()) {
            let name = files.name(manifest, "vectors");
            let mut writer = RunWriter::create(&self.folder, &name, &embedding.spec)?;
            for (&slot, values) in &embedding.memory {
                writer.put(slot, values)?;
            }
            let entry = writer.seal()?;
            let run = Arc::new(Run::open(&self.folder, &entry, &embedding.spec)?);
            flushed.runs.push((embedding.number, run));
            manifest.entry_of(embedding.number).runs.push(entry);
        }
        flushed.saved = self.write_dense(state, manifest, files, Leisure::None)?;
        Ok(flushed)
    }

    /// Saves what searches vectors, where that is worth it; the numbers of those embeddings.
    pub(super) fn write_dense(
        &self,
        state: &State,
        manifest: &mut NamespaceManifest,
        files: &mut NewFiles<'_>,
        leisure: Leisure,
    ) -> Result<Vec<u32>, IndexError> {
        let is_due = |embedding: &&Embedding| embedding.is_worth_saving(leisure);
        let mut saved = Vec::new();
        for embedding in state.embeddings.iter().filter(is_due) {
            let name = files.name(manifest, "dense");
            manifest.entry_of(embedding.number).dense = Some(embedding.save(&self.folder, &name)?);
            saved.push(embedding.number);
        }
        Ok(saved)
    }

    /// Makes a manifest the one on disk, and removes the files that it no longer needs.
    pub(super) fn swap(
        &self,
        writer: &mut Writer,
        manifest: NamespaceManifest,
        files: NewFiles<'_>,
    ) -> Result<(), IndexError> {
        if let Err(failed) = manifest::swap(&self.folder, &manifest) {
            if failed.is_open {
                files.keep();
                writer.is_stopped = true;
            }
            return Err(failed.error);
        }
        files.keep();
        let before = std::mem::replace(&mut writer.manifest, manifest);
        let needed = writer.manifest.files();
        let gone = before.files().into_iter().filter(|name| !needed.contains(name));
        gone.for_each(|name| self.folder.discard(&name));
        Ok(())
    }
}

impl State {
    fn on_flushed(&mut self, flushed: Flushed, log: PathBuf) {
        self.segments.extend(flushed.segment);
        self.memory = Memory::default();
        self.text = TextBuffer::new(Bm25Options::default());
        self.memory_bytes = 0;
        self.log = log;
        for embedding in &mut self.embeddings {
            let runs = flushed.runs.iter().filter(|(number, _)| *number == embedding.number);
            embedding.runs.extend(runs.map(|(_, run)| Arc::clone(run)));
            embedding.memory = BTreeMap::new();
        }
        self.on_saved(&flushed.saved);
    }

    /// What searches vectors was saved, for these embeddings.
    pub(super) fn on_saved(&mut self, saved: &[u32]) {
        let saved = |embedding: &&mut Embedding| saved.contains(&embedding.number);
        self.embeddings.iter_mut().filter(saved).for_each(Embedding::on_saved);
    }
}

/// Writes the full text of a segment.
pub(super) fn write_text(
    folder: &Folder,
    name: &str,
    bytes: &[u8],
) -> Result<FileEntry, IndexError> {
    let mut file = SealedWriter::create(folder, name, FileKind::Text)?;
    file.put(bytes)?;
    file.seal()
}

impl Segment {
    /// Opens what was just written, and has nothing dead in it.
    pub(super) fn open_new(folder: &Folder, entry: &SegmentEntry) -> Result<Self, IndexError> {
        let documents = Arc::new(Documents::open(folder, &entry.documents)?);
        let (text, file) = open_text(folder, &entry.text)?;
        Ok(Self { documents, text, text_file: Some(file) })
    }
}

/// Opens the full text of a segment, with what died in it.
pub(super) fn open_text(
    folder: &Folder,
    entry: &FileEntry,
) -> Result<(TextSegment, Sealed), IndexError> {
    let file = Sealed::open(folder, entry, FileKind::Text)?;
    let text = TextSegment::open(file.data());
    let text = text.map_err(|error| DamagedFile::new(file.path(), error.to_string()))?;
    Ok((text, file))
}
