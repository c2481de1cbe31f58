//! Files that are being made for a manifest that does not name them yet.

use std::sync::atomic::{AtomicU64, Ordering};

use super::folder::Folder;
use super::manifest::{log_name, mark_name};

/// Gives each file of a namespace a number that no other has.
#[derive(Debug)]
pub(crate) struct Numbers(AtomicU64);

impl Numbers {
    pub(crate) fn new(next: u64) -> Self {
        Self(AtomicU64::new(next))
    }

    /// The next one.
    pub(crate) fn take(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// The one that is next, for a manifest.
    pub(crate) fn next(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Names of new files; those that are not kept are removed.
#[derive(Debug)]
pub(crate) struct NewFiles {
    folder: Folder,
    names: Vec<String>,
}

impl NewFiles {
    pub(crate) fn new(folder: &Folder) -> Self {
        Self { folder: folder.clone(), names: Vec::new() }
    }

    /// A name that is not in use.
    pub(crate) fn name(&mut self, numbers: &Numbers, what: &str) -> String {
        let name = format!("{what}-{:06}", numbers.take());
        self.names.push(name.clone());
        name
    }

    /// The number of a log that is not in use.
    pub(crate) fn log(&mut self, numbers: &Numbers) -> u64 {
        let number = numbers.take();
        self.names.extend([log_name(number), mark_name(number)]);
        number
    }

    /// Removes one that turned out not to be needed.
    pub(crate) fn discard(&mut self, name: &str) {
        self.names.retain(|other| other != name);
        self.folder.discard(name);
    }

    /// They are named in a manifest, or may be.
    pub(crate) fn keep(mut self) {
        self.names.clear();
    }
}

impl Drop for NewFiles {
    fn drop(&mut self) {
        self.names.iter().for_each(|name| self.folder.discard(name));
    }
}
