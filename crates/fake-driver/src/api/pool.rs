//! Pools: memory that streams take and give in their order. A card is charged for what a pool has
//! reserved, not for what was taken of it.

use super::memory::{self, Allocation, AllocationKind};
use super::{context, stream};
use crate::codes::{Code, Outcome, cuda};
use crate::ffi::{In, Out, Region, RegionKind, driver};
use crate::state::{self, Driver, Handle, Tables};

/// A pool.
#[derive(Debug)]
pub(crate) struct Pool {
    card: usize,
    /// What it may reserve at most; 0 if there is no limit.
    bytes_max: u64,
    reserved: u64,
    reserved_high: u64,
    used: u64,
    used_high: u64,
    /// What it keeps when it is not needed.
    threshold: u64,
}

/// The driver's `CUmemPoolProps`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct PoolProps {
    kind: i32,
    handle_types: i32,
    location_kind: i32,
    location: i32,
    security: usize,
    bytes_max: usize,
    rest: [u8; 56],
}

const PINNED: i32 = 1;
const ON_DEVICE: i32 = 1;

driver! {
    11020 fn cuMemAllocAsync(
        address: Out<u64>,
        bytes: usize,
        stream: Handle,
    ) / cuMemAllocAsync_ptsz {
        let target = stream::resolve(stream)?;
        let pool = current_pool(&mut target.driver.tables(), target.card);
        allocate(address, bytes, pool, &target)
    }

    11020 fn cuMemAllocFromPoolAsync(
        address: Out<u64>,
        bytes: usize,
        pool: Handle,
        stream: Handle,
    ) / cuMemAllocFromPoolAsync_ptsz {
        allocate(address, bytes, pool, &stream::resolve(stream)?)
    }

    11020 fn cuMemFreeAsync(address: u64, stream: Handle) / cuMemFreeAsync_ptsz {
        let target = stream::resolve(stream)?;
        let mut tables = target.driver.tables();
        let held = tables.memory.get(&address).ok_or(cuda::INVALID_VALUE)?;
        match held.kind {
            AllocationKind::Imported | AllocationKind::Module => return Err(cuda::INVALID_VALUE),
            AllocationKind::Device | AllocationKind::Managed | AllocationKind::Pooled(_) => {}
        }
        memory::release(target.driver, &mut tables, address);
        Ok(())
    }

    11020 fn cuMemPoolCreate(pool: Out<Handle>, props: In<PoolProps>) {
        let driver = state::driver()?;
        let props = props.get()?;
        if props.kind != PINNED || props.location_kind != ON_DEVICE {
            return Err(cuda::INVALID_VALUE);
        }
        let card = driver.check_card(props.location)?;
        let mut tables = driver.tables();
        pool.set(open(&mut tables, card, props.bytes_max as u64))
    }

    11020 fn cuMemPoolDestroy(pool: Handle) {
        let driver = state::driver()?;
        let mut tables = driver.tables();
        if tables.default_pools.contains(&Some(pool)) {
            return Err(cuda::INVALID_VALUE);
        }
        let closed = tables.pools.remove(&pool).ok_or(cuda::INVALID_VALUE)?;
        for current in tables.current_pools.iter_mut().filter(|current| **current == Some(pool)) {
            *current = None;
        }
        let kind = AllocationKind::Pooled(pool);
        let held = tables.memory.iter().filter(|(_, held)| held.kind == kind);
        let addresses: Vec<u64> = held.map(|(address, _)| *address).collect();
        for address in addresses {
            tables.memory.remove(&address);
        }
        driver.client.credit(closed.card, closed.reserved);
        Ok(())
    }

    11020 fn cuMemPoolTrimTo(pool: Handle, keep: usize) {
        let driver = state::driver()?;
        let mut tables = driver.tables();
        let found = tables.pools.get_mut(&pool).ok_or(cuda::INVALID_VALUE)?;
        trim(driver, found, keep as u64);
        Ok(())
    }

    11020 fn cuMemPoolSetAttribute(pool: Handle, attribute: i32, value: usize) {
        let driver = state::driver()?;
        let mut tables = driver.tables();
        let found = tables.pools.get_mut(&pool).ok_or(cuda::INVALID_VALUE)?;
        match attribute {
            1..=3 => Ok(()),
            4 => {
                found.threshold = Out::<u64>::at(value).get()?;
                Ok(())
            }
            // A mark may only be set back to what is so now, which a zero asks for.
            6 if Out::<u64>::at(value).get()? == 0 => {
                found.reserved_high = found.reserved;
                Ok(())
            }
            8 if Out::<u64>::at(value).get()? == 0 => {
                found.used_high = found.used;
                Ok(())
            }
            _ => Err(cuda::INVALID_VALUE),
        }
    }

    11020 fn cuMemPoolGetAttribute(pool: Handle, attribute: i32, value: usize) {
        let driver = state::driver()?;
        let tables = driver.tables();
        let found = tables.pools.get(&pool).ok_or(cuda::INVALID_VALUE)?;
        match attribute {
            1..=3 => Out::<i32>::at(value).set(1),
            4 => Out::<u64>::at(value).set(found.threshold),
            5 => Out::<u64>::at(value).set(found.reserved),
            6 => Out::<u64>::at(value).set(found.reserved_high),
            7 => Out::<u64>::at(value).set(found.used),
            8 => Out::<u64>::at(value).set(found.used_high),
            _ => Err(cuda::INVALID_VALUE),
        }
    }

    11020 fn cuMemPoolSetAccess(pool: Handle, _access: usize, _count: usize) {
        let driver = state::driver()?;
        driver.tables().pools.get(&pool).map(drop).ok_or(cuda::INVALID_VALUE)
    }

    11020 fn cuDeviceGetDefaultMemPool(pool: Out<Handle>, device: i32) {
        let driver = state::driver()?;
        let card = driver.check_card(device)?;
        let default = default_pool(&mut driver.tables(), card);
        pool.set(default)
    }

    11020 fn cuDeviceGetMemPool(pool: Out<Handle>, device: i32) {
        let driver = state::driver()?;
        let card = driver.check_card(device)?;
        let current = current_pool(&mut driver.tables(), card);
        pool.set(current)
    }

    11020 fn cuDeviceSetMemPool(device: i32, pool: Handle) {
        let driver = state::driver()?;
        let card = driver.check_card(device)?;
        let mut tables = driver.tables();
        let found = tables.pools.get(&pool).ok_or(cuda::INVALID_VALUE)?;
        if found.card != card {
            return Err(cuda::INVALID_VALUE);
        }
        tables.current_pools[card] = Some(pool);
        Ok(())
    }
}

