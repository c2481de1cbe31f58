//! Memory pools of stream-ordered allocation, charged by what the driver has reserved for them.
//!
//! A pool keeps what was freed, so blocks say little about what the card has lost. The driver's own
//! figure is read after each call that may change it. Before memory is refused, pools give up what
//! they keep for nothing.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use super::account::{self, Account, NOT_PERMITTED, OUT_OF_MEMORY, SUCCESS, Standing};
use super::driver::{self, Handle};
use super::{capture, cards, state};
use crate::page::CardIndex;

/// CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT.
const RESERVED: c_int = 5;
/// CU_MEMPOOL_ATTR_USED_MEM_CURRENT.
const USED: c_int = 7;
/// CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT.
const GRAPH_RESERVED: c_int = 2;

/// CU_GRAPH_NODE_TYPE_MEM_ALLOC.
const MEMORY_NODE: c_int = 10;

/// Pools that a process may have at one time; blocks of those beyond are counted one by one.
const POOLS: usize = 64;

struct Pool {
    /// The driver's handle; 0 for a free place.
    handle: AtomicU64,
    card: AtomicU64,
    charged: AtomicU64,
}

impl Pool {
    const fn free() -> Self {
        Self { handle: AtomicU64::new(0), card: AtomicU64::new(0), charged: AtomicU64::new(0) }
    }
}

static ALL: [Pool; POOLS] = [const { Pool::free() }; POOLS];
static IS_ANY: AtomicBool = AtomicBool::new(false);

/// What graphs of a device have reserved; by device.
static GRAPHS: [Pool; 64] = [const { Pool::free() }; 64];
static HAS_GRAPH_MEMORY: AtomicBool = AtomicBool::new(false);

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
    let account = match account::current() {
        Standing::Free => return call(),
        Standing::Refused => return NOT_PERMITTED,
        Standing::Counted(account) => account,
    };
    if capture::is_capturing(request.stream) {
        // It becomes part of a graph, and takes memory when that is launched.
        HAS_GRAPH_MEMORY.store(true, SeqCst);
        return call();
    }
    let bytes = request.bytes as u64;
    let pool = request.pool.or_else(own_pool).and_then(|pool| find_or_add(pool, account.card()));
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
    let Some(pool) = pool.filter(|pool| pool.follow(account)) else {
        if reserved == 0 {
            account.count(bytes);
        }
        account.remember(pointer, bytes);
        return SUCCESS;
    };
    account.release(reserved);
    if !account.is_over() || trim(account) && !account.is_over() {
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
    account::free(call, pointer)
}

/// A call after which pools may have given memory back: a wait, a trim, a free.
pub(super) fn followed(call: impl Fn() -> c_int) -> c_int {
    let result = call();
    follow_all();
    result
}

/// `cuMemPoolDestroy`.
pub(super) fn destroy(call: impl Fn() -> c_int, pool: Handle) -> c_int {
    let result = call();
    if result == SUCCESS
        && let Some(pool) = ALL.iter().find(|known| known.handle.load(SeqCst) == pool as u64)
    {
        pool.forget();
    }
    result
}

/// Adding a node of any kind to a graph.
///
/// # Safety
/// The parameters are null, or begin with the kind of the node.
pub(super) unsafe fn note_node(call: impl Fn() -> c_int, parameters: *const c_int) -> c_int {
    // SAFETY: the caller's.
    let takes_memory = !parameters.is_null() && unsafe { *parameters } == MEMORY_NODE;
    if takes_memory { note_graph_memory(call) } else { call() }
}

/// Adding memory to a graph by hand.
pub(super) fn note_graph_memory(call: impl Fn() -> c_int) -> c_int {
    HAS_GRAPH_MEMORY.store(true, SeqCst);
    call()
}

/// Reads what graphs have reserved on the current device, if any graph of this process has memory.
///
/// It is known only once a graph has run, so it is counted afterwards: what comes next is refused.
pub(super) fn follow_graphs() {
    if !HAS_GRAPH_MEMORY.load(SeqCst) || state::phase() != state::Phase::Limited {
        return;
    }
    let Some(device) = cards::current_device() else { return };
    let (Some(pool), Some(card)) = (GRAPHS.get(device as usize), cards::of_device(device)) else {
        return;
    };
    let mut reserved = 0;
    // SAFETY: the place is ours, and of the attribute's kind.
    let result =
        unsafe { driver::cuDeviceGetGraphMemAttribute(device, GRAPH_RESERVED, &mut reserved) };
    if result == SUCCESS
        && let Some(account) = account::of_card(card)
    {
        pool.charge(account, reserved);
    }
}

