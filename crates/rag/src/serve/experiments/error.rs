//! Why an experiment cannot be had.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why an experiment cannot be had.
#[derive(Debug, Error)]
pub enum ExperimentError {
    /// A value cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// The tenant has none.
    #[error("the tenant has no experiment\nhint: POST /v1/experiments begins one")]
    Absent,
    /// The tenant has one.
    #[error(
        "the tenant has the experiment {name:?} already\n\
         hint: DELETE /v1/experiments ends it; two at a time would decide over the same searches"
    )]
    Taken {
        /// Its name.
        name: String,
    },
    /// All experiments together remember too much.
    #[error(
        "all experiments together may have {max} subjects, and {left} are left\n\
         hint: take fewer for subjects_max, or delete experiments that have ended"
    )]
    TooMany {
        /// Most subjects of all experiments.
        max: usize,
        /// Those that no experiment has.
        left: usize,
    },
    /// The id is of another experiment, or of none.
    #[error(
        "the id is none that a search of this experiment gave\n\
         hint: send the feedback_id of a search's answer as it is"
    )]
    UnknownId,
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
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
        "{} is damaged in line {line}: {reason}\n\
         hint: restore it from a copy, or DELETE /v1/experiments of its tenant",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process has the folder.
    #[error(
        "the experiments of {} are in use by another process\n\
         hint: wait until it ends, or name another folder",
        folder.display()
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// An earlier error left open what is on disk.
    #[error(
        "{} takes no more since the disk failed in the middle of a write\n\
         hint: start the server again; what was acknowledged is kept",
        path.display()
    )]
    Stopped {
        /// The file.
        path: PathBuf,
    },
}
