//! From many files to few.

use std::ops::Range;
use std::sync::Arc;

use super::flush::write_text;
use super::state::{Segment, State};
use super::{Namespace, Writer};
use crate::hit::Slot;
use crate::store::documents::DocumentsWriter;
use crate::store::embedding::Leisure;
use crate::store::error::IndexError;
use crate::store::limits::SEGMENT_BYTES_MAX;
use crate::store::manifest::SegmentEntry;
use crate::store::new_files::NewFiles;
use crate::store::tiers::{self, Size};
use crate::store::vectors::{Run, RunWriter};
use crate::text::{Bm25Options, TextSegment};

impl Namespace {
    /// Writes everything into as few files as may be, without what is dead.
    pub fn compact(&self) -> Result<(), IndexError> {
        let mut writer = self.writing()?;
        self.flush_with(&mut writer)?;
        self.refit(Leisure::Compaction)?;
        let sizes = self.read()?.segment_sizes();
        // From behind, so that the places of what is still to come stay.
        for range in tiers::all(&sizes, SEGMENT_BYTES_MAX).into_iter().rev() {
            self.merge_segments(&mut writer, range)?;
        }
        for number in self.embedding_numbers()? {
            let sizes = self.read()?.run_sizes(number);
            for range in tiers::all(&sizes, SEGMENT_BYTES_MAX).into_iter().rev() {
                self.merge_runs(&mut writer, number, range)?;
            }
        }
        self.save_dense(&mut writer)
    }

    fn embedding_numbers(&self) -> Result<Vec<u32>, IndexError> {
        Ok(self.read()?.embeddings.iter().map(|embedding| embedding.number).collect())
    }

    /// Lets embeddings be searched in the way that suits the number of their vectors.
    pub(super) fn refit(&self, leisure: Leisure) -> Result<(), IndexError> {
        for number in self.embedding_numbers()? {
            let state = self.read()?;
            let embedding = &state.embeddings[state.place_of_embedding(number)];
            if !embedding.is_misfit(leisure) {
                continue;
            }
            // Searches go on with the old way meanwhile.
            let dense = embedding.refitted()?;
            drop(state);
            if let Some(embedding) = self.change().numbered(number) {
                embedding.refit(dense);
            }
        }
        Ok(())
    }

    fn save_dense(&self, writer: &mut Writer) -> Result<(), IndexError> {
        let state = self.read()?;
        let mut manifest = writer.manifest.clone();
        let mut files = NewFiles::new(&self.folder);
        let saved = self.write_dense(&state, &mut manifest, &mut files, Leisure::Compaction)?;
        drop(state);
        if saved.is_empty() {
            return Ok(());
        }
        self.swap(writer, manifest, files)?;
        self.change().on_saved(&saved);
        Ok(())
    }

    /// Merges what has become too many or too dead, after a flush.
    pub(super) fn merge_with(&self, writer: &mut Writer) -> Result<(), IndexError> {
        loop {
            let sizes = self.read()?.segment_sizes();
            let Some(range) = tiers::next(&sizes, SEGMENT_BYTES_MAX) else { break };
            self.merge_segments(writer, range)?;
        }
        for number in self.embedding_numbers()? {
            loop {
                let sizes = self.read()?.run_sizes(number);
                let Some(range) = tiers::next(&sizes, SEGMENT_BYTES_MAX) else { break };
                self.merge_runs(writer, number, range)?;
            }
        }
        Ok(())
    }

