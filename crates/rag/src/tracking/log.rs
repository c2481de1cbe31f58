//! The file of measurements: what was begun, and what the server has got.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Pending;
use super::error::TrackingError;

/// Largest file: ten thousands of measurements.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// A measurement.
    Begun(Pending),
    /// The server has all of it.
    Finished(String),
}

/// The file, open for more.
pub(super) struct Log {
    path: PathBuf,
    file: File,
    begun: Vec<Pending>,
    finished: BTreeSet<String>,
}

impl Log {
    /// Opens a file, or makes it. A last line that was cut off, by a crash, is removed: what it
    /// said was never answered.
    pub(super) fn open(path: &Path) -> Result<Self, TrackingError> {
        let of =
            |action| move |source| TrackingError::Log { action, path: path.to_owned(), source };
        let options = OpenOptions::new().read(true).append(true).create(true).to_owned();
        let mut file = options.open(path).map_err(of("open"))?;
        let mut text = String::new();
        let mut bounded = Read::by_ref(&mut file).take(FILE_BYTES_MAX + 1);
        bounded.read_to_string(&mut text).map_err(of("read"))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            let source = io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes"));
            return Err(of("read")(source));
        }
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            file.set_len(whole as u64).map_err(of("mend"))?;
        }
        let mut log =
            Self { path: path.to_owned(), file, begun: Vec::new(), finished: BTreeSet::new() };
        for (line, number) in text[..whole].lines().zip(1..) {
            let problem = |error: serde_json::Error| TrackingError::Line {
                path: path.to_owned(),
                line: number,
                problem: error.to_string(),
            };
            log.take(serde_json::from_str(line).map_err(problem)?);
        }
        Ok(log)
    }

    /// Writes a measurement down, under an id that it makes.
    pub(super) fn begin(&mut self, mut pending: Pending) -> Result<(), TrackingError> {
        let text = serde_json::to_string(&pending).expect("strings and finite numbers");
        // The same measurement in the same millisecond is still another one.
        let digest = Sha256::digest(format!("{} {text}", self.begun.len()));
        pending.id = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        self.write(Line::Begun(pending))
    }

    /// Notes that the server has all of a measurement.
    pub(super) fn finish(&mut self, id: &str) -> Result<(), TrackingError> {
        self.write(Line::Finished(id.to_owned()))
    }

    /// The measurements that a server has not got yet, oldest first.
    pub(super) fn pending(&self, url: &str) -> Vec<Pending> {
        let is_open =
            |pending: &&Pending| pending.url == url && !self.finished.contains(&pending.id);
        self.begun.iter().filter(is_open).cloned().collect()
    }

    fn write(&mut self, line: Line) -> Result<(), TrackingError> {
        let text = serde_json::to_string(&line).expect("strings and finite numbers");
        let written = self.file.write_all(format!("{text}\n").as_bytes());
        written.and_then(|()| self.file.sync_data()).map_err(|source| TrackingError::Log {
            action: "write",
            path: self.path.clone(),
            source,
        })?;
        self.take(line);
        Ok(())
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Begun(pending) => self.begun.push(pending),
            Line::Finished(id) => drop(self.finished.insert(id)),
        }
    }
}
