//! A process that writes to an index is killed at any moment, again and again, also while files are
//! written and merged behind its writes.
//!
//! The process says which write it begins and which one returned. After each kill the index holds
//! every write that returned, and of the one under way all or nothing. What a write does follows
//! from its number, so that the plain model here knows it without being told.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cotenant_index::dense::Metric;
use cotenant_index::{Document, EmbeddingSpec, Index, Namespace, Storage};

const ROUNDS: u64 = 200;
/// Most writes that a process begins before it is killed.
const WRITES_MAX: u64 = 30;
/// Longest time from the beginning of its last write to the kill, in microseconds.
const KILL_US_MAX: u64 = 3000;
/// Bytes in memory from which on files are written behind, so that they are, all the time.
const FLUSH_BYTES: usize = 40 << 10;
/// Ids come from so many.
const IDS: u64 = 400;
const DIMENSIONS: usize = 16;
/// The test, which is also the process that is killed.
const NAME: &str = "every_write_that_returned_is_there_after_a_kill";
const FOLDER: &str = "COTENANT_TEST_KILL_FOLDER";
const FIRST: &str = "COTENANT_TEST_KILL_FIRST";
const SEED: &str = "COTENANT_TEST_SEED";

/// The documents' versions by their ids: a version says what text and vector a document has.
type Model = BTreeMap<u64, u64>;

enum Step {
    Add(Vec<(u64, u64)>),
    Delete(Vec<u64>),
    Flush,
    Compact,
}

#[test]
fn every_write_that_returned_is_there_after_a_kill() {
    let seed = env::var(SEED).ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_128);
    match env::var_os(FOLDER) {
        Some(folder) => write(&PathBuf::from(folder), seed),
        None => kill(seed),
    }
}

/// A number that follows from others.
fn mix(values: &[u64]) -> u64 {
    values.iter().fold(0x9e37_79b9_7f4a_7c15, |state, value| {
        let mut x = (state ^ value).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^= x >> 27;
        x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    })
}

fn step(seed: u64, number: u64) -> Step {
    let draw = |what: u64, below: u64| mix(&[seed, number, what]) % below;
    let ids = |count: u64| (0..count).map(|at| draw(100 + at, IDS));
    match draw(0, 20) {
        0 => Step::Compact,
        1..=3 => Step::Flush,
        4..=8 => Step::Delete(ids(1 + draw(1, 20)).collect()),
        _ => Step::Add(ids(1 + draw(1, 40)).map(|id| (id, number)).collect()),
    }
}

fn after(mut model: Model, step: &Step) -> Model {
    match step {
        Step::Add(documents) => model.extend(documents.iter().copied()),
        Step::Delete(ids) => ids.iter().for_each(|id| {
            model.remove(id);
        }),
        Step::Flush | Step::Compact => {}
    }
    model
}

fn document((id, version): (u64, u64)) -> Document {
    let text = format!("document {id} of version {version} ").repeat(1 + (version % 40) as usize);
    let value = |at: usize| (mix(&[id, version, at as u64]) % 1000) as f32 - 499.5;
    let vector = Some((0..DIMENSIONS).map(value).collect());
    let metadata = [("version".to_owned(), version.into())].into_iter().collect();
    Document { id: format!("id-{id}"), text, metadata, vector }
}

/// The process that is killed.
fn write(folder: &Path, seed: u64) {
    let mut index = Index::open(folder).unwrap();
    index.flush_at(FLUSH_BYTES);
    let namespace = index.namespace("tenant").unwrap();
    let first: u64 = env::var(FIRST).unwrap().parse().unwrap();
    // The harness of tests writes to the standard output.
    let say = |what: &str, number: u64| {
        let mut out = io::stderr().lock();
        writeln!(out, "{what} {number}").and_then(|()| out.flush()).unwrap();
    };
    for number in first.. {
        say("begin", number);
        match step(seed, number) {
            Step::Add(documents) => {
                let documents: Vec<Document> = documents.into_iter().map(document).collect();
                namespace.add(&documents).map(|_| ()).unwrap();
            }
            Step::Delete(ids) => {
                let ids: Vec<String> = ids.iter().map(|id| format!("id-{id}")).collect();
                namespace.delete(&ids).map(|_| ()).unwrap();
            }
            Step::Flush => namespace.flush().unwrap(),
            Step::Compact => namespace.compact().unwrap(),
        }
        say("done", number);
    }
}

