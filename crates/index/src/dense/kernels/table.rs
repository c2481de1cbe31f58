//! Rows of numbers in one aligned piece of memory.
//!
//! A search through a graph reads rows in no order. Two things then count: that a row lies in as few
//! cache lines as it can, so rows begin at a line; and that its address is translated quickly, so a
//! large table asks the system for huge pages.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// A cache line.
const LINE_BYTES: usize = 64;
/// A huge page of x86-64.
const HUGE_BYTES: usize = 2 << 20;

/// Numbers of which each pattern of bits is one, zeros too, and none has padding.
///
/// # Safety
/// It must be so, and the number aligned to no more than a cache line.
pub(in crate::dense) unsafe trait Plain: Copy {}
// SAFETY: so it is with each of these.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for i8 {}
// SAFETY: as above.
unsafe impl Plain for u16 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for f32 {}

/// Rows of `width` numbers each.
pub(in crate::dense) struct Table<T> {
    width: usize,
    rows: usize,
    /// The most rows that there were since the memory was asked for.
    rows_max: usize,
    memory: Memory,
    kind: PhantomData<T>,
}

impl<T: Plain> Table<T> {
    /// An empty table.
    pub(in crate::dense) fn new(width: usize) -> Self {
        assert!(width > 0, "a row holds something");
        Self { width, rows: 0, rows_max: 0, memory: Memory::default(), kind: PhantomData }
    }

    /// Numbers in a row.
    pub(in crate::dense) fn width(&self) -> usize {
        self.width
    }

    /// Number of rows.
    pub(in crate::dense) fn rows(&self) -> usize {
        self.rows
    }

    /// Memory held, in bytes. Pages of a mapping that were never written are none.
    pub(in crate::dense) fn memory_bytes(&self) -> usize {
        let written = self.rows_max * self.width * size_of::<T>();
        match &self.memory {
            Memory::Lines(lines) => lines.len() * LINE_BYTES,
            #[cfg(unix)]
            Memory::Mapped { bytes, .. } => written.next_multiple_of(HUGE_BYTES).min(*bytes),
        }
    }

    /// All numbers, row after row.
    #[inline(always)]
    pub(in crate::dense) fn elements(&self) -> &[T] {
        let bytes: &[u8] = &self.memory;
        debug_assert!(self.rows * self.width * size_of::<T>() <= bytes.len());
        // SAFETY: the memory is aligned to a cache line, initialized, and has room for every row,
        // as `resize` sees to; each pattern of bits is a number.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), self.rows * self.width) }
    }

    /// All numbers, row after row, to be changed.
    pub(in crate::dense) fn elements_mut(&mut self) -> &mut [T] {
        let (rows, width) = (self.rows, self.width);
        let bytes: &mut [u8] = &mut self.memory;
        // SAFETY: as above, and `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), rows * width) }
    }

    /// One row.
    #[inline(always)]
    pub(in crate::dense) fn row(&self, row: usize) -> &[T] {
        &self.elements()[row * self.width..][..self.width]
    }

    /// One row, to be changed.
    pub(in crate::dense) fn row_mut(&mut self, row: usize) -> &mut [T] {
        let width = self.width;
        &mut self.elements_mut()[row * width..][..width]
    }

    /// Asks the processor to bring a row near.
    #[inline(always)]
    pub(in crate::dense) fn prefetch(&self, row: usize) {
        let row_bytes = self.width * size_of::<T>();
        super::prefetch(&self.memory[row * row_bytes..][..row_bytes]);
    }

    /// Makes the table this many rows long; new rows are zeros.
    pub(in crate::dense) fn resize(&mut self, rows: usize) {
        let row_bytes = self.width * size_of::<T>();
        let needed =
            rows.checked_mul(row_bytes).expect("a table is smaller than the address space");
        if needed > self.memory.len() {
            let wanted = needed.max(self.memory.len() + self.memory.len() / 4);
            let mut larger = Memory::zeroed(wanted);
            let used = self.rows * row_bytes;
            larger[..used].copy_from_slice(&self.memory[..used]);
            self.memory = larger;
            self.rows_max = 0;
        } else if rows > self.rows {
            self.memory[self.rows * row_bytes..needed].fill(0);
        }
        self.rows = rows;
        self.rows_max = self.rows_max.max(rows);
    }

    /// Appends a row.
    pub(in crate::dense) fn push(&mut self, row: &[T]) {
        self.resize(self.rows + 1);
        self.row_mut(self.rows - 1).copy_from_slice(row);
    }

    /// Takes a row out and puts the last one in its place.
    pub(in crate::dense) fn swap_remove(&mut self, row: usize) {
        let (width, last) = (self.width, self.rows - 1);
        self.elements_mut().copy_within(last * width..(last + 1) * width, row * width);
        self.rows = last;
    }
}

/// One cache line of bytes.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line {
    _bytes: [u8; LINE_BYTES],
}

/// Bytes that begin at a cache line: small ones from the allocator, large ones mapped, whose pages
/// become memory when they are first written.
enum Memory {
    Lines(Vec<Line>),
    #[cfg(unix)]
    Mapped {
        start: *mut u8,
        bytes: usize,
    },
}

// SAFETY: the mapping belongs to this value alone, and is only read through a shared reference.
#[cfg(unix)]
unsafe impl Send for Memory {}
// SAFETY: as above.
#[cfg(unix)]
unsafe impl Sync for Memory {}

impl Default for Memory {
    fn default() -> Self {
        Memory::Lines(Vec::new())
    }
}

impl Memory {
    fn zeroed(bytes: usize) -> Self {
        #[cfg(unix)]
        if bytes >= 2 * HUGE_BYTES
            && let Some(mapped) = Self::mapped(bytes.next_multiple_of(HUGE_BYTES))
        {
            return mapped;
        }
        Memory::Lines(vec![Line { _bytes: [0; LINE_BYTES] }; bytes.div_ceil(LINE_BYTES)])
    }

    /// `None` where the system refuses.
    #[cfg(unix)]
    fn mapped(bytes: usize) -> Option<Self> {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: no address is asked for, so nothing that exists is replaced.
        let start =
            unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, access, MapFlags::PRIVATE).ok()? };
        #[cfg(target_os = "linux")]
        // SAFETY: the range is the mapping's; the advice changes no content. A system that knows no
        // huge pages says no, and the mapping works as it is.
        let _ = unsafe { rustix::mm::madvise(start, bytes, rustix::mm::Advice::LinuxHugepage) };
        Some(Memory::Mapped { start: start.cast(), bytes })
    }
}

impl Deref for Memory {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        match self {
            // SAFETY: a line is 64 bytes without padding.
            Memory::Lines(lines) => unsafe {
                std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * LINE_BYTES)
            },
            // SAFETY: the mapping has this many readable bytes, zeros at first, until it is dropped.
            #[cfg(unix)]
            Memory::Mapped { start, bytes } => unsafe {
                std::slice::from_raw_parts(*start, *bytes)
            },
        }
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            // SAFETY: as above, and borrowed alone.
            Memory::Lines(lines) => unsafe {
                std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * LINE_BYTES)
            },
            // SAFETY: as above, and borrowed alone.
            #[cfg(unix)]
            Memory::Mapped { start, bytes } => unsafe {
                std::slice::from_raw_parts_mut(*start, *bytes)
            },
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Memory::Mapped { start, bytes } = self {
            // SAFETY: the mapping was made with this start and length, and is used no more.
            let gone = unsafe { rustix::mm::munmap(start.cast(), *bytes) };
            debug_assert!(gone.is_ok(), "a mapping of ours is there to be taken down");
        }
    }
}
