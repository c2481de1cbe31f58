//! A disk in memory that forgets what was not synced, tears writes, fills up and fails to sync.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::bytes::Bytes;
use crate::store::disk::{Disk, DiskFile};

/// What happens at an operation that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is done in part, and nothing works until the machine starts again.
    Crash,
    /// It is done in part and says that the disk is full; the next one works.
    Full,
    /// It and all later ones that need room say that the disk is full.
    StaysFull,
    /// A sync fails, and what it was to keep may be lost; anything else works.
    SyncFails,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Folder,
    File(u64),
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Cut(u64),
}

#[derive(Debug, Default)]
struct File {
    durable: Vec<u8>,
    current: Vec<u8>,
    changes: Vec<Change>,
}

#[derive(Debug, Default)]
struct World {
    files: HashMap<u64, File>,
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    locks: BTreeSet<PathBuf>,
    operations: u64,
    fault: Option<(u64, Fault)>,
    is_down: bool,
    random: u64,
}

/// The disk; clones are the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct FaultyDisk(Arc<Mutex<World>>);

#[derive(Debug)]
struct OpenFile {
    disk: FaultyDisk,
    number: u64,
}

#[derive(Debug)]
struct Lock {
    disk: FaultyDisk,
    path: PathBuf,
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, new) => {
                let end = *at as usize + new.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*at as usize..end].copy_from_slice(new);
            }
            Self::Cut(length) => bytes.resize(*length as usize, 0),
        }
    }
}

impl FaultyDisk {
    /// Operations so far that change something.
    pub(super) fn operations(&self) -> u64 {
        self.world().operations
    }

    /// Lets something happen at an operation, counted from now; the first one is 0.
    pub(super) fn fail_at(&self, operation: u64, fault: Fault) {
        let mut world = self.world();
        world.fault = Some((world.operations + operation, fault));
    }

    /// Nothing fails any more.
    pub(super) fn heal(&self) {
        self.world().fault = None;
    }

    /// Whether it has crashed.
    pub(super) fn is_down(&self) -> bool {
        self.world().is_down
    }

