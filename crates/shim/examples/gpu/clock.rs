//! The machine's steady clock, which limit pages speak of.

/// Nanoseconds of the clock that the library reads too.
pub(crate) fn steady_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a place for one timespec, and this clock exists on every Linux.
    let code = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    assert_eq!(code, 0, "the monotonic clock exists");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Ends a process group that this program made, and everybody in it.
pub(crate) fn end_group(leader: u32) {
    let Ok(leader) = i32::try_from(leader) else { return };
    // SAFETY: a signal touches no memory of this process; the group is that of a child not yet
    // waited for, so that its number is nobody else's.
    unsafe { libc::kill(-leader, libc::SIGKILL) };
}
