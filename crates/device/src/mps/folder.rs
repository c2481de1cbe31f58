//! The folder of a group, and the record in it by which the group is found again.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cotenant_types::CardId;
use serde::{Deserialize, Serialize};

use super::compute_mode::ComputeMode;
use super::error::MpsError;
use super::facts::Mark;
use super::limits::MpsClient;

/// All that must be known of a group after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// The user of its programs.
    pub(super) uid: u32,
    /// Its cards, by ordinal.
    pub(super) cards: Vec<CardId>,
    /// The control daemon, once it was started.
    pub(super) daemon: Option<Mark>,
    /// Modes that cards had before they were made exclusive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) former: Vec<FormerMode>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) clients: Vec<MpsClient>,
}

/// The compute mode that a card gets back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FormerMode {
    pub(super) card: CardId,
    pub(super) mode: ComputeMode,
}

/// The folder of one group.
#[derive(Clone, Debug)]
pub(super) struct GroupFolder(PathBuf);

const RECORD: &str = "group.toml";

/// Most bytes of the path of the pipes: a socket's whole path has at most 107 on Linux, and those
/// of MPS have names of their own in that folder.
const PIPE_PATH_BYTES_MAX: usize = 80;

/// Most bytes of a record that are read.
const RECORD_BYTES_MAX: u64 = 1 << 20;

impl GroupFolder {
    pub(super) fn at(root: &Path, name: &str) -> Self {
        Self(root.join(name))
    }

    pub(super) fn pipe(&self) -> PathBuf {
        self.0.join("pipe")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// Makes the folders, or makes sure that those that are there are the user's and closed to
    /// others: whoever can write to the pipes can order the control daemon about.
    pub(super) fn create(&self, uid: u32) -> Result<(), MpsError> {
        let pipe = self.pipe();
        let length = pipe.as_os_str().as_bytes().len();
        if length > PIPE_PATH_BYTES_MAX {
            return Err(MpsError::Deep { path: pipe, length, most: PIPE_PATH_BYTES_MAX });
        }
        if let Some(root) = self.0.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(root)
                .map_err(|source| failed(root, source))?;
        }
        for path in [self.0.clone(), pipe, self.log()] {
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(failed(&path, source)),
            }
            close(&path, uid)?;
        }
        Ok(())
    }

    /// The record; none where there is none.
    pub(super) fn read(&self) -> Result<Option<Record>, MpsError> {
        let path = self.0.join(RECORD);
        let text = match read_start(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed(&path, source)),
        };
        let damaged =
            |source| MpsError::Record { path, pipe: self.pipe(), source: Box::new(source) };
        toml::from_str(&text).map(Some).map_err(damaged)
    }

    /// Writes the record whole or not at all.
    pub(super) fn write(&self, record: &Record) -> Result<(), MpsError> {
        let (path, new) = (self.0.join(RECORD), self.0.join("group.toml.new"));
        let written = || {
            let text = toml::to_string(record).map_err(io::Error::other)?;
            let mut file = OpenOptions::new()
                .create(true)
                .write(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        written().map_err(|source| failed(&path, source))
    }

    /// Removes the folder with all that is in it; one that is gone is fine.
    pub(super) fn remove(&self) -> Result<(), MpsError> {
        match fs::remove_dir_all(&self.0) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(failed(&self.0, source)),
            _ => Ok(()),
        }
    }
}

/// The name of the group of a user and cards: short, since sockets have short names, and always
/// the same. Of all groups of a machine no two share a name but by a chance of one in 2^64.
pub(super) fn group_name(uid: u32, cards: &[CardId]) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for card in cards {
        for byte in card.as_str().bytes().chain([b'\n']) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{uid}-{hash:016x}")
}

/// Names of the groups that have a folder.
pub(super) fn names(root: &Path) -> Result<Vec<String>, MpsError> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(root, source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| failed(root, source))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