/// Gives up what the pools of a card keep for nothing; whether that was anything.
pub(super) fn trim(account: Account) -> bool {
    let of_card = |pool: &&Pool| {
        pool.handle.load(SeqCst) != 0 && pool.card.load(SeqCst) == account.card().get() as u64
    };
    if !IS_ANY.load(SeqCst) {
        return false;
    }
    // Each of them, not only up to the first that had something.
    ALL.iter().filter(of_card).filter(|pool| pool.trim(account)).count() > 0
}

/// In a child, which has no pools.
pub(super) fn forget() {
    for pool in ALL.iter().chain(&GRAPHS) {
        pool.charged.store(0, SeqCst);
        pool.handle.store(0, SeqCst);
    }
    IS_ANY.store(false, SeqCst);
    HAS_GRAPH_MEMORY.store(false, SeqCst);
}

fn follow_all() {
    if !IS_ANY.load(SeqCst) {
        return;
    }
    for pool in ALL.iter().filter(|pool| pool.handle.load(SeqCst) != 0) {
        let card = CardIndex::new(pool.card.load(SeqCst) as usize);
        if let Some(account) = card.and_then(account::of_card) {
            pool.follow(account);
        }
    }
    follow_graphs();
}

fn own_pool() -> Option<Handle> {
    let mut pool = std::ptr::null_mut();
    let device = cards::current_device()?;
    // SAFETY: the place is ours.
    let result = unsafe { driver::cuDeviceGetMemPool(&mut pool, device) };
    (result == SUCCESS && !pool.is_null()).then_some(pool)
}

fn find_or_add(handle: Handle, card: CardIndex) -> Option<&'static Pool> {
    let handle = handle as u64;
    if let Some(pool) = ALL.iter().find(|pool| pool.handle.load(SeqCst) == handle) {
        return Some(pool);
    }
    let free = |pool: &&Pool| pool.handle.compare_exchange(0, handle, SeqCst, SeqCst).is_ok();
    let pool = ALL.iter().find(free)?;
    pool.card.store(card.get() as u64, SeqCst);
    IS_ANY.store(true, SeqCst);
    Some(pool)
}

impl Pool {
    fn attribute(&self, attribute: c_int) -> Option<u64> {
        let mut value = 0;
        let handle = self.handle.load(SeqCst) as Handle;
        // SAFETY: the pool was given by the driver or the program, and the place is ours.
        let result = unsafe { driver::cuMemPoolGetAttribute(handle, attribute, &mut value) };
        (result == SUCCESS).then_some(value)
    }

    /// What the pool has reserved and nobody uses.
    fn spare(&self) -> Option<u64> {
        Some(self.attribute(RESERVED)?.saturating_sub(self.attribute(USED)?))
    }

    /// Charges what the pool has reserved now. False if the driver does not say.
    fn follow(&self, account: Account) -> bool {
        let Some(mut reserved) = self.attribute(RESERVED) else { return false };
        self.charge(account, reserved);
        // Another thread may have changed it meanwhile, and charged its own figure before ours.
        for _ in 0..4 {
            match self.attribute(RESERVED) {
                Some(again) if again != reserved => reserved = again,
                _ => break,
            }
            self.charge(account, reserved);
        }
        true
    }

    /// Charges a new figure in place of the old one; of several at once, the sums come out right.
    fn charge(&self, account: Account, reserved: u64) {
        let before = self.charged.swap(reserved, SeqCst);
        if reserved > before {
            account.count(reserved - before);
        } else {
            account.release(before - reserved);
        }
    }

    fn trim(&self, account: Account) -> bool {
        let before = self.charged.load(SeqCst);
        // SAFETY: the pool was given by the driver or the program.
        unsafe { driver::cuMemPoolTrimTo(self.handle.load(SeqCst) as Handle, 0) };
        self.follow(account) && self.charged.load(SeqCst) < before
    }

    /// The pool is gone, and all that was reserved for it.
    fn forget(&self) {
        let card = CardIndex::new(self.card.load(SeqCst) as usize);
        if let Some(account) = card.and_then(account::of_card) {
            self.charge(account, 0);
        }
        self.handle.store(0, SeqCst);
    }
}
