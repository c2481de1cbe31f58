//! Puts a model into the store, whole or not at all.
//!
//! ```text
//!   lock NAME ─► installed? ─ yes ─► done
//!                  │ no
//!                  ▼
//!   fetch into a temporary folder beside it ─► check ─► rename to NAME
//! ```
//! Two processes that want the same model wait for each other at the lock; where the file system
//! has no locks, both fetch, and the rename that comes second gives way.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::StoreError;

/// Largest file of a model.
pub(super) const FILE_BYTES_MAX: u64 = 16 << 30;

/// Files without which a folder is no model.
pub(super) const REQUIRED: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];

/// What is absent from a model folder; `None` if it is complete.
pub(super) fn missing(folder: &Path) -> Option<String> {
    if !folder.is_dir() {
        return Some("it is not a folder".to_owned());
    }
    let absent = REQUIRED.iter().find(|name| !folder.join(name).is_file())?;
    Some(format!("there is no {absent}"))
}

/// Installs at `target` what `fetch` writes into the folder that it is given.
pub(super) fn install(
    target: &Path,
    fetch: impl FnOnce(&Path) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let parent = target.parent().unwrap_or(Path::new("."));
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::Io { action, path, source }
    };
    fs::create_dir_all(parent).map_err(io("create", parent))?;
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let lock_path = parent.join(format!(".{name}.lock"));
    let lock = File::create(&lock_path).map_err(io("create", &lock_path))?;
    match lock.lock() {
        Err(error) if error.kind() != io::ErrorKind::Unsupported => {
            return Err(io("lock", &lock_path)(error));
        }
        _ if missing(target).is_none() => return Ok(()),
        _ => {}
    }
    let partial = tempfile::Builder::new().prefix(".partial-").tempdir_in(parent);
    let partial = partial.map_err(io("create a folder in", parent))?;
    fetch(partial.path())?;
    if let Some(problem) = missing(partial.path()) {
        return Err(StoreError::NotAModel { path: target.to_owned(), problem });
    }
    if target.exists() {
        // What an interrupted copy by hand may have left.
        fs::remove_dir_all(target).map_err(io("replace", target))?;
    }
    match fs::rename(partial.path(), target) {
        Err(_) if missing(target).is_none() => Ok(()),
        renamed => {
            renamed.map_err(io("rename a folder to", target))?;
            // Nothing is left at the old name for the temporary folder to remove.
            let _: PathBuf = partial.keep();
            Ok(())
        }
    }
}

/// SHA-256 of a file in hexadecimal, with the bytes read so far told as it goes.
pub(super) fn sha256(path: &Path, mut on_bytes: impl FnMut(u64)) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hasher.update(&buffer[..read]);
        done += read as u64;
        on_bytes(done);
    }
}
