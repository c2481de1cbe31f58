//! Moments that hardly ever come: an index that ends while its namespaces go on, one that is dropped
//! while it is opened, threads that have no time, vectors that cannot be read.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::faulty::FaultyDisk;
use crate::dense::Metric;
use crate::store::background::{Background, Duty, Message, serve};
use crate::store::disk::Disk;
use crate::store::document::Document;
use crate::store::error::IndexError;
use crate::store::index::Index;
use crate::store::limits::BEHIND_VECTORS_MAX;
use crate::store::namespace::{Namespace, Query};
use crate::store::spec::{EmbeddingSpec, KindName, Storage};

/// Longer than anything here takes on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);

fn folder() -> &'static Path {
    Path::new("disk/index")
}

fn new_index(disk: &FaultyDisk, background: Background) -> Index {
    disk.create_folder(Path::new("disk")).unwrap();
    disk.sync_folder(Path::new("")).unwrap();
    Index::create_on(Arc::new(disk.clone()), folder(), background).unwrap()
}

fn open(disk: &FaultyDisk) -> Result<Index, IndexError> {
    Index::open_on(Arc::new(disk.clone()), folder(), Background::idle())
}

fn spec(kind: Option<KindName>) -> EmbeddingSpec {
    let (metric, storage) = (Metric::Cosine, Storage::F32);
    EmbeddingSpec { name: "e".to_owned(), dimensions: 16, metric, storage, kind }
}

fn document(number: u32) -> Document {
    let value = |at: u32| (number.wrapping_mul(2_654_435_761).rotate_left(2 * at) % 1999) as f32;
    let vector = Some((0..16).map(|at| value(at) - 999.0).collect());
    let (id, text) = (format!("id-{number}"), format!("text {number}"));
    Document { id, text, vector, ..Document::default() }
}

fn add(namespace: &Namespace, numbers: std::ops::Range<u32>) {
    namespace.add(&numbers.map(document).collect::<Vec<_>>()).unwrap();
}

/// Lets something run on another thread, and fails if it does not end.
fn must_end<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = channel();
    std::thread::spawn(move || sender.send(what()));
    receiver.recv_timeout(PATIENCE).expect("it waits for what never comes")
}

/// A namespace writes as long as somebody has it: nobody else may have the index meanwhile, who
/// would not see those writes and would remove the files that they make.
#[test]
fn an_index_is_not_free_before_its_namespaces_are() {
    let disk = FaultyDisk::default();
    let index = new_index(&disk, Background::start());
    let namespace = index.create_namespace("a", Some(&spec(None))).unwrap();
    add(&namespace, 0..5);
    drop(index);
    let refused = open(&disk);
    assert!(matches!(refused, Err(IndexError::InUse { .. })), "{refused:?}");
    add(&namespace, 5..9);
    namespace.flush().unwrap();
    drop(namespace);
    let index = open(&disk).unwrap();
    assert_eq!(index.namespace("a").unwrap().stats().unwrap().documents, 9);
    assert!(index.verify().unwrap().damaged.is_empty());
}

/// Who has asked for a namespace and has not opened it when it is dropped is told that it is gone,
/// and neither opens what is left of it nor says that it is damaged.
#[test]
fn a_namespace_that_is_dropped_while_it_is_asked_for_is_gone() {
    let disk = FaultyDisk::default();
    new_index(&disk, Background::idle()).create_namespace("a", None).unwrap();
    let index = open(&disk).unwrap();
    let asked = index.ask_for("a").unwrap();
    index.drop_namespace("a").unwrap();
    let refused = index.opened("a", asked);
    assert!(matches!(refused, Err(IndexError::UnknownNamespace { .. })), "{refused:?}");
    index.create_namespace("a", None).unwrap();
    let asked = index.ask_for("a").unwrap();
    assert!(index.opened("a", asked).is_ok());
}

