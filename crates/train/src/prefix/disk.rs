//! The part of the prefix cache that lies in a folder: one file a text, checked when read.
//!
//! A file is `COTPRE01`, the key (two words and the layer), the number of values, the values
//! (f32), and a hash of all that; all little-endian. A file that does not check is deleted and
//! counts as absent. Nothing here can fail a training: a full or broken disk only means misses.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::PrefixKey;
use crate::hash::hash_bytes;

const MAGIC: &[u8; 8] = b"COTPRE01";
/// Magic, two words of key, layer, number of values.
const HEAD_BYTES: usize = 40;
const HASH_BYTES: usize = 8;
const HASH_SEED: u64 = 0x7072_6566_6978;
const SUFFIX: &str = "rows";
const UNFINISHED: &str = "part";

/// Rows by key in a folder, up to a number of bytes.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
    bytes_max: u64,
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    files: HashMap<PrefixKey, File>,
    bytes: u64,
    faults: u64,
}

#[derive(Clone, Copy, Debug)]
struct File {
    bytes: u64,
    /// Whether it can be read; before that a thread is writing it.
    ready: bool,
}

impl Disk {
    /// Makes the folder if need be, and takes over what an earlier run left, as far as it fits.
    pub(super) fn open(folder: &Path, bytes_max: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            names.push(entry?.path());
        }
        names.sort();
        let mut index = Index::default();
        for path in names {
            let extension = path.extension().and_then(|extension| extension.to_str());
            let bytes = path.metadata().map_or(0, |metadata| metadata.len());
            match (parse_name(&path), extension) {
                (Some(key), _) if index.bytes + bytes <= bytes_max => {
                    index.files.insert(key, File { bytes, ready: true });
                    index.bytes += bytes;
                }
                (Some(_), _) | (None, Some(UNFINISHED)) => drop(fs::remove_file(&path)),
                (None, _) => {}
            }
        }
        Ok(Self { folder: folder.into(), bytes_max, index: Mutex::new(index) })
    }

    /// Copies the rows of a key, if a sound file of that many values holds them.
    pub(super) fn get(&self, key: PrefixKey, rows: &mut [f32]) -> bool {
        if !self.index().files.get(&key).is_some_and(|file| file.ready) {
            return false;
        }
        let path = self.path(key);
        let sound = fs::read(&path).is_ok_and(|bytes| decode(&bytes, key, rows));
        if !sound {
            let _ = fs::remove_file(&path);
            self.drop_faulty(key);
        }
        sound
    }

    /// Writes the rows of a key if they fit.
    pub(super) fn put(&self, key: PrefixKey, rows: &[f32]) {
        let bytes = (HEAD_BYTES + size_of_val(rows) + HASH_BYTES) as u64;
        {
            let mut index = self.index();
            if index.files.contains_key(&key) || index.bytes + bytes > self.bytes_max {
                return;
            }
            index.files.insert(key, File { bytes, ready: false });
            index.bytes += bytes;
        }
        let path = self.path(key);
        let unfinished = path.with_extension(UNFINISHED);
        let written = fs::write(&unfinished, encode(key, rows));
        match written.and_then(|()| fs::rename(&unfinished, &path)) {
            Ok(()) => {
                self.index().files.insert(key, File { bytes, ready: true });
            }
            Err(_) => {
                let _ = fs::remove_file(&unfinished);
                self.drop_faulty(key);
            }
        }
    }

    /// Bytes held and faults met.
    pub(super) fn usage(&self) -> (u64, u64) {
        let index = self.index();
        (index.bytes, index.faults)
    }

    fn drop_faulty(&self, key: PrefixKey) {
        let mut index = self.index();
        // Two readers may find the same fault; the first of them has dropped it.
        if let Some(file) = index.files.remove(&key) {
            index.bytes -= file.bytes;
        }
        index.faults += 1;
    }

    fn path(&self, key: PrefixKey) -> PathBuf {
        let [high, low] = key.text;
        self.folder.join(format!("{high:016x}{low:016x}-{}.{SUFFIX}", key.layer))
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().expect("no code panics while it holds this lock")
    }
}

