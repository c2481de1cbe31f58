//! How fast an index takes documents, how long a write and a search beside it wait, and how long
//! opening takes afterwards: one JSON line.
//!
//! A document is four sentences of the shared sets, drawn by a hash of seed, document and place, with
//! some metadata. Its vector is the sum of a random vector for each of its words, so that texts that
//! share words are near each other; making it is not timed. Every tenth batch also deletes as many
//! documents as a tenth of it has.
//!
//! `--sets FOLDER` says where the sets are, `--folder FOLDER` where the index is to be made,
//! `--documents N` how many there are, `--batch N` how many one write has, `--dimensions N` how long
//! vectors are, 0 for none, `--kind NAME` how they are searched, and `--searches no` lets no searcher
//! run beside.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cotenant_index::dense::Metric;
use cotenant_index::filter::Filter;
use cotenant_index::{Document, EmbeddingSpec, Index, KindName, Namespace, Query, Storage};
use serde_json::{Value, json};

const SETS: [&str; 5] = ["scifact", "cosqa", "medquad", "cranfield", "npl"];
const SENTENCES: u64 = 4;
const SEED: u64 = 7;

struct Texts {
    sentences: Vec<String>,
    queries: Vec<String>,
    dimensions: usize,
}

impl Texts {
    fn read(sets: &Path, dimensions: usize) -> Self {
        let lines = |path: PathBuf| -> Vec<Value> {
            let text = fs::read_to_string(path).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let (mut sentences, mut queries) = (Vec::new(), Vec::new());
        for set in SETS {
            for document in lines(sets.join(set).join("corpus.jsonl")) {
                let text = document["text"].as_str().unwrap().replace(['\n', '\r'], " ");
                let parts = text.split_inclusive(". ").map(str::trim);
                sentences.extend(parts.filter(|part| part.len() > 20).map(str::to_owned));
            }
            let read = lines(sets.join(set).join("queries.jsonl"));
            queries.extend(read.iter().map(|query| query["text"].as_str().unwrap().to_owned()));
        }
        Self { sentences, queries, dimensions }
    }

    fn document(&self, number: u64) -> Document {
        let place = |at| hash(&[SEED, number, at]) as usize % self.sentences.len();
        let parts: Vec<&str> =
            (0..SENTENCES).map(|at| self.sentences[place(at)].as_str()).collect();
        let text = parts.join(" ");
        let metadata = json!({
            "year": 1950 + hash(&[SEED, number, 100]) % 75,
            "tag": format!("tag-{}", hash(&[SEED, number, 101]) % 50),
            "origin": {"number": number},
            "bytes": text.len(),
        });
        let metadata = metadata.as_object().unwrap().clone();
        let vector = self.vector(&text);
        Document { id: format!("document-{number}"), text, metadata, vector }
    }

    fn vector(&self, text: &str) -> Option<Vec<f32>> {
        if self.dimensions == 0 {
            return None;
        }
        let mut vector = vec![0.0f32; self.dimensions];
        for word in text.split_whitespace() {
            let word = word.bytes().fold(SEED, |state, byte| hash(&[state, u64::from(byte)]));
            for (at, part) in (0..).zip(vector.chunks_mut(64)) {
                let bits = hash(&[word, at]);
                for (bit, value) in part.iter_mut().enumerate() {
                    *value += if bits >> bit & 1 == 1 { 1.0 } else { -1.0 };
                }
            }
        }
        Some(vector)
    }
}

/// The finaliser of splitmix64 over each number in turn.
fn hash(numbers: &[u64]) -> u64 {
    numbers.iter().fold(0x9e37_79b9_7f4a_7c15, |state, number| {
        let mut value = (state ^ number).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    })
}

/// Seconds of processor time of this process, user and system.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// The middle, the 99th of a hundred and the longest, in milliseconds.
fn summary(mut times: Vec<Duration>) -> Value {
    times.sort_unstable();
    let ms = |at: usize| times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    let last = times.len().saturating_sub(1);
    json!({"count": times.len(), "p50_ms": ms(last / 2), "p99_ms": ms(last * 99 / 100), "most_ms": ms(last)})
}

fn search(namespace: &Namespace, texts: &Texts, at: usize) -> Duration {
    let query = &texts.queries[at % texts.queries.len()];
    let vector = texts.vector(query);
    let start = Instant::now();
    let query = Query { text: Some(query), vector: vector.as_deref(), ..Query::default() };
    namespace.search(&query).unwrap();
    start.elapsed()
}

fn folder_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let bytes = entries.map(|entry| match entry.file_type().unwrap().is_dir() {
        true => folder_bytes(&entry.path()),
        false => entry.metadata().unwrap().len(),
    });
    bytes.sum()
}

/// What a run is to do.
struct Run<'a> {
    documents: u64,
    batch: u64,
    is_searched: bool,
    texts: &'a Texts,
}

