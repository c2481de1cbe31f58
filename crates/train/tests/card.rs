//! The checks that a card is waited for with (`cargo xtask gpu`), where there is none: they say so,
//! and on the processor in a card's place they hold, and fail where what they compare differs.

#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What a run found: its code, what it said, the head and the rows of its results.
struct Found {
    code: Option<i32>,
    talk: String,
    head: Value,
    rows: Vec<Value>,
    table: String,
}

fn run(options: &[&str]) -> Found {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("results");
    let mut command = Command::new(beside("examples/card"));
    command
        .args(["--quick", "--python", "no-such-python", "--out", out.to_str().unwrap()])
        .args(options);
    if !options.contains(&"--on-kernels") {
        // So that no compute-sanitizer of this machine is found either.
        command.env("PATH", folder.path());
    }
    let output = command.output().unwrap();
    let talk = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    let results = fs::read_to_string(out.join("results.jsonl")).unwrap_or_default();
    let mut lines = results.lines().map(|line| serde_json::from_str(line).unwrap());
    let head = lines.next().unwrap_or_default();
    let table = fs::read_to_string(out.join("results.md")).unwrap_or_default();
    Found { code: output.status.code(), talk, head, rows: lines.collect(), table }
}

fn beside(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).map(Path::to_owned).unwrap();
    let file = folder.join(name);
    assert!(file.exists(), "{name} was not built; run the whole package's tests, not one by name");
    file
}

impl Found {
    /// How many rows of a check have a verdict.
    fn count(&self, check: &str, verdict: &str) -> usize {
        let is_it = |row: &&Value| row["check"] == check && row["verdict"] == verdict;
        self.rows.iter().filter(is_it).count()
    }
}

#[test]
fn without_a_driver_it_says_so() {
    let found = run(&[]);
    if !found.head["card"].is_null() {
        return eprintln!("this machine has an NVIDIA card; not tested: checks without");
    }
    assert_eq!(found.code, Some(2), "{}", found.talk);
    assert!(found.talk.contains("no CUDA driver"), "{}", found.talk);
    assert!(found.talk.contains("hint: install NVIDIA's driver"), "{}", found.talk);
    assert_eq!(found.count("opens", "could not run"), found.rows.len(), "{}", found.talk);
    assert!(found.table.contains("| could not run |"), "{}", found.table);
}

/// Each check on the processor, which has no other bits than itself; and spoilt, where it compares.
#[test]
fn checks_hold_on_the_processor_and_fail_where_it_differs() {
    for check in ["golden", "same", "differences", "alone", "trained"] {
        let found = run(&["--on-processor", "--only", check]);
        assert_eq!(found.code, Some(0), "{}", found.talk);
        assert!(found.count(check, "passed") > 0, "{}", found.talk);
        let spoilt = run(&["--on-processor", "--only", check, "--spoil"]);
        assert_eq!(spoilt.code, Some(1), "{}", spoilt.talk);
        assert!(spoilt.count(check, "failed") > 0, "{}", spoilt.talk);
    }
}

/// The same with the kernels of cards on the processor, whose bits are not its own.
#[test]
fn checks_hold_on_the_kernels_of_cards() {
    for check in ["golden", "same"] {
        let found = run(&["--on-kernels", "--only", check]);
        if found.code == Some(2) {
            return eprintln!("skipped: {}", found.talk);
        }
        assert_eq!(found.code, Some(0), "{}", found.talk);
        assert!(found.count(check, "passed") > 0, "{}", found.talk);
        for check in ["opens", check] {
            assert_eq!(found.count(check, "could not run"), 0, "{}", found.talk);
        }
    }
}

#[test]
fn what_cannot_run_says_why_and_is_not_passed() {
    let has_none = ["the processor has none", "this processor has no bf16 products"];
    let cases = [
        ("peers", &["no-such-python does not start"][..]),
        ("sanitizer", &["compute-sanitizer does not start"]),
        ("memory", &["does not run out of memory"]),
        ("kernels", &has_none),
        ("graphs", &has_none),
    ];
    for (check, why) in cases {
        let found = run(&["--on-processor", "--only", check]);
        let rows = found.rows.iter().filter(|row| row["check"] == check);
        let rows: Vec<&Value> = rows.collect();
        assert!(!rows.is_empty(), "{}", found.talk);
        for row in rows {
            assert_eq!(row["verdict"], "could not run", "{row}");
            let detail = row["detail"].as_str().unwrap();
            assert!(why.iter().any(|why| detail.contains(why)), "{row}");
        }
    }
    let late = run(&["--on-processor", "--minutes", "0"]);
    assert_eq!(late.code, Some(2), "{}", late.talk);
    assert!(late.talk.contains("no time was left for opens"), "{}", late.talk);
}

/// What is trained with is small, so that figures say only that they are given.
#[test]
fn speed_is_measured() {
    let found = run(&["--on-processor", "--only", "speed"]);
    assert_eq!(found.code, Some(0), "{}", found.talk);
    let units: Vec<&str> = found.rows.iter().filter_map(|row| row["unit"].as_str()).collect();
    let has_format = found.count("speed", "measured") > 0;
    for unit in ["pairs/s", "tokens/s", "ms"].iter().filter(|_| has_format) {
        assert!(units.contains(unit), "{}", found.talk);
    }
}

#[test]
fn words_that_it_does_not_know_are_refused() {
    for (options, said) in [
        (&["--fast"][..], "'--fast' is no option"),
        (&["--only", "nothing"], "no check begins so"),
        (&["--minutes", "soon"], "'soon' is no whole number"),
    ] {
        let found = run(options);
        assert_eq!(found.code, Some(1), "{}", found.talk);
        assert!(found.talk.contains(said), "{}", found.talk);
    }
}