    /// Puts one segment, or none if nothing is live, in the place of neighbours. The log must be
    /// empty, so that what is dead is dead on disk.
    fn merge_segments(&self, writer: &mut Writer, range: Range<usize>) -> Result<(), IndexError> {
        debug_assert!(writer.log.is_empty(), "a merge without a flush");
        let state = self.read()?;
        let mut manifest = writer.manifest.clone();
        let mut files = NewFiles::new(&self.folder);
        let name = files.name(&mut manifest, "documents");
        let mut out = DocumentsWriter::create(&self.folder, &name)?;
        for segment in &state.segments[range.clone()] {
            for row in segment.live_rows(&state.live) {
                out.put(segment.documents.slot(row), segment.documents.get(row)?)?;
            }
        }
        let (mut entry, mut merged) = (None, None);
        if !out.is_empty() {
            let documents = out.seal()?;
            let texts: Vec<_> =
                state.segments[range.clone()].iter().map(|segment| &segment.text).collect();
            let name = files.name(&mut manifest, "text");
            let bytes = TextSegment::merge(&texts, Bm25Options::default());
            let text = write_text(&self.folder, &name, &bytes)?;
            let sealed = SegmentEntry { documents, text };
            merged = Some(Segment::open_new(&self.folder, &sealed)?);
            entry = Some(sealed);
        }
        manifest.segments.splice(range.clone(), entry);
        drop(state);
        self.swap(writer, manifest, files)?;
        self.change().segments.splice(range, merged);
        Ok(())
    }

    /// The same for runs of an embedding, which need not be neighbours in slots.
    fn merge_runs(
        &self,
        writer: &mut Writer,
        number: u32,
        range: Range<usize>,
    ) -> Result<(), IndexError> {
        let state = self.read()?;
        let at = state.place_of_embedding(number);
        let embedding = &state.embeddings[at];
        let mut manifest = writer.manifest.clone();
        let mut files = NewFiles::new(&self.folder);
        let name = files.name(&mut manifest, "vectors");
        let runs = &embedding.runs[range.clone()];
        let rows_of = |run: usize| {
            let slots = (0..).zip(runs[run].slots()).map(move |(row, &slot)| (slot, run, row));
            slots.filter(|(slot, ..)| embedding.covered().contains(*slot))
        };
        let mut rows: Vec<_> = (0..runs.len()).flat_map(rows_of).collect();
        rows.sort_unstable();
        let mut out = RunWriter::create(&self.folder, &name, &embedding.spec)?;
        for (slot, run, row) in rows {
            out.put(slot, &runs[run].get(row)?)?;
        }
        let (mut entry, mut merged) = (None, None);
        if !out.is_empty() {
            let sealed = out.seal()?;
            merged = Some(Arc::new(Run::open(&self.folder, &sealed, &embedding.spec)?));
            entry = Some(sealed);
        }
        manifest.entry_of(number).runs.splice(range.clone(), entry);
        drop(state);
        self.swap(writer, manifest, files)?;
        self.change().embeddings[at].runs.splice(range, merged);
        Ok(())
    }
}

impl State {
    fn segment_sizes(&self) -> Vec<Size> {
        let size = |segment: &Segment| {
            let bytes = |row| segment.documents.row_bytes(row);
            let live_bytes = segment.live_rows(&self.live).map(bytes).sum();
            let bytes: u64 = (0..segment.documents.len()).map(bytes).sum();
            // What was made again because its file is damaged is to be written again as well.
            Size { bytes: bytes + u64::from(segment.text_file.is_none()), live_bytes }
        };
        self.segments.iter().map(size).collect()
    }

    fn run_sizes(&self, number: u32) -> Vec<Size> {
        let embedding = &self.embeddings[self.place_of_embedding(number)];
        let size = |run: &Arc<Run>| {
            let is_live = |slot: &&Slot| embedding.covered().contains(**slot);
            let live = run.slots().iter().filter(is_live).count() as u64;
            let bytes = run.slots().len() as u64 * run.row_bytes();
            Size { bytes, live_bytes: live * run.row_bytes() }
        };
        embedding.runs.iter().map(size).collect()
    }

    /// Where an embedding is; it is there as long as nobody else writes.
    fn place_of_embedding(&self, number: u32) -> usize {
        let at = self.embeddings.iter().position(|embedding| embedding.number == number);
        at.expect("only a writer drops embeddings")
    }
}
