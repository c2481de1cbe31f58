//! Threads that write and search while files are written and merged behind them.
//!
//! Two documents of a pair are always written together, with the same version; a search that finds
//! them apart saw half a write. At the end, and after opening again, everything is there.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cotenant_index::dense::Metric;
use cotenant_index::{Document, EmbeddingSpec, Index, Namespace, Query, Storage};
use serde_json::json;

const PAIRS: u64 = 60;
const WRITES: u64 = 400;
const SEED: u64 = 28_112_026;
const DIMENSIONS: usize = 8;
/// Bytes in memory from which on they become files.
const FLUSH_BYTES: usize = 30 << 10;

fn mix(values: &[u64]) -> u64 {
    values.iter().fold(SEED, |state, value| {
        let x = (state ^ value).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (x ^ (x >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb) ^ (x >> 31)
    })
}

fn pair(number: u64, version: u64) -> [Document; 2] {
    ["left", "right"].map(|side| {
        let text = format!("pair{number} {side} {}", "filler ".repeat(20 + version as usize % 60));
        let value = |at: u64| (mix(&[number, version, at]) % 1000) as f32 - 499.5;
        let vector = Some((0..DIMENSIONS as u64).map(value).collect());
        let metadata = json!({"version": version}).as_object().unwrap().clone();
        Document { id: format!("{side}-{number}"), text, metadata, vector }
    })
}

/// Says that all is done, also where a test fails, so that searches end.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Finds a pair by its word, and returns the versions that are seen.
fn versions(namespace: &Namespace, number: u64) -> Vec<u64> {
    let words = format!("pair{number}");
    let query = Query { text: Some(&words), count: 5, ..Query::default() };
    let found = namespace.search(&query).unwrap().found;
    found.iter().map(|one| one.document.metadata["version"].as_u64().unwrap()).collect()
}

#[test]
fn searches_see_whole_writes_while_files_are_made_behind_them() {
    println!("seed {SEED}");
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("index");
    let mut index = Index::create(&folder).unwrap();
    index.flush_at(FLUSH_BYTES);
    let spec = EmbeddingSpec {
        name: "e".to_owned(),
        dimensions: DIMENSIONS,
        metric: Metric::Cosine,
        storage: Storage::F32,
        kind: None,
    };
    let namespace = index.create_namespace("tenant", Some(&spec)).unwrap();
    let all: Vec<Document> = (0..PAIRS).flat_map(|number| pair(number, 0)).collect();
    namespace.add(&all).unwrap();
    let mut expected = vec![0; PAIRS as usize];
    let (is_done, searches) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (namespace, is_done, searches) = (&namespace, &is_done, &searches);
            scope.spawn(move || {
                for turn in 0.. {
                    if is_done.load(Ordering::Relaxed) {
                        break;
                    }
                    let number = mix(&[thread, turn]) % PAIRS;
                    let seen = versions(namespace, number);
                    assert!(seen.len() == 2 && seen[0] == seen[1], "pair {number}: {seen:?}");
                    searches.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let done = Done(&is_done);
        for version in 1..=WRITES {
            let numbers: Vec<u64> = (0..4).map(|at| mix(&[version, at]) % PAIRS).collect();
            let documents: Vec<Document> =
                numbers.iter().flat_map(|&number| pair(number, version)).collect();
            namespace.add(&documents).unwrap();
            numbers.iter().for_each(|&number| expected[number as usize] = version);
            let other = format!("other-{version}");
            namespace.add(&[Document { id: other.clone(), ..Document::default() }]).unwrap();
            assert_eq!(namespace.delete(&[other]).unwrap().deleted, 1);
        }
        drop(done);
    });
    assert!(searches.load(Ordering::Relaxed) > 100, "{searches:?} searches");
    let stats = namespace.stats().unwrap();
    assert_eq!((stats.documents, stats.failure), (2 * PAIRS, None));
    assert!(stats.segments > 0 && stats.memory_bytes < 3 * FLUSH_BYTES as u64, "no file was made");
    drop((namespace, index));
    let index = Index::open(&folder).unwrap();
    let verified = index.verify().unwrap();
    assert!(verified.damaged.is_empty(), "{:?}", verified.damaged);
    let namespace = index.namespace("tenant").unwrap();
    for (number, &version) in (0..).zip(&expected) {
        assert_eq!(versions(&namespace, number), [version, version], "pair {number}");
        let document = namespace.get(&format!("left-{number}")).unwrap().unwrap();
        assert_eq!(document.text, pair(number, version)[0].text);
    }
}
