//! Files that are written once, with a checksum for each block.
//!
//! ```text
//! data                    blocks of 64 KiB, the last one shorter
//! sums                    XXH3 of each block, 8 bytes each
//! tail     40 bytes       magic, kind, version, bytes of data, XXH3 of the sums, XXH3 of the tail
//! ```
//! Numbers are little-endian. The manifest keeps the file's length and a checksum of its tail, so
//! that a file cannot stand in for another one. Opening reads tail and sums; a block is checked
//! when it is first looked at, so that opening costs little however large the file is.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::codec::Reader;
use super::disk::DiskFile;
use super::error::{DamagedFile, IndexError};
use super::folder::Folder;
use crate::bytes::Bytes;

const BLOCK_BYTES: usize = 64 << 10;
const SUM_BYTES: usize = 8;
const TAIL_BYTES: usize = 40;
const MAGIC: &[u8; 8] = b"CTSEALED";
const VERSION: u32 = 1;

/// What a sealed file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// Documents of a segment.
    Documents = 1,
    /// Vectors of an embedding.
    Vectors = 2,
    /// Which slots are live.
    Live = 3,
    /// The full text of a segment.
    Text = 4,
    /// What vectors of an embedding are searched with.
    Dense = 5,
    /// Metadata of a segment by field and value.
    Columns = 6,
    /// What the full text of a segment no longer counts.
    Removals = 7,
}

/// How a manifest names a sealed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileEntry {
    /// Its name in the namespace's folder.
    pub(crate) name: String,
    /// All its bytes.
    pub(crate) bytes: u64,
    /// XXH3 of its tail.
    pub(crate) seal: u64,
}

/// A sealed file being written.
#[derive(Debug)]
pub(crate) struct SealedWriter {
    file: Box<dyn DiskFile>,
    name: String,
    path: PathBuf,
    kind: FileKind,
    block: Vec<u8>,
    written: u64,
    sums: Vec<u8>,
}

impl SealedWriter {
    pub(crate) fn create(folder: &Folder, name: &str, kind: FileKind) -> Result<Self, IndexError> {
        Ok(Self {
            file: folder.create(name)?,
            name: name.to_owned(),
            path: folder.at(name),
            kind,
            block: Vec::with_capacity(BLOCK_BYTES),
            written: 0,
            sums: Vec::new(),
        })
    }

    /// Bytes of data so far.
    pub(crate) fn len(&self) -> u64 {
        self.written + self.block.len() as u64
    }

    pub(crate) fn put(&mut self, mut bytes: &[u8]) -> Result<(), IndexError> {
        while !bytes.is_empty() {
            let room = BLOCK_BYTES - self.block.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK_BYTES {
                self.write_block()?;
            }
        }
        Ok(())
    }

    /// Writes the sums and the tail, and makes the content durable.
    pub(crate) fn seal(mut self) -> Result<FileEntry, IndexError> {
        if !self.block.is_empty() {
            self.write_block()?;
        }
        let data_bytes = self.written;
        let sums = std::mem::take(&mut self.sums);
        let tail = tail(self.kind, data_bytes, &sums);
        let end = [&sums[..], &tail].concat();
        let write = IndexError::disk("write", &self.path);
        self.file.write_at(data_bytes, &end).map_err(write)?;
        self.file.sync().map_err(IndexError::disk("sync", &self.path))?;
        Ok(FileEntry {
            name: self.name,
            bytes: data_bytes + end.len() as u64,
            seal: xxh3_64(&tail),
        })
    }

    fn write_block(&mut self) -> Result<(), IndexError> {
        let write = IndexError::disk("write", &self.path);
        self.file.write_at(self.written, &self.block).map_err(write)?;
        self.sums.extend(xxh3_64(&self.block).to_le_bytes());
        self.written += self.block.len() as u64;
        self.block.clear();
        Ok(())
    }
}

/// Writes a file at once.
pub(crate) fn write(
    folder: &Folder,
    name: &str,
    kind: FileKind,
    bytes: &[u8],
) -> Result<FileEntry, IndexError> {
    let mut file = SealedWriter::create(folder, name, kind)?;
    file.put(bytes)?;
    file.seal()
}

/// For what writes itself; an error is that of the disk.
impl io::Write for SealedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes).map_err(|error| match error {
            IndexError::Disk { source, .. } => source,
            error => io::Error::other(error),
        })?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn tail(kind: FileKind, data_bytes: u64, sums: &[u8]) -> [u8; TAIL_BYTES] {
    let mut tail = [0; TAIL_BYTES];
    tail[..8].copy_from_slice(MAGIC);
    tail[8..12].copy_from_slice(&(kind as u32).to_le_bytes());
    tail[12..16].copy_from_slice(&VERSION.to_le_bytes());
    tail[16..24].copy_from_slice(&data_bytes.to_le_bytes());
    tail[24..32].copy_from_slice(&xxh3_64(sums).to_le_bytes());
    let sum = xxh3_64(&tail[..32]);
    tail[32..].copy_from_slice(&sum.to_le_bytes());
    tail
}

/// A sealed file, open for reading.
#[derive(Debug)]
pub(crate) struct Sealed {
    path: PathBuf,
    entry: FileEntry,
    data: Bytes,
    sums: Bytes,
    /// A bit for each block that was found right.
    checked: Box<[AtomicU64]>,
}

