//! Streams that are being made into graphs, and functions of the host.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::thread::{self, ThreadId};

use cotenant_fake_cards::StreamId;

use super::graph::{Graph, Node, Work};
use super::stream;
use crate::codes::{Code, Outcome, cuda};
use crate::ffi::{self, Out, driver};
use crate::state::{Driver, Handle, Tables};

/// All captures of the process.
#[derive(Debug, Default)]
pub(crate) struct Captures {
    next: u64,
    open: HashMap<u64, Capture>,
    by_stream: HashMap<StreamId, u64>,
    by_event: HashMap<Handle, u64>,
}

#[derive(Debug)]
struct Capture {
    origin: StreamId,
    context: Handle,
    graph: Handle,
    last: Option<Handle>,
    is_invalid: bool,
    mode: i32,
    thread: ThreadId,
}

/// Something of the program that the driver calls.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HostCall {
    Function { function: usize, data: usize },
    Callback { callback: usize, data: usize, stream: Handle },
}

/// How strict a capture is with calls that may not be made meanwhile, and how strict a thread is
/// with its own: towards all threads' captures, its own ones only, or none.
const GLOBAL: i32 = 0;
const RELAXED: i32 = 2;

thread_local! {
    static MODE: std::cell::Cell<i32> = const { std::cell::Cell::new(0) };
}

driver! {
    10000 fn cuStreamBeginCapture(stream: Handle) / cuStreamBeginCapture_ptsz { begin(stream, 0) }

    10010 fn cuStreamBeginCapture_v2(stream: Handle, mode: i32) / cuStreamBeginCapture_v2_ptsz {
        begin(stream, mode)
    }

    10000 fn cuStreamEndCapture(stream: Handle, graph: Out<Handle>) / cuStreamEndCapture_ptsz {
        let target = stream::resolve(stream)?;
        graph.set(target.driver.tables().captures.end(target.id)?)
    }

    10000 fn cuStreamIsCapturing(stream: Handle, status: Out<i32>) / cuStreamIsCapturing_ptsz {
        let target = stream::resolve(stream)?;
        status.set(target.driver.tables().captures.status(target.id).0)
    }

    10010 fn cuStreamGetCaptureInfo(
        stream: Handle,
        status: Out<i32>,
        id: Out<u64>,
    ) / cuStreamGetCaptureInfo_ptsz {
        let target = stream::resolve(stream)?;
        let (is_capturing, number) = target.driver.tables().captures.status(target.id);
        id.set_if_wanted(number);
        status.set(is_capturing)
    }

    11030 fn cuStreamGetCaptureInfo_v2(
        stream: Handle,
        status: Out<i32>,
        id: Out<u64>,
        graph: Out<Handle>,
        dependencies: Out<usize>,
        dependencies_len: Out<usize>,
    ) / cuStreamGetCaptureInfo_v2_ptsz {
        dependencies.set_if_wanted(0);
        dependencies_len.set_if_wanted(0);
        info(stream, status, id, graph)
    }

    12030 fn cuStreamGetCaptureInfo_v3(
        stream: Handle,
        status: Out<i32>,
        id: Out<u64>,
        graph: Out<Handle>,
        dependencies: Out<usize>,
        edges: Out<usize>,
        dependencies_len: Out<usize>,
    ) / cuStreamGetCaptureInfo_v3_ptsz {
        dependencies.set_if_wanted(0);
        edges.set_if_wanted(0);
        dependencies_len.set_if_wanted(0);
        info(stream, status, id, graph)
    }

    10010 fn cuThreadExchangeStreamCaptureMode(mode: Out<i32>) {
        let wanted = mode.get()?;
        if !(0..=2).contains(&wanted) {
            return Err(cuda::INVALID_VALUE);
        }
        mode.set(MODE.replace(wanted))
    }
}

fn begin(stream: Handle, mode: i32) -> Outcome {
    if !(0..=2).contains(&mode) {
        return Err(cuda::INVALID_VALUE);
    }
    let target = stream::resolve(stream)?;
    if target.is_legacy {
        return Err(cuda::STREAM_CAPTURE_UNSUPPORTED);
    }
    let mut tables = target.driver.tables();
    if tables.captures.is_capturing(target.id) {
        return Err(cuda::ILLEGAL_STATE);
    }
    let graph = tables.new_handle();
    tables.graphs.insert(graph, Graph::default());
    let captures = &mut tables.captures;
    captures.next += 1;
    let (id, origin, context) = (captures.next, target.id, target.context);
    captures.by_stream.insert(origin, id);
    let (last, is_invalid, thread) = (None, false, thread::current().id());
    let capture = Capture { origin, context, graph, last, is_invalid, mode, thread };
    captures.open.insert(id, capture);
    Ok(())
}

fn info(stream: Handle, status: Out<i32>, id: Out<u64>, graph: Out<Handle>) -> Outcome {
    let target = stream::resolve(stream)?;
    let tables = target.driver.tables();
    let (is_capturing, number) = tables.captures.status(target.id);
    id.set_if_wanted(number);
    graph.set_if_wanted(tables.captures.open.get(&number).map_or(0, |capture| capture.graph));
    status.set(is_capturing)
}

