//! Files that are being made for a manifest that does not name them yet.

use super::folder::Folder;
use super::manifest::NamespaceManifest;

/// Names of new files; those that are not kept are removed.
#[derive(Debug)]
pub(crate) struct NewFiles<'a> {
    folder: &'a Folder,
    names: Vec<String>,
}

impl<'a> NewFiles<'a> {
    pub(crate) fn new(folder: &'a Folder) -> Self {
        Self { folder, names: Vec::new() }
    }

    /// The next number of a manifest.
    pub(crate) fn number(manifest: &mut NamespaceManifest) -> u64 {
        manifest.next_file += 1;
        manifest.next_file - 1
    }

    /// A name that is not in use.
    pub(crate) fn name(&mut self, manifest: &mut NamespaceManifest, what: &str) -> String {
        let name = format!("{what}-{:06}", Self::number(manifest));
        self.add(name.clone());
        name
    }

    /// A file that goes with the others.
    pub(crate) fn add(&mut self, name: String) {
        self.names.push(name);
    }

    /// They are named in a manifest, or may be.
    pub(crate) fn keep(mut self) {
        self.names.clear();
    }
}

impl Drop for NewFiles<'_> {
    fn drop(&mut self) {
        self.names.iter().for_each(|name| self.folder.discard(name));
    }
}
