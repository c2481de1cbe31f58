//! The saved form: numbers in little-endian order, and at the end what proves that none changed.
//!
//! ```text
//! magic (8 bytes)  version (u32)  body  length of all before (u64)  CRC-32 of all before (u32)
//! ```

use std::io::{self, Write};

use super::error::DamagedError;
use super::kernels::{Plain, Table};

const MAGIC: [u8; 8] = *b"COTDENSE";
/// Counts up when the body's layout changes; an older one is built again.
const VERSION: u32 = 1;
const TAIL_BYTES: usize = 12;

/// Writes numbers and keeps count of them.
pub(super) struct Writer<'a> {
    out: &'a mut dyn Write,
    checksum: crc32fast::Hasher,
    length: u64,
}

impl<'a> Writer<'a> {
    pub(super) fn begin(out: &'a mut dyn Write) -> io::Result<Self> {
        let mut writer = Self { out, checksum: crc32fast::Hasher::new(), length: 0 };
        writer.bytes(&MAGIC)?;
        writer.number(VERSION)?;
        Ok(writer)
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.checksum.update(bytes);
        self.length += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    pub(super) fn number<T: Number>(&mut self, value: T) -> io::Result<()> {
        self.numbers(&[value])
    }

    /// Numbers without their count.
    pub(super) fn numbers<T: Number>(&mut self, values: &[T]) -> io::Result<()> {
        /// Bytes that are put in order at a time.
        const STEP: usize = 1 << 16;
        let mut buffer = Vec::with_capacity(STEP.min(size_of_val(values)));
        for part in values.chunks(STEP / size_of::<T>()) {
            buffer.clear();
            part.iter().for_each(|value| value.put(&mut buffer));
            self.bytes(&buffer)?;
        }
        Ok(())
    }

    /// Numbers, their count first.
    pub(super) fn counted<T: Number>(&mut self, values: &[T]) -> io::Result<()> {
        self.number(values.len() as u64)?;
        self.numbers(values)
    }

    pub(super) fn table<T: Number + Plain>(&mut self, table: &Table<T>) -> io::Result<()> {
        self.number(table.width() as u64)?;
        self.counted(table.elements())
    }

    pub(super) fn end(mut self) -> io::Result<()> {
        self.number(self.length)?;
        let checksum = self.checksum.clone().finalize();
        self.number(checksum)
    }
}

/// Reads what a [`Writer`] wrote, after it was proved whole.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

const CUT: DamagedError = DamagedError { reason: "it ends too early" };

impl<'a> Reader<'a> {
    pub(super) fn begin(bytes: &'a [u8]) -> Result<Self, DamagedError> {
        let damaged = |reason| Err(DamagedError { reason });
        if bytes.len() < MAGIC.len() + 4 + TAIL_BYTES {
            return Err(CUT);
        }
        if bytes[..MAGIC.len()] != MAGIC {
            return damaged("it does not begin as one");
        }
        let (body, tail) = bytes.split_at(bytes.len() - TAIL_BYTES);
        let mut tail = Reader { bytes: tail };
        if tail.number::<u64>()? != body.len() as u64 {
            return damaged("its length is not the one that was written");
        }
        if tail.number::<u32>()? != crc32fast::hash(&bytes[..bytes.len() - 4]) {
            return damaged("its checksum is wrong");
        }
        let mut reader = Reader { bytes: &body[MAGIC.len()..] };
        if reader.number::<u32>()? != VERSION {
            return damaged("it is of another version");
        }
        Ok(reader)
    }

    pub(super) fn number<T: Number>(&mut self) -> Result<T, DamagedError> {
        let (first, rest) = self.bytes.split_at_checked(size_of::<T>()).ok_or(CUT)?;
        self.bytes = rest;
        Ok(T::take(first))
    }

    fn numbers<T: Number>(
        &mut self,
        count: usize,
    ) -> Result<impl Iterator<Item = T> + 'a, DamagedError> {
        let bytes = count.checked_mul(size_of::<T>()).ok_or(CUT)?;
        let (first, rest) = self.bytes.split_at_checked(bytes).ok_or(CUT)?;
        self.bytes = rest;
        Ok(first.chunks_exact(size_of::<T>()).map(T::take))
    }

    pub(super) fn counted<T: Number>(&mut self) -> Result<Vec<T>, DamagedError> {
        let count = usize::try_from(self.number::<u64>()?).map_err(|_| CUT)?;
        Ok(self.numbers(count)?.collect())
    }

    /// A table whose rows have this width.
    pub(super) fn table<T: Number + Plain>(
        &mut self,
        width: usize,
    ) -> Result<Table<T>, DamagedError> {
        let is_right = self.number::<u64>()? == width as u64;
        let count = usize::try_from(self.number::<u64>()?).map_err(|_| CUT)?;
        if !is_right || count % width != 0 {
            return Err(DamagedError { reason: "a table has rows of another width" });
        }
        let values = self.numbers(count)?;
        let mut table = Table::new(width);
        table.resize(count / width);
        for (place, value) in table.elements_mut().iter_mut().zip(values) {
            *place = value;
        }
        Ok(table)
    }

    pub(super) fn end(self) -> Result<(), DamagedError> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        Err(DamagedError { reason: "more follows than was written" })
    }
}

/// A saved form with any body and the right length and checksum, since nobody guesses these.
#[cfg(feature = "fuzzing")]
pub(crate) fn of_body(body: &[u8]) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &VERSION.to_le_bytes(), body].concat();
    bytes.extend((bytes.len() as u64).to_le_bytes());
    let checksum = crc32fast::hash(&bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

/// A number with a saved form.
pub(super) trait Number: Copy + 'static {
    fn put(self, out: &mut Vec<u8>);
    /// From exactly as many bytes as it has.
    fn take(bytes: &[u8]) -> Self;
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Number for $type {
            #[inline(always)]
            fn put(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            #[inline(always)]
            fn take(bytes: &[u8]) -> Self {
                let bytes = bytes.try_into().expect("the reader cuts as many bytes as it has");
                <$type>::from_le_bytes(bytes)
            }
        }
    )*};
}
number!(u8, i8, u16, u32, u64, f32);
