//! Memory of cards and of the host.

use cotenant_fake_cards::Refused;

use super::{context, device};
use crate::codes::{Code, Outcome, cuda};
use crate::ffi::{Out, Region, RegionKind, driver};
use crate::state::{self, Driver, Handle, Tables};

/// What a row of a pitched allocation is rounded up to.
const PITCH: u64 = 512;

/// Memory of a card that has an address.
#[derive(Debug)]
pub(crate) struct Allocation {
    pub(crate) region: Region,
    pub(crate) bytes: u64,
    /// What it takes of the card.
    pub(crate) charged: u64,
    pub(crate) card: usize,
    pub(crate) context: Handle,
    pub(crate) kind: AllocationKind,
}

/// Where an allocation comes from, and so how it goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AllocationKind {
    Device,
    Managed,
    /// Of a pool, which is charged in its place.
    Pooled(Handle),
    /// Memory of another process, which is charged for it.
    Imported,
    /// Variables of a module.
    Module,
    /// Memory that graphs take, which are charged in its place.
    Graph,
}

/// Memory of the host that the driver knows.
#[derive(Debug)]
pub(crate) struct HostMemory {
    /// `None` if it is the program's own, which was registered.
    region: Option<Region>,
    bytes: u64,
    flags: u32,
}

driver! {
    2000 fn cuMemAlloc(address: Out<u32>, bytes: u32) {
        // Addresses of 32 bits are none of this machine's.
        if address.is_null() || bytes == 0 { Err(cuda::INVALID_VALUE) } else { Err(cuda::OUT_OF_MEMORY) }
    }

    3020 fn cuMemAlloc_v2(address: Out<u64>, bytes: usize) {
        address.set(allocate(bytes as u64, AllocationKind::Device)?)
    }

    3020 fn cuMemAllocPitch_v2(
        address: Out<u64>,
        pitch: Out<usize>,
        width: usize,
        height: usize,
        element: u32,
    ) {
        if width == 0 || height == 0 || !matches!(element, 4 | 8 | 16) {
            return Err(cuda::INVALID_VALUE);
        }
        let row = (width as u64).checked_next_multiple_of(PITCH).ok_or(cuda::INVALID_VALUE)?;
        let bytes = row.checked_mul(height as u64).ok_or(cuda::INVALID_VALUE)?;
        address.set(allocate(bytes, AllocationKind::Device)?)?;
        pitch.set(row as usize)
    }

    6000 fn cuMemAllocManaged(address: Out<u64>, bytes: usize, flags: u32) {
        if !matches!(flags, 1 | 2 | 4) {
            return Err(cuda::INVALID_VALUE);
        }
        address.set(allocate(bytes as u64, AllocationKind::Managed)?)
    }

    2000 fn cuMemFree(_address: u32) { Err(cuda::INVALID_VALUE) }

    3020 fn cuMemFree_v2(address: u64) { free(address) }

    2000 fn cuMemGetInfo(free: Out<u32>, total: Out<u32>) {
        let facts = device::facts(context::current()?.card as i32)?;
        let left = facts.memory_bytes.saturating_sub(facts.used_bytes);
        free.set(u32::try_from(left).unwrap_or(u32::MAX))?;
        total.set(u32::try_from(facts.memory_bytes).unwrap_or(u32::MAX))
    }

    3020 fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) {
        let current = context::current()?;
        current.driver.check_card(current.card as i32)?;
        let facts = device::facts(current.card as i32)?;
        free.set_if_wanted(facts.memory_bytes.saturating_sub(facts.used_bytes) as usize);
        total.set_if_wanted(facts.memory_bytes as usize);
        Ok(())
    }

    3020 fn cuMemGetAddressRange_v2(base: Out<u64>, bytes: Out<usize>, address: u64) {
        let driver = state::driver()?;
        let tables = driver.tables();
        let found = tables.memory.range(..=address).next_back();
        let found = found.filter(|(start, held)| address - **start < held.bytes);
        let (start, held) = found.ok_or(cuda::INVALID_VALUE)?;
        base.set_if_wanted(*start);
        bytes.set_if_wanted(held.bytes as usize);
        Ok(())
    }

    2020 fn cuMemHostAlloc(address: Out<usize>, bytes: usize, flags: u32) {
        allocate_host(address, bytes, flags)
    }

    3020 fn cuMemAllocHost_v2(address: Out<usize>, bytes: usize) {
        allocate_host(address, bytes, 0)
    }

    2000 fn cuMemFreeHost(address: usize) {
        let driver = state::driver()?;
        let mut tables = driver.tables();
        let held = tables.host_memory.get(&(address as u64)).ok_or(cuda::INVALID_VALUE)?;
        if held.region.is_none() {
            return Err(cuda::INVALID_VALUE);
        }
        tables.host_memory.remove(&(address as u64));
        Ok(())
    }

    4000 fn cuMemHostRegister(address: usize, bytes: usize, flags: u32) {
        register(address, bytes, flags)
    }

    6050 fn cuMemHostRegister_v2(address: usize, bytes: usize, flags: u32) {
        register(address, bytes, flags)
    }

    4000 fn cuMemHostUnregister(address: usize) {
        let driver = state::driver()?;
        let mut tables = driver.tables();
        let held = tables.host_memory.get(&(address as u64));
        if held.is_none_or(|held| held.region.is_some()) {
            return Err(cuda::HOST_MEMORY_NOT_REGISTERED);
        }
        tables.host_memory.remove(&(address as u64));
        Ok(())
    }

    3020 fn cuMemHostGetDevicePointer_v2(address: Out<u64>, host: usize, _flags: u32) {
        let driver = state::driver()?;
        let tables = driver.tables();
        find_host(&tables, host as u64).ok_or(cuda::INVALID_VALUE)?;
        address.set(host as u64)
    }

    2030 fn cuMemHostGetFlags(flags: Out<u32>, host: usize) {
        let driver = state::driver()?;
        let tables = driver.tables();
        flags.set(find_host(&tables, host as u64).ok_or(cuda::INVALID_VALUE)?.1.flags)
    }

    8000 fn cuMemAdvise(address: u64, bytes: usize, _advice: i32, _device: i32) {
        managed_range(address, bytes)
    }

    4000 fn cuPointerGetAttribute(value: usize, attribute: i32, address: u64) {
        pointer_attribute(value, attribute, address)
    }
}

