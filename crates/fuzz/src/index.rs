//! The files of an index, and filters over its documents.

use std::collections::BTreeSet;
use std::path::Path;

use cotenant_index::filter::{Columns, Filter, Plan, PlanOptions};
use cotenant_index::{DamagedFile, Slot, Storage, fuzzing};
use serde_json::{Map, Value, json};

use crate::Verdict;
use crate::memory;
use crate::message;

/// A place for the bytes, which are never written to it.
const FOLDER: &str = "/index";

/// The data of a file that is written once. The first byte says of which kind: `d` for documents,
/// `f` and `b` for vectors of three values, `c` for columns, `r` for removals, `x` for what searches
/// vectors, `t` for full text, others for live slots.
pub fn segment(bytes: &[u8]) -> Verdict {
    let (Some((kind, data)), path) = (bytes.split_first(), Path::new(FOLDER).join("segment"))
    else {
        return Verdict::Refused;
    };
    if *kind == b'x' {
        // A place is kept for each of 1024 neighbours of a slot, so that few slots may take much.
        return verdict(fuzzing::read_searcher(&path, data));
    }
    verdict(memory::bounded(bytes.len(), || match kind {
        b'd' => fuzzing::read_documents(&path, data),
        b'f' => fuzzing::read_vectors(&path, data, Storage::F32),
        b'b' => fuzzing::read_vectors(&path, data, Storage::Bf16),
        b'c' => fuzzing::read_columns(&path, data),
        b'r' => fuzzing::read_removals(&path, data),
        b't' => fuzzing::read_text(&path, data),
        _ => fuzzing::read_live(&path, data),
    }))
}

/// A manifest, as the whole file and as the JSON below its first line.
pub fn manifest(bytes: &[u8]) -> Verdict {
    let path = Path::new(FOLDER).join("manifest");
    verdict(memory::bounded(bytes.len(), || fuzzing::read_manifest(&path, bytes)))
}

/// A log; a record of one; or payloads of records, one a line.
pub fn log_record(bytes: &[u8]) -> Verdict {
    let path = Path::new(FOLDER).join("log");
    verdict(memory::bounded(bytes.len(), || fuzzing::read_log(&path, bytes)))
}

/// A filter as JSON; after a zero byte, metadata of a document on each line. Columns select what
/// the filter matches.
pub fn filter(bytes: &[u8]) -> Verdict {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let Ok(value) = serde_json::from_slice::<Value>(&bytes[..end]) else {
        return Verdict::Refused;
    };
    let filter = match memory::bounded(bytes.len(), || Filter::parse(&value)) {
        Ok(filter) => filter,
        Err(error) => {
            assert!(!error.place.is_empty() && error.to_string().len() < 10_000, "{error}");
            return Verdict::Refused;
        }
    };
    let given = bytes.get(end + 1..).unwrap_or_default().split(|&byte| byte == b'\n');
    let given = given.filter_map(|line| serde_json::from_slice(line).ok());
    let usual = [json!({}), json!({"a": 1, "b": [1, "x", null]}), json!({"a": "1", "c": {"a": 1}})];
    let usual = usual.into_iter().filter_map(|value| value.as_object().cloned());
    let documents: Vec<Map<String, Value>> = given.chain(usual).collect();
    let mut columns = Columns::new();
    for (slot, metadata) in (0..).zip(&documents) {
        columns.insert(Slot(slot), metadata);
    }
    let matching: BTreeSet<u32> =
        (0..).zip(&documents).filter(|(_, one)| filter.matches(one)).map(|(at, _)| at).collect();
    let selected: BTreeSet<u32> = columns.select(&filter).iter().collect();
    assert_eq!(selected, matching, "columns and documents disagree about {value}");
    let (all, passing) = (documents.len() as u64, matching.len() as u64);
    let is_right = match columns.plan(&filter, PlanOptions { few_max: 1 }) {
        Plan::All => passing == all,
        Plan::Few(slots) | Plan::Many(slots) => slots.iter().eq(matching.iter().copied()),
        Plan::Check(slots) => matching.iter().all(|&slot| slots.contains(slot)),
        Plan::Ask { at_least, at_most } => (at_least..=at_most).contains(&passing),
    };
    assert!(is_right, "the plan for {value} lets other documents pass than {matching:?}");
    Verdict::Accepted
}

fn verdict(read: Result<(), DamagedFile>) -> Verdict {
    match read {
        Ok(()) => Verdict::Accepted,
        Err(damaged) => {
            message::check(&damaged, Path::new(FOLDER));
            Verdict::Refused
        }
    }
}
