//! From the log and memory to files.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::state::{Segment, State};
use super::{Namespace, Writer};
use crate::store::documents::{Documents, DocumentsWriter};
use crate::store::error::IndexError;
use crate::store::log::Log;
use crate::store::manifest::{self, NamespaceManifest, SegmentEntry, log_name, mark_name};
use crate::store::memory::Memory;
use crate::store::new_files::NewFiles;
use crate::store::vectors::{Run, RunWriter};

/// What takes the place of the memory.
struct Flushed {
    segment: Option<Segment>,
    /// By the number of the embedding.
    runs: Vec<(u32, Arc<Run>)>,
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
        let mut flushed = Flushed { segment: None, runs: Vec::new() };
        if !state.memory.is_empty() {
            let name = files.name(manifest, "documents");
            let mut writer = DocumentsWriter::create(&self.folder, &name)?;
            for (slot, document) in state.memory.iter() {
                writer.put(slot, document.as_ref())?;
            }
            let entry = SegmentEntry { documents: writer.seal()? };
            flushed.segment = Some(Segment::open(&self.folder, &entry)?);
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
            manifest.runs_of(embedding.number).push(entry);
        }
        Ok(flushed)
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
    fn on_flushed(&mut self, flushed: Flushed, log: std::path::PathBuf) {
        self.segments.extend(flushed.segment);
        self.memory = Memory::default();
        self.memory_bytes = 0;
        self.log = log;
        for embedding in &mut self.embeddings {
            let runs = flushed.runs.iter().filter(|(number, _)| *number == embedding.number);
            embedding.runs.extend(runs.map(|(_, run)| Arc::clone(run)));
            embedding.memory = BTreeMap::new();
        }
    }
}

impl Segment {
    pub(super) fn open(
        folder: &crate::store::folder::Folder,
        entry: &SegmentEntry,
    ) -> Result<Self, IndexError> {
        Ok(Self { documents: Arc::new(Documents::open(folder, &entry.documents)?) })
    }
}
