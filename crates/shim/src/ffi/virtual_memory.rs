//! Memory whose addresses and pages are managed apart: `cuMemCreate`, `cuMemMap` and their like.
//!
//! Pages live as long as a handle or a mapping refers to them. A common way is to create, map and
//! release at once, so the charge goes with the last of either. A handle that was released may be
//! another's at once, whatever is mapped still, so handles count by themselves too.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

use super::account::{self, Account, SUCCESS, Standing};
use super::driver::Handle;
use super::{memory, state};
use crate::compute::Shape;
use crate::ledger::{FEW, Held, PointerTable};
use crate::page::CardIndex;

/// Of CUmemLocationType: memory of a device.
const ON_DEVICE: c_int = 1;

/// Allocations that a process may have at one time.
const ALLOCATIONS: usize = 1 << 16;

/// The front of CUmemAllocationProp and of CUmemPoolProps, which is the same in all versions.
#[repr(C)]
pub struct Properties {
    kind: c_int,
    handle_types: c_int,
    pub(super) location: Location,
}

/// CUmemLocation.
#[repr(C)]
pub struct Location {
    kind: c_int,
    number: c_int,
}

impl Location {
    /// The device whose memory it is, if it is a device's.
    pub(super) fn device(&self) -> Option<c_int> {
        (self.kind == ON_DEVICE).then_some(self.number)
    }
}

/// What references to one allocation there are: handles and mappings; 0 for a free place. Those by
/// handle are counted apart too.
struct Allocation {
    references: AtomicU64,
    handles: AtomicU64,
    card: AtomicU64,
    bytes: AtomicU64,
}

static ALLOCATED: [Allocation; ALLOCATIONS] = [const {
    Allocation {
        references: AtomicU64::new(0),
        handles: AtomicU64::new(0),
        card: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
    }
}; ALLOCATIONS];
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// From a handle to the number of its allocation, kept where an amount would be. A handle that was
/// retained stands here once, with one reference for each time.
static HANDLES: PointerTable = PointerTable::new();
/// From an address to the number of the allocation that is mapped there, and in `context` how far.
static MAPPINGS: PointerTable = PointerTable::new();
/// From a part of an array to the number of the allocation, and in `context` the array.
static PARTS: PointerTable<FEW> = PointerTable::new();

/// Of CUmemOperationType: the other one unmaps.
const MAP: c_int = 1;

/// CUarrayMapInfo: 96 bytes, of which the 32 of the part are one of two structures.
#[repr(C)]
pub struct Part {
    resource_kind: c_int,
    array: Handle,
    part_kind: c_int,
    part: [u64; 4],
    operation: c_int,
    handle_kind: c_int,
    handle: u64,
    offset: u64,
    devices: u32,
    flags: u32,
    reserved: [u32; 2],
}

impl Part {
    /// A number that tells parts of arrays apart.
    fn key(&self) -> u64 {
        let [a, b, c, d] = self.part;
        Shape::of(&[self.array as u64, self.part_kind as u64, a, b, c, d]).get()
    }
}

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
    let Some(device) = unsafe { &*properties }.location.device() else { return call() };
    let standing = match state::phase() {
        state::Phase::Free => Standing::Free,
        _ => account::of_device(device),
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
    let Some(allocation) = ALLOCATED.get(held.bytes as usize) else { return call() };
    let handles = |change: fn(u64) -> Option<u64>| {
        allocation.handles.fetch_update(SeqCst, SeqCst, change).unwrap_or(0)
    };
    // The last one goes first: another thread may get the same handle once the driver has freed it.
    let is_last = handles(|now| now.checked_sub(1)) == 1;
    if is_last {
        HANDLES.remove(handle);
    }
    let result = call();
    if result == SUCCESS {
        let_go(held.bytes as usize);
        return result;
    }
    handles(|now| now.checked_add(1));
    if is_last {
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
    let is_inside = |start: u64, held: Held| start <= address && address - start < held.context;
    let known = HANDLES.get(handle).or_else(|| MAPPINGS.get(address));
    // A handle that was released while its pages were mapped is known anew.
    let known = known.or_else(|| MAPPINGS.first(is_inside));
    let Some(held) = known else { return result };
    let Some(allocation) = ALLOCATED.get(held.bytes as usize) else { return result };
    refer(held.bytes as usize);
    if allocation.handles.fetch_add(1, SeqCst) == 0 {
        remember(&HANDLES, handle, held);
    }
    result
}

/// `cuMemMap`: a mapping refers to its pages. One of pages that are not counted is remembered too,
/// since several may go in one call.
pub(super) fn map(call: impl Fn() -> c_int, address: u64, bytes: usize, handle: u64) -> c_int {
    let result = call();
    if result != SUCCESS || state::phase() != state::Phase::Limited {
        return result;
    }
    let held = HANDLES.get(handle).or_else(uncounted);
    if let Some(held) = held {
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

/// `cuMemMapArrayAsync`: parts of arrays refer to pages, until something else is mapped to the same
/// part or nothing, or the array is gone.
///
/// # Safety
/// The list is null, or of so many parts.
pub(super) unsafe fn map_parts(call: impl Fn() -> c_int, list: *const Part, count: u32) -> c_int {
    let result = call();
    if result != SUCCESS || state::phase() != state::Phase::Limited || list.is_null() {
        return result;
    }
    // SAFETY: the caller's, and the driver has just read them.
    for part in unsafe { std::slice::from_raw_parts(list, count as usize) } {
        let key = part.key();
        let held = HANDLES.get(part.handle).filter(|_| part.operation == MAP);
        let before = match held {
            Some(held) => {
                refer(held.bytes as usize);
                let held = Held { context: part.array as u64, ..held };
                PARTS.insert(key, held).unwrap_or_else(|_| {
                    state::count_failure();
                    None
                })
            }
            None => PARTS.remove(key),
        };
        if let Some(before) = before {
            let_go(before.bytes as usize);
        }
    }
    result
}

/// An array is gone, and whatever was mapped to its parts is mapped there no longer.
pub(super) fn forget_array(array: Handle) {
    PARTS.remove_context(array as u64, |held| let_go(held.bytes as usize));
}

/// In a child, which has no pages.
pub(super) fn forget() {
    if NEXT.swap(0, SeqCst) == 0 {
        return;
    }
    HANDLES.clear();
    MAPPINGS.clear();
    PARTS.clear();
    ALLOCATED.iter().for_each(|allocation| allocation.references.store(0, SeqCst));
}

fn note(account: Account, handle: u64, bytes: u64) {
    let first = NEXT.fetch_add(1, SeqCst);
    for step in 0..ALLOCATIONS {
        let number = (first + step) % ALLOCATIONS;
        let allocation = &ALLOCATED[number];
        if allocation.references.compare_exchange(0, 1, SeqCst, SeqCst).is_ok() {
            allocation.handles.store(1, SeqCst);
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

/// What is remembered of pages that are not counted: the number of no allocation.
fn uncounted() -> Option<Held> {
    Some(Held { card: CardIndex::new(0)?, bytes: ALLOCATIONS as u64, context: 0 })
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

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    /// As the driver's header has it.
    #[test]
    fn parts_of_arrays_lie_as_the_driver_has_them() {
        assert_eq!(size_of::<Part>(), 96);
        assert_eq!(offset_of!(Part, part), 24);
        assert_eq!(offset_of!(Part, operation), 56);
        assert_eq!(offset_of!(Part, handle), 64);
    }
}
