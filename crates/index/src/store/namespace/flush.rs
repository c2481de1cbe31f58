//! From the log and memory to files.
//!
//! ```text
//! freeze: another log is named, memory is emptied   (writes wait: a manifest is swapped)
//! write: what is frozen becomes files               (nobody waits)
//! install: a manifest names them, the old log goes  (writes wait: a manifest is swapped)
//! ```
//! After a crash in between, or a disk that was full, logs and memory have all of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::segment_files::SegmentWriter;
use super::state::{Segment, State};
use super::{Duty, Namespace, Writer};
use crate::hit::Slot;
use crate::store::error::IndexError;
use crate::store::live::LiveSet;
use crate::store::log::Log;
use crate::store::manifest::{self, NamespaceManifest, SegmentEntry, log_name};
use crate::store::memory::Memory;
use crate::store::new_files::NewFiles;
use crate::store::sealed::FileEntry;
use crate::store::spec::EmbeddingSpec;
use crate::store::vectors::{Run, RunWriter};
use crate::text::TextMoment;

/// What is frozen, as it was at a moment.
pub(crate) struct Flushing {
    documents: Arc<Memory>,
    text: TextMoment,
    live: LiveSet,
    vectors: Vec<FrozenVectors>,
    end: u32,
    next_log: u64,
}

/// Vectors of an embedding.
struct FrozenVectors {
    number: u32,
    spec: EmbeddingSpec,
    by_slot: Arc<BTreeMap<Slot, Vec<f32>>>,
}

/// What takes the place of what is frozen, in files that no manifest names yet.
pub(crate) struct Flushed {
    segment: Option<(SegmentEntry, Segment)>,
    /// By the number of the embedding.
    runs: Vec<(u32, FileEntry, Arc<Run>)>,
    end: u32,
    next_log: u64,
    files: NewFiles,
}

impl Namespace {
    /// Writes what is in memory to files, so that opening need not read it from the log. It happens
    /// by itself, behind, whenever 64 MiB are there; so does then the merging of files that have
    /// become many, for which this does not wait.
    pub fn flush(&self) -> Result<(), IndexError> {
        let flushing = self.flushing.lock();
        // What is frozen already is not all of it.
        let is_frozen = self.read()?.frozen.is_some();
        for _ in 0..1 + usize::from(is_frozen) {
            self.flush_once()?;
        }
        drop(flushing);
        self.duties.on_ended(Duty::Flush, Ok(()));
        if !self.duties.call(Duty::Tidy) {
            self.tidy()?;
        }
        Ok(())
    }

    /// Writes what is frozen to files; if nothing is, freezes what is in memory and writes that.
    /// Whoever calls holds `flushing`.
    pub(super) fn flush_once(&self) -> Result<(), IndexError> {
        let Some(flushing) = self.freeze()? else { return Ok(()) };
        let flushed = self.write_frozen(&flushing)?;
        self.install_flushed(flushed)
    }

    /// Lets what is in memory rest, and writes go on to another log; `None` if nothing was written.
    pub(crate) fn freeze(&self) -> Result<Option<Flushing>, IndexError> {
        if let Some(flushing) = self.read()?.flushing() {
            return Ok(Some(flushing));
        }
        if self.writing()?.has_nothing() {
            return Ok(None);
        }
        let mut files = NewFiles::new(&self.folder);
        let number = files.log(&self.numbers);
        let log = Log::create(&self.folder, number)?;
        let mut writer = self.writing()?;
        let mut manifest = writer.manifest.clone();
        manifest.older_logs.push(writer.log.rest());
        manifest.log = number;
        self.swap(&mut writer, manifest, files)?;
        writer.log = log;
        let mut state = self.change();
        state.freeze(number, self.folder.at(&log_name(number)));
        Ok(state.flushing())
    }

