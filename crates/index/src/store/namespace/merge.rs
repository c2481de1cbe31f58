//! From many files to few.
//!
//! Files are merged as they are at a moment, while writes go on; what dies meanwhile is in the new
//! file, and dead there. A file that is merged away is removed once a manifest no longer names it.

use std::ops::Range;
use std::sync::Arc;

use super::segment_files::SegmentWriter;
use super::state::Segment;
use super::{Duty, Namespace};
use crate::store::documents::Documents;
use crate::store::embedding::Leisure;
use crate::store::error::IndexError;
use crate::store::limits::SEGMENT_BYTES_MAX;
use crate::store::live::LiveSet;
use crate::store::manifest::SegmentEntry;
use crate::store::new_files::NewFiles;
use crate::store::sealed::{FileEntry, Sealed};
use crate::store::spec::EmbeddingSpec;
use crate::store::tiers::{self, Size};
use crate::store::vectors::{Run, RunWriter};
use crate::text::{Bm25Options, TextSegment};

/// Neighbours that become one segment, as they are at a moment.
pub(crate) struct Segments {
    range: Range<usize>,
    documents: Vec<Arc<Documents>>,
    texts: Vec<TextSegment>,
    live: LiveSet,
}

/// What takes their place: nothing where nothing is live.
pub(crate) struct MergedSegments {
    range: Range<usize>,
    segment: Option<(SegmentEntry, Segment)>,
    files: NewFiles,
}

/// Runs of an embedding that become one.
pub(crate) struct Runs {
    number: u32,
    spec: EmbeddingSpec,
    range: Range<usize>,
    runs: Vec<Arc<Run>>,
    covered: LiveSet,
}

/// What takes their place.
pub(crate) struct MergedRuns {
    number: u32,
    range: Range<usize>,
    run: Option<(FileEntry, Arc<Run>)>,
    files: NewFiles,
}

/// Which files are to become one.
type Choose = fn(&[Size]) -> Option<Range<usize>>;

/// Those that have become too many or too dead.
pub(crate) fn what_is_due(sizes: &[Size]) -> Option<Range<usize>> {
    tiers::next(sizes, SEGMENT_BYTES_MAX)
}

/// The last of those that are more than need be.
pub(crate) fn what_can_be(sizes: &[Size]) -> Option<Range<usize>> {
    tiers::all(sizes, SEGMENT_BYTES_MAX).pop()
}

impl Namespace {
    /// Writes everything into as few files as may be, without what is dead.
    pub fn compact(&self) -> Result<(), IndexError> {
        self.flush()?;
        let _tidying = self.tidying.lock();
        self.refit(Leisure::Compaction)?;
        // What died since the flush is dead in memory alone, and is left out as well.
        self.merge_all(what_can_be)?;
        self.save_dense(Leisure::Compaction)?;
        self.duties.on_ended(Duty::Tidy, Ok(()));
        Ok(())
    }

    /// Merges what has become too many or too dead.
    pub(super) fn merge(&self) -> Result<(), IndexError> {
        self.merge_all(what_is_due)
    }

    fn merge_all(&self, choose: Choose) -> Result<(), IndexError> {
        while let Some(segments) = self.segments_to_merge(choose)? {
            let merged = self.write_segments(&segments)?;
            self.install_segments(merged)?;
        }
        for number in self.embedding_numbers()? {
            while let Some(runs) = self.runs_to_merge(number, choose)? {
                let merged = self.write_runs(&runs)?;
                self.install_runs(merged)?;
            }
        }
        Ok(())
    }

    /// The segments that are to become one now.
    pub(crate) fn segments_to_merge(&self, choose: Choose) -> Result<Option<Segments>, IndexError> {
        let state = self.read()?;
        let live = state.live.clone();
        let part = |one: &Segment| Part {
            documents: Arc::clone(&one.documents),
            columns: one.columns.clone(),
            is_remade: one.is_remade,
        };
        let parts: Vec<Part> = state.segments.iter().map(part).collect();
        drop(state);
        let sizes: Vec<Size> = parts.iter().map(|part| part.size(&live)).collect();
        let Some(range) = choose(&sizes) else { return Ok(None) };
        let state = self.read()?;
        // Only those who hold `tidying` change the segments that are there; a flush adds others.
        let segments = &state.segments[range.clone()];
        let documents = segments.iter().map(|segment| Arc::clone(&segment.documents)).collect();
        let texts = segments.iter().map(|segment| segment.text.clone()).collect();
        Ok(Some(Segments { range, documents, texts, live: state.live.clone() }))
    }

    /// Writes one segment of several.
    pub(crate) fn write_segments(&self, from: &Segments) -> Result<MergedSegments, IndexError> {
        let mut files = NewFiles::new(&self.folder);
        let mut writer = SegmentWriter::create(self, &mut files)?;
        for documents in &from.documents {
            for row in 0..documents.len() {
                let slot = documents.slot(row);
                if from.live.contains(slot) {
                    writer.put(slot, documents.get(row)?)?;
                }
            }
        }
        let texts: Vec<&TextSegment> = from.texts.iter().collect();
        let text = || TextSegment::merge(&texts, Bm25Options::default());
        let segment = writer.seal(&mut files, text)?;
        Ok(MergedSegments { range: from.range.clone(), segment, files })
    }

