//! The files of control groups: read, written, and named in every error.

use std::path::Path;
use std::{fs, io};

use rustix::fs::Access;

use super::error::CgroupError;

pub(super) fn write(folder: &Path, file: &str, value: &str) -> Result<(), CgroupError> {
    let file = folder.join(file);
    fs::write(&file, value).map_err(|source| CgroupError::Write {
        file,
        value: value.to_owned(),
        source,
    })
}

pub(super) fn read(folder: &Path, file: &str) -> Result<String, CgroupError> {
    let file = folder.join(file);
    fs::read_to_string(&file).map_err(|source| CgroupError::Read { file, source })
}

/// A file that holds one number.
pub(super) fn number(folder: &Path, file: &str) -> Result<u64, CgroupError> {
    let text = read(folder, file)?;
    let form = || CgroupError::Form { file: folder.join(file), text: text.trim().to_owned() };
    text.trim().parse().map_err(|_| form())
}

/// A number of a file with a key and a number on each line; 0 if the kernel does not know the key.
pub(super) fn keyed(folder: &Path, file: &str, key: &str) -> Result<u64, CgroupError> {
    Ok(value_of(&read(folder, file)?, key).unwrap_or(0))
}

fn value_of(text: &str, key: &str) -> Option<u64> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.find_map(|(name, value)| (name == key).then(|| value.trim().parse().ok())?)
}

/// The processes of a group; 0 stands for those that this one cannot see. A group that is gone
/// has none.
pub(super) fn pids(folder: &Path) -> Result<Vec<u32>, CgroupError> {
    match read(folder, "cgroup.procs") {
        Ok(text) => Ok(text.lines().filter_map(|line| line.trim().parse().ok()).collect()),
        Err(error) if error.is_missing() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Makes a folder and those above it; one that is there is fine.
pub(super) fn make_folder(folder: &Path) -> Result<(), CgroupError> {
    fs::create_dir_all(folder)
        .map_err(|source| CgroupError::Folder { folder: folder.to_owned(), source })
}

/// Removes a group's folder; one that is gone is fine.
pub(super) fn remove_folder(folder: &Path) -> Result<(), CgroupError> {
    match fs::remove_dir(folder) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(CgroupError::Folder { folder: folder.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Names of the folders in a folder; a folder that is not there has none.
pub(super) fn folders_in(folder: &Path) -> Result<Vec<String>, CgroupError> {
    let error = |source| CgroupError::Folder { folder: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(error(source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(error)?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    Ok(names)
}

/// Whether groups can be made in the folder.
pub(super) fn check_open(folder: &Path) -> Result<(), CgroupError> {
    rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|errno| CgroupError::Closed { folder: folder.to_owned(), source: errno.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_key() {
        let text = "nr_periods 4\nnr_throttled 2\nthrottled_time 77\nodd\nbad x\n";
        let check = |key: &str, expected| assert_eq!(value_of(text, key), expected, "{key}");
        check("throttled_time", Some(77));
        check("nr_periods", Some(4));
        check("nr", None);
        check("odd", None);
        check("bad", None);
    }
}
