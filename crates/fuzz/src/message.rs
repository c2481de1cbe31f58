//! What every error message must be.

use std::error::Error;
use std::path::Path;

/// Longest message, in characters: it may list twenty names of 160 characters.
const CHARACTERS_MAX: usize = 4000;

/// Checks that an error is short and names one of the files in the folder that was read.
pub(crate) fn check(error: &dyn Error, folder: &Path) {
    let message = error.to_string();
    let length = message.chars().count();
    assert!(length <= CHARACTERS_MAX, "a message of {length} characters: {message}");
    let folder = folder.display().to_string();
    assert!(message.contains(&folder), "no file below {folder} is named: {message}");
}

/// Checks that a place, counted from 1, is in a text or right behind its end.
pub(crate) fn check_place(text: &[u8], line: usize, column: usize) {
    let lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
    assert!((1..=lines.len()).contains(&line), "line {line} of {}", lines.len());
    let bytes = lines[line - 1].len();
    assert!((1..=bytes + 1).contains(&column), "line {line} has {bytes} bytes, not {column}");
}