/// However few or many bytes are to be in memory, writes go on and the work behind them ends.
#[test]
fn any_number_of_bytes_may_be_in_memory() {
    for bytes in [0, 1, usize::MAX] {
        must_end(move || {
            let mut index = new_index(&FaultyDisk::default(), Background::start());
            index.flush_at(bytes);
            let namespace = index.create_namespace("a", Some(&spec(None))).unwrap();
            for first in 0..4 {
                add(&namespace, first * 5..first * 5 + 5);
            }
            drop(index);
            assert_eq!(namespace.stats().unwrap().documents, 20, "{bytes}");
        });
    }
}

/// The threads of an index that ends do not begin with what waits for them.
#[test]
fn what_is_still_to_be_done_is_left_when_an_index_ends() {
    let index = new_index(&FaultyDisk::default(), Background::idle());
    let namespace = index.create_namespace("a", Some(&spec(None))).unwrap();
    add(&namespace, 0..3);
    assert!(namespace.freeze().unwrap().is_some());
    for (is_ending, segments) in [(true, 0), (false, 1)] {
        let (sender, receiver) = channel();
        sender.send(Message::Work(Arc::downgrade(&namespace))).unwrap();
        sender.send(Message::End).unwrap();
        serve(Duty::Flush, &receiver, &AtomicBool::new(is_ending));
        assert_eq!(namespace.stats().unwrap().segments, segments);
    }
}

/// The thread that joins vectors is busy elsewhere, and too many wait for it: a write joins some.
#[test]
fn a_write_does_not_wait_for_a_thread_that_is_busy_with_others() {
    let index = new_index(&FaultyDisk::default(), Background::idle());
    let namespace = index.create_namespace("a", Some(&spec(Some(KindName::Codes)))).unwrap();
    let held = namespace.with_state(|state| state.embeddings[0].hold());
    let count = BEHIND_VECTORS_MAX as u32;
    (0..count).step_by(1000).for_each(|first| add(&namespace, first..first + 1000));
    assert_eq!(namespace.with_state(|state| state.embeddings[0].behind()), BEHIND_VECTORS_MAX);
    drop(held);
    let writing = Arc::clone(&namespace);
    must_end(move || add(&writing, count..count + 1));
    assert!(namespace.with_state(|state| state.embeddings[0].behind()) < BEHIND_VECTORS_MAX);
    assert!(namespace.verify().unwrap().damaged.is_empty());
}

/// Vectors that cannot be read cannot be joined, however often that is tried; a search that needs
/// them says so, and does not answer without them.
#[test]
fn vectors_that_cannot_be_read_are_not_forgotten() {
    let disk = FaultyDisk::default();
    let index = new_index(&disk, Background::idle());
    let namespace = index.create_namespace("a", Some(&spec(Some(KindName::Hnsw)))).unwrap();
    (0..3000).step_by(1000).for_each(|first| add(&namespace, first..first + 1000));
    namespace.flush().unwrap();
    drop((namespace, index));
    let below = folder().join("namespace-000000");
    let names = disk.names(&below).unwrap();
    let name = names.iter().find(|name| name.starts_with("vectors-")).expect("a run was written");
    let path = below.join(name);
    // The second block, of 64 KiB as all are, has vectors alone.
    disk.reopen(&path).unwrap().write_at(100_000, &[77; 8]).unwrap();
    let index = open(&disk).unwrap();
    let namespace = index.namespace("a").unwrap();
    for _ in 0..200 {
        namespace.do_duty(Duty::Tidy);
    }
    let failure = namespace.stats().unwrap().failure.expect("they cannot be joined");
    assert!(failure.contains("vectors-"), "{failure}");
    let vector = document(1500).vector;
    let query = Query { vector: vector.as_deref(), ..Query::default() };
    match namespace.search(&query) {
        Err(IndexError::Damaged(damaged)) => assert_eq!(damaged.path, path),
        found => panic!("{found:?}"),
    }
}