fn close(path: &Path, uid: u32) -> Result<(), MpsError> {
    // Not through a link: what it leads to is somebody else's.
    let found = fs::symlink_metadata(path).map_err(|source| failed(path, source))?;
    if !found.is_dir() {
        return Err(failed(path, io::Error::from(io::ErrorKind::NotADirectory)));
    }
    if found.uid() != uid {
        return Err(MpsError::Owner { path: path.to_owned(), owner: found.uid(), uid });
    }
    match found.mode() & 0o077 {
        0 => Ok(()),
        _ => fs::set_permissions(path, fs::Permissions::from_mode(0o700))
            .map_err(|source| failed(path, source)),
    }
}

fn read_start(path: &Path) -> io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    fs::File::open(path)?.take(RECORD_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

pub(super) fn failed(path: &Path, source: io::Error) -> MpsError {
    MpsError::Folder { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use cotenant_types::Mebibytes;

    use super::super::limits::ClientCard;
    use super::*;

    fn own_uid() -> u32 {
        rustix::process::getuid().as_raw()
    }

    #[test]
    fn records_come_back_as_they_were() {
        let root = tempfile::tempdir().unwrap();
        let card: CardId = "GPU-1".parse().unwrap();
        let held = ClientCard { card: card.clone(), memory: Mebibytes(1500) };
        let client = MpsClient { name: "job-1".to_owned(), uid: 3, percent: 30, cards: vec![held] };
        let mut record = Record {
            uid: 3,
            cards: vec![card.clone()],
            daemon: Some(Mark { pid: 5, began: u64::MAX >> 1 }),
            former: vec![FormerMode { card, mode: ComputeMode::Prohibited }],
            clients: vec![client],
        };
        let folder = GroupFolder::at(root.path(), "g");
        assert_eq!(folder.read().unwrap(), None);
        folder.create(own_uid()).unwrap();
        for _ in 0..2 {
            folder.write(&record).unwrap();
            assert_eq!(folder.read().unwrap().as_ref(), Some(&record));
            (record.daemon, record.former, record.clients) = (None, vec![], vec![]);
        }
        fs::write(root.path().join("g/group.toml"), "uid = -1").unwrap();
        let damaged = folder.read().unwrap_err().to_string();
        assert!(damaged.contains("echo quit"), "{damaged}");
        folder.remove().unwrap();
        folder.remove().unwrap();
        assert_eq!(folder.read().unwrap(), None);
    }

    #[test]
    fn folders_are_closed_to_others() {
        let root = tempfile::tempdir().unwrap();
        let open = root.path().join("g");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let folder = GroupFolder::at(root.path(), "g");
        folder.create(own_uid()).unwrap();
        for path in [&open, &folder.pipe(), &folder.log()] {
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o700, "{path:?}");
        }
        let of_another = folder.create(own_uid() + 1).unwrap_err();
        assert!(matches!(of_another, MpsError::Owner { .. }), "{of_another}");
        let deep = GroupFolder::at(&root.path().join("x".repeat(90)), "g").create(own_uid());
        assert!(matches!(deep, Err(MpsError::Deep { most: 80, .. })), "{deep:?}");
        std::os::unix::fs::symlink(&open, root.path().join("link")).unwrap();
        let linked = GroupFolder::at(root.path(), "link").create(own_uid());
        assert!(matches!(linked, Err(MpsError::Folder { .. })), "{linked:?}");
    }

    #[test]
    fn groups_have_names_of_their_own() {
        let name = |uid, cards: &[&str]| {
            let cards: Vec<CardId> = cards.iter().map(|card| card.parse().unwrap()).collect();
            group_name(uid, &cards)
        };
        let all = [
            name(1, &["a"]),
            name(2, &["a"]),
            name(1, &["b"]),
            name(1, &["a", "b"]),
            name(1, &["b", "a"]),
            name(1, &["ab"]),
        ];
        let apart: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(apart.len(), all.len(), "{all:?}");
        assert_eq!(name(1, &["a"]), all[0]);
    }
}
