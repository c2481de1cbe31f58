//! Puts the driver where the loader finds it.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

const FILE: &str = "libcotenant_fake_driver.so";
const NAMES: [&str; 2] = ["libcuda.so.1", "libnvidia-ml.so.1"];

/// The driver could not be put into a folder.
#[derive(Debug, Error)]
pub enum InstallError {
    /// It was not built.
    #[error(
        "find {FILE} beside {beside}\n\
         hint: make cotenant-fake-driver a dev-dependency, or build it: cargo build -p cotenant-fake-driver"
    )]
    NotBuilt {
        /// The running program.
        beside: PathBuf,
    },
    /// The system refused.
    #[error("install the fake driver in {folder}")]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A function that was to be missing is not in the driver.
    #[error("take {name} out of the driver: it exports no function of that name")]
    NoSuchFunction {
        /// The function.
        name: String,
    },
}

/// Where cargo built the driver: beside the running test, or in the folder above it.
///
/// # Errors
/// If it is not there.
pub fn library_path() -> Result<PathBuf, InstallError> {
    let program =
        env::current_exe().map_err(|source| InstallError::Io { folder: PathBuf::new(), source })?;
    let folders = program.ancestors().skip(1).take(3);
    let places = folders.flat_map(|folder| [folder.join(FILE), folder.join("deps").join(FILE)]);
    // Cargo leaves older builds in the other folder, so that the newest is the one that is meant.
    let built = |place: &PathBuf| fs::metadata(place).and_then(|data| data.modified()).ok();
    let newest = places.filter(|place| place.is_file()).max_by_key(built);
    newest.ok_or(InstallError::NotBuilt { beside: program })
}

/// Copies the driver into a folder for `LD_LIBRARY_PATH`, as both libraries of NVIDIA; functions
/// that are `missing` are in neither.
///
/// # Errors
/// If the driver was not built, the folder cannot be written, or a function is not there to be
/// taken out.
pub fn install(folder: &Path, missing: &[&str]) -> Result<(), InstallError> {
    let library = library_path()?;
    let failed = |source| InstallError::Io { folder: folder.to_owned(), source };
    let mut content = fs::read(library).map_err(failed)?;
    for name in missing {
        let count = hide(&mut content, name);
        if count == 0 {
            return Err(InstallError::NoSuchFunction { name: (*name).to_owned() });
        }
    }
    fs::create_dir_all(folder).map_err(failed)?;
    fs::write(folder.join(NAMES[0]), content).map_err(failed)?;
    // One file under two names is one library to the loader, as it must be: a process is one user
    // of the cards.
    let second = folder.join(NAMES[1]);
    match fs::remove_file(&second) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    fs::hard_link(folder.join(NAMES[0]), second).map_err(failed)
}

/// Misspells a name wherever it stands whole, so that a search in the table of symbols, which is by
/// hash and then by name, does not find it.
fn hide(content: &mut [u8], name: &str) -> usize {
    let whole = [b"\0", name.as_bytes(), b"\0"].concat();
    let places: Vec<usize> = content
        .windows(whole.len())
        .enumerate()
        .filter_map(|(at, window)| (window == whole).then_some(at))
        .collect();
    for at in &places {
        content[at + 1] = b'_';
    }
    places.len()
}

#[cfg(test)]
mod tests {
    use super::hide;

    #[test]
    fn only_whole_names_are_hidden() {
        let mut content = *b"\0cuA\0cuA_v2\0cuA\0";
        assert_eq!(hide(&mut content, "cuA"), 2);
        assert_eq!(&content, b"\0_uA\0cuA_v2\0_uA\0");
        assert_eq!(hide(&mut content, "cuB"), 0);
    }
}
