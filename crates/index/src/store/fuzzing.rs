//! Readers of single files over bytes, for fuzzing: what they accept holds together, or they panic.

use std::borrow::Cow;
use std::path::Path;

use super::document;
use super::documents::Documents;
use super::error::DamagedFile;
use super::live::LiveSet;
use super::log;
use super::manifest::{self, NamespaceManifest, RootManifest};
use super::record::Record;
use super::sealed::{FileKind, Sealed};
use super::spec::{EmbeddingSpec, Storage};
use super::vectors::Run;
use crate::bytes::Bytes;
use crate::dense::{self, Dense, Metric, Originals, SearchArgs};
use crate::filter::Columns;
use crate::hit::Slot;
use crate::text::{
    Bm25Options, DamagedText, Exact, Literal, TextBuffer, TextPart, TextSearch, TextSegment,
};

/// Slots of a live set are below this.
const SLOTS: u32 = 1 << 16;
const LOG: u64 = 7;

/// Reads bytes as the data of a documents file, and each document in it.
pub fn read_documents(path: &Path, data: &[u8]) -> Result<(), DamagedFile> {
    let documents = Documents::of_file(Sealed::of_data(path, data, FileKind::Documents)?)?;
    for row in 0..documents.len() {
        let document = documents.get(row)?;
        assert_eq!(documents.row_of(documents.slot(row)), Some(row));
        for found in documents.find(document.id)? {
            assert_eq!(documents.get(found)?.id, document.id);
        }
        document::metadata(document.metadata, path)?;
    }
    Ok(())
}

/// Reads bytes as the data of a file of vectors with three values each, f32 or bf16.
pub fn read_vectors(path: &Path, data: &[u8], storage: Storage) -> Result<(), DamagedFile> {
    let name = "fuzzed".to_owned();
    let spec = EmbeddingSpec { name, dimensions: 3, metric: Metric::Dot, storage, kind: None };
    let run = Run::of_file(Sealed::of_data(path, data, FileKind::Vectors)?, &spec)?;
    for (row, &slot) in run.slots().iter().enumerate() {
        assert_eq!(run.row_of(slot), Some(row));
        assert_eq!(run.get(row)?.len(), spec.dimensions);
    }
    Ok(())
}

/// Reads bytes as the data of a file of live slots.
pub fn read_live(path: &Path, data: &[u8]) -> Result<(), DamagedFile> {
    let live = LiveSet::of_file(&Sealed::of_data(path, data, FileKind::Live)?, SLOTS)?;
    assert!(live.iter().all(|slot| slot.0 < SLOTS && live.contains(slot)));
    assert_eq!(live.iter().count() as u64, live.len());
    Ok(())
}

/// Reads bytes as the data of a file of columns, of which every third document is dead; what is
/// read can be saved and read again.
pub fn read_columns(path: &Path, data: &[u8]) -> Result<(), DamagedFile> {
    let file = Sealed::of_data(path, data, FileKind::Columns)?;
    let live = (0..SLOTS).filter(|slot| slot % 3 != 0).collect();
    let open = |bytes: &[u8]| Columns::open(bytes, &live);
    let damaged = |reason: &str| DamagedFile::new(path, reason);
    let (columns, slots) = open(file.read(0, file.len())?).map_err(damaged)?;
    assert!(columns.len() <= slots.len());
    let (again, _) = open(&columns.save()).map_err(damaged)?;
    assert_eq!(again.save(), columns.save(), "it changed when it was written and read");
    Ok(())
}

/// Reads bytes as the data of a file of removals, of a full text of a few documents.
pub fn read_removals(path: &Path, data: &[u8]) -> Result<(), DamagedFile> {
    let file = Sealed::of_data(path, data, FileKind::Removals)?;
    let mut buffer = TextBuffer::new(Bm25Options::default());
    for slot in 0..100 {
        let text = format!("some text of {slot} and {}", slot % 7);
        buffer.add(Slot(slot), &text).expect("slots rise");
    }
    let text = TextSegment::open(Bytes::from_vec(buffer.freeze()));
    let mut text = text.expect("it was written as it is read");
    if !text.set_removals(file.read(0, file.len())?, |slot| slot.0 % 2 == 0) {
        return Err(DamagedFile::new(path, "it is of another full text"));
    }
    assert!(text.len() >= 50 && text.contains(Slot(1)));
    let bytes = text.removals();
    assert!(text.set_removals(&bytes, |slot| slot.0 % 2 == 0));
    assert_eq!(text.removals(), bytes, "it changed when it was written and read");
    let parts = [TextPart::Segment(&text)];
    let options = Bm25Options::default();
    TextSearch { parts: &parts, options, allowed: &|_| true }.best("some text 3", 5);
    Ok(())
}

