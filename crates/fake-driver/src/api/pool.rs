//! Pools: memory that streams take and give in their order. A card is charged for what a pool has
//! reserved, not for what was taken of it.

use super::graph::Work;
use super::memory::{self, Allocation, AllocationKind};
use super::{capture, context, graph_memory, stream};
use crate::codes::{Code, Outcome, cuda};
use crate::ffi::{In, Out, Region, RegionKind, driver};
use crate::state::{self, Driver, Handle, Tables};

/// A pool.
#[derive(Debug)]
pub(crate) struct Pool {
    /// `None` for memory of the host, which no card is charged for.
    card: Option<usize>,
    /// What it may reserve at most; 0 if there is no limit.
    bytes_max: u64,
    reserved: u64,
    reserved_high: u64,
    used: u64,
    used_high: u64,
    /// What it keeps when it is not needed.
    threshold: u64,
    /// Destroyed, with blocks that are still out: nobody may name it, and it goes with the last.
    is_closed: bool,
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
const OF_HOST: i32 = 2;

impl PoolProps {
    fn is_of_host(&self) -> bool {
        self.kind == PINNED && self.location_kind == OF_HOST
    }

    /// The card on which the pool shall be.
    pub(crate) fn card(&self) -> Result<i32, Code> {
        let is_on_card = self.kind == PINNED && self.location_kind == ON_DEVICE;
        if is_on_card { Ok(self.location) } else { Err(cuda::INVALID_VALUE) }
    }
}

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
            // The graph keeps it; freeing is a node where the stream is captured.
            AllocationKind::Graph if tables.captures.is_capturing(target.id) => {
                return capture::add(&mut tables, target.id, Work::Free);
            }
            AllocationKind::Graph => return Ok(()),
            AllocationKind::Device | AllocationKind::Managed | AllocationKind::Pooled(_) => {}
        }
        memory::release(target.driver, &mut tables, address);
        Ok(())
    }

    11020 fn cuMemPoolCreate(pool: Out<Handle>, props: In<PoolProps>) {
        let driver = state::driver()?;
        let props = props.get()?;
        let card = match props.is_of_host() {
            true => None,
            false => Some(driver.check_card(props.card()?)?),
        };
        let mut tables = driver.tables();
        pool.set(open(&mut tables, card, props.bytes_max as u64))
    }

    11020 fn cuMemPoolDestroy(pool: Handle) {
        let driver = state::driver()?;
        let mut tables = driver.tables();
        if tables.default_pools.contains(&Some(pool)) {
            return Err(cuda::INVALID_VALUE);
        }
        find(&mut tables, pool)?.is_closed = true;
        for current in tables.current_pools.iter_mut().filter(|current| **current == Some(pool)) {
            *current = None;
        }
        drop_if_unused(driver, &mut tables, pool);
        Ok(())
    }

    11020 fn cuMemPoolTrimTo(pool: Handle, keep: usize) {
        let driver = state::driver()?;
        let mut tables = driver.tables();
        let found = find(&mut tables, pool)?;
        trim(driver, found, keep as u64);
        Ok(())
    }

    11020 fn cuMemPoolSetAttribute(pool: Handle, attribute: i32, value: usize) {
        let driver = state::driver()?;
        let mut tables = driver.tables();
        let found = find(&mut tables, pool)?;
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
        let mut tables = driver.tables();
        let found = find(&mut tables, pool)?;
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
        find(&mut driver.tables(), pool).map(drop)
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
        let found = find(&mut tables, pool)?;
        if found.card != Some(card) {
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
        let (card, bytes) = (target.card, bytes as u64);
        let reserved = graph_memory::reserve(driver, card, bytes)?;
        capture::add(&mut driver.tables(), target.id, Work::Alloc { card, bytes })?;
        return address.set(reserved);
    }
    let granularity = driver.client.cards().granularity_bytes();
    let wanted = (bytes as u64).checked_next_multiple_of(granularity).ok_or(cuda::OUT_OF_MEMORY)?;
    let context = context::current().map_or(target.context, |current| current.context);
    // An allocation is of some card; that of the host's memory says nothing.
    let card = grow(driver, pool, wanted)?.unwrap_or(target.card);
    let taken = Region::new(bytes as u64, RegionKind::Usable);
    let mut tables = driver.tables();
    let region = taken.inspect_err(|_| give_back(driver, &mut tables, pool, wanted))?;
    let (bytes, kind) = (bytes as u64, AllocationKind::Pooled(pool));
    let allocation = Allocation { region, bytes, charged: wanted, card, context, kind };
    address.set(memory::keep(&mut tables, allocation))
}

