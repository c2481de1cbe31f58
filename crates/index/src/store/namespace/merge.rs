//! From many files to few.
//!
//! Files are merged as they are at a moment, while writes go on; what dies meanwhile is in the new
//! file, and dead there. A file that is merged away is removed once a manifest no longer names it.

use std::ops::Range;
use std::sync::Arc;

use super::segment_files::SegmentWriter;
use super::state::Segment;
use super::{Duty, Namespace};
use crate::hit::Slot;
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

/// Runs of an embedding, as they are at a moment.
struct Runs {
    number: u32,
    spec: EmbeddingSpec,
    runs: Vec<Arc<Run>>,
    covered: LiveSet,
}

impl Runs {
    fn sizes(&self) -> Vec<Size> {
        let size = |run: &Arc<Run>| {
            let is_live = |slot: &&Slot| self.covered.contains(**slot);
            let live = run.slots().iter().filter(is_live).count() as u64;
            let bytes = run.slots().len() as u64 * run.row_bytes();
            Size { bytes, live_bytes: live * run.row_bytes() }
        };
        self.runs.iter().map(size).collect()
    }
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

/// The last of those that are more than need be, for tests.
#[cfg(test)]
pub(crate) fn what_can_be(sizes: &[Size]) -> Option<Range<usize>> {
    tiers::all(sizes, SEGMENT_BYTES_MAX).pop()
}

impl Namespace {
    /// Writes everything into as few files as may be, without what is dead.
    pub fn compact(&self) -> Result<(), IndexError> {
        self.flush()?;
        let _tidying = self.tidying.lock();
        self.refit(Leisure::Compaction)?;
        // From behind, so that the places of what is still to come stay; and once, since documents
        // may die faster than files are written. What died since the flush is left out as well.
        for range in tiers::all(&self.segment_sizes()?, SEGMENT_BYTES_MAX).into_iter().rev() {
            let merged = self.write_segments(&self.segments_at(range)?)?;
            self.install_segments(merged)?;
        }
        for number in self.embedding_numbers()? {
            let Some(runs) = self.runs_of(number)? else { continue };
            for range in tiers::all(&runs.sizes(), SEGMENT_BYTES_MAX).into_iter().rev() {
                self.install_runs(self.write_runs(&runs, range)?)?;
            }
        }
        self.save_dense(Leisure::Compaction)?;
        self.duties.on_ended(Duty::Tidy, Ok(()));
        Ok(())
    }

    /// Merges what has become too many or too dead.
    pub(super) fn merge(&self) -> Result<(), IndexError> {
        while let Some(segments) = self.segments_to_merge(what_is_due)? {
            let merged = self.write_segments(&segments)?;
            self.install_segments(merged)?;
        }
        for number in self.embedding_numbers()? {
            while let Some(merged) = self.merged_runs(number, what_is_due)? {
                self.install_runs(merged)?;
            }
        }
        Ok(())
    }

    /// The segments that are to become one now.
    pub(crate) fn segments_to_merge(&self, choose: Choose) -> Result<Option<Segments>, IndexError> {
        choose(&self.segment_sizes()?).map(|range| self.segments_at(range)).transpose()
    }

    fn segment_sizes(&self) -> Result<Vec<Size>, IndexError> {
        let state = self.read()?;
        let live = state.live.clone();
        let part = |one: &Segment| Part {
            documents: Arc::clone(&one.documents),
            columns: one.columns.clone(),
            is_remade: one.is_remade,
        };
        let parts: Vec<Part> = state.segments.iter().map(part).collect();
        drop(state);
        Ok(parts.iter().map(|part| part.size(&live)).collect())
    }

    /// Segments as they are now. Only those who hold `tidying` change the places of segments; a
    /// flush adds others behind them.
    fn segments_at(&self, range: Range<usize>) -> Result<Segments, IndexError> {
        let state = self.read()?;
        let segments = &state.segments[range.clone()];
        let documents = segments.iter().map(|segment| Arc::clone(&segment.documents)).collect();
        let texts = segments.iter().map(|segment| segment.text.clone()).collect();
        Ok(Segments { range, documents, texts, live: state.live.clone() })
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

    /// The runs of an embedding as they are now; `None` if it was dropped.
    fn runs_of(&self, number: u32) -> Result<Option<Runs>, IndexError> {
        let state = self.read()?;
        let embedding = state.with_number(number);
        Ok(embedding.map(|embedding| Runs {
            number,
            spec: embedding.spec.clone(),
            runs: embedding.runs.clone(),
            covered: embedding.covered().clone(),
        }))
    }

    /// One run of those of an embedding that are to become one now, if any are.
    fn merged_runs(&self, number: u32, choose: Choose) -> Result<Option<MergedRuns>, IndexError> {
        let Some(runs) = self.runs_of(number)? else { return Ok(None) };
        choose(&runs.sizes()).map(|range| self.write_runs(&runs, range)).transpose()
    }

    /// Writes one run of several, which need not be neighbours in slots.
    fn write_runs(&self, from: &Runs, range: Range<usize>) -> Result<MergedRuns, IndexError> {
        let mut files = NewFiles::new(&self.folder);
        let name = files.name(&self.numbers, "vectors");
        let runs = &from.runs[range.clone()];
        let rows_of = |run: usize| {
            let slots = (0..).zip(runs[run].slots()).map(move |(row, &slot)| (slot, run, row));
            slots.filter(|(slot, ..)| from.covered.contains(*slot))
        };
        let mut rows: Vec<_> = (0..runs.len()).flat_map(rows_of).collect();
        rows.sort_unstable();
        let mut writer = RunWriter::create(&self.folder, &name, &from.spec)?;
        for (slot, run, row) in rows {
            writer.put(slot, &runs[run].get(row)?)?;
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
        Ok(MergedRuns { number: from.number, range, run, files })
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
            if let Some(merged) = self.merged_runs(number, choose)? {
                return Ok(Some(merged));
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
