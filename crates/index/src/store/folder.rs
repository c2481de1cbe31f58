//! A folder whose errors name the file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, DiskFile};
use super::error::IndexError;
use crate::bytes::Bytes;

/// A folder of an index, on whatever disk.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    pub(crate) disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl Folder {
    pub(crate) fn new(disk: Arc<dyn Disk>, path: &Path) -> Self {
        Self { disk, path: path.to_owned() }
    }

    pub(crate) fn below(&self, name: &str) -> Self {
        Self { disk: Arc::clone(&self.disk), path: self.at(name) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn make(&self) -> Result<(), IndexError> {
        self.disk.create_folder(&self.path).map_err(IndexError::disk("create", &self.path))
    }

    pub(crate) fn names(&self) -> Result<Vec<String>, IndexError> {
        self.disk.names(&self.path).map_err(IndexError::disk("list", &self.path))
    }

    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>, IndexError> {
        let path = self.at(name);
        self.disk.read(&path).map_err(IndexError::disk("read", &path))
    }

    pub(crate) fn map(&self, name: &str) -> Result<Bytes, IndexError> {
        let path = self.at(name);
        self.disk.map(&path).map_err(IndexError::disk("read", &path))
    }

    pub(crate) fn create(&self, name: &str) -> Result<Box<dyn DiskFile>, IndexError> {
        let path = self.at(name);
        self.disk.create(&path).map_err(IndexError::disk("create", &path))
    }

    pub(crate) fn reopen(&self, name: &str) -> Result<Box<dyn DiskFile>, IndexError> {
        let path = self.at(name);
        self.disk.reopen(&path).map_err(IndexError::disk("write", &path))
    }

    pub(crate) fn sync(&self) -> Result<(), IndexError> {
        self.disk.sync_folder(&self.path).map_err(IndexError::disk("sync", &self.path))
    }

    /// Removes a file that nobody needs: where that fails it is waste, and removed later.
    pub(crate) fn discard(&self, name: &str) {
        let _ = self.disk.remove_file(&self.at(name));
    }

    /// Removes a folder below that nobody needs; the same holds.
    pub(crate) fn discard_folder(&self, name: &str) {
        let _ = self.disk.remove_folder(&self.at(name));
    }
}
