//! Arrays, with levels or without; a card is charged for them, and nothing is in them.

use super::{context, memory, stream, vmm};
use crate::codes::{Code, Outcome, cuda};
use crate::ffi::{In, List, Out, driver};
use crate::state::{self, Driver, Handle, Tables};

/// An array, or one of its levels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Array {
    card: usize,
    charged: u64,
    shape: Array3d,
    levels: u32,
    /// The array of which this is a level.
    whole: Option<Handle>,
}

/// The driver's `CUDA_ARRAY_DESCRIPTOR`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Array2d {
    width: usize,
    height: usize,
    format: u32,
    channels: u32,
}

/// The driver's `CUDA_ARRAY3D_DESCRIPTOR`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Array3d {
    width: usize,
    height: usize,
    depth: usize,
    format: u32,
    channels: u32,
    flags: u32,
}

/// The driver's `CUarrayMapInfo`: which part of an array, and what is mapped there or no longer.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct MapInfo {
    resource_kind: i32,
    array: Handle,
    part_kind: i32,
    part: [u64; 4],
    operation: i32,
    handle_kind: i32,
    physical: u64,
    offset: u64,
    devices: u32,
    flags: u32,
    reserved: [u32; 2],
}

/// A part of an array, as a program names it.
pub(crate) type Tile = (Handle, i32, [u64; 4]);

/// `CUDA_ARRAY3D_SPARSE`: memory is mapped to it by hand.
const SPARSE: u32 = 0x40;
const MAP: i32 = 1;
const UNMAP: i32 = 2;

driver! {
    3020 fn cuArrayCreate_v2(array: Out<Handle>, shape: In<Array2d>) {
        let Array2d { width, height, format, channels } = shape.get()?;
        create(array, Array3d { width, height, depth: 0, format, channels, flags: 0 }, 1)
    }

    3020 fn cuArray3DCreate_v2(array: Out<Handle>, shape: In<Array3d>) {
        create(array, shape.get()?, 1)
    }

    2000 fn cuArrayDestroy(array: Handle) { destroy(array) }

    3020 fn cuArrayGetDescriptor_v2(shape: Out<Array2d>, array: Handle) {
        let Array3d { width, height, format, channels, .. } = find(array)?.shape;
        shape.set(Array2d { width, height, format, channels })
    }

    3020 fn cuArray3DGetDescriptor_v2(shape: Out<Array3d>, array: Handle) {
        shape.set(find(array)?.shape)
    }

    5000 fn cuMipmappedArrayCreate(array: Out<Handle>, shape: In<Array3d>, levels: u32) {
        create(array, shape.get()?, levels)
    }

    5000 fn cuMipmappedArrayDestroy(array: Handle) { destroy(array) }

    5000 fn cuMipmappedArrayGetLevel(level: Out<Handle>, array: Handle, index: u32) {
        let whole = find(array)?;
        if index >= whole.levels {
            return Err(cuda::INVALID_VALUE);
        }
        let shape = halved(whole.shape, index);
        let part = Array { charged: 0, shape, levels: 1, whole: Some(array), ..whole };
        let driver = state::driver()?;
        let mut tables = driver.tables();
        let handle = tables.new_handle();
        tables.arrays.insert(handle, part);
        level.set(handle)
    }

    11010 fn cuMemMapArrayAsync(
        list: List<MapInfo>,
        count: u32,
        stream: Handle,
    ) / cuMemMapArrayAsync_ptsz {
        let driver = stream::resolve(stream)?.driver;
        for part in list.get(count as usize)? {
            map_part(driver, &mut driver.tables(), &part)?;
        }
        Ok(())
    }
}

fn map_part(driver: &Driver, tables: &mut Tables, part: &MapInfo) -> Outcome {
    let array = tables.arrays.get(&part.array).ok_or(cuda::INVALID_HANDLE)?;
    if array.shape.flags & SPARSE == 0 {
        return Err(cuda::INVALID_VALUE);
    }
    let tile: Tile = (part.array, part.part_kind, part.part);
    let before = match part.operation {
        MAP => {
            let number = vmm::refer(tables, part.physical)?;
            tables.tiles.insert(tile, number)
        }
        UNMAP => tables.tiles.remove(&tile),
        _ => return Err(cuda::INVALID_VALUE),
    };
    if let Some(before) = before {
        vmm::let_go(driver, tables, before);
    }
    Ok(())
}

fn create(array: Out<Handle>, shape: Array3d, levels: u32) -> Outcome {
    let current = context::current()?;
    if levels == 0 || shape.width == 0 || !matches!(shape.channels, 1 | 2 | 4) {
        return Err(cuda::INVALID_VALUE);
    }
    // No level is smaller than one element.
    let longest = shape.width.max(shape.height).max(shape.depth);
    let levels = levels.min(longest.ilog2() + 1);
    let mut sizes = (0..levels).map(|level| bytes(&halved(shape, level)));
    let total = sizes.try_fold(0u64, |sum, size| Some(sum.saturating_add(size?)));
    let total = total.ok_or(cuda::INVALID_VALUE)?;
    let charged = match shape.flags & SPARSE {
        0 => memory::charge(current.driver, current.card, total)?,
        _ => 0,
    };
    let mut tables = current.driver.tables();
    let handle = tables.new_handle();
    let made = Array { card: current.card, charged, shape, levels, whole: None };
    tables.arrays.insert(handle, made);
    array.set(handle)
}

fn destroy(array: Handle) -> Outcome {
    let driver = state::driver()?;
    let mut tables = driver.tables();
    let found = *tables.arrays.get(&array).ok_or(cuda::INVALID_HANDLE)?;
    if found.whole.is_some() {
        return Err(cuda::INVALID_HANDLE);
    }
    tables.arrays.retain(|handle, held| *handle != array && held.whole != Some(array));
    let tiles: Vec<Tile> = tables.tiles.keys().filter(|tile| tile.0 == array).copied().collect();
    for tile in tiles {
        if let Some(number) = tables.tiles.remove(&tile) {
            vmm::let_go(driver, &mut tables, number);
        }
    }
    driver.client.credit(found.card, found.charged);
    Ok(())
}

fn find(array: Handle) -> Result<Array, Code> {
    let driver = state::driver()?;
    driver.tables().arrays.get(&array).copied().ok_or(cuda::INVALID_HANDLE)
}

fn halved(shape: Array3d, level: u32) -> Array3d {
    let half = |length: usize| if length == 0 { 0 } else { (length >> level).max(1) };
    Array3d {
        width: half(shape.width),
        height: half(shape.height),
        depth: half(shape.depth),
        ..shape
    }
}

/// What a level takes; `None` if its format is not known, or no memory is as large.
fn bytes(shape: &Array3d) -> Option<u64> {
    let element: u64 = match shape.format {
        0x01 | 0x08 => 1,
        0x02 | 0x09 | 0x10 => 2,
        0x03 | 0x0a | 0x20 => 4,
        _ => return None,
    };
    let lengths = [shape.width, shape.height.max(1), shape.depth.max(1)];
    let elements = lengths.iter().try_fold(1u64, |all, length| all.checked_mul(*length as u64))?;
    elements.checked_mul(element)?.checked_mul(u64::from(shape.channels))
}
