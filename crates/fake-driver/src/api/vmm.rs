//! Memory and addresses apart: physical memory that is mapped where the program reserved addresses.

use crate::codes::{Code, Outcome, cuda};
use crate::ffi::{In, List, Out, Region, RegionKind, driver};
use crate::state::{self, Driver, Handle, Tables};

/// Sizes of physical memory are multiples of this, as on real cards.
const GRANULARITY: u64 = 2 << 20;
const PINNED: i32 = 1;
const ON_DEVICE: i32 = 1;

/// Physical memory. It stays while a handle or a mapping refers to it; its handle may be another's
/// as soon as it was released, whatever is mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Physical {
    /// The card; `None` for memory of the host, which no card is charged for.
    card: Option<usize>,
    bytes: u64,
    charged: u64,
    /// How often its handle would have to be released.
    retained: u32,
    mapped: u32,
    props: AllocationProp,
}

/// Addresses, and what is mapped there: offset, length, physical memory.
#[derive(Debug)]
pub(crate) struct Reservation {
    region: Region,
    bytes: u64,
    mappings: Vec<Mapping>,
}

#[derive(Clone, Copy, Debug)]
struct Mapping {
    offset: u64,
    bytes: u64,
    physical: Handle,
    is_accessible: bool,
}

/// The driver's `CUmemAllocationProp`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct AllocationProp {
    kind: i32,
    handle_types: i32,
    location_kind: i32,
    location: i32,
    metadata: usize,
    flags: [u8; 8],
}

/// The driver's `CUmemAccessDesc`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct AccessDesc {
    location_kind: i32,
    location: i32,
    flags: i32,
}

driver! {
    10020 fn cuMemGetAllocationGranularity(
        granularity: Out<usize>,
        props: In<AllocationProp>,
        _option: i32,
    ) {
        props.get()?;
        granularity.set(GRANULARITY as usize)
    }

    10020 fn cuMemCreate(handle: Out<u64>, bytes: usize, props: In<AllocationProp>, flags: u64) {
        let driver = state::driver()?;
        let props = props.get()?;
        let bytes = bytes as u64;
        if props.kind != PINNED || flags != 0 || bytes == 0 || !bytes.is_multiple_of(GRANULARITY) {
            return Err(cuda::INVALID_VALUE);
        }
        let (card, charged) = match props.location_kind {
            ON_DEVICE => {
                let card = driver.check_card(props.location)?;
                (Some(card), super::memory::charge(driver, card, bytes)?)
            }
            // Of the host, of one of its nodes, of the current node.
            2..=4 => (None, 0),
            _ => return Err(cuda::INVALID_VALUE),
        };
        let physical = Physical { card, bytes, charged, retained: 1, mapped: 0, props };
        handle.set(keep(&mut driver.tables(), physical))
    }

    10020 fn cuMemRelease(handle: u64) {
        let driver = state::driver()?;
        let mut tables = driver.tables();
        let number = number_of(&tables, handle)?;
        let found = tables.physical.get_mut(&number).ok_or(cuda::INVALID_VALUE)?;
        found.retained = found.retained.checked_sub(1).ok_or(cuda::INVALID_VALUE)?;
        if found.retained == 0 {
            tables.physical_handles.remove(&(handle as Handle));
            tables.physical_handles_free.push(handle as Handle);
        }
        drop_if_unused(driver, &mut tables, number);
        Ok(())
    }

    11000 fn cuMemRetainAllocationHandle(handle: Out<u64>, address: usize) {
        let driver = state::driver()?;
        let mut tables = driver.tables();
        let (start, reservation) = find(&tables, address as u64)?;
        let offset = address as u64 - start;
        let mut mappings = reservation.mappings.iter();
        let mapping = mappings.find(|one| offset >= one.offset && offset - one.offset < one.bytes);
        let physical = mapping.ok_or(cuda::INVALID_VALUE)?.physical;
        if let Some(found) = tables.physical.get_mut(&physical) {
            found.retained += 1;
        }
        handle.set(handle_of(&mut tables, physical))
    }

    10020 fn cuMemGetAllocationPropertiesFromHandle(props: Out<AllocationProp>, handle: u64) {
        let driver = state::driver()?;
        let tables = driver.tables();
        let number = number_of(&tables, handle)?;
        props.set(tables.physical.get(&number).ok_or(cuda::INVALID_VALUE)?.props)
    }

    10020 fn cuMemAddressReserve(
        address: Out<u64>,
        bytes: usize,
        _alignment: usize,
        _wanted: u64,
        flags: u64,
    ) {
        let driver = state::driver()?;
        if bytes == 0 || flags != 0 || !(bytes as u64).is_multiple_of(GRANULARITY) {
            return Err(cuda::INVALID_VALUE);
        }
        let region = Region::new(bytes as u64, RegionKind::Reserved)?;
        let start = region.address();
        let reservation = Reservation { region, bytes: bytes as u64, mappings: Vec::new() };
        driver.tables().reservations.insert(start, reservation);
        address.set(start)
    }

    10020 fn cuMemAddressFree(address: u64, bytes: usize) {
        let driver = state::driver()?;
        let mut tables = driver.tables();
        let found = tables.reservations.get(&address).ok_or(cuda::INVALID_VALUE)?;
        if found.bytes != bytes as u64 || !found.mappings.is_empty() {
            return Err(cuda::INVALID_VALUE);
        }
        tables.reservations.remove(&address);
        Ok(())
    }

    10020 fn cuMemMap(address: u64, bytes: usize, offset: usize, handle: u64, flags: u64) {
        map(address, bytes as u64, offset, handle, flags)
    }

    10020 fn cuMemUnmap(address: u64, bytes: usize) { unmap(address, bytes as u64) }

    10020 fn cuMemSetAccess(address: u64, bytes: usize, access: List<AccessDesc>, count: usize) {
        let driver = state::driver()?;
        let mut tables = driver.tables();
        let (start, _) = find(&tables, address)?;
        let flags = access.get(count)?.iter().map(|one| one.flags).max().unwrap_or(0);
        let reservation = tables.reservations.get_mut(&start).ok_or(cuda::INVALID_VALUE)?;
        let (from, to) = (address - start, address - start + bytes as u64);
        let mut is_any = false;
        for mapping in &mut reservation.mappings {
            if mapping.offset >= from && mapping.offset + mapping.bytes <= to {
                is_any = true;
                mapping.is_accessible = flags != 0;
                let kind = if flags == 0 { RegionKind::Reserved } else { RegionKind::Usable };
                reservation.region.protect(mapping.offset, mapping.bytes, kind)?;
            }
        }
        if is_any { Ok(()) } else { Err(cuda::INVALID_VALUE) }
    }

    10020 fn cuMemGetAccess(flags: Out<u64>, location: In<[i32; 2]>, address: u64) {
        let driver = state::driver()?;
        location.get()?;
        let tables = driver.tables();
        // Reading and writing, or nothing.
        flags.set(if is_mapped(&tables, address, 1) { 3 } else { 0 })
    }
}