/// Takes memory of the current card.
fn allocate(bytes: u64, kind: AllocationKind) -> Result<u64, Code> {
    let current = context::current()?;
    if bytes == 0 {
        return Err(cuda::INVALID_VALUE);
    }
    let charged = charge(current.driver, current.card, bytes)?;
    let taken = Region::new(bytes, RegionKind::Usable);
    let region = taken.inspect_err(|_| current.driver.client.credit(current.card, charged))?;
    let (card, context) = (current.card, current.context);
    let allocation = Allocation { region, bytes, charged, card, context, kind };
    Ok(keep(&mut current.driver.tables(), allocation))
}

/// Takes memory of a card; where it is short, pools give back what they do not need.
pub(crate) fn charge(driver: &Driver, card: usize, bytes: u64) -> Result<u64, Code> {
    match driver.client.charge(card, bytes) {
        Err(Refused::NoRoom) => {
            super::pool::trim_all(driver, card);
            Ok(driver.client.charge(card, bytes)?)
        }
        charged => Ok(charged?),
    }
}

/// Keeps an allocation under its address.
pub(crate) fn keep(tables: &mut Tables, allocation: Allocation) -> u64 {
    let address = allocation.region.address();
    tables.memory.insert(address, allocation);
    address
}

fn free(address: u64) -> Outcome {
    if address == 0 {
        return Ok(());
    }
    let driver = state::driver()?;
    let (context, kind) = {
        let tables = driver.tables();
        let held = tables.memory.get(&address).ok_or(cuda::INVALID_VALUE)?;
        (held.context, held.kind)
    };
    match kind {
        AllocationKind::Imported | AllocationKind::Module | AllocationKind::Graph => {
            return Err(cuda::INVALID_VALUE);
        }
        AllocationKind::Device | AllocationKind::Managed | AllocationKind::Pooled(_) => {}
    }
    // As the real one does, this waits for what may still use the memory.
    let streams = context::streams_of(&driver.tables(), context);
    for stream in streams {
        driver.client.wait_for_stream(stream)?;
    }
    release(driver, &mut driver.tables(), address);
    Ok(())
}

/// Gives an allocation back to where it came from.
pub(crate) fn release(driver: &Driver, tables: &mut Tables, address: u64) {
    let Some(held) = tables.memory.remove(&address) else { return };
    match held.kind {
        AllocationKind::Pooled(pool) => super::pool::give_back(driver, tables, pool, held.charged),
        AllocationKind::Device | AllocationKind::Managed | AllocationKind::Module => {
            driver.client.credit(held.card, held.charged);
        }
        AllocationKind::Imported | AllocationKind::Graph => {}
    }
}

