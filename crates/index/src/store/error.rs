//! Why something could not be done with an index.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A file that does not hold what was written to it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{} is damaged{}: {reason}", path.display(), place(*offset))]
pub struct DamagedFile {
    /// The file.
    pub path: PathBuf,
    /// Where, in bytes from its beginning, as far as that is known.
    pub offset: Option<u64>,
    /// What is wrong with it.
    pub reason: String,
}

fn place(offset: Option<u64>) -> String {
    offset.map(|offset| format!(" at byte {offset}")).unwrap_or_default()
}

impl DamagedFile {
    pub(crate) fn new(path: &Path, reason: impl Into<String>) -> Self {
        Self { path: path.to_owned(), offset: None, reason: reason.into() }
    }

    pub(crate) fn at(path: &Path, offset: u64, reason: impl Into<String>) -> Self {
        Self { offset: Some(offset), ..Self::new(path, reason) }
    }
}

/// Why something could not be done with an index. Nothing was changed, unless it says otherwise.
#[derive(Debug, Error)]
pub enum IndexError {
    /// The file system refused.
    #[error(
        "cannot {action} {}\nhint: check that the disk has room and that you may use the folder",
        path.display()
    )]
    Disk {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// Bytes on disk are not those that were written.
    #[error(
        "{0}\nhint: restore the index from a copy, or drop the namespace and add its documents again"
    )]
    Damaged(#[from] DamagedFile),
    /// Another process has the index.
    #[error(
        "the index {} is in use by another process\n\
         hint: wait until it ends, or ask that process",
        folder.display()
    )]
    InUse {
        /// Its folder.
        folder: PathBuf,
    },
    /// There is no index.
    #[error("{} holds no index\nhint: create one there first", folder.display())]
    NoIndex {
        /// The folder.
        folder: PathBuf,
    },
    /// There is one already, or something else.
    #[error("{} is not empty\nhint: name a folder that does not exist yet", folder.display())]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },
    /// No such namespace; it may have been dropped meanwhile.
    #[error("there is no namespace {name:?}{}", hint_of(known))]
    UnknownNamespace {
        /// The name.
        name: String,
        /// A few of those that there are.
        known: Vec<String>,
    },
    /// A namespace of that name is there.
    #[error(
        "there is a namespace {name:?} already\nhint: add to it, take another name, or drop it"
    )]
    NamespaceExists {
        /// The name.
        name: String,
    },
    /// No such document.
    #[error("there is no document {id:?} to update\nhint: add it first")]
    UnknownDocument {
        /// Its id.
        id: String,
    },
    /// No such embedding.
    #[error("there is no embedding {name:?}{}", hint_of(known))]
    UnknownEmbedding {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// An embedding of that name is there.
    #[error("there is an embedding {name:?} already")]
    EmbeddingExists {
        /// The name.
        name: String,
    },
    /// The embedding is in use.
    #[error(
        "the embedding {name:?} is the one that searches use\nhint: switch to another one first"
    )]
    EmbeddingActive {
        /// The name.
        name: String,
    },
    /// Documents have no vector of an embedding yet.
    #[error(
        "{missing} of {documents} documents have no vector of the embedding {name:?}\n\
         hint: put their vectors first"
    )]
    NotCovered {
        /// The embedding.
        name: String,
        /// Documents without a vector.
        missing: u64,
        /// All documents.
        documents: u64,
    },
    /// Something is larger than an index takes.
    #[error("{what} has {value} {unit}, more than {max}")]
    TooLarge {
        /// Which thing.
        what: String,
        /// How large it is.
        value: u64,
        /// How large it may be.
        max: u64,
        /// In what.
        unit: &'static str,
    },
    /// What was asked for makes no sense.
    #[error("{what} {reason}")]
    Invalid {
        /// Which thing.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An earlier error left open what is on disk.
    #[error(
        "{} takes no writes since the disk failed in the middle of one\n\
         hint: open the index again; what was acknowledged is kept",
        folder.display()
    )]
    Stopped {
        /// The folder that it happened to.
        folder: PathBuf,
    },
}

/// Most names that a hint lists.
const HINT_NAMES_MAX: usize = 10;

fn hint_of(known: &[String]) -> String {
    let few: Vec<&str> = known.iter().take(HINT_NAMES_MAX).map(String::as_str).collect();
    let more = known.len() > few.len();
    match few.is_empty() {
        true => "\nhint: there is none yet".to_owned(),
        false => format!("\nhint: there are {}{}", few.join(", "), if more { ", …" } else { "" }),
    }
}

/// Refuses what has more of something than it may.
pub(crate) fn check_limit(
    what: impl Fn() -> String,
    (value, max): (usize, usize),
    unit: &'static str,
) -> Result<(), IndexError> {
    match value > max {
        true => {
            let (value, max) = (value as u64, max as u64);
            Err(IndexError::TooLarge { what: what(), value, max, unit })
        }
        false => Ok(()),
    }
}

impl IndexError {
    pub(crate) fn disk(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Disk { action, path, source }
    }

    pub(crate) fn invalid(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), reason: reason.into() }
    }
}
