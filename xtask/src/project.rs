//! The checkout: where it is and which files are the project's.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::command;

/// The root folder of the checkout.
#[derive(Debug)]
pub(crate) struct Project {
    root: PathBuf,
}

/// The project's files by path relative to the root, with `/` between the parts.
#[derive(Debug, Default)]
pub(crate) struct Files(BTreeMap<String, File>);

/// What a file holds.
#[derive(Debug)]
pub(crate) struct File {
    /// Its size.
    pub(crate) bytes: u64,
    /// Its text; `None` if it is not UTF-8, as a picture or a tensor is not.
    pub(crate) text: Option<String>,
}

impl Project {
    /// Finds the root above this package, as cargo names it while it runs or tests us.
    pub(crate) fn find() -> Result<Self, String> {
        let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let package = package.ok_or("cargo names no package\nhint: run `cargo xtask COMMAND`")?;
        let root = package.parent().ok_or("the package xtask has no folder above it")?;
        Ok(Self { root: root.to_owned() })
    }

    /// A path below the root.
    pub(crate) fn at(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// The program cargo, as it was called for us.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = self.program(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // What cargo tells us of the package xtask is wrong for every other package.
        command.env_remove("CARGO_MANIFEST_DIR");
        command
    }

    /// Builds the programs, and the examples, which ask for what tests ask for: of two builds that want
    /// other features of a crate, the second makes it anew, with all that stands on it.
    pub(crate) fn build_programs(&self) -> Result<(), String> {
        let all = ["build", "--quiet", "--workspace", "--bins", "--examples"];
        command::run(self.cargo().args(all))
    }

    /// A program that runs in the root folder.
    pub(crate) fn program(&self, program: impl Into<OsString>) -> Command {
        let mut command = Command::new(program.into());
        command.current_dir(&self.root);
        command
    }

    /// Reads every file that git has, or would add.
    pub(crate) fn files(&self) -> Result<Files, String> {
        let list = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
        // A checkout that another user owns is still only read here.
        let output = self.program("git").args(["-c", "safe.directory=*"]).args(list).output();
        let output = output.map_err(|error| format!("failed to run git: {error}"))?;
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr);
            return Err(format!("git lists no files: {reason}hint: run in a clone of the project"));
        }
        let list = String::from_utf8(output.stdout)
            .map_err(|_| "a path of the project is not UTF-8".to_owned())?;
        let mut files = Files::default();
        for path in list.split('\0').filter(|path| !path.is_empty()) {
            // A file that was deleted but not yet committed is still listed.
            let Ok(content) = fs::read(self.at(path)) else { continue };
            files.insert(path, content);
        }
        Ok(files)
    }
}

impl Files {
    fn insert(&mut self, path: &str, content: Vec<u8>) {
        let bytes = content.len() as u64;
        self.0.insert(path.to_owned(), File { bytes, text: String::from_utf8(content).ok() });
    }

    /// Every file with its path.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &File)> {
        self.0.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// Every file with text whose path ends so, with path and text.
    pub(crate) fn texts(&self, ending: &str) -> impl Iterator<Item = (&str, &str)> {
        self.all()
            .filter(move |(path, _)| path.ends_with(ending))
            .filter_map(|(path, file)| Some((path, file.text.as_deref()?)))
    }

    /// The text of one file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.0.get(path)?.text.as_deref()
    }

    /// Whether a file or a folder with files is there.
    pub(crate) fn exists(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        let below = self.0.range(folder.clone()..).next();
        path.is_empty()
            || self.0.contains_key(path)
            || below.is_some_and(|(first, _)| first.starts_with(&folder))
    }

    /// Files that a test makes up.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let mut made = Self::default();
        for (path, text) in files {
            made.insert(path, text.as_bytes().to_vec());
        }
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_folders_exist() {
        let files = Files::of(&[("a/b/c.rs", ""), ("a-b.md", "")]);
        let existing = ["", "a", "a/b", "a/b/c.rs", "a-b.md"].map(|path| files.exists(path));
        assert_eq!(existing, [true; 5]);
        let missing = ["b", "a/c", "a/b/c", "a-b"].map(|path| files.exists(path));
        assert_eq!(missing, [false; 4]);
    }

    #[test]
    fn this_checkout_lists_its_own_manifest() {
        let files = Project::find().unwrap().files().unwrap();
        assert!(files.exists("xtask/Cargo.toml"));
        assert!(!files.exists("target"));
    }
}
