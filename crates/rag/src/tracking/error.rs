//! Why a measurement is not in an MLflow server.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a measurement could not be tracked; each message completes "failed to".
#[derive(Debug, Error)]
pub enum TrackingError {
    /// The file of our own cannot be read or written.
    #[error("{action} {}\nhint: check that the disk has room and that you may use the file", path.display())]
    Log {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// A line of the file is not ours.
    #[error(
        "read {}:{line}: {problem}\nhint: name another file with --mlflow-log, or remove the line",
        path.display()
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// The server could not be asked, or refused.
    #[error(
        "track a run at {url}: {problem}\n\
         hint: the run is kept in the log, and the next command with --mlflow sends it again"
    )]
    Server {
        /// The address that was asked.
        url: String,
        /// What it said, or why it said nothing.
        problem: String,
    },
    /// More than a run may have.
    #[error("track a run with {count} {what}: {count_max} are the most")]
    TooMany {
        /// Parameters or metrics.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// The limit.
        count_max: usize,
    },
    /// A name that MLflow does not take.
    #[error(
        "track {name:?}: it is no name of MLflow's\n\
         hint: 1 to 250 letters, digits, spaces and the signs _ - . / can be"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A number that says nothing.
    #[error("track {name:?}: {value} is not a finite number")]
    Value {
        /// The metric.
        name: String,
        /// Its value.
        value: f64,
    },
}