/// Reads bytes as what searches vectors, between the head and the tail of its saved form. What is
/// read finds no slot that it does not have, takes and gives up slots, and is saved and read again.
pub fn read_searcher(path: &Path, body: &[u8]) -> Result<(), DamagedFile> {
    let damaged = |error: dense::DamagedError| DamagedFile::new(path, error.to_string());
    let mut dense = Dense::open(&dense::of_body(body)).map_err(damaged)?;
    let query = vec![0.5; dense.spec().dimensions];
    let originals: Option<&dyn Originals> = Some(&Same(&query));
    let args = SearchArgs { query: &query, k: 5, effort: None, allowed: None, originals };
    for round in 0..2 {
        let found = dense.search(&args).expect("the query fits");
        assert!(found.hits.len() <= 5 && found.hits.iter().all(|hit| dense.contains(hit.slot)));
        let gone: Vec<Slot> = dense.slots().step_by(3).take(20).collect();
        assert!(gone.iter().all(|&slot| dense.remove(slot)), "a slot was not there");
        // A structure may be full; else a new slot is taken once.
        if dense.insert(Slot(SLOTS + round), &query).is_ok() {
            assert!(dense.insert(Slot(SLOTS + round), &query).is_err());
        }
    }
    dense.settle();
    let mut bytes = Vec::new();
    dense.save(&mut bytes).expect("a vector takes all bytes");
    let again = Dense::open(&bytes).map_err(damaged).expect("it was just written");
    assert!(again.slots().eq(dense.slots()), "it changed when it was written and read");
    Ok(())
}

/// Every slot has the same vector.
struct Same<'a>(&'a [f32]);

impl Originals for Same<'_> {
    fn vector(&self, _slot: Slot) -> Option<Cow<'_, [f32]>> {
        Some(Cow::Borrowed(self.0))
    }
}

/// Reads bytes as the full text of a segment, behind its head. What is read is searched, by words
/// and word for word, and written again without what was removed.
pub fn read_text(path: &Path, body: &[u8]) -> Result<(), DamagedFile> {
    let damaged = |error: DamagedText| DamagedFile::new(path, error.to_string());
    let mut text = TextSegment::of_body(body).map_err(damaged)?;
    let removed = text.remove(Slot(8), "alpha gamma common");
    assert!(removed != Ok(true) || !text.contains(Slot(8)), "it was removed and is there");
    for options in [Bm25Options::default(), Bm25Options::new(1.5, 0.9).expect("it is in range")] {
        let parts = [TextPart::Segment(&text)];
        let search = TextSearch { parts: &parts, options, allowed: &|slot| slot.0 % 7 != 3 };
        for query in ["common alpha beta common1", "common", "gamma delta common2 common3"] {
            let found = search.best(query, 5);
            assert!(found.hits.len() <= 5 && found.hits.iter().all(|hit| hit.score.is_finite()));
            let literals = Literal::all_of(&format!("\"{query}\""));
            let text_of = |_| Some(Cow::Borrowed(query));
            search.exact(&literals, Exact { k: 5, texts_max: 20, text_of: &text_of });
        }
    }
    if text.bytes_len() < 1 << 16 {
        let merged = TextSegment::merge(&[&text], Bm25Options::default());
        let merged = TextSegment::open(Bytes::from_vec(merged)).expect("it was just written");
        assert_eq!(merged.len(), text.len());
    }
    Ok(())
}

/// Reads bytes as a manifest: as the whole file, and as what stands below its first line.
pub fn read_manifest(path: &Path, bytes: &[u8]) -> Result<(), DamagedFile> {
    let with_head = manifest::with_head(bytes);
    for bytes in [bytes, &with_head] {
        let root: Result<RootManifest, _> = manifest::parse(path, bytes);
        if root.is_ok() {
            return Ok(());
        }
    }
    let manifest: NamespaceManifest = manifest::parse(path, &with_head)?;
    let json = serde_json::to_vec(&manifest).expect("a manifest has plain keys");
    let again = manifest::parse(path, &manifest::with_head(&json));
    assert_eq!(again, Ok(manifest), "it changed when it was written and read");
    Ok(())
}

/// Reads bytes as a log, and as the payloads of a log, a line each.
pub fn read_log(path: &Path, bytes: &[u8]) -> Result<(), DamagedFile> {
    if let Some(record) = Record::decode(bytes) {
        assert_eq!(record.encode(), bytes, "it changed when it was read and written");
        let bytes = log::of_payloads(LOG, [bytes, bytes].into_iter());
        let (records, whole) = log::read(path, &bytes, LOG, None)?;
        assert_eq!((records.len(), whole), (2, bytes.len()));
        // What is cut off is torn, unless it was acknowledged.
        let cut = &bytes[..bytes.len() - 1];
        assert_eq!(log::read(path, cut, LOG, None)?.0.len(), 1);
        assert!(log::read(path, cut, LOG, Some(bytes.len() as u64)).is_err());
        return Ok(());
    }
    log::read(path, bytes, LOG, None)?;
    let payloads = bytes.split(|&byte| byte == b'\n');
    log::read(path, &log::of_payloads(LOG, payloads), LOG, None).map(|_| ())
}
