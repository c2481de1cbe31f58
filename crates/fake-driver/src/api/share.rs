//! Memory of another process, by a handle of 64 bytes. Who opens it is not charged; what it finds
//! there is not what the other process wrote.

use super::context;
use super::memory::{self, Allocation, AllocationKind};
use crate::codes::{Outcome, cuda};
use crate::ffi::{Out, Region, RegionKind, driver};
use crate::state;

/// The driver's `CUipcMemHandle`, and what is in it here.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct MemHandle {
    mark: u64,
    pid: u64,
    address: u64,
    bytes: u64,
    card: u64,
    rest: [u64; 3],
}

const MARK: u64 = 0x6661_6b65_2069_7063;

driver! {
    4010 fn cuIpcGetMemHandle(handle: Out<MemHandle>, address: u64) {
        let driver = state::driver()?;
        let tables = driver.tables();
        let held = tables.memory.range(..=address).next_back();
        let held = held.filter(|(start, held)| address - **start < held.bytes);
        let (start, held) = held.ok_or(cuda::INVALID_VALUE)?;
        // Neither managed memory nor what a pool holds can be given away so.
        if held.kind != AllocationKind::Device {
            return Err(cuda::INVALID_VALUE);
        }
        let pid = u64::from(std::process::id());
        let (bytes, card) = (held.bytes, held.card as u64);
        handle.set(MemHandle { mark: MARK, pid, address: *start, bytes, card, rest: [0; 3] })
    }

    4010 fn cuIpcOpenMemHandle(address: Out<u64>, handle: MemHandle, flags: u32) {
        open(address, &handle, flags)
    }

    11000 fn cuIpcOpenMemHandle_v2(address: Out<u64>, handle: MemHandle, flags: u32) {
        open(address, &handle, flags)
    }

    4010 fn cuIpcCloseMemHandle(address: u64) {
        let driver = state::driver()?;
        let mut tables = driver.tables();
        let held = tables.memory.get(&address).ok_or(cuda::INVALID_VALUE)?;
        if held.kind != AllocationKind::Imported {
            return Err(cuda::INVALID_VALUE);
        }
        tables.memory.remove(&address);
        Ok(())
    }
}

fn open(address: Out<u64>, handle: &MemHandle, flags: u32) -> Outcome {
    let current = context::current()?;
    let pid = u32::try_from(handle.pid).ok().filter(|_| handle.mark == MARK);
    let Some(pid) = pid.filter(|_| flags == 1) else { return Err(cuda::INVALID_VALUE) };
    // A process cannot open what is its own.
    if pid == std::process::id() {
        return Err(cuda::INVALID_CONTEXT);
    }
    let owner = current.driver.client.cards().process(pid);
    if owner.is_none_or(|owner| !owner.is_alive) {
        return Err(cuda::INVALID_VALUE);
    }
    let card = current.driver.check_card(handle.card as i32)?;
    let region = Region::new(handle.bytes, RegionKind::Usable)?;
    let (bytes, kind) = (handle.bytes, AllocationKind::Imported);
    let context = current.context;
    let allocation = Allocation { region, bytes, charged: 0, card, context, kind };
    address.set(memory::keep(&mut current.driver.tables(), allocation))
}