/// The card and the size of physical memory; memory of the host cannot be given away here.
pub(crate) fn describe(tables: &Tables, handle: u64) -> Result<(u64, u64), Code> {
    let found = tables.physical.get(&number_of(tables, handle)?).ok_or(cuda::INVALID_VALUE)?;
    Ok((found.card.ok_or(cuda::NOT_SUPPORTED)? as u64, found.bytes))
}

/// Physical memory of another process, which is charged for it.
pub(crate) fn import(tables: &mut Tables, card: usize, bytes: u64) -> u64 {
    let props = AllocationProp {
        kind: PINNED,
        handle_types: 1,
        location_kind: ON_DEVICE,
        location: card as i32,
        metadata: 0,
        flags: [0; 8],
    };
    let (card, charged, retained, mapped) = (Some(card), 0, 1, 0);
    keep(tables, Physical { card, bytes, charged, retained, mapped, props })
}

/// Keeps physical memory, and gives its handle.
fn keep(tables: &mut Tables, physical: Physical) -> u64 {
    let number = tables.new_handle();
    tables.physical.insert(number, physical);
    handle_of(tables, number)
}

/// The handle of physical memory: the one that it has, or else one that was released before.
fn handle_of(tables: &mut Tables, number: Handle) -> u64 {
    let known = tables.physical_handles.iter().find(|(_, other)| **other == number);
    if let Some((handle, _)) = known {
        return *handle as u64;
    }
    let handle = tables.physical_handles_free.pop().unwrap_or_else(|| tables.new_handle());
    tables.physical_handles.insert(handle, number);
    handle as u64
}

