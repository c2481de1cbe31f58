//! What was learnt about searching a tenant's documents, kept with them in the index.
//!
//! It is a note of the namespace, so that it goes with the documents and survives what they
//! survive. It is bound to the embedding whose vectors it was learnt with: once another one is in
//! use it is stale, and not used.

use std::sync::{Arc, Mutex};

use cotenant_index::{IndexError, View};
use serde::{Deserialize, Serialize};

use super::documents::Space;
use crate::retrieval::pipeline::{Blend, StageBuys, Tuned};

/// The note's name.
const NOTE: &str = "retrieval";

/// What was learnt, and from what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    /// The embedding whose vectors it was learnt with.
    pub(super) embedding: String,
    /// The reranker that it was learnt with, by name and content, if it was with one.
    pub(super) reranker: Option<String>,
    /// When, in seconds since 1970.
    pub(super) learnt_s: u64,
    /// Documents that there were.
    pub(super) documents: u64,
    /// Queries of which no judged document was there.
    pub(super) queries_left_out: u64,
    /// Judged documents that were not there.
    pub(super) documents_unknown: u64,
    /// What each stage bought the queries.
    pub(super) stages: Vec<StageBuys>,
    /// The mix and the rules.
    pub(super) tuned: Tuned,
}

/// What is known about searching a tenant's documents.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Known {
    /// Nothing was learnt.
    Nothing,
    /// What was learnt cannot be read, as where another version of this program wrote it.
    Unreadable {
        /// Why.
        why: String,
    },
    /// It was learnt with another embedding's vectors.
    Stale(Arc<Kept>),
    /// It holds.
    Learnt(Arc<Kept>),
}

/// A note that was read, and what stands in it: reading it for each search would cost more than
/// searching.
#[derive(Debug, Default)]
pub(super) struct Memo(Mutex<Option<(Arc<str>, Read)>>);

type Read = Result<Arc<Kept>, String>;

impl Memo {
    fn read(&self, note: Arc<str>) -> Read {
        let mut memo = self.0.lock().expect("no thread panicked");
        match &*memo {
            Some((text, read)) if Arc::ptr_eq(text, &note) => read.clone(),
            Some(_) | None => {
                let read = parse(&note).map(Arc::new);
                *memo = Some((note, read.clone()));
                read
            }
        }
    }
}

fn parse(note: &str) -> Result<Kept, String> {
    let kept: Kept = serde_json::from_str(note).map_err(|error| error.to_string())?;
    let tuned = kept.tuned.checked().map_err(|error| error.to_string())?;
    Ok(Kept { tuned, ..kept })
}

impl Kept {
    /// The reranker that reads again, by name and content.
    pub(super) fn rereader(&self) -> Option<&str> {
        let counts = self.tuned.blend.is_some_and(Blend::counts);
        self.reranker.as_deref().filter(|_| counts)
    }
}

impl Known {
    /// What may be used.
    pub(super) fn learnt(&self) -> Option<&Arc<Kept>> {
        match self {
            Self::Learnt(kept) => Some(kept),
            Self::Nothing | Self::Unreadable { .. } | Self::Stale(_) => None,
        }
    }
}

impl Space {
    /// What is known about searching the documents of a view.
    pub(super) fn known(&self, view: &View<'_>) -> Known {
        let Some(note) = view.note(NOTE) else { return Known::Nothing };
        match self.memo.read(note) {
            Err(why) => Known::Unreadable { why },
            Ok(kept) => {
                let is_in_use = view.embedding().is_some_and(|spec| spec.name == kept.embedding);
                if is_in_use { Known::Learnt(kept) } else { Known::Stale(kept) }
            }
        }
    }

    /// Keeps what was learnt, durably once this returns.
    pub(super) fn keep(&self, kept: &Kept) -> Result<(), IndexError> {
        let json = serde_json::to_string(kept).expect("numbers and names can be written");
        self.namespace.keep_note(NOTE, Some(&json))
    }

    /// Forgets what was learnt.
    pub(super) fn forget(&self) -> Result<(), IndexError> {
        self.namespace.keep_note(NOTE, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retrieval::pipeline::Prices;

    fn kept() -> Kept {
        Kept {
            embedding: "law@1".to_owned(),
            reranker: None,
            learnt_s: 1,
            documents: 2,
            queries_left_out: 0,
            documents_unknown: 0,
            stages: Vec::new(),
            tuned: Tuned::untaught(Prices::default()),
        }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let json = serde_json::to_string(&kept()).unwrap();
        assert_eq!(parse(&json), Ok(kept()));
        let check = |from: &str, to: &str, expected: &str| {
            assert!(json.contains(from), "{json}");
            let why = parse(&json.replacen(from, to, 1)).unwrap_err();
            assert!(why.contains(expected), "{why}");
        };
        check("\"embedding\"", "\"embedded\"", "embedded");
        check("\"version\":4", "\"version\":2", "has version 2");
        check("\"posting_ns\":", "\"posting_ns\":-", "prices");
        assert!(parse("").is_err());
    }

    #[test]
    fn a_note_is_read_once() {
        let memo = Memo::default();
        let note: Arc<str> = serde_json::to_string(&kept()).unwrap().into();
        let (one, other) = (memo.read(note.clone()).unwrap(), memo.read(note).unwrap());
        assert!(Arc::ptr_eq(&one, &other));
        assert!(memo.read("{}".into()).is_err());
    }
}
