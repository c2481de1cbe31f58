//! How fast BM25 is, beside `golden/text_peer.py`: builds a segment of passages, searches, and
//! prints one JSON line. With `--write FOLDER` it writes the passages and queries for the peers
//! instead.
//!
//! A passage is four sentences of the shared sets, drawn by a hash of seed, passage and place, so
//! that any number of passages of real text comes from a fixed seed. `--sets FOLDER` says where the
//! sets are, `--passages N` how many to draw, `--parts N` over how many segments they are spread,
//! and `--k K` how many are wanted.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use cotenant_index::text::{Bm25Options, TextBuffer, TextPart, TextSearch, TextSegment};
use cotenant_index::{Bytes, Slot};
use serde_json::{Value, json};

const SETS: [&str; 5] = ["scifact", "cosqa", "medquad", "cranfield", "npl"];
const SENTENCES: u64 = 4;
const SEED: u64 = 7;

/// Every how manieth query is searched, so that all sets are in the sample.
const QUERY_STEP: usize = 3;

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Sentences of all documents, and queries.
fn read(sets: &Path) -> (Vec<String>, Vec<String>) {
    let (mut sentences, mut queries) = (Vec::new(), Vec::new());
    for set in SETS {
        for document in lines(&sets.join(set).join("corpus.jsonl")) {
            let text = document["text"].as_str().unwrap().replace(['\n', '\r'], " ");
            let parts = text.split_inclusive(". ").map(str::trim);
            sentences.extend(parts.filter(|part| part.len() > 20).map(str::to_owned));
        }
        for query in lines(&sets.join(set).join("queries.jsonl")) {
            queries.push(query["text"].as_str().unwrap().replace(['\n', '\r'], " "));
        }
    }
    (sentences, queries.into_iter().step_by(QUERY_STEP).collect())
}

/// The finaliser of splitmix64 over a sum of odd multiples.
fn hash(passage: u64, place: u64) -> u64 {
    let mut value = SEED
        .wrapping_add(passage.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .wrapping_add(place.wrapping_mul(0xd1b5_4a32_d192_ed03));
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn passage(sentences: &[String], number: u64) -> String {
    let places = (0..SENTENCES).map(|place| hash(number, place) as usize % sentences.len());
    places.map(|place| sentences[place].as_str()).collect::<Vec<_>>().join(" ")
}

/// Seconds of processor time of this process, user and system.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // Fields 14 and 15 of all; ticks are hundredths.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn main() {
    let mut arguments = HashMap::new();
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        arguments.insert(name, given.next().expect("each name has a value"));
    }
    let number = |name: &str, default: u64| {
        arguments.get(name).map_or(default, |value| value.parse().unwrap())
    };
    let sets = arguments.get("--sets").map_or("../shared/data/retrieval", String::as_str);
    let (sentences, queries) = read(Path::new(sets));
    let passages = number("--passages", 200_000);
    if let Some(folder) = arguments.get("--write") {
        let create =
            |name| BufWriter::new(std::fs::File::create(Path::new(folder).join(name)).unwrap());
        let mut out = create("passages.txt");
        (0..passages).for_each(|at| writeln!(out, "{}", passage(&sentences, at)).unwrap());
        let mut out = create("queries.txt");
        queries.iter().for_each(|query| writeln!(out, "{query}").unwrap());
        return;
    }
    let texts: Vec<String> = (0..passages).map(|at| passage(&sentences, at)).collect();
    let (parts, k) = (number("--parts", 1), number("--k", 10) as usize);

    let before = cpu_seconds();
    let mut segments = Vec::new();
    for (part, texts) in (0..).zip(texts.chunks(texts.len().div_ceil(parts as usize))) {
        let mut buffer = TextBuffer::new(Bm25Options::default());
        let first = part * texts.len() as u32;
        for (slot, text) in (first..).map(Slot).zip(texts) {
            buffer.add(slot, text).unwrap();
        }
        let bytes = Bytes::from_vec(buffer.freeze());
        segments.push(TextSegment::open(bytes).unwrap());
    }
    let build = cpu_seconds() - before;

    let parts: Vec<TextPart<'_>> = segments.iter().map(TextPart::Segment).collect();
    let search = TextSearch { parts: &parts, options: Bm25Options::default(), allowed: &|_| true };
    let (start, before, mut rounds) = (Instant::now(), cpu_seconds(), 0);
    let (mut sum, mut read) = (0.0, 0);
    while rounds == 0 || start.elapsed().as_secs_f64() < 2.0 {
        for query in &queries {
            let found = search.best(query, k);
            sum += found.hits.first().map_or(0.0, |hit| f64::from(hit.score));
            read += found.postings_read;
        }
        rounds += 1;
    }
    let searched = rounds * queries.len();
    let seconds = cpu_seconds() - before;
    let bytes: usize = segments.iter().map(TextSegment::bytes_len).sum();
    let line = json!({
        "contender": "cotenant", "passages": passages, "parts": parts.len(), "k": k,
        "queries": queries.len(), "build_cpu_s": build, "bytes": bytes,
        "queries_per_cpu_s": searched as f64 / seconds,
        "best_score_mean": sum / searched as f64,
        "postings_read_mean": read as f64 / searched as f64,
    });
    println!("{line}");
}
