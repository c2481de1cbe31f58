//! Runs and judgments of TREC.

use cotenant_eval::Ties;
use cotenant_eval::trec::{Qrels, Run, TrecError};

use crate::Verdict;
use crate::memory;
use crate::message;

/// Longest message, in characters: it repeats the beginnings of two ids.
const CHARACTERS_MAX: usize = 700;

/// A text that may be a run and may be judgments: what is read is written and read again as it was.
pub fn trec(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else { return Verdict::Refused };
    let run = memory::bounded(bytes.len(), || Run::parse(text));
    let qrels = memory::bounded(bytes.len(), || Qrels::parse(text));
    let is_accepted = run.is_ok() || qrels.is_ok();
    match run {
        Ok(run) => check_run(&run),
        Err(error) => check(&error, bytes),
    }
    match qrels {
        Ok(qrels) if !is_spaced(&qrels) => {
            let again = Qrels::parse(&qrels.to_string()).expect("judgments were just written");
            assert_eq!(again, qrels, "judgments change when they are written");
        }
        Ok(_) => {}
        Err(error) => check(&error, bytes),
    }
    if is_accepted { Verdict::Accepted } else { Verdict::Refused }
}

fn check_run(run: &Run) {
    let written = run.to_string();
    let again = Run::parse(&written).expect("a run was just written");
    assert_eq!(&again, run, "a run changes when it is written");
    for query in run.queries() {
        let [mut smaller, mut larger] =
            [Ties::SmallerFirst, Ties::LargerFirst].map(|ties| run.ranking(query, ties));
        smaller.sort_unstable();
        larger.sort_unstable();
        assert_eq!(smaller, larger, "ties lose a document");
    }
}

/// Whether an id holds what parts columns, or nothing: BEIR's may.
fn is_spaced(qrels: &Qrels) -> bool {
    let is_spaced = |id: &String| id.is_empty() || id.contains(char::is_whitespace);
    let mut queries = qrels.queries().iter();
    queries.any(|(query, documents)| is_spaced(query) || documents.keys().any(is_spaced))
}

fn check(error: &TrecError, bytes: &[u8]) {
    let length = error.to_string().chars().count();
    assert!(length <= CHARACTERS_MAX, "a message of {length} characters: {error}");
    if let Some(line) = error.line() {
        message::check_place(bytes, line, 1);
    }
}