fn parse_name(path: &Path) -> Option<PrefixKey> {
    let name = path.file_name()?.to_str()?.strip_suffix(".rows")?;
    let (text, layer) = name.split_once('-')?;
    let word = |range| u64::from_str_radix(text.get(range)?, 16).ok();
    let whole = text.len() == 32;
    let text = [word(0..16)?, word(16..32)?];
    whole.then_some(PrefixKey { text, layer: layer.parse().ok()? })
}

fn head(key: PrefixKey, values: usize) -> [u8; HEAD_BYTES] {
    let words = [key.text[0], key.text[1], u64::from(key.layer), values as u64];
    let mut head = [0; HEAD_BYTES];
    head[..8].copy_from_slice(MAGIC);
    for (into, word) in head[8..].chunks_exact_mut(8).zip(words) {
        into.copy_from_slice(&word.to_le_bytes());
    }
    head
}

fn encode(key: PrefixKey, rows: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + size_of_val(rows) + HASH_BYTES);
    bytes.extend(head(key, rows.len()));
    bytes.extend(rows.iter().flat_map(|value| value.to_le_bytes()));
    bytes.extend(hash_bytes(HASH_SEED, &bytes).to_le_bytes());
    bytes
}

fn decode(bytes: &[u8], key: PrefixKey, rows: &mut [f32]) -> bool {
    if bytes.len() != HEAD_BYTES + size_of_val(rows) + HASH_BYTES {
        return false;
    }
    let (content, hash) = bytes.split_at(bytes.len() - HASH_BYTES);
    if content[..HEAD_BYTES] != head(key, rows.len())
        || *hash != hash_bytes(HASH_SEED, content).to_le_bytes()
    {
        return false;
    }
    for (value, bytes) in rows.iter_mut().zip(content[HEAD_BYTES..].chunks_exact(4)) {
        *value = f32::from_le_bytes(bytes.try_into().expect("chunks_exact gives 4 bytes"));
    }
    true
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Disk, PrefixKey, decode, encode};

    const ROWS: [f32; 6] = [0.5, -1.0, 3.0, f32::MIN_POSITIVE, 0.0, -0.0];

    fn key(text: u64) -> PrefixKey {
        PrefixKey { text: [text, !text], layer: 3 }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = encode(key(1), &ROWS);
        let mut rows = [0.0; 6];
        assert!(decode(&bytes, key(1), &mut rows));
        assert_eq!(rows.map(f32::to_bits), ROWS.map(f32::to_bits));
        assert!(!decode(&bytes, key(2), &mut rows));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!decode(&flipped, key(1), &mut rows), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(!decode(&bytes[..len], key(1), &mut rows), "cut to {len}");
        }
    }

    #[test]
    fn a_damaged_file_is_a_miss_and_goes_away() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), 1 << 20).unwrap();
        disk.put(key(1), &ROWS);
        let path = disk.path(key(1));
        let mut bytes = fs::read(&path).unwrap();
        bytes[50] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(!disk.get(key(1), &mut [0.0; 6]));
        assert!(!path.exists());
        assert_eq!(disk.usage(), (0, 1));
        disk.put(key(1), &ROWS);
        assert!(disk.get(key(1), &mut [0.0; 6]));
    }

    #[test]
    fn the_folder_stays_within_its_bytes_also_when_reopened_with_less() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes.txt"), "kept").unwrap();
        fs::write(folder.path().join("half.part"), "left by a crash").unwrap();
        let disk = Disk::open(folder.path(), 300).unwrap();
        (0..9).for_each(|text| disk.put(key(text), &ROWS));
        assert_eq!(disk.usage(), (288, 0));
        let smaller = Disk::open(folder.path(), 150).unwrap();
        assert_eq!(smaller.usage(), (144, 0));
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names.len(), 3, "{names:?}");
        assert_eq!(names[2], "notes.txt");
    }

    #[test]
    fn a_folder_that_vanishes_only_costs_hits() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(&folder.path().join("cache"), 1 << 20).unwrap();
        fs::remove_dir_all(folder.path().join("cache")).unwrap();
        disk.put(key(1), &ROWS);
        assert!(!disk.get(key(1), &mut [0.0; 6]));
        assert_eq!(disk.usage(), (0, 1));
    }
}
