//! Memory of graphs, charged by what the driver has reserved for all graphs of a device.
//!
//! What a graph takes is known only once it is on the card, so it is counted then, and whatever
//! comes next is refused: another such graph too, as long as the slice holds too much.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use super::account::{self, OUT_OF_MEMORY, SUCCESS, Standing};
use super::driver::{self, Handle};
use super::{capture, cards, state};
use crate::ledger::{FEW, Held, PointerTable};
use crate::page::CardIndex;

/// CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT.
const RESERVED: c_int = 2;

/// Of CUgraphNodeType: nodes that take memory, and those that may hold such nodes.
const MEMORY_NODE: c_int = 10;
const CHILD_NODE: c_int = 4;
const CONDITIONAL_NODE: c_int = 13;

/// What is charged for the graphs of a device; by device.
static CHARGED: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];
static IS_ANY: AtomicBool = AtomicBool::new(false);
/// Graphs made ready that take memory.
static READY: PointerTable<FEW> = PointerTable::new();

/// Adding a node of any kind to a graph.
///
/// # Safety
/// The parameters are null, or begin with the kind of the node.
pub(super) unsafe fn note_node(call: impl Fn() -> c_int, parameters: *const c_int) -> c_int {
    // SAFETY: the caller's.
    let takes_memory = !parameters.is_null() && unsafe { *parameters } == MEMORY_NODE;
    if takes_memory { note(call) } else { call() }
}

/// A call by which a graph comes to take memory.
pub(super) fn note(call: impl Fn() -> c_int) -> c_int {
    IS_ANY.store(true, SeqCst);
    call()
}

/// Remembers whether a graph that was made ready takes memory.
pub(super) fn note_ready(ready: Handle, graph: Handle) {
    if !IS_ANY.load(SeqCst) {
        return;
    }
    if !takes_memory(graph) {
        READY.remove(ready as u64);
    } else if let Some(card) = CardIndex::new(0)
        && READY.insert(ready as u64, Held { card, bytes: 0, context: 0 }).is_err()
    {
        state::count_failure();
    }
}

/// A call that puts a graph on the card: refused if the graph takes memory of a slice that holds
/// too much already.
pub(super) fn charged(call: impl Fn() -> c_int, ready: Handle, stream: Handle) -> c_int {
    if !IS_ANY.load(SeqCst) || state::phase() != state::Phase::Limited {
        return call();
    }
    if READY.get(ready as u64).is_some()
        && !capture::is_capturing(stream)
        && let Standing::Counted(account) = account::current()
        && account.is_over()
    {
        return OUT_OF_MEMORY;
    }
    let result = call();
    follow_current();
    result
}

/// `cuDeviceGraphMemTrim`.
pub(super) fn trimmed(call: impl Fn() -> c_int, device: c_int) -> c_int {
    let result = call();
    follow(device);
    result
}

/// Charges what graphs have reserved now on the current device, if any graph has memory.
pub(super) fn follow_current() {
    if IS_ANY.load(SeqCst)
        && let Some(device) = cards::current_device()
    {
        follow(device);
    }
}

/// In a child, which has no graphs.
pub(super) fn forget() {
    CHARGED.iter().for_each(|charged| charged.store(0, SeqCst));
    IS_ANY.store(false, SeqCst);
    READY.clear();
}

fn follow(device: c_int) {
    if !IS_ANY.load(SeqCst) || state::phase() != state::Phase::Limited {
        return;
    }
    let charged = usize::try_from(device).ok().and_then(|device| CHARGED.get(device));
    let (Some(charged), Some(card)) = (charged, cards::of_device(device)) else { return };
    let mut reserved = 0;
    // SAFETY: the place is ours, and of the attribute's kind.
    let result = unsafe { driver::cuDeviceGetGraphMemAttribute(device, RESERVED, &mut reserved) };
    if result == SUCCESS
        && let Some(account) = account::of_card(card)
    {
        account.replace(charged.swap(reserved, SeqCst), reserved);
    }
}

fn takes_memory(graph: Handle) -> bool {
    let mut count = 0;
    // SAFETY: without a place for nodes, only their number is written, to a place of ours.
    unsafe { driver::cuGraphGetNodes(graph, std::ptr::null_mut(), &mut count) };
    let mut nodes = vec![std::ptr::null_mut(); count];
    // SAFETY: there are as many places as the count says.
    let result = unsafe { driver::cuGraphGetNodes(graph, nodes.as_mut_ptr(), &mut count) };
    // What cannot be seen may take memory.
    result != SUCCESS
        || nodes.into_iter().take(count).any(|node| {
            let mut kind = 0;
            // SAFETY: the node is the driver's, and the place ours.
            let result = unsafe { driver::cuGraphNodeGetType(node, &mut kind) };
            result != SUCCESS || matches!(kind, MEMORY_NODE | CHILD_NODE | CONDITIONAL_NODE)
        })
}
