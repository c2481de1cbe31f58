//! What CUDA says of a card's memory: the slice.

use std::ffi::c_int;

use super::account::SUCCESS;
use super::{cards, state};
use crate::ledger;
use crate::page::CardIndex;
use crate::view::{Shown, Truth, shown};

/// `cuMemGetInfo`.
///
/// # Safety
/// The places are null, or ones to which the driver writes.
pub(super) unsafe fn memory_info(
    call: impl Fn() -> c_int,
    free: *mut usize,
    total: *mut usize,
) -> c_int {
    let result = call();
    if result != SUCCESS || free.is_null() || total.is_null() || !is_limited() {
        return result;
    }
    let Some(card) = cards::current() else { return result };
    // SAFETY: the caller's; the driver has just written there.
    let (real_free, real_total) = unsafe { (*free as u64, *total as u64) };
    let shown = view(card, real_total, real_free);
    // SAFETY: as above.
    unsafe {
        *free = shown.free as usize;
        *total = shown.total as usize;
    }
    result
}

/// `cuDeviceTotalMem`.
///
/// # Safety
/// The place is null, or one to which the driver writes.
pub(super) unsafe fn device_total(
    call: impl Fn() -> c_int,
    place: *mut usize,
    device: c_int,
) -> c_int {
    let result = call();
    if result != SUCCESS || place.is_null() || !is_limited() {
        return result;
    }
    let Some(card) = cards::of_device(device) else { return result };
    // SAFETY: the caller's; the driver has just written there.
    unsafe { *place = view(card, *place as u64, u64::MAX).total as usize };
    result
}

/// The slice's view of a card with that memory.
pub(super) fn view(card: CardIndex, total: u64, free: u64) -> Shown {
    let (limit, overhead) = cards::memory(card);
    let held = held(card);
    shown(Truth { total, free, limit, used: held.saturating_add(overhead) })
}

/// What the slice holds; those who died are looked for first, since nobody else may have yet.
fn held(card: CardIndex) -> u64 {
    let Some(usage) = state::usage() else { return 0 };
    let held = ledger::used(usage, card);
    if held > 0 && state::reap() > 0 { ledger::used(usage, card) } else { held }
}

pub(super) fn is_limited() -> bool {
    let is_limited = state::phase() == state::Phase::Limited;
    if is_limited {
        cards::refresh();
    }
    is_limited
}
