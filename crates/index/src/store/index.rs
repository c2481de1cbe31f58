//! An index: a folder with a namespace for each tenant.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::background::Background;
use super::disk::{Disk, RealDisk};
use super::document::check_name;
use super::error::{DamagedFile, IndexError, check_limit};
use super::folder::Folder;
use super::limits::{FLUSH_BYTES, NAMESPACES_MAX};
use super::manifest::{self, NAME, RootManifest};
use super::namespace::{FolderLock, Namespace, Owner, Verified};
use super::spec::EmbeddingSpec;

/// The file whose lock says that a process has the index.
const LOCK: &str = "lock";

/// An index on disk. One process has it at a time; its threads share it.
///
/// Two threads of its own do what writes leave behind. Dropping it waits for what they are at. A
/// [`Namespace`] may outlive it, and nobody else can open the index until that one is dropped too.
#[derive(Debug)]
pub struct Index {
    folder: Folder,
    root: Mutex<Root>,
    /// Held by whoever makes or drops a namespace, for as long as the disk takes; the root is locked
    /// for moments only, so that nobody who searches waits for a disk.
    changing: Mutex<()>,
    /// Bytes in memory from which on those of a namespace become files.
    flush_bytes: usize,
    /// Ended before the lock is given back.
    background: Background,
    /// Held until the index and all its namespaces are dropped.
    lock: FolderLock,
}

#[derive(Debug)]
struct Root {
    manifest: RootManifest,
    /// The namespaces that were asked for.
    opened: BTreeMap<String, Arc<Opening>>,
    /// Whether nobody knows which manifest the disk keeps.
    is_stopped: bool,
    /// The namespace that one of those manifests has and the other has not: it takes no writes,
    /// which might be lost with it.
    in_doubt: Option<String>,
}

/// A namespace that is opened once, by whoever asks first.
type Opening = Mutex<Opened>;

/// How far that is.
#[derive(Debug, Default)]
enum Opened {
    #[default]
    NotYet,
    There(Arc<Namespace>),
    /// Whoever asked for it before it was dropped must not open what is left of it.
    Dropped,
}

/// Who asked for a namespace that is in the manifest, on the way to having it.
#[derive(Debug)]
pub(crate) struct Asked {
    opening: Arc<Opening>,
    folder: u64,
}

impl Index {
    /// Makes an index in a folder that does not exist, or has nothing in it.
    pub fn create(folder: &Path) -> Result<Self, IndexError> {
        Self::create_on(Arc::new(RealDisk), folder, Background::start())
    }

    /// Opens an index. Its namespaces are opened when they are asked for.
    pub fn open(folder: &Path) -> Result<Self, IndexError> {
        Self::open_on(Arc::new(RealDisk), folder, Background::start())
    }

    /// Lets namespaces that are opened from now on write files once they have so many bytes in
    /// memory, instead of [`FLUSH_BYTES`]: for a process that has many of them. At least one byte.
    pub fn flush_at(&mut self, bytes: usize) {
        self.flush_bytes = bytes.max(1);
    }

    pub(crate) fn create_on(
        disk: Arc<dyn Disk>,
        path: &Path,
        background: Background,
    ) -> Result<Self, IndexError> {
        let folder = Folder::new(disk, path);
        folder.make()?;
        let lock = take_lock(&folder)?;
        // What a creation that did not end left behind is not in the way.
        let is_ours = |name: &String| [LOCK, manifest::DRAFT].contains(&name.as_str());
        if !folder.names()?.iter().all(is_ours) {
            return Err(IndexError::NotEmpty { folder: path.to_owned() });
        }
        let manifest = RootManifest::default();
        manifest::swap(&folder, &manifest).map_err(|failed| failed.error)?;
        sync_parent(&folder)?;
        Ok(Self::new(folder, manifest, background, lock))
    }

