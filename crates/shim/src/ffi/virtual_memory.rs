//! Memory whose addresses and pages are managed apart: `cuMemCreate`, `cuMemMap` and their like.
//!
//! Pages live as long as a handle or a mapping refers to them. A common way is to create, map and
//! release at once, so the charge goes with the last of either.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

use super::account::{self, Account, SUCCESS, Standing};
use super::{memory, state};
use crate::ledger::{Held, PointerTable};
use crate::page::CardIndex;

/// Of CUmemLocationType: memory of a device.
const ON_DEVICE: c_int = 1;

/// Allocations that a process may have at one time.
const ALLOCATIONS: usize = 1 << 16;

/// The front of CUmemAllocationProp, which is the same in all versions.
#[repr(C)]
pub struct Properties {
    kind: c_int,
    handle_types: c_int,
    location_kind: c_int,
    location: c_int,
}

/// What references to one allocation there are: handles and mappings; 0 for a free place.
struct Allocation {
    references: AtomicU64,
    card: AtomicU64,
    bytes: AtomicU64,
}

static ALLOCATED: [Allocation; ALLOCATIONS] = [const {
    Allocation { references: AtomicU64::new(0), card: AtomicU64::new(0), bytes: AtomicU64::new(0) }
}; ALLOCATIONS];
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// From a handle to the number of its allocation, kept where an amount would be. A handle that was
/// retained stands here once, with one reference for each time.
static HANDLES: PointerTable = PointerTable::new();
/// From an address to the number of the allocation that is mapped there, and in `context` how far.
static MAPPINGS: PointerTable = PointerTable::new();

/// `cuMemCreate`: pages of a device are charged, those of the host are not.
///
/// # Safety
/// The properties are what the driver takes, and the place one to which it writes the handle.
pub(super) unsafe fn create(
    call: impl Fn() -> c_int,
    place: *mut u64,
    bytes: usize,
    properties: *const Properties,
) -> c_int {
    if properties.is_null() {
        return call();
    }
    // SAFETY: the caller's.
    let properties = unsafe { &*properties };
    if properties.location_kind != ON_DEVICE {
        return call();
    }
    let standing = match state::phase() {
        state::Phase::Free => Standing::Free,
        _ => account::of_device(properties.location),
    };
    memory::charged(standing, bytes as u64, call, |account| {
        // SAFETY: the caller's; the driver has just written there.
        note(account, unsafe { *place }, bytes as u64);
        SUCCESS
    })
}

/// `cuMemRelease`.
pub(super) fn release(call: impl Fn() -> c_int, handle: u64) -> c_int {
    let Some(held) = HANDLES.get(handle) else { return call() };
    let allocation = ALLOCATED.get(held.bytes as usize);
    let is_last = allocation.is_some_and(|known| known.references.load(SeqCst) == 1);
    // The last one goes first: another thread may get the same handle once the driver has freed it.
    if is_last {
        HANDLES.remove(handle);
    }
    let result = call();
    if result == SUCCESS {
        let_go(held.bytes as usize);
    } else if is_last {
        remember(&HANDLES, handle, held);
    }
    result
}

/// `cuMemRetainAllocationHandle`: another reference to what is mapped at an address.
///
/// # Safety
/// The place is one to which the driver writes the handle.
pub(super) unsafe fn retain(call: impl Fn() -> c_int, place: *mut u64, address: u64) -> c_int {
    let result = call();
    if result != SUCCESS || state::phase() != state::Phase::Limited {
        return result;
    }
    // SAFETY: the caller's; the driver has just written there.
    let handle = unsafe { *place };
    if let Some(number) = HANDLES.get(handle).or_else(|| MAPPINGS.get(address)) {
        refer(number.bytes as usize);
        // A handle that was released while its pages were mapped is known anew.
        if HANDLES.get(handle).is_none() {
            remember(&HANDLES, handle, number);
        }
    }
    result
}

/// `cuMemMap`: a mapping refers to its pages.
pub(super) fn map(call: impl Fn() -> c_int, address: u64, bytes: usize, handle: u64) -> c_int {
    let result = call();
    if result == SUCCESS
        && let Some(held) = HANDLES.get(handle)
    {
        refer(held.bytes as usize);
        remember(&MAPPINGS, address, Held { context: bytes as u64, ..held });
    }
    result
}

/// `cuMemUnmap`, of one mapping or of several that lie end to end.
pub(super) fn unmap(call: impl Fn() -> c_int, address: u64, bytes: usize) -> c_int {
    let result = call();
    if result != SUCCESS {
        return result;
    }
    let end = address.saturating_add(bytes as u64);
    let mut at = address;
    while at < end {
        let Some(mapping) = MAPPINGS.remove(at) else { break };
        let_go(mapping.bytes as usize);
        at = at.saturating_add(mapping.context.max(1));
    }
    result
}

/// In a child, which has no pages.
pub(super) fn forget() {
    if NEXT.swap(0, SeqCst) == 0 {
        return;
    }
    HANDLES.clear();
    MAPPINGS.clear();
    ALLOCATED.iter().for_each(|allocation| allocation.references.store(0, SeqCst));
}

fn note(account: Account, handle: u64, bytes: u64) {
    let first = NEXT.fetch_add(1, SeqCst);
    for step in 0..ALLOCATIONS {
        let number = (first + step) % ALLOCATIONS;
        let allocation = &ALLOCATED[number];
        if allocation.references.compare_exchange(0, 1, SeqCst, SeqCst).is_ok() {
            allocation.card.store(account.card().get() as u64, SeqCst);
            allocation.bytes.store(bytes, SeqCst);
            let number = Held { card: account.card(), bytes: number as u64, context: 1 };
            remember(&HANDLES, handle, number);
            return;
        }
    }
    // It stays charged until the process ends.
    state::count_failure();
}

fn remember(table: &PointerTable, key: u64, held: Held) {
    if table.insert(key, held).is_err() {
        state::count_failure();
    }
}

fn refer(number: usize) {
    if let Some(allocation) = ALLOCATED.get(number) {
        allocation.references.fetch_add(1, SeqCst);
    }
}

/// Gives up a reference; the last one credits the pages.
fn let_go(number: usize) {
    let Some(allocation) = ALLOCATED.get(number) else { return };
    let (card, bytes) = (allocation.card.load(SeqCst), allocation.bytes.load(SeqCst));
    let left = allocation.references.fetch_update(SeqCst, SeqCst, |now| now.checked_sub(1));
    if left != Ok(1) {
        return;
    }
    if let Some(account) = CardIndex::new(card as usize).and_then(account::of_card) {
        account.release(bytes);
    }
}
