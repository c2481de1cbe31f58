//! The documents of a segment, in a sealed file.
//!
//! ```text
//! documents    each: u32 bytes of id, of text, of metadata; id, text, metadata
//! slots        u32 each, rising
//! offsets      u64 each: where a document begins, and where the last one ends
//! hashes       u64 each: XXH3 of the ids, rising
//! rows         u32 each: whose hash that is
//! end          u32 rows
//! ```
//! The four tables are read and checked when the file is opened; documents stay on disk until they
//! are asked for.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use super::codec::{Reader, u32_at, u64_at};
use super::error::{DamagedFile, IndexError};
use super::folder::Folder;
use super::record::Stored;
use super::sealed::{FileEntry, FileKind, Sealed, SealedWriter};
use crate::hit::Slot;

/// Bytes in the tables for each document.
const TABLE_BYTES: usize = 4 + 8 + 8 + 4;
/// Bytes behind them.
const END_BYTES: usize = 4;
/// Bytes in front of a document.
const LENGTHS_BYTES: usize = 12;

/// A document that is being looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredRef<'a> {
    pub(crate) id: &'a str,
    pub(crate) text: &'a str,
    pub(crate) metadata: &'a str,
}

impl StoredRef<'_> {
    pub(crate) fn to_owned(self) -> Stored {
        let [id, text, metadata] = [self.id, self.text, self.metadata].map(str::to_owned);
        Stored { id, text, metadata }
    }
}

impl Stored {
    pub(crate) fn as_ref(&self) -> StoredRef<'_> {
        StoredRef { id: &self.id, text: &self.text, metadata: &self.metadata }
    }
}

/// Writes documents by rising slots.
#[derive(Debug)]
pub(crate) struct DocumentsWriter {
    file: SealedWriter,
    slots: Vec<Slot>,
    offsets: Vec<u64>,
    hashes: Vec<(u64, u32)>,
}

impl DocumentsWriter {
    pub(crate) fn create(folder: &Folder, name: &str) -> Result<Self, IndexError> {
        let file = SealedWriter::create(folder, name, FileKind::Documents)?;
        Ok(Self { file, slots: Vec::new(), offsets: Vec::new(), hashes: Vec::new() })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(crate) fn put(&mut self, slot: Slot, document: StoredRef<'_>) -> Result<(), IndexError> {
        self.hashes.push((xxh3_64(document.id.as_bytes()), self.slots.len() as u32));
        self.slots.push(slot);
        self.offsets.push(self.file.len());
        let parts = [document.id, document.text, document.metadata];
        for part in parts {
            self.file.put(&(part.len() as u32).to_le_bytes())?;
        }
        parts.iter().try_for_each(|part| self.file.put(part.as_bytes()))
    }

    pub(crate) fn seal(mut self) -> Result<FileEntry, IndexError> {
        self.offsets.push(self.file.len());
        self.hashes.sort_unstable();
        for slot in &self.slots {
            self.file.put(&slot.0.to_le_bytes())?;
        }
        for offset in &self.offsets {
            self.file.put(&offset.to_le_bytes())?;
        }
        for (hash, _) in &self.hashes {
            self.file.put(&hash.to_le_bytes())?;
        }
        for (_, row) in &self.hashes {
            self.file.put(&row.to_le_bytes())?;
        }
        self.file.put(&(self.slots.len() as u32).to_le_bytes())?;
        self.file.seal()
    }
}

/// The documents of a segment, open for reading.
#[derive(Debug)]
pub(crate) struct Documents {
    file: Sealed,
    rows: usize,
    /// Where the tables begin.
    tables: usize,
}

impl Documents {
    pub(crate) fn open(folder: &Folder, entry: &FileEntry) -> Result<Self, IndexError> {
        Ok(Self::of_file(Sealed::open(folder, entry, FileKind::Documents)?)?)
    }

    pub(crate) fn of_file(file: Sealed) -> Result<Self, DamagedFile> {
        let damaged = |reason: &str| DamagedFile::new(file.path(), reason);
        let end = file.len().checked_sub(END_BYTES).ok_or_else(|| damaged("it has no end"))?;
        let rows = u32_at(file.read(end, END_BYTES)?, 0) as usize;
        let table_bytes = rows.checked_mul(TABLE_BYTES).and_then(|bytes| bytes.checked_add(8));
        let tables = table_bytes.and_then(|bytes| end.checked_sub(bytes));
        let tables = tables.ok_or_else(|| damaged("it is too short for its documents"))?;
        file.read(tables, end - tables)?;
        let documents = Self { file, rows, tables };
        documents.check_tables()?;
        Ok(documents)
    }

