//! What the system is asked for: memory shared through a file, a lock that survives whoever holds
//! it, marks of who lives, sleeping until something changed, and loading libraries.
//!
//! All unsafe code of this crate is below here.

mod call;
mod library;
mod lock;
mod shared;

pub(crate) use call::{Function, in_child, kill_self};
pub(crate) use library::text_at;
pub use library::{Library, LoadError};
pub(crate) use lock::Locked;
pub use shared::OpenError;
pub(crate) use shared::Shared;

use std::time::Duration;

/// The machine's monotonic clock in nanoseconds; all processes see the same.
pub(crate) fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a place for one timespec, and this clock exists on every Linux.
    let code = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    assert_eq!(code, 0, "the monotonic clock exists");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Sleeps without a lock.
pub(crate) fn sleep(ns: u64) {
    std::thread::sleep(Duration::from_nanos(ns));
}
