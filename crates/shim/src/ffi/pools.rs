//! Memory pools of stream-ordered allocation, charged by what the driver has reserved for them.
//!
//! A pool keeps what was freed, so blocks say little about what the card has lost. The driver's own
//! figure is read after each call that may change it. Before memory is refused, pools give up what
//! they keep for nothing. Of a pool that is destroyed the driver tells nothing more, but its memory
//! stays until its last block is freed, and so does the charge.

mod known;

use std::ffi::c_int;

use super::account::{self, Account, NOT_PERMITTED, OUT_OF_MEMORY, SUCCESS, Standing};
use super::driver::{self, Handle};
use super::virtual_memory::{Location, Properties};
use super::{capture, cards, graph_memory, state};
use crate::ledger::{Held, PointerTable};
use known::{Home, Pool};

/// From a block to the place of its pool, kept where an amount would be.
static BLOCKS: PointerTable = PointerTable::new();

/// A block from a pool; from the device's own where none is named.
pub(super) struct Request {
    /// Where the driver writes the pointer.
    pub(super) place: *mut u64,
    /// How much.
    pub(super) bytes: usize,
    /// From which pool.
    pub(super) pool: Option<Handle>,
    /// In the order of which stream.
    pub(super) stream: Handle,
}

/// `cuMemAllocAsync` and `cuMemAllocFromPoolAsync`.
///
/// # Safety
/// The request is one that the driver takes.
pub(super) unsafe fn allocate(call: impl Fn() -> c_int, request: &Request) -> c_int {
    match state::phase() {
        state::Phase::Free => return call(),
        state::Phase::Refusing => return NOT_PERMITTED,
        state::Phase::Limited => {}
    }
    if capture::is_capturing(request.stream) {
        // It becomes part of a graph, and takes memory when that is launched.
        return graph_memory::note(call);
    }
    let pool = request.pool.or_else(own_pool);
    let home = pool.map_or_else(Home::of_current, Home::of_pool);
    let account = match account::on_card(home.card()) {
        Standing::Free => return call(),
        Standing::Refused => return NOT_PERMITTED,
        Standing::Counted(account) => account,
    };
    let pool = pool.and_then(|pool| Pool::find_or_add(pool, home));
    let bytes = request.bytes as u64;
    let spare = pool.and_then(Pool::spare).unwrap_or(0);
    let reserved = if bytes <= spare { 0 } else { bytes };
    if let Err(refusal) = account.reserve(reserved) {
        return refusal;
    }
    let result = call();
    if result != SUCCESS {
        account.release(reserved);
        return result;
    }
    // SAFETY: the caller's; the driver has just written there.
    let pointer = unsafe { *request.place };
    let Some(pool) = pool.filter(|pool| pool.settle(account, reserved)) else {
        if reserved == 0 {
            account.count(bytes);
        }
        account.remember(pointer, bytes);
        return SUCCESS;
    };
    if !account.is_over() {
        pool.note_block();
        let place = Held {
            card: account.card(),
            bytes: pool.place() as u64,
            context: account::current_context(),
        };
        if BLOCKS.insert(pointer, place).is_err() {
            // Should the pool be destroyed, it stays charged until the process ends.
            state::count_failure();
        }
        return SUCCESS;
    }
    // The pool grew by more than was asked for, past the limit.
    // SAFETY: the block was just allocated, and nobody else knows of it.
    unsafe { driver::cuMemFreeAsync(pointer, request.stream) };
    pool.trim(account);
    OUT_OF_MEMORY
}

/// Frees a block; its pool keeps the memory until it is trimmed.
pub(super) fn free(call: impl Fn() -> c_int, pointer: u64) -> c_int {
    if state::phase() != state::Phase::Limited {
        return call();
    }
    // It goes first: once the driver has freed it, another thread may get the same address.
    let Some(block) = BLOCKS.remove(pointer) else { return account::free(call, pointer) };
    let result = call();
    if result == SUCCESS {
        forget_block(block);
    } else if BLOCKS.insert(pointer, block).is_err() {
        state::count_failure();
    }
    result
}

/// A call after which pools may have given memory back: a wait, a trim, a free.
pub(super) fn followed(call: impl Fn() -> c_int) -> c_int {
    let result = call();
    for pool in Pool::all() {
        pool.follow();
    }
    graph_memory::follow_current();
    result
}

/// `cuMemPoolCreate`: a pool is where its properties say, whatever is current when it is used.
///
/// # Safety
/// The properties are what the driver takes, and the place one to which it writes the pool.
pub(super) unsafe fn create(
    call: impl Fn() -> c_int,
    place: *mut Handle,
    properties: *const Properties,
) -> c_int {
    let location = match properties.is_null() {
        true => std::ptr::null(),
        // SAFETY: the caller's.
        false => unsafe { &raw const (*properties).location },
    };
    // SAFETY: the caller's.
    unsafe { found(call, place, location) }
}

/// A call that gives the pool of a location.
///
/// # Safety
/// The location is what the driver takes, and the place one to which it writes the pool.
pub(super) unsafe fn found(
    call: impl Fn() -> c_int,
    place: *mut Handle,
    location: *const Location,
) -> c_int {
    let result = call();
    if result == SUCCESS && state::phase() == state::Phase::Limited && !location.is_null() {
        // SAFETY: the caller's; the driver has just written there.
        let (pool, location) = unsafe { (*place, &*location) };
        Pool::find_or_add(pool, Home::of_location(location));
    }
    result
}

/// `cuMemPoolDestroy`.
pub(super) fn destroy(call: impl Fn() -> c_int, pool: Handle) -> c_int {
    let known = || Pool::all().filter(|known| known.is_of(pool));
    for pool in known() {
        // Then what is charged is what its blocks need.
        pool.give_up();
    }
    let result = call();
    if result == SUCCESS {
        known().for_each(Pool::orphan);
    }
    result
}

/// Gives up what the pools of a card keep for nothing; whether that was anything.
pub(super) fn trim(account: Account) -> bool {
    let of_card = Pool::all().filter(|pool| pool.is_on(account.card()));
    // Each of them, not only up to the first that had something.
    of_card.filter(|pool| pool.trim(account)).count() > 0
}

/// Blocks of a context that is gone are gone too.
pub(super) fn forget_context(context: u64) {
    BLOCKS.remove_context(context, forget_block);
}

/// In a child, which has no pools.
pub(super) fn forget() {
    BLOCKS.clear();
    known::forget();
}

fn forget_block(block: Held) {
    if let Some(pool) = Pool::at(block.bytes as usize) {
        pool.forget_block();
    }
}

fn own_pool() -> Option<Handle> {
    let mut pool = std::ptr::null_mut();
    let device = cards::current_device()?;
    // SAFETY: the place is ours.
    let result = unsafe { driver::cuDeviceGetMemPool(&mut pool, device) };
    (result == SUCCESS && !pool.is_null()).then_some(pool)
}