    /// What is read without another look later: order, and that all points into the file.
    fn check_tables(&self) -> Result<(), DamagedFile> {
        let rises = |row: usize| {
            let is_long = self.offset(row).checked_add(LENGTHS_BYTES as u64);
            let is_long = is_long.is_some_and(|least| least <= self.offset(row + 1));
            is_long && (row == 0 || self.slot(row - 1) < self.slot(row))
        };
        let points = |at: usize| {
            (self.row_at(at) < self.rows) && (at == 0 || self.hash_at(at - 1) <= self.hash_at(at))
        };
        let is_whole = self.offset(0) == 0 && self.offset(self.rows) == self.tables as u64;
        match is_whole && (0..self.rows).all(|row| rises(row) && points(row)) {
            true => Ok(()),
            false => Err(DamagedFile::at(
                self.file.path(),
                self.tables as u64,
                "its tables do not fit together",
            )),
        }
    }

    pub(crate) fn file(&self) -> &Sealed {
        &self.file
    }

    /// Number of documents, dead ones too.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// Bytes of a row on disk.
    pub(crate) fn row_bytes(&self, row: usize) -> u64 {
        self.offset(row + 1) - self.offset(row) + TABLE_BYTES as u64
    }

    /// The slot of a row; slots rise.
    pub(crate) fn slot(&self, row: usize) -> Slot {
        Slot(u32_at(self.table(0..4), row))
    }

    /// The row of a slot.
    pub(crate) fn row_of(&self, slot: Slot) -> Option<usize> {
        let row = partition_point(self.rows, |row| self.slot(row) < slot);
        (row < self.rows && self.slot(row) == slot).then_some(row)
    }

    /// A document.
    pub(crate) fn get(&self, row: usize) -> Result<StoredRef<'_>, DamagedFile> {
        let start = self.offset(row) as usize;
        let bytes = self.file.read(start, self.offset(row + 1) as usize - start)?;
        let read = || {
            let mut reader = Reader::new(bytes);
            let lengths = [reader.u32()?, reader.u32()?, reader.u32()?];
            let mut text = |at: usize| std::str::from_utf8(reader.take(lengths[at] as usize)?).ok();
            let document = StoredRef { id: text(0)?, text: text(1)?, metadata: text(2)? };
            reader.is_empty().then_some(document)
        };
        let damaged = || DamagedFile::at(self.file.path(), start as u64, "a document has no sense");
        read().ok_or_else(damaged)
    }

    /// The rows that have an id, dead ones too.
    pub(crate) fn find(&self, id: &str) -> Result<Vec<usize>, DamagedFile> {
        let hash = xxh3_64(id.as_bytes());
        let first = partition_point(self.rows, |at| self.hash_at(at) < hash);
        let mut found = Vec::new();
        for at in (first..self.rows).take_while(|&at| self.hash_at(at) == hash) {
            let row = self.row_at(at);
            if self.get(row)?.id == id {
                found.push(row);
            }
        }
        Ok(found)
    }

    fn offset(&self, row: usize) -> u64 {
        u64_at(self.table(4..12), row)
    }

    fn hash_at(&self, at: usize) -> u64 {
        u64_at(self.table(12..20), at)
    }

    fn row_at(&self, at: usize) -> usize {
        u32_at(self.table(20..24), at) as usize
    }

    /// The table of those of a row's [`TABLE_BYTES`]; offsets have one more, so that what is behind
    /// them lies 8 bytes later.
    fn table(&self, of_row: Range<usize>) -> &[u8] {
        let shift = if of_row.start > 4 { 8 } else { 0 };
        let more = if of_row.start == 4 { 8 } else { 0 };
        let start = self.tables + of_row.start * self.rows + shift;
        let bytes = of_row.len() * self.rows + more;
        self.file.read(start, bytes).expect("the tables were checked when the file was opened")
    }
}

/// The first of `0..len` for which a claim that holds first and then never again does not hold.
pub(crate) fn partition_point(len: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        match holds(middle) {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    low
}