fn allocate(address: Out<u64>, bytes: usize, pool: Handle, target: &stream::Target) -> Outcome {
    if bytes == 0 || address.is_null() {
        return Err(cuda::INVALID_VALUE);
    }
    let driver = target.driver;
    if driver.tables().captures.is_capturing(target.id) {
        // Nodes of a graph that allocate are made by `cuGraphAddMemAllocNode`.
        return Err(cuda::STREAM_CAPTURE_UNSUPPORTED);
    }
    let granularity = driver.client.cards().granularity_bytes();
    let wanted = (bytes as u64).checked_next_multiple_of(granularity).ok_or(cuda::OUT_OF_MEMORY)?;
    let context = context::current().map_or(target.context, |current| current.context);
    let card = grow(driver, pool, wanted)?;
    let taken = Region::new(bytes as u64, RegionKind::Usable);
    let mut tables = driver.tables();
    let region = taken.inspect_err(|_| give_back(&mut tables, pool, wanted))?;
    let (bytes, kind) = (bytes as u64, AllocationKind::Pooled(pool));
    let allocation = Allocation { region, bytes, charged: wanted, card, context, kind };
    address.set(memory::keep(&mut tables, allocation))
}

/// Takes memory of a pool, which reserves more of its card if it must; gives the card.
fn grow(driver: &Driver, pool: Handle, wanted: u64) -> Result<usize, Code> {
    let mut tables = driver.tables();
    let found = tables.pools.get_mut(&pool).ok_or(cuda::INVALID_VALUE)?;
    let free = found.reserved - found.used;
    let missing = wanted.saturating_sub(free);
    if found.bytes_max > 0 && found.reserved.saturating_add(missing) > found.bytes_max {
        return Err(cuda::OUT_OF_MEMORY);
    }
    if missing > 0 {
        let mut charged = driver.client.charge(found.card, missing);
        if charged.is_err() {
            let card = found.card;
            let others = tables.pools.iter_mut().filter(|(handle, _)| **handle != pool);
            others
                .filter(|(_, other)| other.card == card)
                .for_each(|(_, other)| trim(driver, other, 0));
            charged = driver.client.charge(card, missing);
        }
        let charged = charged?;
        let found = tables.pools.get_mut(&pool).ok_or(cuda::INVALID_VALUE)?;
        found.reserved += charged;
        found.reserved_high = found.reserved_high.max(found.reserved);
    }
    let found = tables.pools.get_mut(&pool).ok_or(cuda::INVALID_VALUE)?;
    found.used += wanted;
    found.used_high = found.used_high.max(found.used);
    Ok(found.card)
}

/// Gives memory back to a pool.
pub(crate) fn give_back(tables: &mut Tables, pool: Handle, bytes: u64) {
    if let Some(pool) = tables.pools.get_mut(&pool) {
        pool.used = pool.used.saturating_sub(bytes);
    }
}

/// After a wait, pools keep only what they are told to keep.
pub(crate) fn trim_after_wait(driver: &Driver) {
    for pool in driver.tables().pools.values_mut() {
        trim(driver, pool, pool.threshold);
    }
}

/// Where memory is short, pools keep only what is used.
pub(crate) fn trim_all(driver: &Driver, card: usize) {
    for pool in driver.tables().pools.values_mut().filter(|pool| pool.card == card) {
        trim(driver, pool, 0);
    }
}

fn trim(driver: &Driver, pool: &mut Pool, keep: u64) {
    let kept = pool.used.max(keep.min(pool.reserved));
    driver.client.credit(pool.card, pool.reserved - kept);
    pool.reserved = kept;
}

fn open(tables: &mut Tables, card: usize, bytes_max: u64) -> Handle {
    let handle = tables.new_handle();
    let pool = Pool {
        card,
        bytes_max,
        reserved: 0,
        reserved_high: 0,
        used: 0,
        used_high: 0,
        threshold: 0,
    };
    tables.pools.insert(handle, pool);
    handle
}

fn default_pool(tables: &mut Tables, card: usize) -> Handle {
    match tables.default_pools[card] {
        Some(pool) => pool,
        None => {
            let pool = open(tables, card, 0);
            tables.default_pools[card] = Some(pool);
            pool
        }
    }
}

fn current_pool(tables: &mut Tables, card: usize) -> Handle {
    tables.current_pools[card].unwrap_or_else(|| default_pool(tables, card))
}
