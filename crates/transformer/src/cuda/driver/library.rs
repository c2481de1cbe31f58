//! Libraries of NVIDIA, found when the program runs.

use std::collections::HashSet;
use std::ffi::{CStr, CString, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

/// A library that stays loaded until the process ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Library(NonNull<c_void>);

// SAFETY: a handle of the loader may be used by any thread, and this one is never closed.
unsafe impl Send for Library {}
// SAFETY: as above; looking up a name changes nothing.
unsafe impl Sync for Library {}

impl Library {
    /// Loads a library by its name or path, so that what is loaded later finds it by its own name;
    /// the text is what the loader says.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| "its path holds a zero byte".to_owned())?;
        // SAFETY: the name ends with a zero byte. What a library does when it is loaded is trusted as
        // the driver is.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
        NonNull::new(handle).map(Self).ok_or_else(last_error)
    }

    /// Where a function is.
    pub(super) fn find(self, name: &CStr) -> Option<NonNull<c_void>> {
        // SAFETY: the library is loaded, and the name ends with a zero byte.
        NonNull::new(unsafe { libc::dlsym(self.0.as_ptr(), name.as_ptr()) })
    }

    /// The first of these functions that it does not have.
    pub(super) fn lacks(self, names: &[&'static CStr]) -> Option<&'static str> {
        let missing = names.iter().find(|name| self.find(name).is_none())?;
        Some(missing.to_str().unwrap_or("a function"))
    }
}

/// What the loader says about the call before.
fn last_error() -> String {
    // SAFETY: the text is the calling thread's own until its next call of the loader.
    let said = unsafe { libc::dlerror() };
    match NonNull::new(said) {
        // SAFETY: it is a text that ends with a zero byte.
        Some(said) => unsafe { CStr::from_ptr(said.as_ptr()) }.to_string_lossy().into_owned(),
        None => "the loader does not say why".to_owned(),
    }
}

/// Where a library may be: what the user names, the loader's own paths, the active Python
/// environment, CUDA's toolkit.
#[derive(Debug)]
pub(super) struct Places {
    /// A variable that names the library or its folder.
    pub(super) variable: &'static str,
    /// The library's name, by which versions come first that are wanted most.
    pub(super) names: Vec<String>,
    /// Folders below `site-packages/nvidia` that Python packages have it in.
    pub(super) packages: &'static [&'static str],
}

impl Places {
    /// Every path to try, in order. Where the user named one, there is no other.
    pub(super) fn paths(&self, read: impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
        let inside = |folder: PathBuf| self.names.iter().map(move |name| folder.join(name));
        if let Some(named) = read(self.variable) {
            return if named.is_dir() { inside(named).collect() } else { vec![named] };
        }
        let mut paths: Vec<PathBuf> = self.names.iter().map(PathBuf::from).collect();
        for folder in environments(&read) {
            let packages = site_packages(&folder);
            let folders = packages.flat_map(|at| {
                self.packages.iter().map(move |package| at.join("nvidia").join(package).join("lib"))
            });
            paths.extend(folders.flat_map(inside));
        }
        let toolkits = ["CUDA_HOME", "CUDA_PATH"].iter().filter_map(|name| read(name));
        let toolkits = toolkits.chain([PathBuf::from("/usr/local/cuda")]);
        paths.extend(toolkits.flat_map(|toolkit| inside(toolkit.join("lib64"))));
        paths
    }
}

/// Python environments: the active one, those whose Python is on the path, and the user's own.
fn environments(read: &impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    let active = ["VIRTUAL_ENV", "CONDA_PREFIX"].iter().filter_map(|name| read(name));
    let path = read("PATH").unwrap_or_default();
    let pythons = std::env::split_paths(&path).map(|folder| folder.join("python3"));
    // Of an environment of venv it is a link to another environment's, which has other packages.
    let pythons = pythons.filter_map(|python| Some([python.canonicalize().ok()?, python]));
    let prefix = |python: PathBuf| Some(python.parent()?.parent()?.to_owned());
    let prefixes = pythons.flat_map(|[whose, python]| [prefix(python), prefix(whose)]).flatten();
    let own = read("HOME").map(|home| home.join(".local"));
    let mut all: Vec<PathBuf> = active.chain(prefixes).chain(own).collect();
    let mut seen = HashSet::new();
    all.retain(|environment| seen.insert(environment.clone()));
    all
}

/// The folders of packages of a Python environment.
fn site_packages(environment: &Path) -> impl Iterator<Item = PathBuf> {
    let versions = std::fs::read_dir(environment.join("lib")).into_iter().flatten().flatten();
    let folders = versions.flat_map(|version| {
        ["site-packages", "dist-packages"].map(|folder| version.path().join(folder))
    });
    folders.filter(|path| path.is_dir())
}

/// A variable of the environment that is set to something.
pub(super) fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Library, Places};

    #[test]
    fn a_library_that_is_not_there_is_said_in_the_loaders_words() {
        let said = Library::open("nowhere/libnone.so.1".as_ref()).unwrap_err();
        assert!(said.contains("nowhere/libnone.so.1"), "{said}");
    }

    #[test]
    fn functions_that_a_library_lacks_are_named() {
        let library = Library::open("libc.so.6".as_ref()).unwrap();
        assert_eq!(library.lacks(&[c"malloc", c"free"]), None);
        assert_eq!(library.lacks(&[c"malloc", c"mallocate"]), Some("mallocate"));
    }

    fn check(variables: &[(&str, PathBuf)], expected: &[PathBuf]) {
        let names = vec!["libx.so.2".to_owned(), "libx.so.1".to_owned()];
        let places = Places { variable: "X", names, packages: &["cu2"] };
        let read = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.clone())
        };
        let paths = places.paths(read);
        assert_eq!(paths[..expected.len()], *expected, "{paths:?}");
    }

    #[test]
    fn libraries_are_looked_for_where_the_user_says_and_else_everywhere() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        let lib = at("env/lib/python3.11/site-packages/nvidia/cu2/lib");
        std::fs::create_dir_all(&lib).unwrap();
        let file = at("libmine.so");
        check(&[("X", file.clone())], &[file]);
        check(&[("X", lib.clone())], &[lib.join("libx.so.2"), lib.join("libx.so.1")]);
        let both = [PathBuf::from("libx.so.2"), PathBuf::from("libx.so.1")];
        let usual = [both.clone(), both.map(|name| at("kit/lib64").join(name))].concat();
        check(&[("CUDA_HOME", at("kit"))], &usual);
        let package = [PathBuf::from("libx.so.2"), "libx.so.1".into(), lib.join("libx.so.2")];
        check(&[("VIRTUAL_ENV", at("env"))], &package);
        std::fs::create_dir(at("env/bin")).unwrap();
        std::fs::write(at("env/bin/python3"), "").unwrap();
        check(&[("PATH", at("env/bin"))], &package);
        // A link to it, and one that it is itself, as in an environment of venv.
        let link = |to: &str, from: &str| std::os::unix::fs::symlink(at(to), at(from)).unwrap();
        ["bin", "usr"].iter().for_each(|folder| std::fs::create_dir(at(folder)).unwrap());
        link("env/bin/python3", "bin/python3");
        check(&[("PATH", at("bin"))], &package);
        std::fs::rename(at("env/bin/python3"), at("usr/python3")).unwrap();
        link("usr/python3", "env/bin/python3");
        check(&[("PATH", at("env/bin"))], &package);
    }
}
