//! A folder with a tiny model and data, and the real binary run in it as a user would.

#![allow(dead_code, clippy::unwrap_used, reason = "each test binary uses a part of these helpers")]

pub(crate) mod data;
pub(crate) mod model;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A user's working directory, removed in the end.
pub(crate) struct Place {
    folder: TempDir,
}

/// What a command left behind.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    /// A folder with the tiny model in `model`.
    pub(crate) fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        model::write(&place.at("model"));
        place
    }

    /// A path below the folder.
    pub(crate) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The content of a file.
    pub(crate) fn read(&self, path: impl AsRef<Path>) -> Vec<u8> {
        let path = self.at(path);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The program with arguments, in the folder, with a cache of its own and no network.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cotenant"));
        command.args(arguments);
        self.settle(command)
    }

    /// The same through a shell; `$0` is the program.
    pub(crate) fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_cotenant")]);
        self.settle(command)
    }

    fn settle(&self, mut command: Command) -> Command {
        command
            .current_dir(self.folder.path())
            .env("COTENANT_CACHE", self.at("cache"))
            .env("HF_ENDPOINT", "http://127.0.0.1:9")
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    /// Runs the program with `--json`, which must succeed, and parses all of its stdout.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(ran.code, Some(0), "{arguments:?}\n{}", ran.stderr);
        assert_eq!(ran.stdout.lines().count(), 1, "one line of data, no talk: {}", ran.stdout);
        serde_json::from_str(&ran.stdout).unwrap()
    }
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Checks the exit code and that stderr has every one of these parts, and no panic.
    #[track_caller]
    pub(crate) fn check(&self, what: &str, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{what}:\n{}\n{}", self.stderr, self.stdout);
        assert!(!self.stderr.contains("panicked"), "{what}:\n{}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "{what}: stderr lacks {part:?}:\n{}", self.stderr);
        }
    }
}
