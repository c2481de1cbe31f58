//! Reads a text file line by line, in bounded memory, and says where it stops being text.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};

use super::error::{DataError, Warning};

/// Longest line that is read; a text of 10 MB fits even with every character escaped.
pub(super) const LINE_BYTES_MAX: usize = 64 << 20;

/// Longest text that is kept, about 40,000 words: far past what any encoder reads.
pub const TEXT_BYTES_MAX: usize = 256 << 10;

/// A line's number and the object in it.
pub(crate) type ObjectLine = (usize, Map<String, Value>);

/// The lines of a file that are not blank.
pub(crate) struct Lines<'a> {
    path: PathBuf,
    reader: BufReader<File>,
    buffer: Vec<u8>,
    line: usize,
    offset: u64,
    stop: &'a AtomicBool,
}

impl<'a> Lines<'a> {
    /// Opens a file; `hint` says what to do if it is not there, `stop` ends the reading once true.
    pub(crate) fn open(path: &Path, hint: &str, stop: &'a AtomicBool) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => {
                DataError::Missing { path: path.to_owned(), hint: hint.to_owned() }
            }
            _ => DataError::Io { path: path.to_owned(), source },
        })?;
        let reader = BufReader::with_capacity(1 << 16, file);
        Ok(Self { path: path.to_owned(), reader, buffer: Vec::new(), line: 0, offset: 0, stop })
    }

    /// The next line with its number, without its end; `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<(usize, &str)>, DataError> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(DataError::Stopped);
            }
            self.offset += self.buffer.len() as u64;
            self.buffer.clear();
            let limit = LINE_BYTES_MAX as u64 + 1;
            let mut bounded = self.reader.by_ref().take(limit);
            let read = bounded
                .read_until(b'\n', &mut self.buffer)
                .map_err(|source| DataError::Io { path: self.path.clone(), source })?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            if read > LINE_BYTES_MAX {
                let (path, line) = (self.path.clone(), self.line);
                return Err(DataError::LineTooLong { path, line, bytes_max: LINE_BYTES_MAX });
            }
            if !self.buffer.iter().all(u8::is_ascii_whitespace) {
                break;
            }
        }
        let text = std::str::from_utf8(&self.buffer).map_err(|error| DataError::NotUtf8 {
            path: self.path.clone(),
            line: self.line,
            offset: self.offset + error.valid_up_to() as u64,
        })?;
        let text = if self.line == 1 { text.trim_start_matches('\u{feff}') } else { text };
        Ok(Some((self.line, text.trim_end_matches(['\n', '\r']))))
    }

    /// The next line as a JSON object.
    pub(crate) fn next_object(&mut self) -> Result<Option<ObjectLine>, DataError> {
        let path = self.path.clone();
        let Some((line, text)) = self.next()? else { return Ok(None) };
        let malformed = |column, problem| DataError::Malformed {
            path,
            line,
            column,
            problem,
            hint: "each line is one JSON object, for example {\"query\": \"…\", \"answer\": \"…\"}"
                .to_owned(),
        };
        match serde_json::from_str(text) {
            Ok(Value::Object(object)) => Ok(Some((line, object))),
            Ok(other) => Err(malformed(1, format!("the line is {}, not an object", kind(&other)))),
            Err(error) => {
                let message = error.to_string();
                let problem = message.split(" at line ").next().unwrap_or(&message);
                Err(malformed(error.column().max(1), problem.to_owned()))
            }
        }
    }
}

/// What a JSON value is, for messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Cuts a text to [`TEXT_BYTES_MAX`], between two characters; whether it was longer.
pub(super) fn cut(text: &mut String) -> bool {
    let is_longer = text.len() > TEXT_BYTES_MAX;
    if is_longer {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(end.expect("0 is a boundary"));
        text.shrink_to_fit();
    }
    is_longer
}

/// Cuts texts to [`TEXT_BYTES_MAX`] and counts what it cut and what was empty.
pub(super) struct Cutter {
    path: PathBuf,
    cut: Option<(usize, usize)>,
    empty: Option<(usize, usize)>,
}

impl Cutter {
    /// Counts for one file.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), cut: None, empty: None }
    }

    /// The text, or its beginning if it is too long; ends between two characters.
    pub(super) fn keep(&mut self, mut text: String, line: usize) -> String {
        if cut(&mut text) {
            self.cut.get_or_insert((0, line)).0 += 1;
        }
        text
    }

    /// Notes a line without text.
    pub(super) fn note_empty(&mut self, line: usize) {
        self.empty.get_or_insert((0, line)).0 += 1;
    }

    /// What a person should know.
    pub(super) fn warnings(self) -> impl Iterator<Item = Warning> {
        let (path, other_path) = (self.path.clone(), self.path);
        let cut = self.cut.map(|(texts, first_line)| Warning::TextsCut {
            path,
            texts,
            first_line,
            bytes_max: TEXT_BYTES_MAX,
        });
        let empty = self.empty.map(|(texts, first_line)| Warning::EmptyTexts {
            path: other_path,
            texts,
            first_line,
        });
        cut.into_iter().chain(empty)
    }
}
