//! Which streams are being captured into graphs.
//!
//! What is launched there does not run, so it is neither charged nor held, and no mark may be put
//! beside it: that would become part of the program's graph, or end the capture with an error.

use std::ffi::c_int;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use super::account::SUCCESS;
use super::driver::{self, Handle};

static CAPTURES: AtomicI64 = AtomicI64::new(0);

/// A call that begins a capture.
pub(super) fn begin(call: impl Fn() -> c_int) -> c_int {
    let result = call();
    if result == SUCCESS {
        CAPTURES.fetch_add(1, SeqCst);
    }
    result
}

/// A call that ends one; it is over too if the graph turned out to be invalid.
pub(super) fn end(call: impl Fn() -> c_int) -> c_int {
    let result = call();
    let _ = CAPTURES.fetch_update(SeqCst, SeqCst, |now| (now > 0).then_some(now - 1));
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
    let mut status = 0;
    // SAFETY: the stream is the program's, and the place ours.
    let result = unsafe { driver::cuStreamIsCapturing(stream, &mut status) };
    // The legacy stream may not be asked then, nor launched on: the driver will say so.
    result != SUCCESS || status != 0
}

/// In a child, nothing is captured.
pub(super) fn forget() {
    CAPTURES.store(0, SeqCst);
}