    pub(crate) fn open_on(
        disk: Arc<dyn Disk>,
        path: &Path,
        background: Background,
    ) -> Result<Self, IndexError> {
        let folder = Folder::new(disk, path);
        let no_index = || IndexError::NoIndex { folder: path.to_owned() };
        let names = match folder.names() {
            Err(IndexError::Disk { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                return Err(no_index());
            }
            names => names?,
        };
        if !names.iter().any(|name| name == NAME) {
            let damaged = DamagedFile::new(&folder.at(NAME), "it is not there");
            return match names.iter().any(|name| name.starts_with("namespace-")) {
                true => Err(damaged.into()),
                false => Err(no_index()),
            };
        }
        let lock = take_lock(&folder)?;
        // What is there may be no more than what the system remembers of a sync that failed, and
        // what is removed now must not be what a power cut would bring back as needed.
        sync_parent(&folder)?;
        folder.sync()?;
        let manifest: RootManifest = manifest::read(&folder)?.ok_or_else(no_index)?;
        let needed: Vec<String> = manifest.namespaces.values().map(|&n| folder_name(n)).collect();
        for name in folder.names()?.iter().filter(|name| !needed.contains(name)) {
            match name.as_str() {
                name if name.starts_with("namespace-") => folder.discard_folder(name),
                manifest::DRAFT => folder.discard(name),
                _ => {}
            }
        }
        Ok(Self::new(folder, manifest, background, lock))
    }

    fn new(
        folder: Folder,
        manifest: RootManifest,
        background: Background,
        lock: FolderLock,
    ) -> Self {
        let (opened, is_stopped, in_doubt) = (BTreeMap::new(), false, None);
        let root = Mutex::new(Root { manifest, opened, is_stopped, in_doubt });
        let changing = Mutex::default();
        Self { folder, root, changing, flush_bytes: FLUSH_BYTES, background, lock }
    }

    fn open_namespace(&self, name: &str, folder: Folder) -> Result<Arc<Namespace>, IndexError> {
        let (caller, lock) = (self.background.caller(), Arc::clone(&self.lock));
        Namespace::open(name, folder, Owner { caller, flush_bytes: self.flush_bytes, lock })
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The names of all namespaces, in order.
    pub fn namespaces(&self) -> Vec<String> {
        self.root().manifest.namespaces.keys().cloned().collect()
    }

    /// Makes a namespace, with an embedding or, for texts alone, without one.
    pub fn create_namespace(
        &self,
        name: &str,
        embedding: Option<&EmbeddingSpec>,
    ) -> Result<Arc<Namespace>, IndexError> {
        check_name("the name of a namespace", name)?;
        let _alone = self.change_alone()?;
        let mut manifest = self.root().manifest.clone();
        if manifest.namespaces.contains_key(name) {
            return Err(IndexError::NamespaceExists { name: name.to_owned() });
        }
        let count = (manifest.namespaces.len() + 1, NAMESPACES_MAX);
        check_limit(|| "the index".to_owned(), count, "namespaces")?;
        let number = manifest.next_folder;
        manifest.next_folder += 1;
        manifest.namespaces.insert(name.to_owned(), number);
        // All that can fail comes before the index names it.
        let below = self.folder.below(&folder_name(number));
        let made = Namespace::create(&below, embedding);
        let made = made.and_then(|()| self.open_namespace(name, below));
        let swapped = made.and_then(|namespace| {
            let (mut root, swapped) = self.swap(manifest);
            swapped?;
            let opening = Mutex::new(Opened::There(Arc::clone(&namespace)));
            root.opened.insert(name.to_owned(), Arc::new(opening));
            Ok(namespace)
        });
        swapped.inspect_err(|_| {
            if !self.root().is_stopped {
                self.folder.discard_folder(&folder_name(number));
            }
        })
    }

    /// A namespace that is there.
    pub fn namespace(&self, name: &str) -> Result<Arc<Namespace>, IndexError> {
        self.opened(name, self.ask_for(name)?)
    }

    /// Finds out where a namespace is.
    pub(crate) fn ask_for(&self, name: &str) -> Result<Asked, IndexError> {
        let mut root = self.root();
        if root.in_doubt.as_deref() == Some(name) {
            return Err(IndexError::Stopped { folder: self.folder.path().to_owned() });
        }
        let Some(&folder) = root.manifest.namespaces.get(name) else {
            return Err(root.unknown(name));
        };
        let opening = Arc::clone(root.opened.entry(name.to_owned()).or_default());
        Ok(Asked { opening, folder })
    }

    /// What was asked for; others are not kept waiting by a log that is long.
    pub(crate) fn opened(&self, name: &str, asked: Asked) -> Result<Arc<Namespace>, IndexError> {
        let mut opened = asked.opening.lock().expect("no opening panicked");
        match &*opened {
            Opened::There(namespace) => return Ok(Arc::clone(namespace)),
            Opened::Dropped => return Err(self.root().unknown(name)),
            Opened::NotYet => {}
        }
        let folder = self.folder.below(&folder_name(asked.folder));
        let namespace = self.open_namespace(name, folder)?;
        *opened = Opened::There(Arc::clone(&namespace));
        Ok(namespace)
    }

    /// Drops a namespace with all that is in it: at once, however large it is. Its files go then,
    /// or when the index is opened again.
    pub fn drop_namespace(&self, name: &str) -> Result<(), IndexError> {
        let _alone = self.change_alone()?;
        let mut manifest = self.root().manifest.clone();
        let Some(number) = manifest.namespaces.remove(name) else {
            return Err(self.root().unknown(name));
        };
        let (mut root, swapped) = self.swap(manifest);
        let mut opening = None;
        if swapped.is_ok() || root.is_stopped {
            root.in_doubt = swapped.is_err().then(|| name.to_owned());
            opening = root.opened.remove(name);
        }
        drop(root);
        // It may be on the way to being opened, for which only this waits.
        if let Some(opening) = opening {
            let mut opened = opening.lock().expect("no opening panicked");
            if let Opened::There(namespace) = std::mem::replace(&mut *opened, Opened::Dropped) {
                namespace.on_dropped();
            }
        }
        swapped?;
        self.folder.discard_folder(&folder_name(number));
        Ok(())
    }

    /// Reads everything on disk and checks it. Damage is in what is returned, that of a namespace
    /// which cannot be opened too.
    pub fn verify(&self) -> Result<Verified, IndexError> {
        let mut verified = Verified::default();
        verified.note(self.verify_manifest())?;
        verified.files += 1;
        for name in self.namespaces() {
            match self.namespace(&name).and_then(|namespace| namespace.verify()) {
                Ok(more) => verified.add(more),
                Err(IndexError::UnknownNamespace { .. }) => {}
                Err(error) => verified.note(Err(error))?,
            }
        }
        Ok(verified)
    }

    fn verify_manifest(&self) -> Result<(), IndexError> {
        let _alone = self.changing();
        let found: Option<RootManifest> = manifest::read(&self.folder)?;
        match found.as_ref() == Some(&self.root().manifest) {
            true => Ok(()),
            false => Err(DamagedFile::new(&self.folder.at(NAME), "it is another one").into()),
        }
    }

    /// Swaps the manifest while searches go on, and returns with the root in hand, so that nobody
    /// sees the new manifest before what else must be true with it.
    fn swap(&self, manifest: RootManifest) -> (MutexGuard<'_, Root>, Result<(), IndexError>) {
        let swapped = manifest::swap(&self.folder, &manifest);
        let mut root = self.root();
        let swapped = match swapped {
            Ok(()) => {
                root.manifest = manifest;
                Ok(())
            }
            Err(failed) => {
                root.is_stopped |= failed.is_open;
                Err(failed.error)
            }
        };
        (root, swapped)
    }

    /// The right to change which namespaces there are.
    fn change_alone(&self) -> Result<MutexGuard<'_, ()>, IndexError> {
        let alone = self.changing();
        match self.root().is_stopped {
            true => Err(IndexError::Stopped { folder: self.folder.path().to_owned() }),
            false => Ok(alone),
        }
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().expect("no change panicked")
    }

    fn root(&self) -> MutexGuard<'_, Root> {
        self.root.lock().expect("no change panicked")
    }
}

impl Root {
    fn unknown(&self, name: &str) -> IndexError {
        let known = self.manifest.namespaces.keys().cloned().collect();
        IndexError::UnknownNamespace { name: name.to_owned(), known }
    }
}

fn folder_name(number: u64) -> String {
    format!("namespace-{number:06}")
}

/// Makes the folder's own name durable.
fn sync_parent(folder: &Folder) -> Result<(), IndexError> {
    let Some(parent) = folder.path().parent() else { return Ok(()) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    folder.disk.sync_folder(parent).map_err(IndexError::disk("sync", parent))
}

fn take_lock(folder: &Folder) -> Result<FolderLock, IndexError> {
    let path: PathBuf = folder.at(LOCK);
    let lock = folder.disk.lock(&path).map_err(IndexError::disk("lock", &path))?;
    let lock = lock.ok_or_else(|| IndexError::InUse { folder: folder.path().to_owned() })?;
    Ok(Arc::from(lock))
}