/// Adds work to the graph that a stream is being made into.
pub(crate) fn add(tables: &mut Tables, stream: StreamId, work: Work) -> Outcome {
    let handle = tables.new_handle();
    let id = tables.captures.by_stream.get(&stream).copied().ok_or(cuda::ILLEGAL_STATE)?;
    let capture = tables.captures.open.get_mut(&id).ok_or(cuda::ILLEGAL_STATE)?;
    if capture.is_invalid {
        return Err(cuda::STREAM_CAPTURE_INVALIDATED);
    }
    // An event within a capture is an edge of the graph and no node.
    if matches!(work, Work::Record(_) | Work::Await(_)) {
        return Ok(());
    }
    let graph = capture.graph;
    let dependencies = capture.last.replace(handle).into_iter().collect();
    tables.nodes.insert(handle, Node { graph, work, dependencies });
    if let Some(graph) = tables.graphs.get_mut(&graph) {
        graph.nodes.push(handle);
    }
    Ok(())
}

impl Captures {
    pub(crate) fn is_capturing(&self, stream: StreamId) -> bool {
        self.by_stream.contains_key(&stream)
    }

    /// A call that captures forbid, from this thread: those that do are spoilt.
    pub(crate) fn refuse_unsafe(&mut self) -> Outcome {
        let (own, mode) = (thread::current().id(), MODE.get());
        let mut outcome = Ok(());
        for capture in self.open.values_mut().filter(|_| mode != RELAXED) {
            let is_forbidden = match capture.thread == own {
                true => capture.mode != RELAXED,
                false => mode == GLOBAL && capture.mode == GLOBAL,
            };
            if is_forbidden {
                capture.is_invalid = true;
                outcome = Err(cuda::STREAM_CAPTURE_UNSUPPORTED);
            }
        }
        outcome
    }

    /// Whether a capture goes on in a context.
    pub(crate) fn are_open_in(&self, context: Handle) -> bool {
        self.open.values().any(|capture| capture.context == context && !capture.is_invalid)
    }

    /// Spoils every capture of a context.
    pub(crate) fn invalidate(&mut self, context: Handle) {
        for capture in self.open.values_mut().filter(|capture| capture.context == context) {
            capture.is_invalid = true;
        }
    }

    pub(crate) fn has_event(&self, event: Handle) -> bool {
        self.by_event.contains_key(&event)
    }

    /// An event that is recorded in a captured stream belongs to the capture, any other does not.
    pub(crate) fn note_event(&mut self, stream: StreamId, event: Handle) {
        match self.by_stream.get(&stream) {
            Some(id) => drop(self.by_event.insert(event, *id)),
            None => drop(self.by_event.remove(&event)),
        }
    }

    /// A stream that waits for an event of a capture is captured too; says whether it is so.
    pub(crate) fn join(&mut self, stream: StreamId, event: Handle) -> Result<bool, Code> {
        let Some(&id) = self.by_event.get(&event) else { return Ok(false) };
        match self.by_stream.insert(stream, id) {
            Some(other) if other != id => Err(cuda::STREAM_CAPTURE_MERGE),
            Some(_) | None => Ok(true),
        }
    }

    pub(crate) fn forget_event(&mut self, event: Handle) {
        self.by_event.remove(&event);
    }

    pub(crate) fn forget_stream(&mut self, stream: StreamId) {
        self.by_stream.remove(&stream);
    }

    /// None, active or spoilt, and the capture's number.
    fn status(&self, stream: StreamId) -> (i32, u64) {
        let id = self.by_stream.get(&stream).copied().unwrap_or(0);
        match self.open.get(&id) {
            None => (0, 0),
            Some(capture) => (if capture.is_invalid { 2 } else { 1 }, id),
        }
    }

    /// Ends a capture; gives its graph.
    fn end(&mut self, stream: StreamId) -> Result<Handle, Code> {
        let id = self.by_stream.get(&stream).copied().ok_or(cuda::ILLEGAL_STATE)?;
        if self.open.get(&id).is_none_or(|capture| capture.origin != stream) {
            return Err(cuda::STREAM_CAPTURE_UNMATCHED);
        }
        let capture = self.open.remove(&id).ok_or(cuda::ILLEGAL_STATE)?;
        self.by_stream.retain(|_, other| *other != id);
        self.by_event.retain(|_, other| *other != id);
        match capture.is_invalid {
            true => Err(cuda::STREAM_CAPTURE_INVALIDATED),
            false => Ok(capture.graph),
        }
    }
}

/// Keeps a function of the host until its turn comes.
pub(crate) fn keep_host_function(driver: &'static Driver, function: usize, data: usize) -> u64 {
    keep(driver, HostCall::Function { function, data })
}

/// Keeps a callback with its data and the stream that it is told of.
pub(crate) fn keep_callback(driver: &'static Driver, parts: [usize; 3]) -> u64 {
    let [callback, data, stream] = parts;
    keep(driver, HostCall::Callback { callback, data, stream })
}

/// Keeps a call, and a thread that makes such calls.
fn keep(driver: &'static Driver, called: HostCall) -> u64 {
    static CALLER: OnceLock<()> = OnceLock::new();
    CALLER.get_or_init(|| {
        // The thread ends with the process.
        drop(thread::spawn(move || {
            loop {
                call_host_functions(driver);
                driver.client.sleep_until_changed();
            }
        }));
    });
    let mut tables = driver.tables();
    let number = tables.new_handle() as u64;
    tables.host_functions.insert(number, called);
    number
}

/// Calls the functions of the host whose turn has come.
pub(crate) fn call_host_functions(driver: &Driver) {
    while let Some((stream, number)) = driver.client.host_due() {
        let kept = driver.tables().host_functions.remove(&number);
        // Another thread is calling it now.
        match kept {
            None => return,
            Some(HostCall::Function { function, data }) => ffi::call_host_function(function, data),
            Some(HostCall::Callback { callback, data, stream }) => {
                ffi::call_callback(callback, stream, data);
            }
        }
        driver.client.host_called(stream);
    }
}
