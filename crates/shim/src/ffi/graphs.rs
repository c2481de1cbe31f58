//! Graphs: charged as a whole when they are launched, by what that graph took before.

use std::ffi::c_int;

use super::account::SUCCESS;
use super::driver::{self, Handle};
use super::submit::{self, KERNEL_DEFAULT_NS, Submission, submit};
use super::{graph_memory, state};
use crate::compute::Shape;

/// Tells graphs from kernels, whose functions may have any address.
const GRAPH: u64 = u64::from_le_bytes(*b"a graph.");

/// A call that makes a graph ready: until it has run once, it is taken to cost as much as so many
/// kernels of which nothing is known.
///
/// # Safety
/// The place is one to which the driver writes the handle, and the graph one that it takes.
pub(super) unsafe fn instantiate(
    call: impl Fn() -> c_int,
    place: *mut Handle,
    graph: Handle,
) -> c_int {
    let result = call();
    if result != SUCCESS || place.is_null() || state::phase() != state::Phase::Limited {
        return result;
    }
    let mut nodes = 0;
    // SAFETY: without a place for nodes, only their number is written, to a place of ours.
    let counted = unsafe { driver::cuGraphGetNodes(graph, std::ptr::null_mut(), &mut nodes) };
    let nodes = if counted == SUCCESS { nodes.max(1) as u64 } else { 1 };
    // SAFETY: the caller's; the driver has just written there.
    let ready = unsafe { *place };
    submit::suggest(shape(ready), nodes.saturating_mul(KERNEL_DEFAULT_NS));
    graph_memory::note_ready(ready, graph);
    result
}

/// `cuGraphLaunch`.
pub(super) fn launch(call: impl Fn() -> c_int, graph: Handle, stream: Handle) -> c_int {
    let submission =
        Submission { stream, shape: shape(graph), default_ns: KERNEL_DEFAULT_NS, blocks: None };
    graph_memory::charged(|| submit(&call, submission), graph, stream)
}

fn shape(graph: Handle) -> Shape {
    Shape::of(&[GRAPH, graph as u64])
}
