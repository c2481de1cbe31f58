//! The checks that a card is waited for with (`cargo xtask gpu`), on the fake driver in real time.
//!
//! They must hold there as far as it can answer; they must fail where no library holds the tenants,
//! and where slices give more than is checked. Spans are short and bars wide, since the machine has
//! other things to do; the exact figures are held in virtual time, by the tests `simulation`.

#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use cotenant_fake_cards::{Cards, Description, install};
use serde_json::Value;

/// What a run found: its code, the head and the rows of its results.
struct Found {
    is_success: bool,
    code: Option<i32>,
    talk: String,
    head: Value,
    rows: Vec<Value>,
    table: String,
}

/// Figures of time want the machine to themselves, as far as these tests can give it.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs checks on a card of their own.
fn run(options: &[&str]) -> Found {
    // Another test's failure is not this one's.
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let settings = "time=real,context=0B,granularity=512B";
    let description = Description::parse("name=Fake,memory=8GiB,sms=100", settings).unwrap();
    let cards = Cards::create(&folder.path().join("cards"), &description).unwrap();
    install(&folder.path().join("driver"), &[]).unwrap();
    let out = folder.path().join("results");
    let output = Command::new(beside("examples/gpu"))
        .args(["--quick", "--python", "no-such-python", "--out", out.to_str().unwrap()])
        .args(options)
        .env("LD_LIBRARY_PATH", folder.path().join("driver"))
        .env("COTENANT_FAKE_DRIVER", cards.path())
        .env("PATH", folder.path())
        .output()
        .unwrap();
    let talk = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    let results = fs::read_to_string(out.join("results.jsonl")).unwrap_or_default();
    let mut lines = results.lines().map(|line| serde_json::from_str(line).unwrap());
    let head = lines.next().unwrap_or_default();
    let table = fs::read_to_string(out.join("results.md")).unwrap_or_default();
    let (is_success, code) = (output.status.success(), output.status.code());
    Found { is_success, code, talk, head, rows: lines.collect(), table }
}

/// Runs a check of time that must hold. What else the machine does may spoil its figures, so one of
/// three tries counts; a share that nothing holds fails each time.
fn hold(check: &str) -> Found {
    let mut talk = String::new();
    for _ in 0..3 {
        let found = run(&["--only", check]);
        if found.is_success {
            return found;
        }
        talk += &found.talk;
    }
    panic!("{check}, in none of three tries: {talk}");
}

impl Found {
    /// How often each verdict was given by each check.
    fn verdicts(&self) -> BTreeMap<(String, String), usize> {
        let mut verdicts = BTreeMap::new();
        for row in &self.rows {
            let word = |key: &str| row[key].as_str().unwrap().to_owned();
            *verdicts.entry((word("check"), word("verdict"))).or_default() += 1;
        }
        verdicts
    }

    fn count(&self, check: &str, verdict: &str) -> usize {
        let key = (check.to_owned(), verdict.to_owned());
        self.verdicts().get(&key).copied().unwrap_or(0)
    }
}

fn beside(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).map(Path::to_owned).unwrap();
    let file = folder.join(name);
    assert!(file.exists(), "{name} was not built; run the whole package's tests, not one by name");
    file
}

/// The checks of memory, and how many findings each must have there.
const OF_MEMORY: [(&str, usize); 6] =
    [("shown", 4), ("ways", 24), ("race", 3), ("limit", 3), ("resize", 5), ("killed", 3)];

#[test]
fn checks_of_memory_hold_with_the_library_and_fail_without() {
    for (check, count) in OF_MEMORY {
        let found = run(&["--only", check]);
        assert!(found.is_success, "{check}: {}", found.talk);
        assert_eq!(found.count(check, "passed"), count, "{check}: {}", found.talk);
        assert_eq!(found.head["is_fake"], true);
        for worse in [&["--without-library"][..], &["--loosen", "100"]] {
            let found = run(&[&["--only", check], worse].concat());
            assert!(!found.is_success, "{check} with {worse:?}: {}", found.talk);
            assert!(found.count(check, "failed") > 0, "{check} with {worse:?}: {}", found.talk);
        }
    }
}

/// The checks of compute; of those that find most, what they find where slices give too much.
const OF_COMPUTE: [(&str, bool); 6] = [
    ("shares", true),
    ("pair", false),
    ("response", false),
    ("hold", true),
    ("neighbour", false),
    ("fair", false),
];

#[test]
fn checks_of_compute_hold_with_the_library_and_fail_without() {
    for (check, is_loosened) in OF_COMPUTE {
        let found = hold(check);
        assert!(found.count(check, "passed") > 0, "{check}: {}", found.talk);
        let loosened = is_loosened.then_some(&["--loosen", "100"][..]);
        for worse in [&["--without-library"][..]].into_iter().chain(loosened) {
            let found = run(&[&["--only", check], worse].concat());
            assert!(!found.is_success, "{check} with {worse:?}: {}", found.talk);
            assert!(found.count(check, "failed") > 0, "{check} with {worse:?}: {}", found.talk);
        }
    }
}

/// What holds without the library too insists that it is there.
#[test]
fn checks_of_costs_say_when_the_library_is_not_there() {
    for check in ["alone", "calls", "fragments", "faults"] {
        hold(check);
        let found = run(&["--only", check, "--without-library"]);
        assert!(!found.is_success, "{check}: {}", found.talk);
        let said = found.rows[0]["detail"].as_str().unwrap();
        assert!(said.contains("the library is not in"), "{check}: {said}");
    }
}

/// What this machine lacks is neither passed nor failed, and says what it is.
#[test]
fn what_cannot_run_says_why_and_is_not_passed() {
    let python = "no-such-python does not start";
    for (check, why) in [("torch", python), ("train", python), ("smi", "nvidia-smi does not start")]
    {
        let found = run(&["--only", check]);
        assert_eq!(found.code, Some(2), "{}", found.talk);
        assert!(!found.rows.is_empty());
        assert_eq!(found.count(check, "could not run"), found.rows.len(), "{}", found.talk);
        for row in &found.rows {
            assert!(row["detail"].as_str().unwrap().contains(why), "{row}");
        }
        assert!(found.table.contains("| could not run |"), "{}", found.table);
    }
}

/// What had no time is named at the end, in the table too.
#[test]
fn what_had_no_time_is_named() {
    let found = run(&["--only", "shown", "--minutes", "0"]);
    assert_eq!(found.code, Some(2), "{}", found.talk);
    assert!(found.talk.contains("no time was left for shown"), "{}", found.talk);
    assert!(found.table.contains("No time was left for shown."), "{}", found.table);
}

#[test]
fn without_a_card_it_says_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    install(&folder.path().join("driver"), &[]).unwrap();
    let output = Command::new(beside("examples/gpu"))
        .arg("--out")
        .arg(folder.path().join("results"))
        .env("LD_LIBRARY_PATH", folder.path().join("driver"))
        .env_remove("COTENANT_FAKE_DRIVER")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(said.contains("there is no card that can be used here"), "{said}");
    assert!(said.contains("hint: this needs an NVIDIA card"), "{said}");
}
