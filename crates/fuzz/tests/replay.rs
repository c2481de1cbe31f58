//! Every input of every corpus again: the seeds, and what fuzzing found.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use cotenant_fuzz::{TARGETS, Target, Verdict};

/// Most inputs of a corpus, and bytes of one, so that a clone stays small and a replay quick.
const INPUTS_MAX: usize = 80;
const INPUT_BYTES_MAX: usize = 4096;

fn fuzz(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(folder)
}

/// The files of a folder in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The inputs that break a target.
fn replay(target: &Target) -> Vec<String> {
    let inputs = files(&fuzz("corpus").join(target.name));
    assert!(inputs.len() <= INPUTS_MAX, "{}: {} inputs", target.name, inputs.len());
    let (mut verdicts, mut broken) = (Vec::new(), Vec::new());
    for input in &inputs {
        let bytes = fs::read(input).unwrap();
        assert!(bytes.len() <= INPUT_BYTES_MAX, "{input:?} has {} bytes", bytes.len());
        let verdict = catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes)));
        match verdict {
            Ok(verdict) => verdicts.push(verdict),
            Err(_) => broken.push(format!("{} breaks on {input:?}", target.name)),
        }
    }
    // A format that changed would refuse every seed, and fuzzing would begin from nothing.
    for verdict in [Verdict::Accepted, Verdict::Refused] {
        assert!(verdicts.contains(&verdict), "{}: no input is {verdict:?}", target.name);
    }
    broken
}

// One test for all, because what they allocate is counted for the whole process.
#[test]
fn every_input_of_every_corpus_holds() {
    let broken: Vec<String> = TARGETS.iter().flat_map(replay).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn targets_fuzzers_and_corpora_are_the_same() {
    let names: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    for folder in ["corpus", "fuzz_targets"] {
        let stem = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        let found: BTreeSet<String> = files(&fuzz(folder)).iter().map(stem).collect();
        assert_eq!(found, names, "fuzz/{folder}");
    }
}
