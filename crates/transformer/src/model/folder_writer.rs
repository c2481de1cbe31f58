//! Writing a folder so that a reader sees the old one or the new one, and never half of either.
//!
//! The files are written into a hidden folder beside the target and forced to disk; then the two
//! change places in one step where the system can do that (Linux), and in two renames elsewhere.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::ModelError;

/// Tells apart the folders that one process writes at the same time.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A folder that is being written; dropped before [`FolderWriter::commit`], it leaves no trace.
pub(crate) struct FolderWriter {
    target: PathBuf,
    temporary: PathBuf,
}

impl FolderWriter {
    /// Begins to write `target`. A folder that is there already is replaced only if it holds
    /// nothing but files of the names in `known`, so that nobody's other files are lost.
    pub(crate) fn new(target: &Path, known: &[&str]) -> Result<Self, ModelError> {
        let failed = |path: &Path, source| io_error("create", path, source);
        // What a link points to is replaced, not the link.
        let target = match fs::canonicalize(target) {
            Ok(existing) => existing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => target.to_owned(),
            Err(error) => return Err(failed(target, error)),
        };
        refuse_foreign(&target, known)?;
        let Some(name) = target.file_name() else {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "the path names no folder");
            return Err(failed(&target, error));
        };
        let parent = parent(&target);
        fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}-{number}.tmp", std::process::id()));
        let temporary = parent.join(hidden);
        fs::create_dir(&temporary).map_err(|error| failed(&temporary, error))?;
        Ok(Self { target, temporary })
    }

    /// Writes a file of the folder through `write` and forces it to disk.
    pub(crate) fn file(
        &self,
        name: &str,
        write: impl FnOnce(File) -> io::Result<File>,
    ) -> Result<(), ModelError> {
        let path = self.temporary.join(name);
        // Errors name the place that the user asked for, not the hidden one.
        let failed = |error| io_error("write", &self.target.join(name), error);
        fs::create_dir_all(parent(&path)).map_err(failed)?;
        let file = File::create_new(&path).map_err(failed)?;
        write(file).and_then(|file| file.sync_all()).map_err(failed)
    }

    /// Writes a file from memory.
    pub(crate) fn bytes(&self, name: &str, content: &[u8]) -> Result<(), ModelError> {
        self.file(name, |mut file| file.write_all(content).map(|()| file))
    }

    /// Copies a file, of at most `bytes_max`; false if there is no such file.
    pub(crate) fn copy(&self, from: &Path, name: &str, bytes_max: u64) -> Result<bool, ModelError> {
        let failed = |error| io_error("read", from, error);
        let source = match File::open(from) {
            Ok(source) => source,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error)),
        };
        let bytes = source.metadata().map_err(failed)?.len();
        if bytes > bytes_max {
            return Err(ModelError::TooLarge { path: from.to_owned(), bytes, bytes_max });
        }
        self.file(name, |mut file| io::copy(&mut source.take(bytes_max), &mut file).map(|_| file))?;
        Ok(true)
    }

    /// Puts the finished folder in its place.
    pub(crate) fn commit(self) -> Result<(), ModelError> {
        let failed = |error| io_error("write", &self.target, error);
        sync_folders(&self.temporary).map_err(failed)?;
        if self.target.exists() {
            exchange(&self.temporary, &self.target).map_err(failed)?;
        } else {
            fs::rename(&self.temporary, &self.target).map_err(failed)?;
        }
        File::open(parent(&self.target)).and_then(|folder| folder.sync_all()).map_err(failed)
        // Dropping removes what now lies under the hidden name: nothing, or the old folder.
    }
}

impl Drop for FolderWriter {
    fn drop(&mut self) {
        // Nobody is left to tell; the name says what it is.
        let _ = fs::remove_dir_all(&self.temporary);
    }
}

/// Fails if the folder exists and holds anything that writing it again would not replace.
fn refuse_foreign(target: &Path, known: &[&str]) -> Result<(), ModelError> {
    let occupied = |found: String| ModelError::Occupied { path: target.to_owned(), found };
    if !target.exists() {
        return Ok(());
    }
    if !target.is_dir() {
        return Err(occupied("a file in its place".to_owned()));
    }
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        let failed = |error| io_error("read", target, error);
        for entry in fs::read_dir(target.join(&below)).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = below.join(entry.file_name());
            let is_folder = entry.file_type().map_err(failed)?.is_dir();
            if is_folder && known.iter().any(|known| Path::new(known).starts_with(&name)) {
                folders.push(name);
            } else if !known.iter().any(|known| Path::new(known) == name) {
                return Err(occupied(name.display().to_string()));
            }
        }
    }
    Ok(())
}

/// Makes two folders change places, the first taking the second's name.
fn exchange(new: &Path, old: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};

        if renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE).is_ok() {
            return Ok(());
        }
    }
    exchange_by_renames(new, old)
}

/// What is left where file system or kernel cannot do it in one step; for a moment the old folder
/// has only a hidden name.
fn exchange_by_renames(new: &Path, old: &Path) -> io::Result<()> {
    let mut aside = new.as_os_str().to_owned();
    aside.push(".old");
    let aside = PathBuf::from(aside);
    fs::rename(old, &aside)?;
    if let Err(error) = fs::rename(new, old) {
        fs::rename(&aside, old)?;
        return Err(error);
    }
    fs::rename(&aside, new)
}

fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(folder)?.sync_all()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> ModelError {
    ModelError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{exchange, exchange_by_renames};

    fn check(exchange: fn(&Path, &Path) -> std::io::Result<()>) {
        let folder = tempfile::TempDir::new().unwrap();
        let (new, old) = (folder.path().join("new"), folder.path().join("old"));
        for path in [&new, &old] {
            fs::create_dir(path).unwrap();
            fs::write(path.join("name"), path.display().to_string()).unwrap();
        }
        let name = |path: &Path| fs::read_to_string(path.join("name")).unwrap();
        exchange(&new, &old).unwrap();
        assert_eq!(name(&old), new.display().to_string());
        assert_eq!(name(&new), old.display().to_string());
        fs::remove_dir_all(&new).unwrap();
        exchange(&new, &old).unwrap_err();
        assert_eq!(name(&old), new.display().to_string(), "a failure changes nothing");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn folders_change_places_in_one_step_and_in_two() {
        check(exchange);
        check(exchange_by_renames);
    }
}
