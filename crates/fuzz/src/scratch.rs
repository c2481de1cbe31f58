//! A folder with hostile files in it, for as long as they are read.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Where many systems keep files in memory: a small file costs there a tenth of what a disk asks.
const IN_MEMORY: &str = "/dev/shm";

/// A folder that is removed in the end.
pub(crate) struct Scratch(TempDir);

impl Scratch {
    /// A folder with these files, by their paths below it.
    pub(crate) fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir_in(IN_MEMORY).or_else(|_| tempfile::tempdir());
        let scratch = Self(folder.expect("a folder for temporary files is there"));
        for (name, bytes) in files {
            let path = scratch.at(name);
            if name.contains('/') {
                let folder = path.parent().expect("the path is below the folder");
                fs::create_dir_all(folder).expect("the folder is new");
            }
            fs::write(path, bytes).expect("there is room for a small file");
        }
        scratch
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A path below it.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

/// The parts of an input that stands for several files: what stands between zero bytes.
pub(crate) fn parts(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|&byte| byte == 0)
}
