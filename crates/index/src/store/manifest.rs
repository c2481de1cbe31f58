//! Manifests: JSON below a line with its length and checksum, swapped as a whole.
//!
//! ```text
//! cotenant-index 1 bytes 312 xxh3 00c0ffee00c0ffee
//! { … }
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::error::{DamagedFile, IndexError};
use super::folder::Folder;
use super::limits::MANIFEST_BYTES_MAX;
use super::sealed::FileEntry;
use super::spec::EmbeddingSpec;

/// The manifest's name in its folder.
pub(crate) const NAME: &str = "manifest";
/// What is being written.
pub(crate) const DRAFT: &str = "manifest.new";

/// What an index has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RootManifest {
    /// The number of the next namespace's folder; none is used twice.
    pub(crate) next_folder: u64,
    /// Each namespace, and the number of its folder.
    pub(crate) namespaces: BTreeMap<String, u64>,
}

/// What a namespace has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamespaceManifest {
    /// The number of the next file; none is used twice.
    pub(crate) next_file: u64,
    /// The log that is written to, with what came after those before it.
    pub(crate) log: u64,
    /// Logs before it whose content is not in other files yet, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) older_logs: Vec<OlderLog>,
    /// The first slot that is not in a segment.
    pub(crate) next_slot: u32,
    /// The number of the next embedding; none is used twice.
    pub(crate) next_embedding: u32,
    /// Which slots of segments are live.
    pub(crate) live: FileEntry,
    /// Segments of documents, by rising slots.
    pub(crate) segments: Vec<SegmentEntry>,
    /// The number of the embedding that searches use.
    pub(crate) active: Option<u32>,
    /// Every embedding.
    pub(crate) embeddings: Vec<EmbeddingEntry>,
    /// What others keep beside the documents, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) notes: BTreeMap<String, String>,
}

/// A log that is no longer written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OlderLog {
    /// Its number.
    pub(crate) number: u64,
    /// All its bytes.
    pub(crate) bytes: u64,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SegmentEntry {
    /// Its documents.
    pub(crate) documents: FileEntry,
    /// Their full text.
    pub(crate) text: FileEntry,
    /// Their metadata by field and value; absent where an older version wrote the segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) columns: Option<FileEntry>,
    /// What the full text no longer counts, as it was at some moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) removals: Option<FileEntry>,
}

impl SegmentEntry {
    /// All its files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &FileEntry> {
        let others = self.columns.iter().chain(&self.removals);
        [&self.documents, &self.text].into_iter().chain(others)
    }
}

/// An embedding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmbeddingEntry {
    /// Its number.
    pub(crate) number: u32,
    /// What it is.
    pub(crate) spec: EmbeddingSpec,
    /// Files of vectors; each slot is in at most one.
    pub(crate) runs: Vec<FileEntry>,
    /// What searches them, as it was at some moment.
    pub(crate) dense: Option<FileEntry>,
}

impl NamespaceManifest {
    /// The names of all files that it needs, the log's too.
    pub(crate) fn files(&self) -> Vec<String> {
        let segments = self.segments.iter().flat_map(SegmentEntry::files);
        let runs = self.embeddings.iter().flat_map(|embedding| &embedding.runs);
        let dense = self.embeddings.iter().flat_map(|embedding| &embedding.dense);
        let files = [&self.live].into_iter().chain(segments).chain(runs).chain(dense);
        let mut names: Vec<String> = files.map(|file| file.name.clone()).collect();
        names.extend([log_name(self.log), mark_name(self.log), NAME.to_owned()]);
        names.extend(self.older_logs.iter().map(|log| log_name(log.number)));
        names
    }
}

/// The name of a log.
pub(crate) fn log_name(number: u64) -> String {
    format!("log-{number:06}")
}

/// The name of the file beside a log that says how much of it was acknowledged.
pub(crate) fn mark_name(number: u64) -> String {
    format!("log-{number:06}.mark")
}

/// Puts a manifest in the place of the one before, as a whole and durably.
///
/// After an error whose `is_open` is true nobody knows which of the two the disk keeps.
pub(crate) fn swap(folder: &Folder, manifest: &impl Serialize) -> Result<(), SwapError> {
    let bytes = written(manifest).map_err(|error| SwapError { error, is_open: false })?;
    let (draft, path) = (folder.at(DRAFT), folder.at(NAME));
    let prepare = || -> Result<(), IndexError> {
        let mut file = folder.create(DRAFT)?;
        file.write_at(0, &bytes).map_err(IndexError::disk("write", &draft))?;
        file.sync().map_err(IndexError::disk("sync", &draft))
    };
    prepare().map_err(|error| SwapError { error, is_open: false })?;
    folder.sync().map_err(|error| SwapError { error, is_open: false })?;
    let renamed = folder.disk.rename(&draft, &path).map_err(IndexError::disk("write", &path));
    renamed.and_then(|()| folder.sync()).map_err(|error| SwapError { error, is_open: true })
}

/// Why a manifest was not swapped.
#[derive(Debug)]
pub(crate) struct SwapError {
    pub(crate) error: IndexError,
    /// Whether it may have been swapped all the same.
    pub(crate) is_open: bool,
}

fn written(manifest: &impl Serialize) -> Result<Vec<u8>, IndexError> {
    let json = serde_json::to_vec_pretty(manifest).expect("a manifest has plain keys");
    if json.len() > MANIFEST_BYTES_MAX {
        let (value, max) = (json.len() as u64, MANIFEST_BYTES_MAX as u64);
        let what = "the manifest".to_owned();
        return Err(IndexError::TooLarge { what, value, max, unit: "bytes" });
    }
    Ok(with_head(&json))
}

/// The first line, and what stands below it.
pub(crate) fn with_head(json: &[u8]) -> Vec<u8> {
    [head(json).as_bytes(), b"\n", json].concat()
}

fn head(json: &[u8]) -> String {
    format!("cotenant-index 1 bytes {} xxh3 {:016x}", json.len(), xxh3_64(json))
}

/// Reads a folder's manifest; `None` if there is none.
pub(crate) fn read<M: DeserializeOwned>(folder: &Folder) -> Result<Option<M>, IndexError> {
    match folder.read(NAME) {
        Err(IndexError::Disk { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(error) => Err(error),
        Ok(bytes) => Ok(Some(parse(&folder.at(NAME), &bytes)?)),
    }
}

/// Reads a manifest's bytes.
pub(crate) fn parse<M: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<M, DamagedFile> {
    let damaged = |reason: &str| DamagedFile::new(path, reason);
    let end = bytes.iter().position(|&byte| byte == b'\n');
    let (head, json) = match end {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => return Err(damaged("it has no first line")),
    };
    let head = std::str::from_utf8(head).map_err(|_| damaged("its first line is no text"))?;
    if head != self::head(json) {
        let reason = match head.strip_prefix("cotenant-index ") {
            Some(rest) if !rest.starts_with("1 ") => "it is of another version",
            Some(_) => "its length or checksum is not that of its first line",
            None => "it does not begin as a manifest does",
        };
        return Err(damaged(reason));
    }
    serde_json::from_slice(json).map_err(|error| DamagedFile::new(path, error.to_string()))
}
