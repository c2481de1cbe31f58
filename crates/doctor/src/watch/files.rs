//! Which files a program reads, and which it waits to write.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::calls::{FileKind, file_kind};
use super::proc::Proc;
use crate::observed::{FilesRead, WrittenFile};

/// Different files that are remembered.
const READ_MAX: usize = 65_536;
const WRITTEN_MAX: usize = 1024;
/// Open files of a process that are looked at.
const OPEN_MAX: usize = 64;

/// Files that were seen.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// How far each was read, by a number made of its path.
    read: HashMap<u64, u64>,
    written: BTreeMap<String, WrittenFile>,
    /// Files that were open and not read at the last look.
    fresh: HashSet<u64>,
}

impl Files {
    /// Looks at the files that processes have open for reading. Those count that were read, as far
    /// as they were, and those that were only just opened and are gone at the next look. What is
    /// only mapped stays open unread, and says nothing.
    pub(super) fn look(&mut self, proc: &Proc, pids: impl Iterator<Item = u32>) {
        let mut open = HashSet::new();
        for pid in pids {
            for file in proc.open_files(pid, OPEN_MAX) {
                let file = u64::from(file);
                let Some(link) = proc.link(pid, file) else { continue };
                if file_kind(&link, |_| false) != FileKind::File {
                    continue;
                }
                let Some(found) = proc.open_file(pid, file) else { continue };
                let number = number_of(&link);
                match found.position {
                    _ if found.is_written => {}
                    0 => drop(open.insert(number)),
                    position => self.count(number, position),
                }
            }
        }
        let gone: Vec<u64> = self.fresh.difference(&open).copied().collect();
        gone.into_iter().for_each(|number| self.count(number, 0));
        self.fresh = open;
    }

    fn count(&mut self, number: u64, position: u64) {
        if self.read.len() < READ_MAX || self.read.contains_key(&number) {
            let known = self.read.entry(number).or_default();
            *known = position.max(*known);
        }
    }

    /// Counts time in which the program waited for a file to be written.
    pub(super) fn waited(&mut self, proc: &Proc, pid: u32, file: u64, ns: u64) {
        let Some(path) = proc.link(pid, file).filter(|path| path.starts_with('/')) else { return };
        let open = proc.open_file(pid, file);
        if self.written.len() >= WRITTEN_MAX && !self.written.contains_key(&path) {
            return;
        }
        let entry = self.written.entry(path).or_insert_with_key(|path| WrittenFile {
            path: path.clone(),
            held_ns: 0,
            bytes: 0,
            is_appended: false,
        });
        entry.held_ns += ns;
        if let Some(open) = open {
            entry.bytes = entry.bytes.max(open.position);
            entry.is_appended |= open.is_appended;
        }
    }

    pub(super) fn read(&self) -> FilesRead {
        FilesRead { count: self.read.len() as u64, bytes: self.read.values().sum() }
    }

    pub(super) fn written(&self) -> Vec<WrittenFile> {
        self.written.values().cloned().collect()
    }
}

fn number_of(path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}
