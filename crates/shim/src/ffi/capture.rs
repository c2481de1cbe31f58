//! Which streams are being captured into graphs.
//!
//! What is launched there does not run, so it is neither charged nor held, and no mark may be put
//! beside it: that would become part of the program's graph, or end the capture with an error.
//! Looking at marks may end one too, from whatever thread.

use std::ffi::c_int;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};

use super::account::SUCCESS;
use super::driver::{self, Handle};

/// Captures that are known by their stream; those beyond are only counted.
const KNOWN: usize = 64;

/// CU_STREAM_CAPTURE_MODE_RELAXED.
const RELAXED: c_int = 2;

static CAPTURES: AtomicI64 = AtomicI64::new(0);
/// Streams in which captures were begun, each and one, since the null stream is a stream too.
static STREAMS: [AtomicU64; KNOWN] = [const { AtomicU64::new(0) }; KNOWN];
/// Captures whose streams had no place.
static BEYOND: AtomicI64 = AtomicI64::new(0);

/// A call that begins a capture.
pub(super) fn begin(call: impl Fn() -> c_int, stream: Handle) -> c_int {
    // It counts before it begins, so that nobody looks at marks in between.
    CAPTURES.fetch_add(1, SeqCst);
    let result = call();
    if result != SUCCESS {
        decrement(&CAPTURES);
    } else if !change(0, key(stream)) {
        BEYOND.fetch_add(1, SeqCst);
    }
    result
}

/// A call that ends one; it is over too if the graph turned out to be invalid, but not if another
/// thread's had to end it.
pub(super) fn end(call: impl Fn() -> c_int, stream: Handle) -> c_int {
    let result = call();
    let goes_on = || ask(stream).is_some_and(|is_capturing| is_capturing);
    if result != SUCCESS && goes_on() {
        return result;
    }
    if change(key(stream), 0) || decrement(&BEYOND) {
        decrement(&CAPTURES);
    }
    result
}

/// A call that destroys a stream: a capture that was begun there is over.
pub(super) fn destroyed(call: impl Fn() -> c_int, stream: Handle) -> c_int {
    let result = call();
    if result == SUCCESS && change(key(stream), 0) {
        decrement(&CAPTURES);
    }
    result
}

/// Whether any stream of this process is being captured: then marks are left out everywhere.
#[inline]
pub(super) fn is_any() -> bool {
    CAPTURES.load(SeqCst) > 0
}

/// Whether this stream is being captured. While any is, the driver is asked.
#[inline]
pub(super) fn is_capturing(stream: Handle) -> bool {
    if !is_any() {
        return false;
    }
    // The legacy stream may not be asked then, nor launched on: the driver will say so.
    ask(stream).unwrap_or(true)
}

/// What the driver says of a stream, if it may be asked.
fn ask(stream: Handle) -> Option<bool> {
    let mut status = 0;
    // SAFETY: the stream is the program's, and the place ours.
    let result = unsafe { driver::cuStreamIsCapturing(stream, &mut status) };
    (result == SUCCESS).then_some(status != 0)
}

/// Does what a capture that nobody knows of would forbid, or would be spoilt by.
pub(super) fn relaxed<T>(body: impl FnOnce() -> T) -> T {
    let mut mode = RELAXED;
    // SAFETY: the place is ours. It holds the thread's own mode afterwards.
    let is_changed = unsafe { driver::cuThreadExchangeStreamCaptureMode(&mut mode) == SUCCESS };
    let result = body();
    if is_changed {
        // SAFETY: as above.
        unsafe { driver::cuThreadExchangeStreamCaptureMode(&mut mode) };
    }
    result
}

/// In a child, nothing is captured.
pub(super) fn forget() {
    CAPTURES.store(0, SeqCst);
    BEYOND.store(0, SeqCst);
    STREAMS.iter().for_each(|place| place.store(0, SeqCst));
}

fn key(stream: Handle) -> u64 {
    (stream as u64).wrapping_add(1)
}

/// Puts one stream into the place of another; whether that was there.
fn change(from: u64, to: u64) -> bool {
    STREAMS.iter().any(|place| place.compare_exchange(from, to, SeqCst, SeqCst).is_ok())
}

fn decrement(count: &AtomicI64) -> bool {
    count.fetch_update(SeqCst, SeqCst, |now| (now > 0).then_some(now - 1)).is_ok()
}
