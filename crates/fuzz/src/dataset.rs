//! What must hold for every data set, and for every error of a reader of data.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use cotenant_rag::data::{
    DataError, Dataset, Example, Judgements, Loaded, ReadOptions, TEXT_BYTES_MAX, read,
};

use crate::Verdict;
use crate::memory;
use crate::message;
use crate::scratch::Scratch;

/// Reads what stands in a folder below it, and checks whatever comes of it.
pub(crate) fn load(scratch: &Scratch, below: &str, input_bytes: usize) -> Result<Loaded, Verdict> {
    let stop = AtomicBool::new(false);
    let options = ReadOptions { name: "fuzz".to_owned(), passages_max: 1000, stop: &stop };
    match memory::bounded(input_bytes, || read(&[scratch.at(below)], &options)) {
        Ok(loaded) => {
            check(&loaded.dataset);
            loaded.warnings.iter().for_each(|warning| drop(warning.to_string()));
            Ok(loaded)
        }
        Err(error) => {
            message::check(&error, scratch.path());
            check_place(&error);
            Err(Verdict::Refused)
        }
    }
}

/// Checks that every number leads to something, and that nothing held out is trained on.
fn check(set: &Dataset) {
    let (documents, queries) = (set.documents.len() as u32, set.queries.len() as u32);
    let ids: HashSet<&str> = set.documents.iter().map(|document| &*document.id).collect();
    assert_eq!(ids.len(), set.documents.len(), "ids of documents repeat: {:#?}", set.documents);
    let ids: HashSet<&str> = set.queries.iter().map(|query| &*query.id).collect();
    assert_eq!(ids.len(), set.queries.len(), "ids of queries repeat: {:#?}", set.queries);
    let texts = set.documents.iter().flat_map(|document| [&document.title, &document.text]);
    let texts = texts.chain(set.queries.iter().map(|query| &query.text));
    assert!(texts.clone().all(|text| text.len() <= TEXT_BYTES_MAX));
    for example in &set.train {
        let (query, rows, score) = match example {
            Example::Pair { query, positive, negatives } => {
                (*query, [&[*positive][..], negatives].concat(), 0.0)
            }
            Example::Scored { left, right, score } => (*left, vec![*right], *score),
        };
        assert!(query < queries && rows.iter().all(|row| *row < documents), "{example:?}");
        assert!(score.is_finite(), "{example:?}");
    }
    let held = |judgements: &Judgements| -> HashSet<u32> {
        judgements.queries.iter().map(|judged| judged.query).collect()
    };
    let train: HashSet<u32> = set.train.iter().map(Example::query).collect();
    let (dev, test) = (held(&set.dev), held(&set.test));
    assert!(train.is_disjoint(&dev) && train.is_disjoint(&test) && dev.is_disjoint(&test));
    for judgements in [&set.dev, &set.test] {
        assert!(judgements.queries.is_sorted_by(|one, other| one.query < other.query));
        for judged in &judgements.queries {
            assert!(judged.query < queries && !judged.gains.is_empty(), "{judged:?}");
            assert!(judged.gains.is_sorted_by(|one, other| one.0 < other.0), "{judged:?}");
            assert!(judged.gains.iter().all(|&(row, gain)| row < documents && gain > 0));
        }
    }
}

/// Checks that the line and column of an error are in its file.
fn check_place(error: &DataError) {
    let check = |path: &Path, line, column| {
        let bytes = fs::read(path).expect("an error with a line is of a file that was read");
        message::check_place(&bytes, line, column);
    };
    match error {
        DataError::Malformed { path, line, column, .. } => check(path, *line, *column),
        DataError::NotUtf8 { path, line, .. }
        | DataError::LineTooLong { path, line, .. }
        | DataError::UnknownId { path, line, .. } => check(path, *line, 1),
        DataError::DuplicateId { path, line, first_line, .. } => {
            assert!(first_line < line, "{error}");
            check(path, *line, 1);
        }
        DataError::Missing { .. }
        | DataError::Io { .. }
        | DataError::Header { .. }
        | DataError::Empty { .. }
        | DataError::Unrecognised { .. }
        | DataError::TooMany { .. }
        | DataError::WrongLoss { .. }
        | DataError::Stopped => {}
    }
}
