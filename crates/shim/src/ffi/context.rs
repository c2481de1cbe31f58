//! Contexts: which card a thread uses, and what goes away with a context.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::account::{self, SUCCESS};
use super::driver::{self, Handle};
use super::{cards, state, submit, watch};

/// The primary context of each device, since calls that end it name the device.
static PRIMARY: [AtomicU64; 128] = [const { AtomicU64::new(0) }; 128];

/// A call after which another context may be current on this thread.
#[inline]
pub(super) fn switched(call: impl Fn() -> c_int) -> c_int {
    let result = call();
    cards::forget_current();
    result
}

/// A call that destroys a context, with all memory that was taken in it.
pub(super) fn destroyed(call: impl Fn() -> c_int, context: Handle) -> c_int {
    let result = call();
    cards::forget_current();
    if result == SUCCESS {
        forget(context as u64);
    }
    result
}

/// `cuCtxDetach`: the context is gone with the last who was attached to it.
pub(super) fn detached(call: impl Fn() -> c_int, context: Handle) -> c_int {
    let result = call();
    cards::forget_current();
    if result != SUCCESS {
        return result;
    }
    let mut version = 0;
    // SAFETY: the place is ours, and the driver knows which contexts there are.
    if unsafe { driver::cuCtxGetApiVersion(context, &mut version) } != SUCCESS {
        forget(context as u64);
    }
    result
}

/// `cuDevicePrimaryCtxRetain`.
///
/// # Safety
/// The place is one to which the driver writes the context.
pub(super) unsafe fn retained(
    call: impl Fn() -> c_int,
    place: *mut Handle,
    device: c_int,
) -> c_int {
    let result = call();
    if result == SUCCESS
        && let Some(primary) = usize::try_from(device).ok().and_then(|at| PRIMARY.get(at))
    {
        // SAFETY: the caller's; the driver has just written there.
        primary.store(unsafe { *place } as u64, SeqCst);
    }
    result
}

/// `cuDevicePrimaryCtxReset`: whoever retained it still, all that was in the context is gone.
pub(super) fn reset(call: impl Fn() -> c_int, device: c_int) -> c_int {
    let result = call();
    cards::forget_current();
    if result == SUCCESS
        && let Some(primary) = usize::try_from(device).ok().and_then(|at| PRIMARY.get(at))
    {
        forget(primary.load(SeqCst));
    }
    result
}

/// `cuDevicePrimaryCtxRelease`: the context may be gone, or not.
pub(super) fn released(call: impl Fn() -> c_int, device: c_int) -> c_int {
    let result = call();
    cards::forget_current();
    let (mut flags, mut is_active) = (0, 1);
    // SAFETY: the places are ours.
    let asked = unsafe { driver::cuDevicePrimaryCtxGetState(device, &mut flags, &mut is_active) };
    if result == SUCCESS
        && asked == SUCCESS
        && is_active == 0
        && let Some(primary) = usize::try_from(device).ok().and_then(|at| PRIMARY.get(at))
    {
        forget(primary.swap(0, SeqCst));
    }
    result
}

fn forget(context: u64) {
    if context == 0 {
        return;
    }
    if watch::slot().is_some() {
        submit::forget_context(context);
    }
    if state::phase() == state::Phase::Limited {
        submit::forget_context(context);
        account::forget_context(context);
    }
}