    /// Writes it to files.
    pub(crate) fn write_frozen(&self, flushing: &Flushing) -> Result<Flushed, IndexError> {
        let mut files = NewFiles::new(&self.folder);
        let is_live = |slot: Slot| flushing.live.contains(slot);
        let mut writer = SegmentWriter::create(self, &mut files)?;
        for (slot, document) in flushing.documents.iter().filter(|(slot, _)| is_live(*slot)) {
            writer.put(slot, document.as_ref())?;
        }
        let segment = writer.seal(&mut files, || flushing.text.freeze())?;
        let mut runs = Vec::new();
        for FrozenVectors { number, spec, by_slot } in &flushing.vectors {
            let name = files.name(&self.numbers, "vectors");
            let mut writer = RunWriter::create(&self.folder, &name, spec)?;
            for (&slot, values) in by_slot.iter().filter(|(slot, _)| is_live(**slot)) {
                writer.put(slot, values)?;
            }
            if writer.is_empty() {
                files.discard(&name);
                continue;
            }
            let entry = writer.seal()?;
            let run = Arc::new(Run::open(&self.folder, &entry, spec)?);
            runs.push((*number, entry, run));
        }
        let (end, next_log) = (flushing.end, flushing.next_log);
        Ok(Flushed { segment, runs, end, next_log, files })
    }

    /// Lets files take the place of what is frozen.
    pub(crate) fn install_flushed(&self, flushed: Flushed) -> Result<(), IndexError> {
        let Flushed { segment, runs, end, next_log, mut files } = flushed;
        let (entry, mut segment) = segment.unzip();
        let installing = self.installing.lock();
        // Documents that went while they were written; those that go from now on are few.
        let dead = self.save_dead(end, &mut files, segment.as_mut())?;
        let mut writer = self.writing()?;
        let state = self.read()?;
        segment.iter_mut().try_for_each(|segment| segment.remove_dead(&state.live))?;
        drop(state);
        let mut manifest = writer.manifest.clone();
        dead.put(&mut manifest);
        manifest.next_slot = end;
        manifest.older_logs.retain(|log| log.number >= next_log);
        manifest.segments.extend(entry);
        for (number, entry, _) in &runs {
            match manifest.entry_of(*number) {
                Some(embedding) => embedding.runs.push(entry.clone()),
                // It was dropped meanwhile.
                None => files.discard(&entry.name),
            }
        }
        self.swap(&mut writer, manifest, files)?;
        let mut state = self.change();
        dead.on_saved(&mut state);
        let frozen = state.on_flushed(segment, runs);
        drop(state);
        drop((writer, installing));
        // Letting go of many documents takes a while.
        drop(frozen);
        Ok(())
    }

    /// Makes a manifest the one on disk, and removes the files that it no longer needs.
    pub(super) fn swap(
        &self,
        writer: &mut Writer,
        mut manifest: NamespaceManifest,
        files: NewFiles,
    ) -> Result<(), IndexError> {
        manifest.next_file = self.numbers.next();
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

impl Writer {
    /// Whether there is nothing that files do not have.
    fn has_nothing(&self) -> bool {
        self.log.is_empty() && self.manifest.older_logs.is_empty()
    }
}

impl State {
    /// What is frozen, if anything is.
    fn flushing(&self) -> Option<Flushing> {
        let frozen = self.frozen.as_ref()?;
        let vectors = self.embeddings.iter().map(|embedding| FrozenVectors {
            number: embedding.number,
            spec: embedding.spec.clone(),
            by_slot: Arc::clone(&embedding.frozen),
        });
        Some(Flushing {
            documents: Arc::clone(&frozen.documents),
            text: frozen.text.moment(),
            live: self.live.below(frozen.end),
            vectors: vectors.collect(),
            end: frozen.end,
            next_log: frozen.next_log,
        })
    }

    /// Files took the place of what was frozen, which is returned.
    fn on_flushed(
        &mut self,
        segment: Option<Segment>,
        runs: Vec<(u32, FileEntry, Arc<Run>)>,
    ) -> impl Sized + use<> {
        self.segments.extend(segment);
        for (number, _, run) in runs {
            if let Some(embedding) = self.numbered(number) {
                embedding.runs.push(run);
            }
        }
        let vectors = self.embeddings.iter_mut().map(|one| std::mem::take(&mut one.frozen));
        let vectors: Vec<_> = vectors.collect();
        (self.frozen.take(), vectors)
    }
}
