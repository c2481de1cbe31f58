//! What can be wrong with a workspace, each with its place and what to do.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a workspace cannot be used.
#[derive(Debug, Error)]
pub enum WorkspaceError {
    /// The file is not there.
    #[error(
        "{} does not exist\nhint: a workspace is a TOML file with a base model and tenants",
        path.display()
    )]
    Missing {
        /// What was looked for.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot read {}\nhint: name a workspace file that you may read", path.display())]
    Io {
        /// What was read.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// A file too large to be a workspace, or not text.
    #[error(
        "{} is not a workspace: {problem}\n\
         hint: a workspace is a small TOML file in UTF-8; name that file, or save it as UTF-8",
        path.display()
    )]
    NotText {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Not TOML.
    #[error(
        "{place}: {problem}\n\
         hint: a line is a key, = and a value; text stands in quotes, a table's name in [brackets]"
    )]
    Syntax {
        /// Where.
        place: Place,
        /// What the TOML parser says.
        problem: String,
    },
    /// A key that does not exist.
    #[error("{place}: there is no key {key:?} in {table}\nhint: {hint}")]
    UnknownKey {
        /// Where.
        place: Place,
        /// What was written.
        key: String,
        /// The table it stands in, as a person would write it.
        table: String,
        /// A guess, if something is close, and the legal keys.
        hint: String,
    },
    /// A value of the wrong type or out of its range.
    #[error("{place}: {key} {problem}\nhint: {hint}")]
    Value {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// What is wrong and what is accepted; continues after the key.
        problem: String,
        /// What the key is for, or what to write.
        hint: String,
    },
    /// Two keys that exclude each other.
    #[error("{place}: {second} and {first} exclude each other\nhint: keep one of them")]
    Conflict {
        /// Where the second stands.
        place: Place,
        /// One key.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// Something that every workspace needs is not there.
    #[error("{}: {problem}\nhint: {hint}", path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// What is absent.
        problem: String,
        /// What to write.
        hint: String,
    },
    /// A tenant's data is not where the workspace says.
    #[error(
        "{place}: data of tenant {tenant} does not exist: {}\n\
         hint: paths are relative to the folder of the workspace file",
        target.display()
    )]
    NoData {
        /// Where.
        place: Place,
        /// The tenant.
        tenant: String,
        /// What was looked for.
        target: PathBuf,
    },
}

/// A place in a workspace file, shown as `file:line:column`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The character within the line, from 1.
    pub column: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.path.display(), self.line, self.column)
    }
}

impl Place {
    /// The place of a byte of the file's text; an offset past the end is the end.
    pub(super) fn of(path: &std::path::Path, text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}
