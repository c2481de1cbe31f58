//! The file that keeps token ids between runs.
//!
//! ```text
//! magic, fingerprint, tokens_max, texts        8 bytes each, little endian
//! then for each text: key (8), length (4), ids (4 each)
//! SHA-256 of everything before                 32 bytes
//! ```
//! A file that does not fit in every respect is no error: it is made again.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

const MAGIC: &[u8; 8] = b"CTTOKEN1";
const ENDING: &str = "tokens";

/// Largest cache file that is written or read.
const FILE_BYTES_MAX: u64 = 2 << 30;
/// Most bytes of all cache files; the oldest go first.
const FOLDER_BYTES_MAX: u64 = 8 << 30;

/// What a cache file belongs to.
pub(super) struct CacheFile {
    folder: PathBuf,
    fingerprint: u64,
    tokens_max: u64,
}

impl CacheFile {
    pub(super) fn new(folder: PathBuf, fingerprint: u64, tokens_max: usize) -> Self {
        Self { folder, fingerprint, tokens_max: tokens_max as u64 }
    }

    /// The file's name depends on everything that its content depends on.
    fn path(&self, keys: &[u64]) -> PathBuf {
        let mut hasher = Sha256::new();
        hasher.update(self.fingerprint.to_le_bytes());
        hasher.update(self.tokens_max.to_le_bytes());
        for key in keys {
            hasher.update(key.to_le_bytes());
        }
        let name: String = hasher.finalize()[..12].iter().map(|b| format!("{b:02x}")).collect();
        self.folder.join(format!("{name}.{ENDING}"))
    }

    /// The ids of every text, or nothing if there is no file that fits.
    pub(super) fn load(&self, keys: &[u64]) -> Option<Vec<Arc<[u32]>>> {
        let path = self.path(keys);
        let file = File::open(&path).ok()?;
        if file.metadata().ok()?.len() > FILE_BYTES_MAX {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        let (content, digest) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
        if Sha256::digest(content).as_slice() != digest {
            return None;
        }
        let mut reader = Reader { rest: content };
        let head = [u64::from_le_bytes(*MAGIC), self.fingerprint, self.tokens_max];
        for expected in head.into_iter().chain([keys.len() as u64]) {
            if reader.number()? != expected {
                return None;
            }
        }
        let texts = keys.iter().map(|&key| reader.text(key)).collect::<Option<Vec<_>>>()?;
        reader.rest.is_empty().then_some(texts)
    }

    /// Writes all texts' ids; the file is there as a whole or not at all.
    pub(super) fn save(&self, keys: &[u64], ids: &[&[u32]]) -> io::Result<()> {
        let tokens: usize = ids.iter().map(|ids| ids.len()).sum();
        let bytes = 64 + keys.len() as u64 * 12 + tokens as u64 * 4;
        if bytes > FILE_BYTES_MAX {
            return Err(io::Error::other(format!("{bytes} bytes are more than {FILE_BYTES_MAX}")));
        }
        fs::create_dir_all(&self.folder)?;
        let path = self.path(keys);
        let mut partial = NamedTempFile::new_in(&self.folder)?;
        self.write(partial.as_file_mut(), keys, ids)?;
        partial.persist(&path)?;
        make_room(&self.folder, &path);
        Ok(())
    }

    fn write(&self, file: &mut File, keys: &[u64], ids: &[&[u32]]) -> io::Result<()> {
        let mut out = Hashed { out: BufWriter::new(file), hasher: Sha256::new() };
        out.put(MAGIC)?;
        for number in [self.fingerprint, self.tokens_max, keys.len() as u64] {
            out.put(&number.to_le_bytes())?;
        }
        let mut record = Vec::new();
        for (key, ids) in keys.iter().zip(ids) {
            record.clear();
            record.extend(key.to_le_bytes());
            record.extend((ids.len() as u32).to_le_bytes());
            record.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
            out.put(&record)?;
        }
        let digest = out.hasher.finalize();
        out.out.write_all(&digest)?;
        out.out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }
}

/// Removes the oldest cache files until the folder keeps its bound; the newest always stays.
fn make_room(folder: &Path, newest: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let data = fs::metadata(&path).ok()?;
            let ours = path.extension().is_some_and(|ending| ending == ENDING);
            ours.then_some((data.modified().ok()?, data.len(), path))
        })
        .collect();
    files.sort();
    let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, size, path) in files {
        if bytes <= FOLDER_BYTES_MAX {
            break;
        }
        if path != newest && fs::remove_file(&path).is_ok() {
            bytes -= size;
        }
    }
}

struct Hashed<'f> {
    out: BufWriter<&'f mut File>,
    hasher: Sha256,
}

impl Hashed<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.out.write_all(bytes)
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn number(&mut self) -> Option<u64> {
        let (bytes, rest) = self.rest.split_first_chunk::<8>()?;
        self.rest = rest;
        Some(u64::from_le_bytes(*bytes))
    }

    fn text(&mut self, key: u64) -> Option<Arc<[u32]>> {
        if self.number()? != key {
            return None;
        }
        let (length, rest) = self.rest.split_first_chunk::<4>()?;
        let (ids, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize * 4)?;
        self.rest = rest;
        let (ids, _) = ids.as_chunks::<4>();
        Some(ids.iter().map(|id| u32::from_le_bytes(*id)).collect())
    }
}
