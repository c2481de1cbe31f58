//! Runs that are stopped before training begins: the real process ends soon, says what it keeps,
//! and the same command goes on.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Place, data};

/// Longest that a run may take to end once it is asked to, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

const WORKSPACE: &str = "base = \"model\"\n[limits]\nthreads = 1\nprecision = \"f32\"\n\
                         [defaults]\nsteps = 2\nbatch = 4\nrank = 2\n\
                         [tenant.big]\ndata = \"big\"\n";

/// A run whose talk is read line by line; killed if the test fails.
struct Talking(Child);

impl Drop for Talking {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a run, waits until it says `when`, sends a signal, and checks how it ends.
fn check(place: &Place, (when, signal): (&str, &str), expected: &str) {
    let mut command = place.command(&["train", "w.toml", "--out", "run"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut running = Talking(child);
    let mut lines = BufReader::new(running.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut said = Vec::new();
    for line in lines.by_ref() {
        said.push(line);
        if said.last().is_some_and(|line| line.contains(when)) {
            break;
        }
    }
    let id = running.0.id().to_string();
    assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    let asked = Instant::now();
    said.extend(lines);
    let code = running.0.wait().unwrap().code();
    let took = asked.elapsed();
    let said = said.join("\n");
    assert_eq!(code, Some(130), "{when}:\n{said}");
    assert!(took < PATIENCE, "{when}: it took {took:?}");
    assert!(said.contains(expected), "{when}:\n{said}");
    let is_training = said.lines().any(|line| line == "training");
    assert!(!is_training, "{when}: it was too late:\n{said}");
    assert_eq!(fs::read_dir(place.at("run")).unwrap().count(), 0, "nothing is half done");
}

/// Documents as long as the model reads, and as many queries.
fn big(place: &Place, documents: usize) {
    let folder = place.at("big");
    data::beir(&folder, 30);
    let line = |d: usize| format!("{{\"_id\": \"d{d}\", \"text\": \"{}\"}}", data::text(d, 60));
    data::lines(&folder.join("corpus.jsonl"), (0..documents).map(line));
}

/// Judges many queries of a few documents, so that mining takes long.
fn many_queries(place: &Place, queries: usize) {
    let folder = place.at("big");
    let query = |q: usize| format!("{{\"_id\": \"q{q}\", \"text\": \"{} {q}\"}}", data::text(q, 8));
    data::lines(&folder.join("queries.jsonl"), (0..queries).map(query));
    let header = "query-id\tcorpus-id\tscore".to_owned();
    let rows = (30..queries).map(|q| format!("q{q}\td{}\t1", q % 30));
    data::lines(&folder.join("qrels/train.tsv"), std::iter::once(header).chain(rows));
}

#[test]
fn a_run_that_is_stopped_before_training_ends_soon_and_goes_on() {
    let place = Place::new();
    place.write("w.toml", WORKSPACE);
    let kept = "stopped before training began; what was tokenised and embedded so far is kept in";
    big(&place, 60_000);
    check(&place, ("big: reading", "TERM"), kept);
    check(&place, ("big: embedding with the base model", "TERM"), kept);
    check(&place, ("big: embedding with the base model", "INT"), "the same command goes on");

    big(&place, 3_000);
    many_queries(&place, 20_000);
    check(&place, ("big: mining hard negatives", "TERM"), kept);
    let vectors = || fs::read_dir(place.at("cache/texts/vectors")).unwrap().count();
    let before = vectors();
    assert!(before > 0, "embeddings are kept");
    let again = place.run(&["train", "w.toml", "--out", "run"]);
    again.check("the same command", 0, &["big: training finished"]);
    assert_eq!(vectors(), before, "what was kept is used");
    assert!(place.at("run/run.json").is_file());
}
