//! Vectors of an embedding, in a sealed file that is called a *run*.
//!
//! ```text
//! vectors      dimensions values each, of 4 or 2 bytes
//! slots        u32 each, rising
//! end          u32 rows, u32 dimensions, u32 bytes of a value
//! ```

use std::borrow::Cow;

use super::codec::{Reader, f32s, u32_at};
use super::error::{DamagedFile, IndexError};
use super::folder::Folder;
use super::sealed::{FileEntry, FileKind, Sealed, SealedWriter};
use super::spec::{EmbeddingSpec, Storage};
use crate::hit::Slot;

/// Bytes behind the tables.
const END_BYTES: usize = 12;

/// Writes vectors by rising slots.
#[derive(Debug)]
pub(crate) struct RunWriter {
    file: SealedWriter,
    slots: Vec<Slot>,
    dimensions: usize,
    storage: Storage,
    buffer: Vec<u8>,
}

impl RunWriter {
    pub(crate) fn create(
        folder: &Folder,
        name: &str,
        spec: &EmbeddingSpec,
    ) -> Result<Self, IndexError> {
        let file = SealedWriter::create(folder, name, FileKind::Vectors)?;
        let (dimensions, storage) = (spec.dimensions, spec.storage);
        Ok(Self { file, slots: Vec::new(), dimensions, storage, buffer: Vec::new() })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(crate) fn put(&mut self, slot: Slot, vector: &[f32]) -> Result<(), IndexError> {
        self.slots.push(slot);
        self.buffer.clear();
        self.storage.put(&mut self.buffer, vector);
        self.file.put(&self.buffer)
    }

    pub(crate) fn seal(mut self) -> Result<FileEntry, IndexError> {
        for slot in &self.slots {
            self.file.put(&slot.0.to_le_bytes())?;
        }
        for number in [self.slots.len(), self.dimensions, self.storage.bytes()] {
            self.file.put(&(number as u32).to_le_bytes())?;
        }
        self.file.seal()
    }
}

/// Vectors, open for reading.
#[derive(Debug)]
pub(crate) struct Run {
    file: Sealed,
    /// In memory, since each comparison with an original looks one up.
    slots: Vec<Slot>,
    dimensions: usize,
    storage: Storage,
}

impl Run {
    /// Opens a run of an embedding with that spec.
    pub(crate) fn open(
        folder: &Folder,
        entry: &FileEntry,
        spec: &EmbeddingSpec,
    ) -> Result<Self, IndexError> {
        Ok(Self::of_file(Sealed::open(folder, entry, FileKind::Vectors)?, spec)?)
    }

    pub(crate) fn of_file(file: Sealed, spec: &EmbeddingSpec) -> Result<Self, DamagedFile> {
        let damaged = |reason: &str| DamagedFile::new(file.path(), reason);
        let end = file.len().checked_sub(END_BYTES).ok_or_else(|| damaged("it has no end"))?;
        let mut numbers = Reader::new(file.read(end, END_BYTES)?);
        let mut number = || numbers.u32().expect("twelve bytes are three numbers") as usize;
        let (rows, dimensions, value_bytes) = (number(), number(), number());
        if dimensions != spec.dimensions || value_bytes != spec.storage.bytes() {
            return Err(damaged("its vectors are of another shape than the embedding's"));
        }
        if rows.checked_mul(dimensions * value_bytes + 4) != Some(end) {
            return Err(damaged("its length does not fit its vectors"));
        }
        let slots = file.read(end - rows * 4, rows * 4)?;
        let slots: Vec<Slot> = (0..rows).map(|row| Slot(u32_at(slots, row))).collect();
        match slots.is_sorted_by(|one, other| one < other) {
            true => Ok(Self { slots, dimensions, storage: spec.storage, file }),
            false => Err(damaged("its slots do not rise")),
        }
    }

    pub(crate) fn file(&self) -> &Sealed {
        &self.file
    }

    /// The slots of all rows, dead ones too; they rise.
    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Bytes of a row on disk.
    pub(crate) fn row_bytes(&self) -> u64 {
        (self.dimensions * self.storage.bytes() + 4) as u64
    }

    /// The row of a slot.
    pub(crate) fn row_of(&self, slot: Slot) -> Option<usize> {
        // Slots rise by one or more from row to row, so a row is no further than its slot, and
        // where none is absent it is exactly there.
        let furthest = slot.0.checked_sub(self.slots.first()?.0)? as usize;
        if self.slots.get(furthest) == Some(&slot) {
            return Some(furthest);
        }
        self.slots[..furthest.min(self.slots.len())].binary_search(&slot).ok()
    }

    /// A vector: `[dimensions]`, all finite.
    pub(crate) fn get(&self, row: usize) -> Result<Cow<'_, [f32]>, DamagedFile> {
        let bytes_each = self.dimensions * self.storage.bytes();
        let bytes = self.file.read(row * bytes_each, bytes_each)?;
        Ok(match self.storage {
            Storage::F32 => match bytemuck::try_cast_slice(bytes) {
                Ok(values) if cfg!(target_endian = "little") => Cow::Borrowed(values),
                _ => Cow::Owned(f32s(bytes)),
            },
            Storage::Bf16 => Cow::Owned(
                bytes
                    .chunks_exact(2)
                    .map(|b| f32::from_bits(u32::from(b[0]) << 16 | u32::from(b[1]) << 24))
                    .collect(),
            ),
        })
    }
}