impl Run<'_> {
    /// Writes all documents while another thread searches; how long each write and search took, and
    /// the seconds and processor seconds of writing.
    fn ingest(&self, namespace: &Namespace) -> (Vec<Duration>, Vec<Duration>, f64, f64) {
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let searcher = scope.spawn(|| {
                let mut times = Vec::new();
                while self.is_searched && !is_done.load(Ordering::Relaxed) {
                    times.push(search(namespace, self.texts, times.len()));
                }
                times
            });
            let (mut times, mut seconds, mut cpu) = (Vec::new(), 0.0, 0.0);
            for first in (0..self.documents).step_by(self.batch as usize) {
                let numbers = first..(first + self.batch).min(self.documents);
                let documents: Vec<Document> =
                    numbers.map(|number| self.texts.document(number)).collect();
                let (start, before) = (Instant::now(), cpu_seconds());
                namespace.add(&documents).unwrap();
                times.push(start.elapsed());
                if first / self.batch % 10 == 9 {
                    let gone = (0..self.batch.div_ceil(10)).map(|at| hash(&[first, at]) % first);
                    let ids: Vec<String> = gone.map(|gone| format!("document-{gone}")).collect();
                    let start = Instant::now();
                    namespace.delete(&ids).unwrap();
                    times.push(start.elapsed());
                }
                seconds += start.elapsed().as_secs_f64();
                cpu += cpu_seconds() - before;
            }
            is_done.store(true, Ordering::Relaxed);
            (times, searcher.join().unwrap(), seconds, cpu)
        })
    }
}

/// How long it takes until an index that was just opened answers.
struct Opened {
    opening: Duration,
    /// The first search with a filter, and the second.
    filtered: Vec<Duration>,
    searches: Vec<Duration>,
}

impl Opened {
    fn measure(index: &Index, texts: &Texts) -> Self {
        let start = Instant::now();
        let namespace = index.namespace("main").unwrap();
        let opening = start.elapsed();
        let filter = Filter::parse(&json!({"year": {"gte": 2000}})).unwrap();
        let (text, filter) = (Some("blood pressure"), Some(&filter));
        let query = Query { text, filter, ..Query::default() };
        let filtered = (0..2).map(|_| {
            let start = Instant::now();
            assert!(!namespace.search(&query).unwrap().found.is_empty(), "nothing was found");
            start.elapsed()
        });
        let filtered = filtered.collect();
        let searches = (0..2000).map(|at| search(&namespace, texts, at)).collect();
        Self { opening, filtered, searches }
    }
}

fn main() {
    let mut arguments = HashMap::new();
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        arguments.insert(name, given.next().expect("each name has a value"));
    }
    let text = |name: &str, default: &str| -> String {
        arguments.get(name).cloned().unwrap_or_else(|| default.to_owned())
    };
    let number = |name: &str, default: &str| text(name, default).parse::<u64>().unwrap();
    let dimensions = number("--dimensions", "384") as usize;
    let texts = Texts::read(Path::new(&text("--sets", "../shared/data/retrieval")), dimensions);
    let folder = PathBuf::from(text("--folder", "ingest_speed.index"));
    let kind = match text("--kind", "").as_str() {
        "" => None,
        "ivf-pq" => Some(KindName::IvfPq),
        "codes" => Some(KindName::Codes),
        "hnsw" => Some(KindName::Hnsw),
        other => panic!("no kind {other}; ivf-pq, codes or hnsw, or none to choose by size"),
    };
    let spec = EmbeddingSpec {
        name: "words".to_owned(),
        dimensions,
        metric: Metric::Cosine,
        storage: Storage::Bf16,
        kind,
    };
    let run = Run {
        documents: number("--documents", "100000"),
        batch: number("--batch", "100"),
        is_searched: text("--searches", "yes") == "yes",
        texts: &texts,
    };
    let index = Index::create(&folder).unwrap();
    let namespace = index.create_namespace("main", (dimensions > 0).then_some(&spec)).unwrap();
    let (writes, searches, seconds, cpu) = run.ingest(&namespace);
    let ending = Instant::now();
    drop(namespace);
    drop(index);
    let ending = ending.elapsed();

    let index = Index::open(&folder).unwrap();
    let opened = Opened::measure(&index, &texts);
    let namespace = index.namespace("main").unwrap();
    let start = Instant::now();
    namespace.compact().unwrap();
    let compaction = start.elapsed();
    let stats = namespace.stats().unwrap();
    let line = json!({
        "documents": stats.documents, "batch": run.batch, "dimensions": dimensions,
        "kind": stats.embeddings.first().map(|one| one.kind),
        "documents_per_s": run.documents as f64 / seconds,
        "documents_per_cpu_s": run.documents as f64 / cpu,
        "writes": summary(writes), "searches_beside": summary(searches),
        "searches_alone": summary(opened.searches),
        "ending_s": ending.as_secs_f64(), "opening_s": opened.opening.as_secs_f64(),
        "filtered_first_ms": opened.filtered[0].as_secs_f64() * 1e3,
        "filtered_second_ms": opened.filtered[1].as_secs_f64() * 1e3,
        "compaction_s": compaction.as_secs_f64(),
        "bytes_per_document": folder_bytes(&folder) as f64 / stats.documents as f64,
    });
    println!("{line}");
    drop(namespace);
    drop(index);
    fs::remove_dir_all(&folder).unwrap();
}
