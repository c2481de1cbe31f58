//! Where the preload library is, which holds a program to its slice and sees what it submits.

use std::env;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Names the library where it lies elsewhere.
pub const PRELOAD_VARIABLE: &str = "COTENANT_PRELOAD";
const FILE: &str = "libcotenant_shim.so";

/// The preload library is not there.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PreloadError {
    /// It was named, and there is no file of that name.
    #[error("find the preload library: {PRELOAD_VARIABLE} names {0}, which is no file")]
    Named(PathBuf),
    /// It is at none of its usual places.
    #[error(
        "find {FILE} in {folder} or ../lib beside it\nhint: build it with cargo build --release -p \
         cotenant-shim, or name it by {PRELOAD_VARIABLE}"
    )]
    Missing {
        /// The folder of the running program.
        folder: PathBuf,
    },
    /// The loader cannot be told of it: it reads a list.
    #[error(
        "load the preload library {0}: its path has a space or a colon, which part the libraries \
         of LD_PRELOAD\nhint: put it into a folder without, and name it by {PRELOAD_VARIABLE}"
    )]
    Parted(PathBuf),
}

/// The preload library: what `COTENANT_PRELOAD` names, or what lies beside the running program, in
/// the folder `lib` beside its folder, or where cargo puts it.
///
/// # Errors
/// If it is not there, or where the loader could not be told of it.
pub fn preload_library() -> Result<PathBuf, PreloadError> {
    let program = env::current_exe().unwrap_or_default();
    let folder = program.parent().unwrap_or(Path::new("."));
    whole(find(env::var_os(PRELOAD_VARIABLE).map(PathBuf::from), folder)?)
}

/// A file whose path is one to the loader.
fn whole(file: PathBuf) -> Result<PathBuf, PreloadError> {
    match file.as_os_str().as_encoded_bytes().iter().any(|byte| b" :".contains(byte)) {
        true => Err(PreloadError::Parted(file)),
        false => Ok(file),
    }
}

fn find(named: Option<PathBuf>, folder: &Path) -> Result<PathBuf, PreloadError> {
    if let Some(named) = named {
        return match named.canonicalize() {
            Ok(file) if file.is_file() => Ok(file),
            Ok(_) | Err(_) => Err(PreloadError::Named(named)),
        };
    }
    let places = [folder.to_owned(), folder.join("../lib"), folder.join("deps")];
    let mut files = places.iter().filter_map(|place| place.join(FILE).canonicalize().ok());
    let missing = || PreloadError::Missing { folder: folder.to_owned() };
    files.find(|file| file.is_file()).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_library_is_found_where_it_is_named_or_beside_the_program() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let (programs, libraries) = (root.join("bin"), root.join("lib"));
        fs::create_dir_all(&programs).unwrap();
        fs::create_dir_all(&libraries).unwrap();
        assert!(matches!(find(None, &programs), Err(PreloadError::Missing { .. })));
        let put = |folder: &Path| {
            fs::write(folder.join(FILE), "").unwrap();
            folder.join(FILE)
        };
        let installed = put(&libraries);
        assert_eq!(find(None, &programs), Ok(installed.clone()));
        let beside = put(&programs);
        assert_eq!(find(None, &programs), Ok(beside));
        assert_eq!(find(Some(installed.clone()), &programs), Ok(installed));
        for named in [root.join("none"), programs.clone()] {
            assert_eq!(find(Some(named.clone()), &programs), Err(PreloadError::Named(named)));
        }
    }

    #[test]
    fn a_path_that_the_loader_would_part_is_refused() {
        let plain = PathBuf::from("/opt/cotenant/lib.so");
        assert_eq!(whole(plain.clone()), Ok(plain));
        for path in ["/opt/my pool/lib.so", "/opt/a:b/lib.so"] {
            let error = whole(path.into()).unwrap_err();
            assert!(error.to_string().contains("hint: "), "{error}");
            assert_eq!(error, PreloadError::Parted(path.into()));
        }
    }
}