    /// Lets it take their place.
    pub(crate) fn install_segments(&self, merged: MergedSegments) -> Result<(), IndexError> {
        let MergedSegments { range, segment, mut files } = merged;
        let (entry, mut segment) = segment.unzip();
        let installing = self.installing.lock();
        let end = self.writing()?.manifest.next_slot;
        // What is left out is dead in memory and in the log; it must be dead on disk beside a
        // segment that lacks it.
        let dead = self.save_dead(end, &mut files, segment.as_mut())?;
        let mut writer = self.writing()?;
        let state = self.read()?;
        segment.iter_mut().try_for_each(|segment| segment.remove_dead(&state.live))?;
        drop(state);
        let mut manifest = writer.manifest.clone();
        dead.put(&mut manifest);
        manifest.segments.splice(range.clone(), entry);
        self.swap(&mut writer, manifest, files)?;
        let mut state = self.change();
        dead.on_saved(&mut state);
        let before: Vec<Segment> = state.segments.splice(range, segment).collect();
        drop(state);
        drop((writer, installing));
        // Letting go of large mappings takes a while.
        drop(before);
        Ok(())
    }

    /// The runs of an embedding that are to become one now. They need not be neighbours in slots.
    fn runs_to_merge(&self, number: u32, choose: Choose) -> Result<Option<Runs>, IndexError> {
        let state = self.read()?;
        let Some(embedding) = state.with_number(number) else { return Ok(None) };
        let (spec, covered) = (embedding.spec.clone(), embedding.covered().clone());
        let mut runs = embedding.runs.clone();
        drop(state);
        let size = |run: &Arc<Run>| {
            let live = run.slots().iter().filter(|slot| covered.contains(**slot)).count() as u64;
            let bytes = run.slots().len() as u64 * run.row_bytes();
            Size { bytes, live_bytes: live * run.row_bytes() }
        };
        let sizes: Vec<Size> = runs.iter().map(size).collect();
        let Some(range) = choose(&sizes) else { return Ok(None) };
        let runs = runs.drain(range.clone()).collect();
        Ok(Some(Runs { number, spec, range, runs, covered }))
    }

    fn write_runs(&self, from: &Runs) -> Result<MergedRuns, IndexError> {
        let mut files = NewFiles::new(&self.folder);
        let name = files.name(&self.numbers, "vectors");
        let rows_of = |run: usize| {
            let slots = (0..).zip(from.runs[run].slots()).map(move |(row, &slot)| (slot, run, row));
            slots.filter(|(slot, ..)| from.covered.contains(*slot))
        };
        let mut rows: Vec<_> = (0..from.runs.len()).flat_map(rows_of).collect();
        rows.sort_unstable();
        let mut writer = RunWriter::create(&self.folder, &name, &from.spec)?;
        for (slot, run, row) in rows {
            writer.put(slot, &from.runs[run].get(row)?)?;
        }
        let run = match writer.is_empty() {
            true => {
                files.discard(&name);
                None
            }
            false => {
                let entry = writer.seal()?;
                let run = Run::open(&self.folder, &entry, &from.spec)?;
                Some((entry, Arc::new(run)))
            }
        };
        Ok(MergedRuns { number: from.number, range: from.range.clone(), run, files })
    }

    pub(crate) fn install_runs(&self, merged: MergedRuns) -> Result<(), IndexError> {
        let MergedRuns { number, range, run, files } = merged;
        let (entry, run) = run.unzip();
        let mut writer = self.writing()?;
        let mut manifest = writer.manifest.clone();
        // It may have been dropped meanwhile, and then its new file goes.
        let Some(embedding) = manifest.entry_of(number) else { return Ok(()) };
        embedding.runs.splice(range.clone(), entry);
        self.swap(&mut writer, manifest, files)?;
        let mut state = self.change();
        let embedding = state.numbered(number);
        let before: Option<Vec<Arc<Run>>> =
            embedding.map(|embedding| embedding.runs.splice(range, run).collect());
        drop((state, writer));
        drop(before);
        Ok(())
    }

    /// Merges the runs of embeddings, for tests that let other things happen in between.
    #[cfg(test)]
    pub(crate) fn some_runs(&self, choose: Choose) -> Result<Option<MergedRuns>, IndexError> {
        for number in self.embedding_numbers()? {
            if let Some(runs) = self.runs_to_merge(number, choose)? {
                return self.write_runs(&runs).map(Some);
            }
        }
        Ok(None)
    }
}

/// What decides whether a segment is to be merged.
struct Part {
    documents: Arc<Documents>,
    columns: Option<Arc<Sealed>>,
    is_remade: bool,
}

impl Part {
    fn size(&self, live: &LiveSet) -> Size {
        // What is damaged, or was and was made again, is to be written again as well.
        let has_columns = self.columns.as_ref().is_some_and(|columns| columns.verify().is_ok());
        let mut size = Size { bytes: u64::from(self.is_remade || !has_columns), live_bytes: 0 };
        for row in 0..self.documents.len() {
            let bytes = self.documents.row_bytes(row);
            size.bytes += bytes;
            if live.contains(self.documents.slot(row)) {
                size.live_bytes += bytes;
            }
        }
        size
    }
}