fn number_of(tables: &Tables, handle: u64) -> Result<Handle, Code> {
    tables.physical_handles.get(&(handle as Handle)).copied().ok_or(cuda::INVALID_VALUE)
}

/// An array's tile refers to physical memory.
pub(crate) fn refer(tables: &mut Tables, handle: u64) -> Result<Handle, Code> {
    let number = number_of(tables, handle)?;
    tables.physical.get_mut(&number).ok_or(cuda::INVALID_VALUE)?.mapped += 1;
    Ok(number)
}

/// It does so no longer.
pub(crate) fn let_go(driver: &Driver, tables: &mut Tables, number: Handle) {
    if let Some(physical) = tables.physical.get_mut(&number) {
        physical.mapped -= 1;
    }
    drop_if_unused(driver, tables, number);
}

/// Whether a range is mapped and may be used.
pub(crate) fn is_mapped(tables: &Tables, address: u64, bytes: u64) -> bool {
    let Ok((start, reservation)) = find(tables, address) else { return false };
    let (mut at, end) = (address - start, (address - start).saturating_add(bytes));
    while at < end {
        let mut mappings = reservation.mappings.iter().filter(|mapping| mapping.is_accessible);
        let under = mappings.find(|one| at >= one.offset && at < one.offset + one.bytes);
        let Some(under) = under else { return false };
        at = under.offset + under.bytes;
    }
    true
}

fn find(tables: &Tables, address: u64) -> Result<(u64, &Reservation), Code> {
    let found = tables.reservations.range(..=address).next_back();
    let found = found.filter(|(start, held)| address - **start < held.bytes);
    found.map(|(start, held)| (*start, held)).ok_or(cuda::INVALID_VALUE)
}

fn map(address: u64, bytes: u64, offset: usize, handle: u64, flags: u64) -> Outcome {
    let driver = state::driver()?;
    let mut tables = driver.tables();
    let (start, reservation) = find(&tables, address)?;
    let from = address - start;
    let to = from.checked_add(bytes).ok_or(cuda::INVALID_VALUE)?;
    let is_taken = reservation
        .mappings
        .iter()
        .any(|other| other.offset < to && from < other.offset + other.bytes);
    if is_taken {
        return Err(cuda::ALREADY_MAPPED);
    }
    let is_inside = to <= reservation.bytes;
    let number = number_of(&tables, handle)?;
    let physical = tables.physical.get_mut(&number).ok_or(cuda::INVALID_VALUE)?;
    // The interface knows an offset, and the driver takes none but 0.
    if !is_inside || offset != 0 || flags != 0 || bytes == 0 || bytes > physical.bytes {
        return Err(cuda::INVALID_VALUE);
    }
    physical.mapped += 1;
    let mapping = Mapping { offset: from, bytes, physical: number, is_accessible: false };
    let reservation = tables.reservations.get_mut(&start).ok_or(cuda::INVALID_VALUE)?;
    reservation.mappings.push(mapping);
    Ok(())
}

fn unmap(address: u64, bytes: u64) -> Outcome {
    let driver = state::driver()?;
    let mut tables = driver.tables();
    let (start, _) = find(&tables, address)?;
    let reservation = tables.reservations.get_mut(&start).ok_or(cuda::INVALID_VALUE)?;
    let (from, to) = (address - start, address - start + bytes);
    let is_inside = |one: &Mapping| one.offset >= from && one.offset + one.bytes <= to;
    let is_cut =
        |one: &Mapping| one.offset < to && from < one.offset + one.bytes && !is_inside(one);
    if reservation.mappings.iter().any(is_cut) || !reservation.mappings.iter().any(is_inside) {
        return Err(cuda::INVALID_VALUE);
    }
    let gone: Vec<Mapping> = reservation.mappings.extract_if(.., |one| is_inside(one)).collect();
    for mapping in &gone {
        reservation.region.protect(mapping.offset, mapping.bytes, RegionKind::Reserved)?;
    }
    for mapping in gone {
        let_go(driver, &mut tables, mapping.physical);
    }
    Ok(())
}

/// Gives physical memory back once nothing refers to it.
fn drop_if_unused(driver: &Driver, tables: &mut Tables, number: Handle) {
    let is_unused = |found: &&Physical| found.retained == 0 && found.mapped == 0;
    if let Some(&found) = tables.physical.get(&number).filter(is_unused) {
        tables.physical.remove(&number);
        if let Some(card) = found.card {
            driver.client.credit(card, found.charged);
        }
    }
}
