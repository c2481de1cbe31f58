//! What can be wrong with a tenant's data, and what a reader noticed but could live with.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why data cannot be read; each names the file, the line where there is one, and what to do.
#[derive(Debug, Error)]
pub enum DataError {
    /// The path leads nowhere.
    #[error("{} does not exist\nhint: {hint}", path.display())]
    Missing {
        /// What was looked for.
        path: PathBuf,
        /// What to try.
        hint: String,
    },
    /// Reading was asked to stop.
    #[error("reading was stopped\nhint: the same command reads it again")]
    Stopped,
    /// The operating system refused.
    #[error(
        "cannot read {}\nhint: check that it is whole and that you may read it, and its folder",
        path.display()
    )]
    Io {
        /// What was read.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// A line that does not say what its file should.
    #[error("{}:{line}:{column}: {problem}\nhint: {hint}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The byte within the line, from 1.
        column: usize,
        /// What is wrong.
        problem: String,
        /// What to try.
        hint: String,
    },
    /// Bytes that are not UTF-8.
    #[error(
        "{}:{line}: byte {offset} of the file is not UTF-8\n\
         hint: convert the file, for example with `iconv -f LATIN1 -t UTF-8`",
        path.display()
    )]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The first bad byte, from the file's beginning, from 0.
        offset: u64,
    },
    /// A line that is longer than any text should be.
    #[error(
        "{}:{line}: the line is longer than {bytes_max} bytes\n\
         hint: split the text into passages of a few hundred words, one a line",
        path.display()
    )]
    LineTooLong {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Two lines with one id.
    #[error(
        "{}:{line}: the id {id:?} was already given on line {first_line}\n\
         hint: ids are unique within a file; rename or remove one of the two lines",
        path.display()
    )]
    DuplicateId {
        /// The file.
        path: PathBuf,
        /// The second line, from 1.
        line: usize,
        /// The first line, from 1.
        first_line: usize,
        /// The id.
        id: String,
    },
    /// Judgements of something that is not there.
    #[error(
        "{}:{line}: no {kind} has the id {id:?}\n\
         hint: add it to {}, or remove this line from the judgements",
        path.display(), defined_in.display()
    )]
    UnknownId {
        /// The file of judgements.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// "document" or "query".
        kind: &'static str,
        /// The id.
        id: String,
        /// The file that should have it.
        defined_in: PathBuf,
    },
    /// A table whose first line is not its header.
    #[error(
        "{}:1: the header is {found:?}, not {expected:?}\n\
         hint: the first line names the columns, with one tab between them",
        path.display()
    )]
    Header {
        /// The file.
        path: PathBuf,
        /// The first line, cut to a readable length.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Nothing to learn from or to search.
    #[error("{} has no {what}\nhint: {hint}", path.display())]
    Empty {
        /// The file or folder.
        path: PathBuf,
        /// What is absent.
        what: &'static str,
        /// What to try.
        hint: String,
    },
    /// Not one of the layouts that are read.
    #[error(
        "{} is not data that can be read: {problem}\n\
         hint: give a BEIR folder (corpus.jsonl, queries.jsonl, qrels/), a .jsonl file of pairs or \
         triplets, or a folder of .md, .html or .txt files",
        path.display()
    )]
    Unrecognised {
        /// The file or folder.
        path: PathBuf,
        /// What was found instead.
        problem: String,
    },
    /// Examples that the tenant's loss cannot learn from.
    #[error("{}: {problem}\nhint: {hint}", place(path, *line))]
    WrongLoss {
        /// The file or folder.
        path: PathBuf,
        /// The line of the first example, from 1; `None` where it is in no one file.
        line: Option<usize>,
        /// What the examples are and what the loss wants.
        problem: String,
        /// What to try.
        hint: String,
    },
    /// More of something than the limit.
    #[error("{} has more than {max} {what}\nhint: {hint}", path.display())]
    TooMany {
        /// The file or folder.
        path: PathBuf,
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: usize,
        /// What to try.
        hint: String,
    },
}

/// `file:line`, or the file alone.
fn place(path: &Path, line: Option<usize>) -> String {
    match line {
        Some(line) => format!("{}:{line}", path.display()),
        None => path.display().to_string(),
    }
}

/// Something a person should know that did not stop the reading; shown, never acted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Texts were longer than the limit and lost their ends.
    TextsCut {
        /// The file or folder.
        path: PathBuf,
        /// How many.
        texts: usize,
        /// The line of the first one, from 1 (0 where the file has no lines).
        first_line: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// There was no dev split, so a part of the training queries became one.
    DevHeldOut {
        /// How many queries.
        queries: usize,
    },
    /// There was no test split, so a part of the training queries became one.
    TestHeldOut {
        /// How many queries.
        queries: usize,
    },
    /// Nothing to train on.
    NoTraining,
    /// Nothing to measure a result with.
    NoTest,
    /// Queries that are both trained and held out stay held out only.
    LeaksRemoved {
        /// How many training queries were removed.
        queries: usize,
    },
    /// Files that were not read.
    FilesSkipped {
        /// The first of them.
        first: PathBuf,
        /// How many.
        files: usize,
        /// Why.
        why: &'static str,
    },
    /// A line without any text was left out.
    EmptyTexts {
        /// The file.
        path: PathBuf,
        /// How many.
        texts: usize,
        /// The line of the first one, from 1.
        first_line: usize,
    },
    /// Only a part of the passages is used.
    PassagesSampled {
        /// How many there were.
        found: usize,
        /// How many were kept.
        kept: usize,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::TextsCut { path, texts, first_line, bytes_max } => write!(
                f,
                "{}:{first_line}: {texts} text(s) longer than {bytes_max} bytes were cut there",
                path.display()
            ),
            Warning::DevHeldOut { queries } => {
                write!(f, "no dev split: {queries} training queries are held out for choosing")
            }
            Warning::TestHeldOut { queries } => {
                write!(f, "no test split: {queries} training queries are held out for measuring")
            }
            Warning::NoTraining => write!(f, "no training examples: this tenant stays zero-shot"),
            Warning::NoTest => write!(f, "no test queries: there is nothing to measure with"),
            Warning::LeaksRemoved { queries } => write!(
                f,
                "{queries} training queries are also held out (same id or text) and are not trained"
            ),
            Warning::FilesSkipped { first, files, why } => {
                write!(f, "{files} file(s) not read ({why}), the first is {}", first.display())
            }
            Warning::EmptyTexts { path, texts, first_line } => write!(
                f,
                "{}:{first_line}: {texts} document(s) or queries without text",
                path.display()
            ),
            Warning::PassagesSampled { found, kept } => {
                write!(f, "{kept} of {found} passages are used (passages_max)")
            }
        }
    }
}