fn kill(seed: u64) {
    println!("seed {seed}: {SEED}={seed} cargo test -p cotenant-index --test kill");
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("index");
    let spec = EmbeddingSpec {
        name: "e".to_owned(),
        dimensions: DIMENSIONS,
        metric: Metric::Dot,
        storage: Storage::F32,
        kind: None,
    };
    Index::create(&folder).unwrap().create_namespace("tenant", Some(&spec)).unwrap();
    let (mut model, mut next, mut caught) = (Model::new(), 0, 0);
    for round in 0..ROUNDS {
        let done = run_and_kill(&folder, seed, round, next);
        for number in next..done {
            model = after(model, &step(seed, number));
        }
        let index = Index::open(&folder).unwrap();
        let verified = index.verify().unwrap();
        assert!(verified.damaged.is_empty(), "round {round}: {:?}", verified.damaged);
        let found = read(&index.namespace("tenant").unwrap());
        let whole = after(model.clone(), &step(seed, done));
        if found == whole && found != model {
            caught += 1;
            model = whole;
        }
        assert!(found == model, "round {round}, write {done}: {}", difference(&found, &model));
        next = done + 1;
    }
    println!("{ROUNDS} kills, {next} writes, {caught} of them whole without having returned");
    assert!(model.len() > 50, "the index stayed small: {}", model.len());
}

/// Lets a process write from a number on and kills it; the number of the write that was under way.
fn run_and_kill(folder: &Path, seed: u64, round: u64, first: u64) -> u64 {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(FOLDER, folder).env(FIRST, first.to_string()).env(SEED, seed.to_string());
    command.args(["--exact", NAME, "--nocapture"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let last = first + mix(&[seed, round, 7]) % WRITES_MAX;
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let begun = format!("begin {last}");
    assert!(lines.any(|line| line.unwrap() == begun), "round {round}: the process ended");
    // Where in the write the kill comes is a matter of microseconds, and of the machine.
    let wait = Duration::from_micros(mix(&[seed, round, 8]) % KILL_US_MAX);
    let start = Instant::now();
    while start.elapsed() < wait {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let said = lines.map(|line| line.unwrap());
    said.filter(|line| line.starts_with("done "))
        .fold(last, |_, line| line.trim_start_matches("done ").parse::<u64>().unwrap() + 1)
}

fn read(namespace: &Namespace) -> Model {
    let mut lines = Vec::new();
    namespace.export(&mut lines).unwrap();
    let lines = String::from_utf8(lines).unwrap();
    let mut model = Model::new();
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let id = line["_id"].as_str().unwrap().trim_start_matches("id-").parse().unwrap();
        let version = line["metadata"]["version"].as_u64().unwrap();
        let expected = document((id, version));
        assert_eq!(line["text"], expected.text);
        assert_eq!(line["vector"], serde_json::json!(expected.vector));
        assert_eq!(namespace.get(&expected.id).unwrap(), Some(expected));
        assert_eq!(model.insert(id, version), None, "two documents {id}");
    }
    model
}

fn difference(found: &Model, model: &Model) -> String {
    let ids = found.keys().chain(model.keys()).filter(|id| found.get(id) != model.get(id));
    let each = ids.map(|id| format!("{id}: {:?} instead of {:?}", found.get(id), model.get(id)));
    each.collect::<Vec<_>>().join(", ")
}
