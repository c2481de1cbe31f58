//! One file that holds everything a trainer needs to go on, bit for bit.
//!
//! `format` says what is in it, `write` puts it in place so that no failure costs the file before,
//! `read` checks that it is whole and belongs to this training.

#[cfg(feature = "fuzzing")]
mod assemble;
mod format;
mod read;
mod write;

use std::io;
use std::path::PathBuf;

use cotenant_transformer::Fault;
use thiserror::Error;

#[cfg(feature = "fuzzing")]
pub use assemble::assemble_checkpoint;
pub(crate) use read::read;
pub(crate) use write::{Saved, write};

/// Why a checkpoint could not be written or used.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The disk refused.
    #[error(
        "failed to {action} checkpoint {path}\n\
         hint: check that the file and its folder may be read and written"
    )]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The device that keeps the adapters answers no more; the file that may be there stays as it is.
    #[error("failed to write checkpoint {path}: {fault}")]
    Device {
        /// The file.
        path: PathBuf,
        /// What the device said.
        fault: Fault,
    },
    /// The file is not whole.
    #[error(
        "checkpoint {path} is damaged: {reason}\n\
         hint: start again without it; adapters that were finished are in their own folders"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another version of the program wrote it.
    #[error(
        "checkpoint {path} has format {found}, but this program reads format {supported}\n\
         hint: resume with the version that wrote it"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format that can be read.
        supported: u32,
    },
    /// It belongs to another training.
    #[error(
        "checkpoint {path} does not match: {difference}\nhint: undo that change, or start again without the checkpoint"
    )]
    Differs {
        /// The file.
        path: PathBuf,
        /// What differs, with both values where there are two.
        difference: String,
    },
}
