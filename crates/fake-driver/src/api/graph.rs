//! Graphs that can be launched. The nodes of one run one after another, in the order in which they
//! were added.

use std::collections::HashMap;

use cotenant_fake_cards::{EventId, Kernel};

use super::{graph_memory, stream};
use crate::codes::{Code, Outcome, cuda};
use crate::ffi::{List, Out, TextOut, driver};
use crate::state::{self, Handle, Tables};

/// Something that a stream can do, or a node of a graph.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    Kernel(Kernel),
    /// So many bytes.
    Copy(u64),
    Record(EventId),
    Await(EventId),
    Host {
        function: usize,
        data: usize,
    },
    Child(Vec<Work>),
    /// Memory that was charged before.
    Alloc {
        card: usize,
        bytes: u64,
    },
    Free,
    Nothing,
}

/// A graph that is being made.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Handle>,
}

/// A node of a graph.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) graph: Handle,
    pub(crate) work: Work,
    pub(crate) dependencies: Vec<Handle>,
}

/// A graph that can be launched: what it does, by node.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) works: Vec<(Handle, Work)>,
    flags: u64,
    /// What its nodes take of a card, once it was launched.
    pub(crate) charged: Option<(usize, u64)>,
}

/// The driver's `CUDA_GRAPH_INSTANTIATE_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct InstantiateParams {
    flags: u64,
    stream: Handle,
    failed_node: Handle,
    result: i32,
}

driver! {
    10000 fn cuGraphCreate(graph: Out<Handle>, flags: u32) {
        let driver = state::driver()?;
        if flags != 0 {
            return Err(cuda::INVALID_VALUE);
        }
        let mut tables = driver.tables();
        let handle = tables.new_handle();
        tables.graphs.insert(handle, Graph::default());
        graph.set(handle)
    }

    10000 fn cuGraphDestroy(graph: Handle) {
        let driver = state::driver()?;
        let mut tables = driver.tables();
        tables.graphs.remove(&graph).ok_or(cuda::INVALID_VALUE)?;
        tables.nodes.retain(|_, node| node.graph != graph);
        Ok(())
    }

    10000 fn cuGraphClone(clone: Out<Handle>, graph: Handle) {
        let driver = state::driver()?;
        let mut tables = driver.tables();
        let nodes = tables.graphs.get(&graph).ok_or(cuda::INVALID_VALUE)?.nodes.clone();
        let made = tables.new_handle();
        let mut copies = HashMap::new();
        for node in nodes {
            let copy = tables.new_handle();
            let Some(mut content) = tables.nodes.get(&node).cloned() else { continue };
            content.graph = made;
            for dependency in &mut content.dependencies {
                *dependency = copies.get(dependency).copied().unwrap_or(*dependency);
            }
            copies.insert(node, copy);
            tables.nodes.insert(copy, content);
            tables.graphs.entry(made).or_default().nodes.push(copy);
        }
        tables.graphs.entry(made).or_default();
        clone.set(made)
    }

    10000 fn cuGraphGetNodes(graph: Handle, nodes: List<Handle>, count: Out<usize>) {
        let driver = state::driver()?;
        let tables = driver.tables();
        let held = &tables.graphs.get(&graph).ok_or(cuda::INVALID_VALUE)?.nodes;
        if !nodes.is_null() {
            let room = count.get()?.min(held.len());
            nodes.set(&held[..room])?;
        }
        count.set(held.len())
    }

    10000 fn cuGraphInstantiate(
        exec: Out<Handle>,
        graph: Handle,
        _failed: Out<Handle>,
        _log: TextOut,
        _room: usize,
    ) {
        instantiate(exec, graph, 0)
    }

    11000 fn cuGraphInstantiate_v2(
        exec: Out<Handle>,
        graph: Handle,
        _failed: Out<Handle>,
        _log: TextOut,
        _room: usize,
    ) {
        instantiate(exec, graph, 0)
    }

    11040 fn cuGraphInstantiateWithFlags(exec: Out<Handle>, graph: Handle, flags: u64) {
        instantiate(exec, graph, flags)
    }

    12000 fn cuGraphInstantiateWithParams(
        exec: Out<Handle>,
        graph: Handle,
        params: Out<InstantiateParams>,
    ) / cuGraphInstantiateWithParams_ptsz {
        let wanted = params.get()?;
        instantiate(exec, graph, wanted.flags)?;
        params.set(InstantiateParams { failed_node: 0, result: 0, ..wanted })
    }

    12000 fn cuGraphExecGetFlags(exec: Handle, flags: Out<u64>) {
        let driver = state::driver()?;
        flags.set(driver.tables().execs.get(&exec).ok_or(cuda::INVALID_VALUE)?.flags)
    }

    11010 fn cuGraphUpload(exec: Handle, stream: Handle) / cuGraphUpload_ptsz {
        graph_memory::charge(stream::resolve(stream)?.driver, exec)
    }

    10000 fn cuGraphLaunch(exec: Handle, stream: Handle) / cuGraphLaunch_ptsz {
        let target = stream::resolve(stream)?;
        let works: Vec<Work> = {
            let tables = target.driver.tables();
            let found = tables.execs.get(&exec).ok_or(cuda::INVALID_VALUE)?;
            found.works.iter().map(|(_, work)| work.clone()).collect()
        };
        graph_memory::charge(target.driver, exec)?;
        stream::submit(&target, Work::Child(works))
    }

    10000 fn cuGraphExecDestroy(exec: Handle) {
        let driver = state::driver()?;
        let gone = driver.tables().execs.remove(&exec).ok_or(cuda::INVALID_VALUE)?;
        graph_memory::leave(driver, &gone);
        Ok(())
    }

    10020 fn cuGraphExecUpdate(
        exec: Handle,
        graph: Handle,
        _failed: Out<Handle>,
        result: Out<i32>,
    ) {
        update(exec, graph)?;
        result.set(0)
    }

    12000 fn cuGraphExecUpdate_v2(exec: Handle, graph: Handle, result: Out<i32>) {
        update(exec, graph)?;
        result.set(0)
    }
}

fn instantiate(exec: Out<Handle>, graph: Handle, flags: u64) -> Outcome {
    let driver = state::driver()?;
    let mut tables = driver.tables();
    let works = works(&tables, graph)?;
    let handle = tables.new_handle();
    tables.execs.insert(handle, Exec { works, flags, charged: None });
    exec.set(handle)
}

/// What a graph does, by node.
pub(crate) fn works(tables: &Tables, graph: Handle) -> Result<Vec<(Handle, Work)>, Code> {
    let graph = tables.graphs.get(&graph).ok_or(cuda::INVALID_VALUE)?;
    let nodes = graph.nodes.iter().filter_map(|node| Some((*node, tables.nodes.get(node)?)));
    Ok(nodes.map(|(handle, node)| (handle, node.work.clone())).collect())
}

/// A graph of the same shape takes the place of the one before.
fn update(exec: Handle, graph: Handle) -> Outcome {
    const UPDATE_FAILURE: Code = Code(910);
    let driver = state::driver()?;
    let mut tables = driver.tables();
    let new = works(&tables, graph)?;
    let held = tables.execs.get_mut(&exec).ok_or(cuda::INVALID_VALUE)?;
    let is_alike =
        held.works.len() == new.len()
            && held.works.iter().zip(&new).all(|((_, old), (_, new))| {
                std::mem::discriminant(old) == std::mem::discriminant(new)
            });
    if !is_alike {
        return Err(UPDATE_FAILURE);
    }
    for ((_, old), (_, new)) in held.works.iter_mut().zip(new) {
        *old = new;
    }
    Ok(())
}