impl Sealed {
    /// Opens the file that a manifest names.
    pub(crate) fn open(
        folder: &Folder,
        entry: &FileEntry,
        kind: FileKind,
    ) -> Result<Self, IndexError> {
        let bytes = match folder.map(&entry.name) {
            Err(IndexError::Disk { path, source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                let reason = "the manifest names it, and it is not there";
                return Err(DamagedFile::new(&path, reason).into());
            }
            bytes => bytes?,
        };
        Ok(Self::read_bytes(&folder.at(&entry.name), bytes, entry, kind)?)
    }

    /// A file with any data and the right checksums, since nobody guesses these.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn of_data(path: &Path, data: &[u8], kind: FileKind) -> Result<Self, DamagedFile> {
        let sums: Vec<u8> =
            data.chunks(BLOCK_BYTES).flat_map(|block| xxh3_64(block).to_le_bytes()).collect();
        let tail = tail(kind, data.len() as u64, &sums);
        let bytes = [data, &sums, &tail].concat();
        let (name, seal) = (path.display().to_string(), xxh3_64(&tail));
        let entry = FileEntry { name, bytes: bytes.len() as u64, seal };
        Self::read_bytes(path, Bytes::from_vec(bytes), &entry, kind)
    }

    fn read_bytes(
        path: &Path,
        bytes: Bytes,
        entry: &FileEntry,
        kind: FileKind,
    ) -> Result<Self, DamagedFile> {
        let damaged = |reason: String| DamagedFile::new(path, reason);
        if bytes.len() as u64 != entry.bytes {
            let (there, named) = (bytes.len(), entry.bytes);
            return Err(damaged(format!("it has {there} bytes, the manifest says {named}")));
        }
        let cut = |range| bytes.slice(range).ok_or_else(|| damaged("it is too short".to_owned()));
        let tail_start = bytes.len().checked_sub(TAIL_BYTES).unwrap_or(usize::MAX - TAIL_BYTES);
        let end = cut(tail_start..tail_start + TAIL_BYTES)?;
        let is_whole = end[..8] == *MAGIC && xxh3_64(&end) == entry.seal;
        let mut fields = Reader::new(&end[8..]);
        let (Some(found_kind), Some(version), Some(data_bytes), true) =
            (fields.u32(), fields.u32(), fields.u64(), is_whole)
        else {
            let reason = "its last 40 bytes are not those that the manifest names";
            return Err(DamagedFile::at(path, tail_start as u64, reason));
        };
        if found_kind != kind as u32 || version != VERSION {
            return Err(damaged(format!("it is of kind {found_kind}, version {version}")));
        }
        let data_bytes = usize::try_from(data_bytes).unwrap_or(usize::MAX);
        let data = cut(0..data_bytes)?;
        let sums = cut(data_bytes..tail_start)?;
        if tail(kind, data_bytes as u64, &sums)[..] != end[..] {
            let reason = "the checksums of its blocks do not have theirs";
            return Err(DamagedFile::at(path, data_bytes as u64, reason));
        }
        let blocks = data.len().div_ceil(BLOCK_BYTES);
        if sums.len() != blocks * SUM_BYTES {
            return Err(damaged(format!("{blocks} blocks have {} bytes of sums", sums.len())));
        }
        let checked = (0..blocks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { path: path.to_owned(), entry: entry.clone(), data, sums, checked })
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the manifest says of it.
    pub(crate) fn entry(&self) -> &FileEntry {
        &self.entry
    }

    /// Bytes of data.
    pub(crate) fn len(&self) -> usize {
        self.data.len()
    }

    /// All of the data, unchecked: for what has a checksum of its own.
    pub(crate) fn data(&self) -> Bytes {
        self.data.clone()
    }

    /// Some of the data, checked.
    pub(crate) fn read(&self, at: usize, bytes: usize) -> Result<&[u8], DamagedFile> {
        let part = at.checked_add(bytes).and_then(|end| self.data.get(at..end));
        let part = part.ok_or_else(|| {
            DamagedFile::at(&self.path, at as u64, format!("{bytes} bytes reach behind its end"))
        })?;
        if bytes > 0 {
            for block in at / BLOCK_BYTES..=(at + bytes - 1) / BLOCK_BYTES {
                self.check(block)?;
            }
        }
        Ok(part)
    }

    /// Checks every block again, those that were found right before too.
    pub(crate) fn verify(&self) -> Result<(), DamagedFile> {
        for bits in &self.checked {
            bits.store(0, Ordering::Relaxed);
        }
        self.read(0, self.data.len()).map(|_| ())
    }

    fn check(&self, block: usize) -> Result<(), DamagedFile> {
        let (bits, bit) = (&self.checked[block / 64], 1 << (block % 64));
        if bits.load(Ordering::Relaxed) & bit != 0 {
            return Ok(());
        }
        let start = block * BLOCK_BYTES;
        let data = &self.data[start..self.data.len().min(start + BLOCK_BYTES)];
        let sum = &self.sums[block * SUM_BYTES..(block + 1) * SUM_BYTES];
        if xxh3_64(data).to_le_bytes() != sum {
            let reason = format!("a block of {} bytes has another checksum", data.len());
            return Err(DamagedFile::at(&self.path, start as u64, reason));
        }
        bits.fetch_or(bit, Ordering::Relaxed);
        Ok(())
    }
}
