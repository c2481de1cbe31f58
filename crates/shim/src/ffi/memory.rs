//! Memory that is taken and freed by pointer.
//!
//! Host memory is not charged, since a slice is of a card; nor is memory that another process of
//! a slice exported, which counts where it was made.

use std::ffi::c_int;

use super::account::{Account, NOT_PERMITTED, SUCCESS, Standing, current};
use super::{driver, pools};

/// A plain allocation: `cuMemAlloc` and `cuMemAllocManaged`. Managed memory counts in full, since
/// all of it may come to lie on the card.
///
/// # Safety
/// The place is one to which the driver writes the pointer.
pub(super) unsafe fn allocate(call: impl Fn() -> c_int, place: *mut u64, bytes: usize) -> c_int {
    charged(current(), bytes as u64, call, |account| {
        // SAFETY: the caller's; the driver has just written there.
        account.remember(unsafe { *place }, bytes as u64);
        SUCCESS
    })
}

/// An allocation in rows, whose true size is known only afterwards.
///
/// # Safety
/// The places are ones to which the driver writes the pointer and the length of a row.
pub(super) unsafe fn allocate_rows(
    call: impl Fn() -> c_int,
    place: *mut u64,
    pitch: *mut usize,
    rows: [usize; 2],
) -> c_int {
    let [width, height] = rows.map(|length| length as u64);
    let asked = width.saturating_mul(height);
    charged(current(), asked, call, |account| {
        // SAFETY: the caller's; the driver has just written there.
        let (pointer, pitch) = unsafe { (*place, *pitch as u64) };
        let taken = pitch.saturating_mul(height).max(asked);
        if let Err(refusal) = account.reserve(taken - asked) {
            // SAFETY: nobody else knows of this pointer yet.
            unsafe { driver::cuMemFree_v2(pointer) };
            account.release(asked);
            return refusal;
        }
        account.remember(pointer, taken);
        SUCCESS
    })
}

/// Frees what was allocated here, or a block of a pool.
pub(super) fn free(call: impl Fn() -> c_int, pointer: u64) -> c_int {
    pools::followed(|| pools::free(&call, pointer))
}

/// Reserves, asks the driver, and gives back what it did not give.
pub(super) fn charged(
    standing: Standing,
    bytes: u64,
    call: impl Fn() -> c_int,
    taken: impl FnOnce(Account) -> c_int,
) -> c_int {
    let account = match standing {
        Standing::Free => return call(),
        Standing::Refused => return NOT_PERMITTED,
        Standing::Counted(account) => account,
    };
    if let Err(refusal) = account.reserve(bytes) {
        return refusal;
    }
    match call() {
        SUCCESS => taken(account),
        failure => {
            account.release(bytes);
            failure
        }
    }
}
