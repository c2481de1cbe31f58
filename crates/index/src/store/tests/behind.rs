//! What happens behind writes: begun, and ended after other things happened.

use std::path::Path;
use std::sync::Arc;

use super::faulty::{Fault, FaultyDisk};
use super::model::Behind;
use crate::dense::{Dense, Metric};
use crate::store::background::{Background, Duty};
use crate::store::disk::Disk;
use crate::store::document::Document;
use crate::store::embedding::Leisure;
use crate::store::error::IndexError;
use crate::store::index::Index;
use crate::store::namespace::work::{
    Flushed, Flushing, MergedRuns, MergedSegments, SavedDense, what_can_be, what_is_due,
};
use crate::store::namespace::{Namespace, Query};
use crate::store::spec::{EmbeddingSpec, Storage};

/// What was begun for a namespace: at most one thing of each of the two threads.
#[derive(Default)]
pub(super) struct Jobs {
    flush: Option<FlushJob>,
    tidy: Option<TidyJob>,
    held: Option<(u32, Arc<Dense>)>,
}

enum FlushJob {
    Frozen(Box<Flushing>),
    Written(Box<Flushed>),
}

enum TidyJob {
    Segments(Box<MergedSegments>),
    Runs(MergedRuns),
    Dense(SavedDense),
}

impl Jobs {
    /// Does the next stage of something.
    pub(super) fn advance(
        &mut self,
        namespace: &Namespace,
        behind: Behind,
    ) -> Result<(), IndexError> {
        match behind {
            Behind::Flush => self.flush(namespace),
            Behind::Hold => self.hold(namespace),
            Behind::Segments | Behind::Runs | Behind::Dense => match self.tidy.take() {
                Some(TidyJob::Segments(merged)) => namespace.install_segments(*merged),
                Some(TidyJob::Runs(merged)) => namespace.install_runs(merged),
                Some(TidyJob::Dense(saved)) => namespace.install_dense(saved),
                None => {
                    self.tidy = begin(namespace, behind)?;
                    Ok(())
                }
            },
        }
    }

    fn flush(&mut self, namespace: &Namespace) -> Result<(), IndexError> {
        match self.flush.take() {
            None => self.flush = namespace.freeze()?.map(Box::new).map(FlushJob::Frozen),
            Some(FlushJob::Frozen(frozen)) => {
                let written = Box::new(namespace.write_frozen(&frozen)?);
                self.flush = Some(FlushJob::Written(written));
            }
            Some(FlushJob::Written(flushed)) => namespace.install_flushed(*flushed)?,
        }
        Ok(())
    }

    fn hold(&mut self, namespace: &Namespace) -> Result<(), IndexError> {
        if let Some((number, held)) = self.held.take() {
            drop(held);
            return namespace.catch_up(number);
        }
        self.held = namespace.with_state(|state| {
            let embedding = state.embeddings.last()?;
            Some((embedding.number, embedding.hold()))
        });
        Ok(())
    }
}

fn begin(namespace: &Namespace, behind: Behind) -> Result<Option<TidyJob>, IndexError> {
    Ok(match behind {
        Behind::Flush | Behind::Hold => None,
        Behind::Segments => {
            let due = namespace.segments_to_merge(what_is_due)?;
            let due = if due.is_some() { due } else { namespace.segments_to_merge(what_can_be)? };
            let merged = due.map(|due| namespace.write_segments(&due)).transpose()?;
            merged.map(Box::new).map(TidyJob::Segments)
        }
        Behind::Runs => namespace.some_runs(what_is_due)?.map(TidyJob::Runs),
        Behind::Dense => {
            let numbers: Vec<u32> = namespace
                .with_state(|state| state.embeddings.iter().map(|one| one.number).collect());
            for number in numbers {
                if let Some(saved) = namespace.write_dense(number, Leisure::Compaction)? {
                    return Ok(Some(TidyJob::Dense(saved)));
                }
            }
            None
        }
    })
}

fn folder() -> &'static Path {
    Path::new("disk/index")
}

fn new_index(disk: &FaultyDisk) -> Index {
    disk.create_folder(Path::new("disk")).unwrap();
    disk.sync_folder(Path::new("")).unwrap();
    Index::create_on(Arc::new(disk.clone()), folder(), Background::idle()).unwrap()
}

fn spec() -> EmbeddingSpec {
    let (metric, storage) = (Metric::Cosine, Storage::F32);
    EmbeddingSpec { name: "e".to_owned(), dimensions: 16, metric, storage, kind: None }
}

fn document(number: u32) -> Document {
    let value = |at: u32| (number.wrapping_mul(2_654_435_761).rotate_left(2 * at) % 1999) as f32;
    let vector = Some((0..16).map(|at| value(at) - 999.0).collect());
    let (id, text) = (format!("id-{number}"), format!("text {number}"));
    Document { id, text, vector, ..Document::default() }
}

