//! Documents and changes from lines of JSON, as BEIR writes a corpus and `cotenant index export`
//! writes an index.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use cotenant_index::limits::{DIMENSIONS_MAX, TEXT_BYTES_MAX};
use cotenant_index::{Change, Document};
use serde_json::{Map, Value};
use thiserror::Error;

/// Longest line, in bytes: the longest text with every character escaped, and a vector.
const LINE_BYTES_MAX: usize = 6 * TEXT_BYTES_MAX + 32 * DIMENSIONS_MAX;
/// The fields of a line.
const FIELDS: &str = "_id, title, text, metadata, vector";

/// Why a line is no document.
#[derive(Debug, Error)]
pub enum LineError {
    /// The file cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// A line says something else.
    #[error("read {}: line {line} {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, the first is 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

/// A line that makes no document.
#[derive(Debug, Error)]
#[error(
    "document {id:?} has no text, no title and no vector\n\
     hint: give it one, or change parts of documents with update"
)]
pub struct NothingToFind {
    /// Its id.
    pub id: String,
}

/// A line of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IndexLine {
    /// `_id`.
    pub id: String,
    /// `title` and `text` with a space between, if one of them is there.
    pub text: Option<String>,
    /// `metadata`, with the title as `title` unless it has one.
    pub metadata: Option<Map<String, Value>>,
    /// `vector`.
    pub vector: Option<Vec<f32>>,
}

impl IndexLine {
    /// A new document; what is absent is empty.
    ///
    /// # Errors
    /// If there is neither text nor vector: it would be nothing that can be found, in the place of
    /// what was there.
    pub fn into_document(self) -> Result<Document, NothingToFind> {
        if self.text.is_none() && self.vector.is_none() {
            return Err(NothingToFind { id: self.id });
        }
        Ok(Document {
            id: self.id,
            text: self.text.unwrap_or_default(),
            metadata: self.metadata.unwrap_or_default(),
            vector: self.vector,
        })
    }

    /// A change of a document; what is absent stays.
    pub fn into_change(self) -> Change {
        let Self { id, text, metadata, vector } = self;
        Change { id, text, metadata, vector }
    }
}

/// The lines of a file that are not blank.
pub struct IndexLines {
    path: PathBuf,
    reader: BufReader<Box<dyn Read>>,
    line: usize,
}

impl IndexLines {
    /// Opens a file; `-` is standard input.
    pub fn open(path: &Path) -> Result<Self, LineError> {
        let reader: Box<dyn Read> = match path.to_str() {
            Some("-") => Box::new(io::stdin()),
            _ => Box::new(File::open(path).map_err(|source| {
                let path = path.to_owned();
                LineError::Read { path, source }
            })?),
        };
        Ok(Self { path: path.to_owned(), reader: BufReader::new(reader), line: 0 })
    }

    /// The next line; `None` at the end.
    fn next_line(&mut self) -> Result<Option<IndexLine>, LineError> {
        loop {
            let mut bytes = Vec::new();
            let mut bounded = self.reader.by_ref().take(LINE_BYTES_MAX as u64 + 1);
            let read = bounded.read_until(b'\n', &mut bytes).map_err(|source| {
                let path = self.path.clone();
                LineError::Read { path, source }
            })?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            let line = bytes.trim_ascii();
            let problem = match line {
                [] => continue,
                _ if bytes.len() > LINE_BYTES_MAX => {
                    format!("has more than {LINE_BYTES_MAX} bytes")
                }
                line => match parse(line) {
                    Ok(line) => return Ok(Some(line)),
                    Err(problem) => problem,
                },
            };
            return Err(LineError::Line { path: self.path.clone(), line: self.line, problem });
        }
    }
}

impl Iterator for IndexLines {
    type Item = Result<IndexLine, LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_line().transpose()
    }
}

fn parse(line: &[u8]) -> Result<IndexLine, String> {
    let object: Map<String, Value> =
        serde_json::from_slice(line).map_err(|error| format!("is no JSON object: {error}"))?;
    let (mut parsed, mut title, mut text) = (IndexLine::default(), None, None);
    for (key, value) in object {
        match (key.as_str(), value) {
            ("_id", Value::String(id)) => parsed.id = id,
            ("_id", Value::Number(id)) => parsed.id = id.to_string(),
            ("title", Value::String(value)) => title = Some(value),
            ("text", Value::String(value)) => text = Some(value),
            ("metadata", Value::Object(value)) => parsed.metadata = Some(value),
            ("metadata" | "vector" | "title" | "text", Value::Null) => {}
            ("vector", Value::Array(values)) => parsed.vector = Some(vector(&values)?),
            ("_id" | "title" | "text" | "metadata" | "vector", _) => {
                return Err(format!("has a {key:?} of another type than it should have"));
            }
            _ => return Err(format!("has a field {key:?}; a document has {FIELDS}")),
        }
    }
    if parsed.id.is_empty() {
        return Err("has no \"_id\"".to_owned());
    }
    parsed.text = match title.filter(|title| !title.is_empty()) {
        Some(title) => {
            let metadata = parsed.metadata.get_or_insert_default();
            Some(with_title(title, text.unwrap_or_default(), metadata))
        }
        None => text,
    };
    Ok(parsed)
}

/// A text with its title in front, as what is searched; the metadata has the title as `title` then,
/// unless it has one.
pub(crate) fn with_title(title: String, text: String, metadata: &mut Map<String, Value>) -> String {
    let whole = format!("{title} {text}").trim().to_owned();
    metadata.entry("title").or_insert(Value::String(title));
    whole
}

fn vector(values: &[Value]) -> Result<Vec<f32>, String> {
    let values = values.iter().map(|value| value.as_f64().map(|value| value as f32));
    values.collect::<Option<_>>().ok_or_else(|| "has a \"vector\" with no number in it".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(line: &str, expected: Result<IndexLine, &str>) {
        assert_eq!(parse(line.as_bytes()), expected.map_err(str::to_owned), "{line}");
    }

    #[test]
    fn lines_become_documents_or_say_what_is_wrong() {
        let metadata = json!({"year": 3, "title": "Ships"}).as_object().cloned();
        let (id, text) = ("a".to_owned(), Some("Ships sail".to_owned()));
        check(
            r#"{"_id": "a", "title": "Ships", "text": "sail", "metadata": {"year": 3}}"#,
            Ok(IndexLine { id, text, metadata, vector: None }),
        );
        check(
            r#"{"_id": 7, "vector": [1, -0.5], "text": null}"#,
            Ok(IndexLine {
                id: "7".to_owned(),
                vector: Some(vec![1.0, -0.5]),
                ..IndexLine::default()
            }),
        );
        check("{}", Err("has no \"_id\""));
        check(r#"{"_id": []}"#, Err("has a \"_id\" of another type than it should have"));
        check(
            r#"{"_id": "a", "body": ""}"#,
            Err("has a field \"body\"; a document has _id, title, text, metadata, vector"),
        );
        check(r#"{"_id": "a", "vector": ["x"]}"#, Err("has a \"vector\" with no number in it"));
        assert!(parse(b"[]").unwrap_err().starts_with("is no JSON object"));
        assert!(parse(b"{\"_id\": \"\xff\"}").is_err());
    }
}