/// Gives back all that was allocated in a context.
pub(crate) fn free_all(driver: &Driver, tables: &mut Tables, context: Handle) {
    let held = tables.memory.iter().filter(|(_, held)| held.context == context);
    let addresses: Vec<u64> = held.map(|(address, _)| *address).collect();
    for address in addresses {
        release(driver, tables, address);
    }
}

/// Whether a range is memory that a card may reach.
pub(crate) fn check_range(tables: &Tables, address: u64, bytes: usize) -> Outcome {
    let is_inside = |start: u64, held: u64| {
        address >= start && (bytes as u64) <= held.saturating_sub(address - start)
    };
    let own = tables.memory.range(..=address).next_back();
    let is_own = own.is_some_and(|(start, held)| is_inside(*start, held.bytes));
    let is_host =
        find_host(tables, address).is_some_and(|(start, held)| is_inside(start, held.bytes));
    match is_own || is_host || super::vmm::is_mapped(tables, address, bytes as u64) {
        true => Ok(()),
        false => Err(cuda::INVALID_VALUE),
    }
}

fn find_host(tables: &Tables, address: u64) -> Option<(u64, &HostMemory)> {
    let (start, held) = tables.host_memory.range(..=address).next_back()?;
    (address - start < held.bytes).then_some((*start, held))
}

fn allocate_host(address: Out<usize>, bytes: usize, flags: u32) -> Outcome {
    let current = context::current()?;
    if bytes == 0 || flags > 7 {
        return Err(cuda::INVALID_VALUE);
    }
    let region = Region::new(bytes as u64, RegionKind::Usable)?;
    let start = region.address();
    let held = HostMemory { region: Some(region), bytes: bytes as u64, flags };
    current.driver.tables().host_memory.insert(start, held);
    address.set(start as usize)
}

fn register(address: usize, bytes: usize, flags: u32) -> Outcome {
    let current = context::current()?;
    if address == 0 || bytes == 0 {
        return Err(cuda::INVALID_VALUE);
    }
    let mut tables = current.driver.tables();
    if find_host(&tables, address as u64).is_some() {
        return Err(cuda::HOST_MEMORY_ALREADY_REGISTERED);
    }
    let held = HostMemory { region: None, bytes: bytes as u64, flags };
    tables.host_memory.insert(address as u64, held);
    Ok(())
}

fn managed_range(address: u64, bytes: usize) -> Outcome {
    let driver = state::driver()?;
    let tables = driver.tables();
    let held = tables.memory.range(..=address).next_back();
    let is_managed = held.is_some_and(|(start, held)| {
        held.kind == AllocationKind::Managed && address - start + bytes as u64 <= held.bytes
    });
    if is_managed { Ok(()) } else { Err(cuda::INVALID_VALUE) }
}

/// The attributes by which runtimes and allocators tell memory apart; others are not supported.
fn pointer_attribute(value: usize, attribute: i32, address: u64) -> Outcome {
    const HOST: u32 = 1;
    const DEVICE: u32 = 2;
    let driver = state::driver()?;
    let tables = driver.tables();
    let held = tables.memory.range(..=address).next_back();
    let held = held.filter(|(start, held)| address - **start < held.bytes);
    let host = find_host(&tables, address);
    if held.is_none() && host.is_none() {
        return Err(cuda::INVALID_VALUE);
    }
    let card = held.map_or(0, |(_, held)| held.card);
    let is_managed = held.is_some_and(|(_, held)| held.kind == AllocationKind::Managed);
    match attribute {
        1 => Out::at(value).set(held.map_or(0, |(_, held)| held.context)),
        2 => Out::at(value).set(if held.is_some() { DEVICE } else { HOST }),
        3 => Out::at(value).set(address),
        4 if host.is_some() || is_managed => Out::at(value).set(address),
        8 => Out::at(value).set(u32::from(is_managed)),
        9 => Out::at(value).set(card as i32),
        11 => {
            let host = host.map(|(start, _)| start);
            Out::at(value).set(held.map(|(start, _)| *start).or(host).unwrap_or(address))
        }
        12 => {
            let host = host.map(|(_, held)| held.bytes);
            Out::at(value).set(held.map(|(_, held)| held.bytes).or(host).unwrap_or(0) as usize)
        }
        13 => Out::at(value).set(1u8),
        _ => Err(cuda::NOT_SUPPORTED),
    }
}