fn documents(numbers: std::ops::Range<u32>) -> Vec<Document> {
    numbers.map(document).collect()
}

/// A disk that fills up while files are written behind: the next write is told, and so is whoever
/// asks for figures, until it went well.
#[test]
fn a_failure_behind_writes_is_reported_once_by_a_write_and_shown_until_it_is_mended() {
    let disk = FaultyDisk::default();
    let index = new_index(&disk);
    let namespace = index.create_namespace("a", Some(&spec())).unwrap();
    namespace.add(&documents(0..10)).unwrap();
    let frozen = namespace.freeze().unwrap();
    assert!(frozen.is_some());
    disk.fail_at(0, Fault::StaysFull);
    namespace.do_duty(Duty::Flush);
    disk.heal();
    let failure = namespace.stats().unwrap().failure.expect("it is shown");
    assert!(failure.contains("documents-"), "{failure}");
    let refused = namespace.add(&documents(10..11));
    assert!(matches!(refused, Err(IndexError::Disk { .. })), "{refused:?}");
    assert_eq!(namespace.stats().unwrap().documents, 10, "the write was begun");
    assert!(namespace.stats().unwrap().failure.is_some());
    namespace.delete(&["id-3"]).unwrap();
    namespace.do_duty(Duty::Flush);
    let stats = namespace.stats().unwrap();
    assert_eq!((stats.failure, stats.documents, stats.segments), (None, 9, 1));
    assert!(index.verify().unwrap().damaged.is_empty());
}

/// Vectors become many: the other kind is made behind, while documents come and go.
#[test]
fn another_kind_is_made_while_vectors_come_and_go() {
    let index = new_index(&FaultyDisk::default());
    let namespace = index.create_namespace("a", Some(&spec())).unwrap();
    namespace.add(&documents(0..1500)).unwrap();
    namespace.do_duty(Duty::Tidy);
    let kind = || namespace.stats().unwrap().embeddings[0].kind;
    assert_eq!(kind(), "exact-f32");
    let gone: Vec<String> = (0..100).map(|number| format!("id-{number}")).collect();
    namespace.add(&documents(1500..2500)).unwrap();
    let refitted = namespace.make_refitted(0, Leisure::None).unwrap().expect("it does not suit");
    namespace.delete(&gone).unwrap();
    namespace.add(&documents(2500..2700)).unwrap();
    assert_eq!(kind(), "exact-f32");
    namespace.install_refitted(refitted).unwrap();
    assert_eq!(kind(), "exact-int8");
    for number in [100, 1800, 2499, 2500, 2699] {
        let vector = document(number).vector;
        let query = Query { vector: vector.as_deref(), count: 1, ..Query::default() };
        let found = namespace.search(&query).unwrap().found;
        assert!(found[0].score > 0.999_99, "{number}: {found:?}");
    }
    let verified = index.verify().unwrap();
    assert!(verified.damaged.is_empty(), "{:?}", verified.damaged);
}

/// The process ends while a log is being written to files: its successor and it have everything,
/// and whatever is changed in it is found.
#[test]
fn a_log_with_a_successor_is_read_whole_or_refused() {
    let disk = FaultyDisk::default();
    let index = new_index(&disk);
    let namespace = index.create_namespace("a", Some(&spec())).unwrap();
    namespace.add(&documents(0..5)).unwrap();
    assert!(namespace.freeze().unwrap().is_some());
    namespace.add(&documents(5..7)).unwrap();
    namespace.delete(&["id-1"]).unwrap();
    drop((namespace, index));
    let open = || Index::open_on(Arc::new(disk.clone()), folder(), Background::idle()).unwrap();
    let index = open();
    let namespace = index.namespace("a").unwrap();
    assert_eq!(namespace.stats().unwrap().documents, 6);
    assert!(index.verify().unwrap().damaged.is_empty());
    drop((namespace, index));
    let names = disk.names(&folder().join("namespace-000000")).unwrap();
    let mut logs: Vec<&String> =
        names.iter().filter(|name| name.starts_with("log-") && !name.ends_with(".mark")).collect();
    logs.sort();
    assert_eq!(logs.len(), 2, "{names:?}");
    let path = folder().join("namespace-000000").join(logs[0]);
    let bytes = disk.read(&path).unwrap();
    let check = |changed: &[u8], what: &str| {
        disk.create(&path).unwrap().write_at(0, changed).unwrap();
        match open().namespace("a") {
            Err(IndexError::Damaged(damaged)) => assert_eq!(damaged.path, path, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    };
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x40;
        check(&changed, &format!("another byte {at}"));
        check(&bytes[..at], &format!("a cut at {at}"));
    }
    check(&[&bytes[..], b"x"].concat(), "a byte more");
    disk.create(&path).unwrap().write_at(0, &bytes).unwrap();
    assert_eq!(open().namespace("a").unwrap().stats().unwrap().documents, 6);
}
