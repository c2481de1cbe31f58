//! The machine's steady clock, and waiting on it.

use std::sync::atomic::AtomicU64;

/// No wait is longer than this without a new look at the limits, so that whatever changes is felt
/// within it even if nobody wakes anyone.
pub const WAIT_NS_MAX: u64 = 5_000_000;

const SECOND_NS: u64 = 1_000_000_000;

/// The steady clock, which all processes of a machine share, in ns.
pub fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is ours to be written to.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * SECOND_NS + time.tv_nsec as u64
}

/// Sleeps until a moment, at most [`WAIT_NS_MAX`] from now; not at all if the word that is watched
/// is no longer what was seen, and no longer than until somebody wakes who wait on it.
pub fn wait(watched: Option<(&AtomicU64, u64)>, until_ns: u64, now_ns: u64) {
    let span = until_ns.saturating_sub(now_ns).min(WAIT_NS_MAX);
    let time = libc::timespec { tv_sec: 0, tv_nsec: span as i64 };
    match watched {
        None => {
            // SAFETY: the time is ours, and nobody asks for what is left of it.
            unsafe { libc::nanosleep(&time, std::ptr::null_mut()) };
        }
        Some((word, seen)) => {
            // SAFETY: the word is mapped for good; its low half is at its address on the
            // little-endian machines that there are cards in. Waiting only reads it.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    word.as_ptr().cast::<u32>(),
                    libc::FUTEX_WAIT,
                    seen as u32,
                    &time,
                );
            }
        }
    }
}
