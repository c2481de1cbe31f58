//! From many files to few.

use std::ops::Range;
use std::sync::Arc;

use super::state::{Segment, State};
use super::{Namespace, Writer};
use crate::store::documents::DocumentsWriter;
use crate::store::error::IndexError;
use crate::store::limits::SEGMENT_BYTES_MAX;
use crate::store::manifest::SegmentEntry;
use crate::store::new_files::NewFiles;
use crate::store::tiers::{self, Size};
use crate::store::vectors::{Run, RunWriter};

impl Namespace {
    /// Writes everything into as few files as may be, without what is dead.
    pub fn compact(&self) -> Result<(), IndexError> {
        let mut writer = self.writing()?;
        self.flush_with(&mut writer)?;
        let (sizes, numbers) = {
            let state = self.read()?;
            let numbers: Vec<u32> = state.embeddings.iter().map(|one| one.number).collect();
            (state.segment_sizes(), numbers)
        };
        // From behind, so that the places of what is still to come stay.
        for range in tiers::all(&sizes, SEGMENT_BYTES_MAX).into_iter().rev() {
            self.merge_segments(&mut writer, range)?;
        }
        for number in numbers {
            let sizes = self.read()?.run_sizes(number);
            for range in tiers::all(&sizes, SEGMENT_BYTES_MAX).into_iter().rev() {
                self.merge_runs(&mut writer, number, range)?;
            }
        }
        Ok(())
    }

    /// Merges what has become too many or too dead, after a flush.
    pub(super) fn merge_with(&self, writer: &mut Writer) -> Result<(), IndexError> {
        loop {
            let sizes = self.read()?.segment_sizes();
            let Some(range) = tiers::next(&sizes, SEGMENT_BYTES_MAX) else { break };
            self.merge_segments(writer, range)?;
        }
        let numbers: Vec<u32> = self.read()?.embeddings.iter().map(|one| one.number).collect();
        for number in numbers {
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
            for row in segment.live_rows(&state) {
                out.put(segment.documents.slot(row), segment.documents.get(row)?)?;
            }
        }
        let (mut entry, mut merged) = (None, None);
        if !out.is_empty() {
            let sealed = SegmentEntry { documents: out.seal()? };
            merged = Some(Segment::open(&self.folder, &sealed)?);
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
        let rows = |run: usize| {
            let slots = (0..runs[run].len()).map(move |row| (runs[run].slot(row), run, row));
            slots.filter(|(slot, ..)| embedding.covered().contains(*slot))
        };
        let mut rows: Vec<_> = (0..runs.len()).flat_map(rows).collect();
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
        manifest.runs_of(number).splice(range.clone(), entry);
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
            let live_bytes = segment.live_rows(self).map(bytes).sum();
            Size { bytes: (0..segment.documents.len()).map(bytes).sum(), live_bytes }
        };
        self.segments.iter().map(size).collect()
    }

    fn run_sizes(&self, number: u32) -> Vec<Size> {
        let embedding = &self.embeddings[self.place_of_embedding(number)];
        let size = |run: &Arc<Run>| {
            let is_live = |row: &usize| embedding.covered().contains(run.slot(*row));
            let live = (0..run.len()).filter(is_live).count() as u64;
            Size { bytes: run.len() as u64 * run.row_bytes(), live_bytes: live * run.row_bytes() }
        };
        embedding.runs.iter().map(size).collect()
    }

    /// Where an embedding is; it is there as long as nobody else writes.
    fn place_of_embedding(&self, number: u32) -> usize {
        let at = self.embeddings.iter().position(|embedding| embedding.number == number);
        at.expect("only a writer drops embeddings")
    }
}

impl Segment {
    /// The rows whose documents are there.
    pub(super) fn live_rows(&self, state: &State) -> impl Iterator<Item = usize> {
        (0..self.documents.len()).filter(|&row| state.live.contains(self.documents.slot(row)))
    }
}
