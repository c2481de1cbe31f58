//! Memory of cards: pages of this process that are there once they are touched, so that a card may
//! have far more than the machine.

use std::ptr;

use crate::codes::{Code, Outcome, cuda};

/// Addresses that belong to an allocation; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Region {
    address: u64,
    bytes: usize,
}

/// Whether what is at an address can be read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RegionKind {
    Usable,
    /// Addresses alone, as a reservation has.
    Reserved,
}

impl Region {
    /// Takes addresses for so many bytes.
    pub(crate) fn new(bytes: u64, kind: RegionKind) -> Result<Self, Code> {
        let bytes = usize::try_from(bytes.max(1)).map_err(|_| cuda::OUT_OF_MEMORY)?;
        let protection = match kind {
            RegionKind::Usable => libc::PROT_READ | libc::PROT_WRITE,
            RegionKind::Reserved => libc::PROT_NONE,
        };
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new private mapping at an address that the system chooses.
        let address = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
        match address == libc::MAP_FAILED {
            true => Err(cuda::OUT_OF_MEMORY),
            false => Ok(Self { address: address as u64, bytes }),
        }
    }

    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    /// Lets a part be used, or not any more.
    pub(crate) fn protect(&self, offset: u64, bytes: u64, kind: RegionKind) -> Outcome {
        let end = offset.checked_add(bytes).ok_or(cuda::INVALID_VALUE)?;
        if end > self.bytes as u64 {
            return Err(cuda::INVALID_VALUE);
        }
        let start = (self.address + offset) as *mut libc::c_void;
        let protection = match kind {
            RegionKind::Usable => libc::PROT_READ | libc::PROT_WRITE,
            RegionKind::Reserved => libc::PROT_NONE,
        };
        // SAFETY: the range is inside this mapping, which nothing in Rust refers to.
        match unsafe { libc::mprotect(start, bytes as usize, protection) } {
            0 => Ok(()),
            _ => Err(cuda::INVALID_VALUE),
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing in Rust refers to it.
        unsafe { libc::munmap(self.address as *mut libc::c_void, self.bytes) };
    }
}

/// Copies between places that the program named; those on cards were found to be allocated.
pub(crate) fn copy(to: u64, from: u64, bytes: usize) {
    if bytes > 0 && to != 0 && from != 0 {
        // SAFETY: the program vouches for its own memory, whoever calls has checked a card's.
        unsafe { ptr::copy(from as *const u8, to as *mut u8, bytes) };
    }
}

/// Fills a place on a card, which was found to be allocated, with a value of 1, 2 or 4 bytes.
pub(crate) fn fill(to: u64, value: u32, width: usize, count: usize) {
    let bytes = value.to_le_bytes();
    for at in 0..count {
        copy(to + (at * width) as u64, bytes.as_ptr() as u64, width);
    }
}

/// Has a function called in each child of this process, before anything else there.
pub(crate) fn on_fork_in_child(function: extern "C" fn()) {
    // SAFETY: the function lives as long as the library, which is never unloaded, and only stores a
    // number.
    unsafe { libc::pthread_atfork(None, None, Some(adopt(function))) };
}

/// The same function by the type that the system wants.
fn adopt(function: extern "C" fn()) -> unsafe extern "C" fn() {
    function
}
