//! What people judged.

use std::collections::BTreeMap;
use std::fmt;

use super::{Numbered, TrecError, columns, exactly, named};

/// How the header of BEIR's judgments begins.
const BEIR_HEADER: &str = "query-id\t";

/// How relevant people found which document for which query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qrels {
    queries: BTreeMap<String, BTreeMap<String, i64>>,
}

impl Qrels {
    /// Reads judgments: TREC's, or BEIR's if the first line is its header.
    ///
    /// # Errors
    /// [`TrecError`] with the line, counted from 1.
    pub fn parse(text: &str) -> Result<Self, TrecError> {
        let mut lines = Numbered::new(text).peekable();
        let is_header = |(_, text): &(usize, &str)| text.starts_with(BEIR_HEADER);
        let header = lines.next_if(|line| line.as_ref().is_ok_and(is_header));
        let mut queries: BTreeMap<String, BTreeMap<String, (i64, usize)>> = BTreeMap::new();
        for line in lines {
            let (line, text) = line?;
            let [query, document, grade] = match header {
                Some(_) => exactly(text.split('\t').map(str::trim), line)?,
                None => columns(text, line)
                    .map(|[query, _, document, grade]| [query, document, grade])?,
            };
            let whole = grade.parse();
            let whole = whole.map_err(|_| TrecError::Grade { line, value: grade.to_owned() })?;
            let documents = queries.entry(named(query, line)?).or_default();
            let judged = documents.insert(named(document, line)?, (whole, line));
            if let Some((_, first_line)) = judged {
                let (query, document) = (query.to_owned(), document.to_owned());
                return Err(TrecError::Repeated { line, first_line, query, document });
            }
        }
        if queries.is_empty() {
            return Err(TrecError::Empty);
        }
        let grades = |documents: BTreeMap<String, (i64, usize)>| {
            documents.into_iter().map(|(document, (grade, _))| (document, grade)).collect()
        };
        let queries = queries.into_iter().map(|(query, documents)| (query, grades(documents)));
        Ok(Self { queries: queries.collect() })
    }

    /// The grade of each judged document of each query.
    pub fn queries(&self) -> &BTreeMap<String, BTreeMap<String, i64>> {
        &self.queries
    }
}

/// The judgments as a file of TREC's, by query and document. Ids of BEIR that hold spaces are
/// written as they are, and cannot be read as TREC's.
impl fmt::Display for Qrels {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (query, documents) in &self.queries {
            for (document, grade) in documents {
                writeln!(formatter, "{query} 0 {document} {grade}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let trec = Qrels::parse("2 0 b -1\n1\t0\ta  3\n2 Q0 a 0\n").unwrap();
        let beir = "query-id\tcorpus-id\tscore\n2\tb\t-1\n1\ta\t3\n2\ta\t0\n";
        assert_eq!(Qrels::parse(beir).unwrap(), trec);
        let written = "1 0 a 3\n2 0 a 0\n2 0 b -1\n";
        assert_eq!(trec.to_string(), written);
        assert_eq!(Qrels::parse(written).unwrap(), trec);
    }

    #[test]
    fn bad_lines_are_named() {
        let check = |text: &str, line: Option<usize>, expected: &str| {
            let error = Qrels::parse(text).unwrap_err();
            assert_eq!(error.line(), line, "{text:?}");
            assert!(error.to_string().contains(expected), "{text:?}: {error}");
        };
        check(" \n", None, "no line says anything");
        check("query-id\tcorpus-id\tscore\n", None, "no line says anything");
        check("query-id\tcorpus-id\tscore\n1 a 1\n", Some(2), "1 columns");
        check("1 0 a\n", Some(1), "3 columns");
        check("1 0 a good\n", Some(1), "'good' for a grade");
        check("1 0 a 1.5\n", Some(1), "'1.5' for a grade");
        check("1 0 a 1\n1 0 a 1\n", Some(2), "as line 1 did");
    }
}
