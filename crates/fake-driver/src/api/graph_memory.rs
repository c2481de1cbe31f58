//! Memory that a graph takes as it runs. The address is there as soon as the node is; the card is
//! charged from the graph's first launch or upload. What was destroyed leaves its memory to the
//! graphs that come, until it is trimmed. Addresses stay until the process ends.

use super::graph::{Exec, Work};
use super::memory::{self, Allocation, AllocationKind};
use super::node;
use super::pool::PoolProps;
use crate::codes::{Code, Outcome, cuda};
use crate::ffi::{List, Out, Region, RegionKind, driver};
use crate::state::{self, Driver, Handle};

/// The driver's `CUDA_MEM_ALLOC_NODE_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct AllocParams {
    pool: PoolProps,
    access: usize,
    access_len: usize,
    bytes: usize,
    address: u64,
}

driver! {
    11040 fn cuGraphAddMemAllocNode(
        node: Out<Handle>,
        graph: Handle,
        dependencies: List<Handle>,
        count: usize,
        params: Out<AllocParams>,
    ) {
        let driver = state::driver()?;
        let wanted = params.get()?;
        let card = driver.check_card(wanted.pool.card()?)?;
        let address = reserve(driver, card, wanted.bytes as u64)?;
        let work = Work::Alloc { card, bytes: wanted.bytes as u64 };
        node::add(node, graph, dependencies.get(count)?, work)?;
        params.set(AllocParams { address, ..wanted })
    }

    11040 fn cuGraphAddMemFreeNode(
        node: Out<Handle>,
        graph: Handle,
        dependencies: List<Handle>,
        count: usize,
        address: u64,
    ) {
        let driver = state::driver()?;
        let held = driver.tables().memory.get(&address).map(|held| held.kind);
        if held != Some(AllocationKind::Graph) {
            return Err(cuda::INVALID_VALUE);
        }
        node::add(node, graph, dependencies.get(count)?, Work::Free)
    }

    11040 fn cuDeviceGraphMemTrim(device: i32) {
        let driver = state::driver()?;
        let card = driver.check_card(device)?;
        let spare = std::mem::take(&mut driver.tables().graph_spare[card]);
        driver.client.credit(card, spare);
        Ok(())
    }

    11040 fn cuDeviceGetGraphMemAttribute(device: i32, attribute: i32, value: Out<u64>) {
        let driver = state::driver()?;
        let card = driver.check_card(device)?;
        let tables = driver.tables();
        let held = tables.execs.values().filter_map(|exec| exec.charged);
        let bytes: u64 = held.filter(|(of, _)| *of == card).map(|(_, bytes)| bytes).sum();
        // Used and reserved, each now and at most; nobody here remembers more than now.
        match attribute {
            0 | 1 => value.set(bytes),
            2 | 3 => value.set(bytes + tables.graph_spare[card]),
            _ => Err(cuda::INVALID_VALUE),
        }
    }
}

/// An address for memory that a graph will take.
pub(crate) fn reserve(driver: &Driver, card: usize, bytes: u64) -> Result<u64, Code> {
    if bytes == 0 {
        return Err(cuda::INVALID_VALUE);
    }
    let region = Region::new(bytes, RegionKind::Usable)?;
    let kind = AllocationKind::Graph;
    let allocation = Allocation { region, bytes, charged: 0, card, context: 0, kind };
    Ok(memory::keep(&mut driver.tables(), allocation))
}

/// Leaves what a graph was charged for to those that come.
pub(crate) fn leave(driver: &Driver, exec: &Exec) {
    if let Some((card, bytes)) = exec.charged {
        driver.tables().graph_spare[card] += bytes;
    }
}

/// Charges a graph that is launched for what its nodes take, once.
pub(crate) fn charge(driver: &Driver, exec: Handle) -> Outcome {
    let wanted = {
        let tables = driver.tables();
        let found = tables.execs.get(&exec).ok_or(cuda::INVALID_VALUE)?;
        if found.charged.is_some() {
            return Ok(());
        }
        let allocs = found.works.iter().filter_map(|(_, work)| {
            if let Work::Alloc { card, bytes } = work { Some((*card, *bytes)) } else { None }
        });
        allocs.reduce(|(card, sum), (_, bytes)| (card, sum.saturating_add(bytes)))
    };
    let Some((card, bytes)) = wanted else { return Ok(()) };
    let spare = {
        let mut tables = driver.tables();
        let spare = tables.graph_spare[card].min(bytes);
        tables.graph_spare[card] -= spare;
        spare
    };
    let charged = match bytes - spare {
        0 => Ok(spare),
        missing => memory::charge(driver, card, missing).map(|charged| charged + spare),
    };
    let mut tables = driver.tables();
    let charged = charged.inspect_err(|_| tables.graph_spare[card] += spare)?;
    match tables.execs.get_mut(&exec) {
        Some(found) => found.charged = Some((card, charged)),
        None => tables.graph_spare[card] += charged,
    }
    Ok(())
}
