//! The system allocator's treatment of large buffers.

/// Bytes from which on a buffer is a mapping of its own.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_BYTES_MIN: i32 = 256 << 10;
/// Free bytes at the end of a heap that may stay there: with glibc's 128 KiB, what a round lays out
/// for a card and lets go of is taken from the system each time, and filled with zeros.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const IDLE_BYTES_MAX: i32 = 4 << 20;

/// Makes a freed large buffer go back to the system at once; to be called first thing in `main`.
///
/// glibc raises the size from which it maps buffers with each one that is freed, up to 32 MiB, and
/// then carves tapes and batches out of one arena a thread, where they leave holes: a run over
/// three books held a third more than it used. A fixed size keeps the peak at what is predicted.
/// Other allocators are left as they are.
pub fn keep_memory_flat() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: each call sets a number in the allocator, which takes its own lock.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN);
        libc::mallopt(libc::M_TRIM_THRESHOLD, IDLE_BYTES_MAX);
    }
}