    /// Power goes, and comes again: what was not synced is there, or not, or in part.
    pub(super) fn restart(&self, seed: u64) {
        let mut world = self.world();
        let world = &mut *world;
        world.random = seed | 1;
        (world.is_down, world.fault) = (false, None);
        world.locks.clear();
        for file in world.files.values_mut() {
            let mut bytes = std::mem::take(&mut file.durable);
            for change in file.changes.drain(..) {
                match (draw(&mut world.random, 3), &change) {
                    (0, _) => {}
                    (1, Change::Write(at, new)) => {
                        let part = draw(&mut world.random, new.len() as u64 + 1) as usize;
                        Change::Write(*at, new[..part].to_vec()).apply(&mut bytes);
                    }
                    _ => change.apply(&mut bytes),
                }
            }
            file.durable.clone_from(&bytes);
            file.current = bytes;
        }
        let paths: BTreeSet<PathBuf> =
            world.names.keys().chain(world.durable_names.keys()).cloned().collect();
        let mut names = BTreeMap::new();
        for path in paths {
            let (new, old) = (world.names.get(&path), world.durable_names.get(&path));
            let chosen = if draw(&mut world.random, 2) == 0 { new } else { old };
            // A folder that is not there has nothing in it.
            let has_parent = path
                .parent()
                .is_none_or(|parent| parent.as_os_str().is_empty() || names.contains_key(parent));
            if let Some(&node) = chosen.filter(|_| has_parent) {
                names.insert(path, node);
            }
        }
        world.names.clone_from(&names);
        world.durable_names = names;
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// Counts an operation that changes something: `Ok` if it is to be done as a whole, and
    /// otherwise how much of it is to be done, in thousandths, and what it says.
    fn step(&self, needs_room: bool, is_sync: bool) -> Result<(), (u64, io::Error)> {
        let mut world = self.world();
        if world.is_down {
            return Err((0, down()));
        }
        let now = world.operations;
        world.operations += 1;
        let part = draw(&mut world.random, 1001);
        match world.fault {
            Some((at, Fault::Crash)) if now >= at => {
                world.is_down = true;
                Err((part, down()))
            }
            Some((at, Fault::Full)) if now >= at && needs_room => {
                world.fault = None;
                Err((part, io::ErrorKind::StorageFull.into()))
            }
            Some((at, Fault::StaysFull)) if now >= at && needs_room => {
                Err((part, io::ErrorKind::StorageFull.into()))
            }
            Some((at, Fault::SyncFails)) if now >= at && is_sync => {
                world.fault = None;
                Err((part, io::Error::other("the disk did not keep it")))
            }
            _ => Ok(()),
        }
    }

    fn look(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = self.world();
        if world.is_down { Err(down()) } else { Ok(world) }
    }
}

fn down() -> io::Error {
    io::Error::other("the machine is down")
}

/// A number below a bound.
fn draw(random: &mut u64, below: u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    if *random == 0 {
        *random = 0x9e37_79b9_7f4a_7c15;
    }
    (*random >> 20) % below
}

impl World {
    fn file(&self, path: &Path) -> io::Result<u64> {
        match self.names.get(path) {
            Some(Node::File(number)) => Ok(*number),
            Some(Node::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Disk for FaultyDisk {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.step(true, false).map_err(|(_, error)| error)?;
        self.world().names.insert(path.to_owned(), Node::Folder);
        Ok(())
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        let world = self.look()?;
        if world.names.get(folder) != Some(&Node::Folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let below = world.names.keys().filter(|path| path.parent() == Some(folder));
        Ok(below.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let world = self.look()?;
        let number = world.file(path)?;
        Ok(world.files[&number].current.clone())
    }

    fn map(&self, path: &Path) -> io::Result<Bytes> {
        self.read(path).map(Bytes::from_vec)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.step(true, false).map_err(|(_, error)| error)?;
        let mut world = self.world();
        // An old file keeps its identity and loses its content.
        let number = match world.file(path) {
            Ok(number) => {
                let file = world.files.get_mut(&number).unwrap();
                file.current.clear();
                file.changes.push(Change::Cut(0));
                number
            }
            Err(_) => {
                let number = world.files.len() as u64;
                world.files.insert(number, File::default());
                world.names.insert(path.to_owned(), Node::File(number));
                number
            }
        };
        Ok(Box::new(OpenFile { disk: self.clone(), number }))
    }

    fn reopen(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let number = self.look()?.file(path)?;
        Ok(Box::new(OpenFile { disk: self.clone(), number }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(true, false).map_err(|(_, error)| error)?;
        let mut world = self.world();
        let number = world.file(from)?;
        world.names.remove(from);
        world.names.insert(to.to_owned(), Node::File(number));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step(false, false).map_err(|(_, error)| error)?;
        let mut world = self.world();
        world.file(path)?;
        world.names.remove(path);
        Ok(())
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.step(false, false).map_err(|(_, error)| error)?;
        self.world().names.retain(|name, _| !name.starts_with(path));
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.step(false, true).map_err(|(_, error)| error)?;
        let mut world = self.world();
        let is_below = |name: &Path| name.parent() == Some(path);
        let now = world.names.clone();
        world.durable_names.retain(|name, _| !is_below(name));
        world.durable_names.extend(now.into_iter().filter(|(name, _)| is_below(name)));
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Debug + Send + Sync>>> {
        let mut world = self.look()?;
        if !world.locks.insert(path.to_owned()) {
            return Ok(None);
        }
        Ok(Some(Box::new(Lock { disk: self.clone(), path: path.to_owned() })))
    }
}

impl OpenFile {
    fn change(&self, change: Change) {
        let mut world = self.disk.world();
        let file = world.files.get_mut(&self.number).unwrap();
        change.apply(&mut file.current);
        file.changes.push(change);
    }
}

impl DiskFile for OpenFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Err((part, error)) = self.disk.step(true, false) {
            let part = bytes.len() * part as usize / 1000;
            self.change(Change::Write(offset, bytes[..part].to_vec()));
            return Err(error);
        }
        self.change(Change::Write(offset, bytes.to_vec()));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.step(false, true).map_err(|(_, error)| error)?;
        let mut world = self.disk.world();
        let file = world.files.get_mut(&self.number).unwrap();
        file.changes.clear();
        file.durable = file.current.clone();
        Ok(())
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.disk.step(false, false).map_err(|(_, error)| error)?;
        self.change(Change::Cut(bytes));
        Ok(())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.disk.world().locks.remove(&self.path);
    }
}

#[test]
fn what_was_synced_survives_and_what_was_not_may_not() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..64 {
        let disk = FaultyDisk::default();
        let (folder, path) = (Path::new("a"), Path::new("a/b"));
        disk.create_folder(folder).unwrap();
        disk.sync_folder(Path::new("")).unwrap();
        let mut file = disk.create(path).unwrap();
        file.write_at(0, b"one").unwrap();
        file.sync().unwrap();
        disk.sync_folder(folder).unwrap();
        file.write_at(3, b"two").unwrap();
        disk.restart(seed * 7919 + 1);
        let bytes = disk.read(path).unwrap();
        assert!(b"onetwo".starts_with(&bytes) && bytes.starts_with(b"one"), "{bytes:?}");
        outcomes.insert(bytes);
    }
    assert!(outcomes.len() >= 3, "lost, torn and kept: {outcomes:?}");
}
