//! Rankings and judgments as TREC writes them, and as text again.
//!
//! A run has lines `query Q0 document rank score tag`, judgments (qrels) have lines
//! `query 0 document grade`; columns are parted by any white space. BEIR's judgments, with a header
//! and three columns parted by tabs, are read too.
//!
//! Only text comes in here: whoever reads the files bounds their size.

mod error;
mod qrels;
mod run;

use std::str::Lines;

pub use error::TrecError;
pub use qrels::Qrels;
pub use run::Run;

use crate::judged::Judged;
use crate::ranking::Ties;

/// Longest line, in bytes.
pub const LINE_BYTES_MAX: usize = 4096;
/// Longest id of a query or document, and longest tag, in bytes: so a line that was read can be
/// written within [`LINE_BYTES_MAX`] whatever its rank.
pub const ID_BYTES_MAX: usize = 1024;
/// Most lines of a text.
pub const LINES_MAX: usize = 50_000_000;

/// Each judged query with its ranking, in the order of the queries' names.
///
/// A query that the run lacks has an empty ranking and scores 0 (trec_eval's option `-c`), so that
/// no run gains by leaving out what is hard. A query without a relevant document is left out, and
/// so is one that nobody judged.
pub fn judged<'a>(run: &Run, qrels: &'a Qrels, ties: Ties) -> Vec<(&'a str, Judged)> {
    let queries = qrels.queries().iter().filter_map(|(query, grades)| {
        let judgments: Vec<(&str, i64)> =
            grades.iter().map(|(document, grade)| (document.as_str(), *grade)).collect();
        Some((query.as_str(), Judged::new(&run.ranking(query, ties), &judgments)?))
    });
    queries.collect()
}

/// Lines that are not blank, with their numbers from 1; refuses what is too long or too much.
struct Numbered<'a> {
    lines: Lines<'a>,
    number: usize,
}

impl<'a> Numbered<'a> {
    fn new(text: &'a str) -> Self {
        Self { lines: text.lines(), number: 0 }
    }
}

impl<'a> Iterator for Numbered<'a> {
    type Item = Result<(usize, &'a str), TrecError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = self.lines.next()?;
            self.number += 1;
            if self.number > LINES_MAX {
                return Some(Err(TrecError::TooManyLines));
            }
            if line.len() > LINE_BYTES_MAX {
                return Some(Err(TrecError::LineTooLong { line: self.number, bytes: line.len() }));
            }
            // Some editors begin a file with a mark, and files are often joined.
            let line = line.trim_start_matches(|c: char| c == '\u{feff}' || c.is_whitespace());
            if !line.is_empty() {
                return Some(Ok((self.number, line)));
            }
        }
    }
}

/// The columns of a line, exactly so many, parted by white space.
fn columns<const N: usize>(line: &str, number: usize) -> Result<[&str; N], TrecError> {
    exactly(line.split_whitespace(), number)
}

/// So many columns and no more.
fn exactly<'a, const N: usize>(
    columns: impl Iterator<Item = &'a str>,
    line: usize,
) -> Result<[&'a str; N], TrecError> {
    let found: Vec<&str> = columns.collect();
    let count = found.len();
    found.try_into().map_err(|_| TrecError::Columns { line, found: count, expected: N })
}

/// An id or a tag, if it is short enough.
fn named(text: &str, line: usize) -> Result<String, TrecError> {
    match text.len() {
        0..=ID_BYTES_MAX => Ok(text.to_owned()),
        bytes => Err(TrecError::IdTooLong { line, bytes }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_judged_query_has_a_ranking() {
        let run = Run::parse("1 Q0 a 1 0.5 x\n1 Q0 b 2 0.5 x\n9 Q0 a 1 1 x\n").unwrap();
        let qrels = Qrels::parse("1 0 b 2\n2 0 a 1\n3 0 a 0\n").unwrap();
        let check = |ties, expected: [&[u32]; 2]| {
            let judged = judged(&run, &qrels, ties);
            let names: Vec<&str> = judged.iter().map(|(query, _)| *query).collect();
            assert_eq!(names, ["1", "2"]);
            assert_eq!([judged[0].1.grades(), judged[1].1.grades()], expected, "{ties:?}");
        };
        check(Ties::SmallerFirst, [&[0, 2], &[]]);
        check(Ties::LargerFirst, [&[2, 0], &[]]);
    }

    #[test]
    fn bounds_name_their_lines() {
        let long = format!("\n1 Q0 a 1 0.5 {}\n", "x".repeat(LINE_BYTES_MAX));
        let error = Run::parse(&long).unwrap_err();
        assert!(matches!(error, TrecError::LineTooLong { line: 2, bytes: 4109 }), "{error:?}");
        assert!(error.to_string().contains("line 2") && error.to_string().contains("4096"));
        let long = format!("1 Q0 {} 1 0.5 x\n", "d".repeat(ID_BYTES_MAX + 1));
        let error = Run::parse(&long).unwrap_err();
        assert!(matches!(error, TrecError::IdTooLong { line: 1, bytes: 1025 }), "{error:?}");
    }
}
