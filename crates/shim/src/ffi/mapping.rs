//! Files and memory that processes share, as atomic words.

use std::ffi::{CStr, c_int};
use std::ptr::null_mut;
use std::sync::atomic::AtomicU64;

/// What a mapping may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only look.
    Read,
    /// Change words as well.
    Write,
}

/// Why a file is not there as words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// There is no such file.
    Absent,
    /// It cannot be opened or mapped.
    Denied,
    /// It has fewer words than asked for.
    Short,
}

/// Maps the first `count` words of a file for as long as the process lives.
pub fn map_file(
    path: &CStr,
    count: usize,
    access: Access,
) -> Result<&'static [AtomicU64], MapError> {
    let flags = match access {
        Access::Read => libc::O_RDONLY,
        Access::Write => libc::O_RDWR,
    };
    // SAFETY: the path is a C string.
    let file = unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC) };
    if file < 0 {
        // SAFETY: the address is this thread's own.
        let error = unsafe { *libc::__errno_location() };
        return Err(if error == libc::ENOENT { MapError::Absent } else { MapError::Denied });
    }
    let mapped = if size(file) < (count * 8) as i64 {
        Err(MapError::Short)
    } else {
        map(file, count, access).ok_or(MapError::Denied)
    };
    // SAFETY: the file is ours, and open. The mapping outlives it.
    unsafe { libc::close(file) };
    mapped
}

/// Opens or makes a file of at least `count` words that only its owner may use, and maps it.
pub fn map_own_file(path: &CStr, count: usize) -> Option<&'static [AtomicU64]> {
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_CLOEXEC;
    // SAFETY: the path is a C string, and the mode is given as O_CREAT asks.
    let file = unsafe { libc::open(path.as_ptr(), flags, 0o600 as libc::c_uint) };
    if file < 0 {
        return None;
    }
    let bytes = (count * 8) as i64;
    // SAFETY: the file is ours, and open. It only ever grows, so no other mapping loses words.
    let is_large = size(file) >= bytes || unsafe { libc::ftruncate(file, bytes) } == 0;
    let mapped = if is_large { map(file, count, Access::Write) } else { None };
    // SAFETY: the file is ours, and open.
    unsafe { libc::close(file) };
    mapped
}

/// Memory that children by fork share.
pub fn map_family(count: usize) -> Option<&'static [AtomicU64]> {
    map_anonymous(count, libc::MAP_SHARED)
}

/// A word that is zero in a child by fork, whatever is stored here.
pub fn map_mark() -> Option<&'static AtomicU64> {
    let words = map_anonymous(512, libc::MAP_PRIVATE)?;
    // SAFETY: the mapping is ours, a page long, and holds nothing but this word.
    let done = unsafe { libc::madvise(words.as_ptr() as *mut _, 4096, libc::MADV_WIPEONFORK) };
    words.first().filter(|_| done == 0)
}

fn size(file: c_int) -> i64 {
    // SAFETY: a stat of zeros is a valid one to be overwritten.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the file is open, and the stat ours.
    match unsafe { libc::fstat(file, &mut stat) } {
        0 => stat.st_size,
        _ => -1,
    }
}

fn map(file: c_int, count: usize, access: Access) -> Option<&'static [AtomicU64]> {
    let protection = match access {
        Access::Read => libc::PROT_READ,
        Access::Write => libc::PROT_READ | libc::PROT_WRITE,
    };
    // SAFETY: a new mapping at a place of the system's choice touches no memory of ours.
    let start = unsafe { libc::mmap(null_mut(), count * 8, protection, libc::MAP_SHARED, file, 0) };
    words(start, count)
}

fn map_anonymous(count: usize, sharing: c_int) -> Option<&'static [AtomicU64]> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = sharing | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at a place of the system's choice touches no memory of ours.
    let start = unsafe { libc::mmap(null_mut(), count * 8, protection, flags, -1, 0) };
    words(start, count)
}

fn words(start: *mut libc::c_void, count: usize) -> Option<&'static [AtomicU64]> {
    if start == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the mapping is page-aligned, `count` words long, never unmapped, and whoever changes
    // it does so word by word: here by atomics, in the pool by whole writes that the sequence
    // number guards. Words mapped for reading are only ever loaded.
    Some(unsafe { std::slice::from_raw_parts(start.cast::<AtomicU64>(), count) })
}
