//! Data sets of lines: JSONL files of examples, and BEIR folders.

use std::fs;

use serde_json::Value;

use crate::Verdict;
use crate::dataset::load;
use crate::scratch::{Scratch, parts};

const EXAMPLES: &str = "examples.jsonl";

/// The files of a BEIR folder, in the order in which an input has them.
const BEIR: [&str; 5] =
    ["corpus.jsonl", "queries.jsonl", "qrels/train.tsv", "qrels/dev.tsv", "qrels/test.tsv"];

/// A JSONL file of examples: what is read does not depend on how each line is spelled.
pub fn jsonl(bytes: &[u8]) -> Verdict {
    let scratch = Scratch::new(&[(EXAMPLES, bytes)]);
    let loaded = match load(&scratch, EXAMPLES, bytes.len()) {
        Ok(loaded) => loaded,
        Err(refused) => return refused,
    };
    fs::write(scratch.at(EXAMPLES), respelled(bytes)).expect("there is room for a small file");
    let respelled = load(&scratch, EXAMPLES, bytes.len()).expect("the same lines as before");
    assert_eq!(respelled.dataset, loaded.dataset, "another spelling is other data");
    Verdict::Accepted
}

/// The files of a BEIR folder, parted by zero bytes; an empty one is left out.
pub fn beir(bytes: &[u8]) -> Verdict {
    let files = BEIR.into_iter().zip(parts(bytes)).filter(|(_, bytes)| !bytes.is_empty());
    let files: Vec<_> = [("data/read.me", &[][..])].into_iter().chain(files).collect();
    let scratch = Scratch::new(&files);
    match load(&scratch, "", bytes.len()) {
        Ok(_) => Verdict::Accepted,
        Err(refused) => refused,
    }
}

/// The same lines as JSON is written here: no blank lines, no spaces, nothing escaped in vain.
fn respelled(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).expect("it was read as text");
    let lines = text.trim_start_matches('\u{feff}').split('\n');
    let lines = lines.filter(|line| !line.bytes().all(|byte| byte.is_ascii_whitespace()));
    let lines = lines.map(|line| {
        let line: Value = serde_json::from_str(line).expect("it was read as JSON");
        format!("{line}\n")
    });
    lines.collect()
}
