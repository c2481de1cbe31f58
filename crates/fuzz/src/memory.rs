//! How much memory a reader takes, counted by the allocator.

use peak_alloc::PeakAlloc;

/// Of every program that this crate is part of: the fuzzers and the replay.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What a reader may take for itself: buffers of a MiB, compiled selectors, a folder's entries.
const FIXED_BYTES: usize = 4 << 20;

/// What a reader may take for each byte: a JSON value of one digit has 72 bytes in a list that
/// doubles as it grows, and is held twice while it does.
const BYTES_PER_BYTE: usize = 512;

/// Runs a reader on an input of so many bytes, and checks that it takes no more memory than such an
/// input can need. Whatever else runs meanwhile is counted too.
pub(crate) fn bounded<T>(input_bytes: usize, read: impl FnOnce() -> T) -> T {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let result = read();
    let taken = ALLOCATOR.peak_usage().saturating_sub(before);
    let bound = FIXED_BYTES + BYTES_PER_BYTE * input_bytes;
    assert!(taken <= bound, "{input_bytes} bytes took {taken} bytes of memory, more than {bound}");
    result
}
