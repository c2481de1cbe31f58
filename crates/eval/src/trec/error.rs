//! What may be wrong with a run or with judgments.

use std::error::Error;
use std::fmt;

use super::{ID_BYTES_MAX, LINE_BYTES_MAX, LINES_MAX};

/// Most characters of the text that a message repeats.
const SHOWN_CHARACTERS_MAX: usize = 40;

/// What is wrong with a text, and in which of its lines, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrecError {
    /// A line has too few or too many columns.
    Columns {
        /// The line.
        line: usize,
        /// Its columns.
        found: usize,
        /// The columns that it should have.
        expected: usize,
    },
    /// A score is not a finite 32-bit number.
    Score {
        /// The line.
        line: usize,
        /// What stands there.
        value: String,
    },
    /// A grade is not a whole number.
    Grade {
        /// The line.
        line: usize,
        /// What stands there.
        value: String,
    },
    /// A document stands in a query twice.
    Repeated {
        /// The line.
        line: usize,
        /// The line where it stands first.
        first_line: usize,
        /// The query.
        query: String,
        /// The document.
        document: String,
    },
    /// A line has too many bytes.
    LineTooLong {
        /// The line.
        line: usize,
        /// Its bytes.
        bytes: usize,
    },
    /// An id or a tag has too many bytes.
    IdTooLong {
        /// The line.
        line: usize,
        /// Its bytes.
        bytes: usize,
    },
    /// There are too many lines.
    TooManyLines,
    /// No line says anything.
    Empty,
}

impl TrecError {
    /// The line that is wrong, counted from 1, if it is one line's fault.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Columns { line, .. }
            | Self::Score { line, .. }
            | Self::Grade { line, .. }
            | Self::Repeated { line, .. }
            | Self::LineTooLong { line, .. }
            | Self::IdTooLong { line, .. } => Some(*line),
            Self::TooManyLines | Self::Empty => None,
        }
    }
}

impl fmt::Display for TrecError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Columns { line, found, expected } => write!(
                formatter,
                "line {line} has {found} columns\nhint: a run has 6 (query Q0 document rank score \
                 tag), judgments have 4 (query 0 document grade); {expected} are expected here"
            ),
            Self::Score { line, value } => {
                write!(formatter, "line {line} has '{}' for a score", shown(value))
            }
            Self::Grade { line, value } => write!(
                formatter,
                "line {line} has '{}' for a grade\nhint: grades are whole numbers",
                shown(value)
            ),
            Self::Repeated { line, first_line, query, document } => write!(
                formatter,
                "line {line} has document '{}' for query '{}', as line {first_line} did",
                shown(document),
                shown(query)
            ),
            Self::LineTooLong { line, bytes } => {
                write!(formatter, "line {line} has {bytes} bytes, more than {LINE_BYTES_MAX}")
            }
            Self::IdTooLong { line, bytes } => {
                write!(
                    formatter,
                    "line {line} has an id of {bytes} bytes, more than {ID_BYTES_MAX}"
                )
            }
            Self::TooManyLines => write!(formatter, "there are more than {LINES_MAX} lines"),
            Self::Empty => write!(formatter, "no line says anything"),
        }
    }
}

impl Error for TrecError {}

/// The beginning of a text, with nothing that a terminal would obey.
fn shown(text: &str) -> String {
    let beginning = text.chars().take(SHOWN_CHARACTERS_MAX);
    beginning.flat_map(char::escape_debug).collect()
}