/// Takes memory of a pool, which reserves more of its card if it must; gives the card.
fn grow(driver: &Driver, pool: Handle, wanted: u64) -> Result<Option<usize>, Code> {
    let mut tables = driver.tables();
    let found = find(&mut tables, pool)?;
    let free = found.reserved - found.used;
    let missing = wanted.saturating_sub(free);
    if found.bytes_max > 0 && found.reserved.saturating_add(missing) > found.bytes_max {
        return Err(cuda::OUT_OF_MEMORY);
    }
    if missing > 0 {
        let charged = match found.card {
            None => Ok(missing),
            Some(card) => {
                let charged = driver.client.charge(card, missing);
                charged.or_else(|_| {
                    let others = tables.pools.iter_mut().filter(|(handle, _)| **handle != pool);
                    others
                        .filter(|(_, other)| other.card == Some(card))
                        .for_each(|(_, other)| trim(driver, other, 0));
                    driver.client.charge(card, missing)
                })
            }
        };
        let charged = charged?;
        let found = find(&mut tables, pool)?;
        found.reserved += charged;
        found.reserved_high = found.reserved_high.max(found.reserved);
    }
    let found = find(&mut tables, pool)?;
    found.used += wanted;
    found.used_high = found.used_high.max(found.used);
    Ok(found.card)
}

/// Gives memory back to a pool.
pub(crate) fn give_back(driver: &Driver, tables: &mut Tables, pool: Handle, bytes: u64) {
    if let Some(found) = tables.pools.get_mut(&pool) {
        found.used = found.used.saturating_sub(bytes);
        drop_if_unused(driver, tables, pool);
    }
}

/// A pool that may be named.
fn find(tables: &mut Tables, pool: Handle) -> Result<&mut Pool, Code> {
    tables.pools.get_mut(&pool).filter(|found| !found.is_closed).ok_or(cuda::INVALID_VALUE)
}

/// A pool that was destroyed goes with the last of its blocks, and until then nothing of it does.
fn drop_if_unused(driver: &Driver, tables: &mut Tables, pool: Handle) {
    if tables.pools.get(&pool).is_some_and(|found| found.is_closed && found.used == 0)
        && let Some(gone) = tables.pools.remove(&pool)
    {
        credit(driver, gone.card, gone.reserved);
    }
}

fn credit(driver: &Driver, card: Option<usize>, bytes: u64) {
    if let Some(card) = card {
        driver.client.credit(card, bytes);
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
    for pool in driver.tables().pools.values_mut().filter(|pool| pool.card == Some(card)) {
        trim(driver, pool, 0);
    }
}

fn trim(driver: &Driver, pool: &mut Pool, keep: u64) {
    if pool.is_closed {
        return;
    }
    let kept = pool.used.max(keep.min(pool.reserved));
    credit(driver, pool.card, pool.reserved - kept);
    pool.reserved = kept;
}

fn open(tables: &mut Tables, card: Option<usize>, bytes_max: u64) -> Handle {
    let handle = tables.new_handle();
    let pool = Pool {
        card,
        bytes_max,
        reserved: 0,
        reserved_high: 0,
        used: 0,
        used_high: 0,
        threshold: 0,
        is_closed: false,
    };
    tables.pools.insert(handle, pool);
    handle
}

fn default_pool(tables: &mut Tables, card: usize) -> Handle {
    match tables.default_pools[card] {
        Some(pool) => pool,
        None => {
            let pool = open(tables, Some(card), 0);
            tables.default_pools[card] = Some(pool);
            pool
        }
    }
}

fn current_pool(tables: &mut Tables, card: usize) -> Handle {
    tables.current_pools[card].unwrap_or_else(|| default_pool(tables, card))
}
