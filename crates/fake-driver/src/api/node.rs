//! Nodes of graphs that a program makes one by one.

use super::graph::{self, Node, Work};
use super::launch::{self, Arguments, Shape};
use crate::codes::{Code, Outcome, cuda};
use crate::ffi::{In, List, Out, driver};
use crate::state::{self, Handle};

/// The driver's `CUDA_KERNEL_NODE_PARAMS`; the newer one only has more behind it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct KernelParams {
    function: Handle,
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    arguments: Arguments,
    extra: usize,
}

/// The driver's `CUDA_KERNEL_NODE_PARAMS_v2`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct KernelParamsV2 {
    old: KernelParams,
    kernel: Handle,
    context: Handle,
}

/// The driver's `CUDA_HOST_NODE_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct HostParams {
    function: usize,
    data: usize,
}

/// The driver's `CUDA_MEMSET_NODE_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct FillParams {
    to: u64,
    pitch: usize,
    value: u32,
    element: u32,
    width: usize,
    height: usize,
}

driver! {
    10000 fn cuGraphAddKernelNode(
        node: Out<Handle>,
        graph: Handle,
        dependencies: List<Handle>,
        count: usize,
        params: In<KernelParams>,
    ) {
        add(node, graph, dependencies.get(count)?, kernel_work(&params.get()?)?)
    }

    12000 fn cuGraphAddKernelNode_v2(
        node: Out<Handle>,
        graph: Handle,
        dependencies: List<Handle>,
        count: usize,
        params: In<KernelParamsV2>,
    ) {
        add(node, graph, dependencies.get(count)?, params.get()?.work()?)
    }

    10010 fn cuGraphExecKernelNodeSetParams(exec: Handle, node: Handle, params: In<KernelParams>) {
        replace(exec, node, kernel_work(&params.get()?)?)
    }

    12000 fn cuGraphExecKernelNodeSetParams_v2(
        exec: Handle,
        node: Handle,
        params: In<KernelParamsV2>,
    ) {
        replace(exec, node, params.get()?.work()?)
    }

    10000 fn cuGraphAddHostNode(
        node: Out<Handle>,
        graph: Handle,
        dependencies: List<Handle>,
        count: usize,
        params: In<HostParams>,
    ) {
        let HostParams { function, data } = params.get()?;
        add(node, graph, dependencies.get(count)?, Work::Host { function, data })
    }

    10000 fn cuGraphAddMemsetNode(
        node: Out<Handle>,
        graph: Handle,
        dependencies: List<Handle>,
        count: usize,
        params: In<FillParams>,
        _context: Handle,
    ) {
        let fill = params.get()?;
        let bytes = (fill.width as u64).saturating_mul(fill.height as u64);
        let bytes = bytes.saturating_mul(u64::from(fill.element));
        add(node, graph, dependencies.get(count)?, Work::Copy(bytes))
    }

    10000 fn cuGraphAddEmptyNode(
        node: Out<Handle>,
        graph: Handle,
        dependencies: List<Handle>,
        count: usize,
    ) {
        add(node, graph, dependencies.get(count)?, Work::Nothing)
    }

    10000 fn cuGraphAddChildGraphNode(
        node: Out<Handle>,
        graph: Handle,
        dependencies: List<Handle>,
        count: usize,
        child: Handle,
    ) {
        let works = {
            let driver = state::driver()?;
            let tables = driver.tables();
            graph::works(&tables, child)?
        };
        let works = works.into_iter().map(|(_, work)| work).collect();
        add(node, graph, dependencies.get(count)?, Work::Child(works))
    }

    10000 fn cuGraphNodeGetType(node: Handle, kind: Out<i32>) {
        let driver = state::driver()?;
        let tables = driver.tables();
        kind.set(match tables.nodes.get(&node).ok_or(cuda::INVALID_VALUE)?.work {
            Work::Kernel(_) => 0,
            Work::Copy(_) => 1,
            Work::Host { .. } => 3,
            Work::Child(_) => 4,
            Work::Nothing => 5,
            Work::Await(_) => 6,
            Work::Record(_) => 7,
        })
    }

    10000 fn cuGraphNodeGetDependencies(node: Handle, nodes: List<Handle>, count: Out<usize>) {
        let driver = state::driver()?;
        let tables = driver.tables();
        let held = &tables.nodes.get(&node).ok_or(cuda::INVALID_VALUE)?.dependencies;
        if !nodes.is_null() {
            nodes.set(&held[..count.get()?.min(held.len())])?;
        }
        count.set(held.len())
    }

    10000 fn cuGraphDestroyNode(node: Handle) {
        let driver = state::driver()?;
        let mut tables = driver.tables();
        let gone = tables.nodes.remove(&node).ok_or(cuda::INVALID_VALUE)?;
        if let Some(graph) = tables.graphs.get_mut(&gone.graph) {
            graph.nodes.retain(|held| *held != node);
        }
        Ok(())
    }
}

impl KernelParamsV2 {
    fn work(self) -> Result<Work, Code> {
        let function = if self.old.function == 0 { self.kernel } else { self.old.function };
        kernel_work(&KernelParams { function, ..self.old })
    }
}

fn kernel_work(params: &KernelParams) -> Result<Work, Code> {
    let shape = Shape { grid: params.grid, block: params.block };
    Ok(Work::Kernel(launch::kernel(params.function, &shape, params.arguments)?))
}

fn add(node: Out<Handle>, graph: Handle, dependencies: Vec<Handle>, work: Work) -> Outcome {
    let driver = state::driver()?;
    let mut tables = driver.tables();
    let is_known = |node: &Handle| tables.nodes.get(node).is_some_and(|held| held.graph == graph);
    if !tables.graphs.contains_key(&graph) || !dependencies.iter().all(is_known) {
        return Err(cuda::INVALID_VALUE);
    }
    let handle = tables.new_handle();
    tables.nodes.insert(handle, Node { graph, work, dependencies });
    tables.graphs.entry(graph).or_default().nodes.push(handle);
    node.set(handle)
}

/// Another kernel takes the place of a node's in a graph that can be launched.
fn replace(exec: Handle, node: Handle, work: Work) -> Outcome {
    let driver = state::driver()?;
    let mut tables = driver.tables();
    let held = tables.execs.get_mut(&exec).ok_or(cuda::INVALID_VALUE)?;
    let place = held.works.iter_mut().find(|(handle, _)| *handle == node);
    let (_, old) = place.ok_or(cuda::INVALID_VALUE)?;
    if !matches!(old, Work::Kernel(_)) {
        return Err(cuda::INVALID_VALUE);
    }
    *old = work;
    Ok(())
}
