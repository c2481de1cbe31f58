//! The rankings of one system.

use std::collections::BTreeMap;
use std::fmt;

use super::{Numbered, TrecError, columns, named};
use crate::ranking::{Ranked, Ties, rank};

/// What one system found for each query.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Name of the system.
    tag: String,
    /// Documents of each query, by id.
    queries: BTreeMap<String, BTreeMap<String, Scored>>,
}

/// A document's score, and the line that says so.
#[derive(Clone, Copy, Debug)]
struct Scored {
    score: f32,
    line: usize,
}

/// Where a score stood is no part of a run.
impl PartialEq for Scored {
    fn eq(&self, other: &Self) -> bool {
        self.score == other.score
    }
}

impl Run {
    /// Reads a run. As in trec_eval, scores are 32-bit numbers and alone decide the order: the
    /// columns `Q0` and rank are not looked at. The tag is that of the first line.
    ///
    /// # Errors
    /// [`TrecError`] with the line, counted from 1.
    pub fn parse(text: &str) -> Result<Self, TrecError> {
        let mut run = Self { tag: String::new(), queries: BTreeMap::new() };
        for line in Numbered::new(text) {
            let (line, text) = line?;
            let [query, _, document, _, score, tag] = columns(text, line)?;
            let score = score
                .parse::<f64>()
                .ok()
                .map(|score| score as f32)
                .filter(|score| score.is_finite())
                .ok_or_else(|| TrecError::Score { line, value: score.to_owned() })?;
            if run.queries.is_empty() {
                run.tag = named(tag, line)?;
            }
            let documents = run.queries.entry(named(query, line)?).or_default();
            let scored = Scored { score, line };
            if let Some(first) = documents.insert(named(document, line)?, scored) {
                let (query, document) = (query.to_owned(), document.to_owned());
                return Err(TrecError::Repeated { line, first_line: first.line, query, document });
            }
        }
        if run.queries.is_empty() { Err(TrecError::Empty) } else { Ok(run) }
    }

    /// Name of the system, as the first line has it.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The queries, in the order of their names.
    pub fn queries(&self) -> impl Iterator<Item = &str> {
        self.queries.keys().map(String::as_str)
    }

    /// The documents of a query, best first; none if the run lacks it.
    pub fn ranking(&self, query: &str, ties: Ties) -> Vec<&str> {
        self.ranked(query, ties).into_iter().map(|ranked| ranked.document).collect()
    }

    fn ranked(&self, query: &str, ties: Ties) -> Vec<Ranked<&str>> {
        let documents = self.queries.get(query).into_iter().flatten();
        let documents = documents
            .map(|(document, scored)| Ranked { document: document.as_str(), score: scored.score });
        rank(documents, ties)
    }
}

/// The run as a file of TREC's: by query, best document first, ranks from 1.
impl fmt::Display for Run {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for query in self.queries.keys() {
            for (ranked, place) in self.ranked(query, Ties::SmallerFirst).iter().zip(1..) {
                let Ranked { document, score } = ranked;
                // Written for debugging, a large number has an exponent instead of forty digits.
                writeln!(formatter, "{query} Q0 {document} {place} {score:?} {}", self.tag)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_read_and_written() {
        let text = "\u{feff}q2\tQ0 b 7 1e-3 mine\r\n\n  q1 x a 0 -2 other\nq2 Q0 a 1 .5 mine\n";
        let run = Run::parse(text).unwrap();
        assert_eq!(run.tag(), "mine");
        assert_eq!(run.ranking("q2", Ties::default()), ["a", "b"]);
        assert_eq!(run.ranking("q3", Ties::default()), [""; 0]);
        let written = "q1 Q0 a 1 -2.0 mine\nq2 Q0 a 1 0.5 mine\nq2 Q0 b 2 0.001 mine\n";
        assert_eq!(run.to_string(), written);
        assert_eq!(Run::parse(written).unwrap(), run);
    }

    #[test]
    fn bad_lines_are_named() {
        let check = |text: &str, line: Option<usize>, expected: &str| {
            let error = Run::parse(text).unwrap_err();
            assert_eq!(error.line(), line, "{text:?}");
            assert!(error.to_string().contains(expected), "{text:?}: {error}");
        };
        check("", None, "no line says anything");
        check("\n\n1 Q0 a 1 0.5\n", Some(3), "5 columns");
        check("1 Q0 a 1 0.5 x y\n", Some(1), "7 columns");
        for score in ["best", "nan", "inf", "1e39"] {
            check(&format!("1 Q0 a 1 {score} x\n"), Some(1), &format!("'{score}' for a score"));
        }
        check("1 Q0 a 1 1 x\n2 Q0 a 1 1 x\n1 Q0 a 2 0 x\n", Some(3), "as line 1 did");
        let long = format!("1 Q0 a 1 \u{1b}{} x\n", "9x".repeat(100));
        check(&long, Some(1), "'\\u{1b}9x9x");
        assert!(Run::parse(&long).unwrap_err().to_string().len() < 100);
    }
}
