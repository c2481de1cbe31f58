//! Why a program could not be watched.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// A program could not be watched.
#[derive(Debug, Error)]
pub enum DoctorError {
    /// There is no such program.
    #[error(
        "start {program}: there is no such program\nhint: check its name, or give its path; the \
         program stands behind --"
    )]
    NotFound {
        /// What was asked for.
        program: String,
    },
    /// The system does not start it.
    #[error("start {program}\nhint: check that it is a program and may be run")]
    Start {
        /// What was asked for.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The page on which calls are counted could not be made.
    #[error(
        "make the page {path} for the calls of the program\nhint: is there room, and may it be written?"
    )]
    Page {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program could not be waited for.
    #[error("wait for the program")]
    Wait(#[source] io::Error),
}
