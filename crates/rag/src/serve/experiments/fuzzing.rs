//! The file of an experiment, whatever it holds.

use std::path::Path;

use super::error::ExperimentError;
use super::file::{read, trial, with_sum, written};

/// Reads bytes as a file, and as the lines of one with the right hashes, since nobody guesses these.
pub fn read_experiment(path: &Path, bytes: &[u8]) -> Result<(), ExperimentError> {
    let as_file = check(path, bytes);
    let lines = String::from_utf8_lossy(bytes);
    let lines = lines.lines().enumerate().map(|(number, line)| with_sum(number, line));
    let summed: Vec<u8> = lines.flat_map(String::into_bytes).collect();
    as_file.or_else(|_| check(path, &summed))
}

fn check(path: &Path, bytes: &[u8]) -> Result<(), ExperimentError> {
    let (lines, whole) = read(path, bytes)?;
    assert!(whole <= bytes.len());
    let again: String = (0..).zip(&lines).map(|(number, line)| written(number, line)).collect();
    let (same, length) = read(path, again.as_bytes())?;
    assert_eq!((same.len(), length), (lines.len(), again.len()), "what was written is read");
    if let Some((last, before)) = lines.split_last() {
        // Without its last byte a file is one line shorter, and no damage unless nothing is left.
        let (fewer, _) = match read(path, &again.as_bytes()[..again.len() - 1]) {
            Err(_) if before.is_empty() => return trial(path, lines).map(drop),
            read => read?,
        };
        assert_eq!(fewer.len(), before.len(), "{last:?} was torn");
    }
    trial(path, lines).map(drop)
}
