//! Memory, by every way to it.

use std::collections::HashMap;

use super::driver::Driver;
use super::script::{Answer, Failure, Line};
use super::{address, place};

/// What a tenant holds, by name.
#[derive(Default)]
pub(super) struct Memory {
    held: HashMap<String, Held>,
    /// Memory that the driver does not know.
    own: Vec<u8>,
}

/// How something goes back.
#[derive(Clone, Copy)]
enum Held {
    Plain(u64),
    Async(u64),
    /// Of a pool of its own: address and pool.
    Pooled(u64, usize),
    /// Address, bytes, physical memory.
    Mapped(u64, usize, u64),
    Array(usize),
    Mipmap(usize),
    Host(usize),
    Context(usize),
    Opened(u64),
    /// Physical memory that is mapped nowhere.
    Physical(u64),
    /// Address and bytes of physical memory whose handle was released.
    Kept(u64, usize),
}

const PAGE: usize = 2 << 20;
const OUT_OF_MEMORY: i32 = 2;
/// `CU_MEM_LOCATION_TYPE_HOST`.
const HOST: u32 = 2;

/// A row of an array of four floats. Whole rows are an array of many, since on a real card none may
/// be as long as it may be high.
const ROW: usize = 16384 * 16;
/// The same of memory with a pitch.
const PITCHED_ROW: usize = 1 << 20;

impl Memory {
    pub(super) fn act(&mut self, driver: &Driver, card: usize, line: &Line<'_>) -> Answer {
        match line.verb {
            "alloc" => {
                let held = take(driver, card, line)?;
                self.held.insert(line.word(0)?.to_owned(), held);
                Ok(String::new())
            }
            "free" | "close" => {
                let name = line.word(0)?;
                let held = self.find(name)?;
                let answer = give(driver, held)?;
                self.held.remove(name);
                Ok(answer)
            }
            "info" => {
                let (mut free, mut total) = (0usize, 0usize);
                driver.call("cuMemGetInfo_v2", &[address(&mut free), address(&mut total)])?;
                Ok(format!("{free} {total}"))
            }
            "total" => {
                let mut bytes = 0usize;
                driver.call("cuDeviceTotalMem_v2", &[address(&mut bytes), card])?;
                Ok(bytes.to_string())
            }
            "copy" => self.copy(driver, line),
            "race" => self.race(driver, line),
            "where" | "fill" | "peek" => self.touch(driver, line),
            "share" => {
                let Held::Plain(start) = self.find(line.word(0)?)? else {
                    return Err(Failure::Script("only plain memory can be shared".to_owned()));
                };
                let mut handle = [0u64; 8];
                driver.call("cuIpcGetMemHandle", &[address(&mut handle), start as usize])?;
                Ok(handle.map(|part| format!("{part:x}")).join("-"))
            }
            "export" => {
                let Held::Mapped(_, _, handle) = self.find(line.word(0)?)? else {
                    return Err(Failure::Script("only vmm memory can be exported".to_owned()));
                };
                let mut descriptor = 0i32;
                let to = [address(&mut descriptor), handle as usize, 1, 0];
                driver.call("cuMemExportToShareableHandle", &to)?;
                Ok(descriptor.to_string())
            }
            "import" => {
                let mut handle = 0u64;
                let to = [address(&mut handle), line.number(1)?, 1];
                driver.call("cuMemImportFromShareableHandle", &to)?;
                self.held.insert(line.word(0)?.to_owned(), Held::Physical(handle));
                Ok(String::new())
            }
            _ => {
                let text = line.word(1)?;
                let parts = text.split('-').map(|part| u64::from_str_radix(part, 16).ok());
                let parts: Option<Vec<u64>> = parts.collect();
                let handle: Option<[u64; 8]> = parts.and_then(|parts| parts.try_into().ok());
                let handle = handle.ok_or_else(|| Failure::Script("no handle".to_owned()))?;
                let name = "cuIpcOpenMemHandle_v2";
                let mut start = 0u64;
                match driver.function(name)?.call_with_handle(&mut start, handle, 1) {
                    0 => {
                        self.held.insert(line.word(0)?.to_owned(), Held::Opened(start));
                        Ok(String::new())
                    }
                    code => Err(driver.failure(code, name)),
                }
            }
        }
    }

    /// Copies on the default stream, between plain memory of a card and the host's.
    fn copy(&mut self, driver: &Driver, line: &Line<'_>) -> Answer {
        let (direction, name, host) = (line.word(0)?, line.word(1)?, line.word(2)?);
        let bytes: usize = line.number(3)?;
        let Held::Plain(card) = self.find(name)? else {
            return Err(Failure::Script("only plain memory can be copied".to_owned()));
        };
        let card = card as usize;
        let host = match host {
            "-" => {
                self.own.resize(bytes.max(self.own.len()), 0);
                self.own.as_mut_ptr() as usize
            }
            name => match self.find(name)? {
                Held::Host(address) => address,
                _ => return Err(Failure::Script(format!("'{name}' is not the host's"))),
            },
        };
        let is_waiting = line.word(4).is_ok_and(|word| word == "wait");
        match (direction, is_waiting) {
            ("to", true) => driver.call("cuMemcpyHtoD_v2", &[card, host, bytes]),
            ("to", false) => driver.call("cuMemcpyHtoDAsync_v2", &[card, host, bytes, 0]),
            ("from", true) => driver.call("cuMemcpyDtoH_v2", &[host, card, bytes]),
            ("from", false) => driver.call("cuMemcpyDtoHAsync_v2", &[host, card, bytes, 0]),
            (other, _) => Err(Failure::Script(format!("copy {other}?"))),
        }
    }

    /// Takes and gives back at random for some milliseconds, and keeps what it then has.
    fn race(&mut self, driver: &Driver, line: &Line<'_>) -> Answer {
        let until_ns =
            driver.now()?.saturating_add(line.number::<u64>(0)?.saturating_mul(1_000_000));
        let mut random = line.number::<u64>(1)? | 1;
        let pages_max = (line.number::<usize>(2)? / PAGE).max(1) as u64;
        let mut held: Vec<(u64, usize)> = Vec::new();
        let (mut granted, mut refused) = (0u64, 0u64);
        while driver.now()? < until_ns {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let (mut start, bytes) = (0u64, (1 + random / 16 % pages_max) as usize * PAGE);
            if random % 16 < 9 {
                match driver.call("cuMemAlloc_v2", &[address(&mut start), bytes]) {
                    Ok(_) => {
                        held.push((start, bytes));
                        granted += 1;
                        continue;
                    }
                    Err(Failure::Driver { code: OUT_OF_MEMORY, .. }) => refused += 1,
                    Err(failure) => return Err(failure),
                }
            }
            if !held.is_empty() {
                let (start, _) = held.swap_remove((random / 16) as usize % held.len());
                driver.call("cuMemFree_v2", &[start as usize])?;
            }
        }
        let bytes: usize = held.iter().map(|(_, bytes)| bytes).sum();
        for (at, (start, _)) in held.into_iter().enumerate() {
            self.held.insert(format!("race{at}"), Held::Plain(start));
        }
        Ok(format!("{bytes} {granted} {refused}"))
    }

    /// Where plain memory is, or which context it is; writes one number there; reads one from wherever a line says.
    fn touch(&self, driver: &Driver, line: &Line<'_>) -> Answer {
        if line.verb == "peek" {
            let mut value = 0u32;
            driver.call("cuMemcpyDtoH_v2", &[address(&mut value), line.number(0)?, 4])?;
            return Ok(value.to_string());
        }
        let start = match self.find(line.word(0)?)? {
            Held::Plain(start) => start,
            Held::Context(context) if line.verb == "where" => context as u64,
            _ => return Err(Failure::Script("only plain memory is touched".to_owned())),
        };
        match line.verb {
            "where" => Ok(start.to_string()),
            _ => driver.call("cuMemsetD32_v2", &[start as usize, line.number(1)?, 1]),
        }
    }

    fn find(&self, name: &str) -> Result<Held, Failure> {
        let missing = || Failure::Script(format!("there is no '{name}'"));
        self.held.get(name).copied().ok_or_else(missing)
    }
}

fn take(driver: &Driver, card: usize, line: &Line<'_>) -> Result<Held, Failure> {
    let bytes: usize = line.number(1)?;
    let card = line.option_number("card", card)?;
    let (mut start, mut handle) = (0u64, 0usize);
    Ok(match line.word(2).unwrap_or("plain") {
        "plain" => {
            driver.call("cuMemAlloc_v2", &[address(&mut start), bytes])?;
            Held::Plain(start)
        }
        "pitch" => {
            let (width, rows) = rows_of(bytes, PITCHED_ROW);
            let to = [address(&mut start), address(&mut handle), width, rows, 4];
            driver.call("cuMemAllocPitch_v2", &to)?;
            Held::Plain(start)
        }
        "managed" => {
            driver.call("cuMemAllocManaged", &[address(&mut start), bytes, 1])?;
            Held::Plain(start)
        }
        "async" => {
            driver.call("cuMemAllocAsync", &[address(&mut start), bytes, 0])?;
            Held::Async(start)
        }
        way @ ("pool" | "hostpool" | "orphan") => take_of_pool(driver, (card, way), bytes)?,
        "vmm" => map(driver, card, bytes)?,
        "mapped" => match map(driver, card, bytes)? {
            Held::Mapped(start, bytes, handle) => {
                driver.call("cuMemRelease", &[handle as usize])?;
                Held::Kept(start, bytes)
            }
            other => other,
        },
        way @ ("pages" | "hostpages") => take_pages(driver, (card, way), bytes)?,
        "sparse" => sparse(driver, card, bytes)?,
        "array" => {
            let [width, height, element] = array_shape(bytes);
            let shape = [width, height, element];
            driver.call("cuArrayCreate_v2", &[address(&mut handle), place(&shape)])?;
            Held::Array(handle)
        }
        "mipmap" => {
            let [width, height, element] = array_shape(bytes);
            let shape = [width, height, 0, element, 0];
            driver.call("cuMipmappedArrayCreate", &[address(&mut handle), place(&shape), 4])?;
            Held::Mipmap(handle)
        }
        "host" => {
            driver.call("cuMemHostAlloc", &[address(&mut handle), bytes, 0])?;
            Held::Host(handle)
        }
        "context" => {
            driver.call("cuCtxCreate_v2", &[address(&mut handle), 0, card])?;
            let mut popped = 0usize;
            driver.call("cuCtxPopCurrent_v2", &[address(&mut popped)])?;
            Held::Context(handle)
        }
        other => return Err(Failure::Script(format!("allocate by '{other}'?"))),
    })
}

/// A block of a pool of its own, which for an `orphan` is gone while the block is still out.
fn take_of_pool(
    driver: &Driver,
    (card, way): (usize, &str),
    bytes: usize,
) -> Result<Held, Failure> {
    let (mut start, mut pool) = (0u64, 0usize);
    let mut props = pool_props(card);
    if way == "hostpool" {
        (props[2], props[3]) = (HOST, 0);
    }
    driver.call("cuMemPoolCreate", &[address(&mut pool), place(&props)])?;
    let to = [address(&mut start), bytes, pool, 0];
    let taken = driver.call("cuMemAllocFromPoolAsync", &to);
    if way == "orphan" || taken.is_err() {
        driver.call("cuMemPoolDestroy", &[pool])?;
    }
    taken?;
    Ok(if way == "orphan" { Held::Async(start) } else { Held::Pooled(start, pool) })
}

/// Pages that nothing maps.
fn take_pages(driver: &Driver, (card, way): (usize, &str), bytes: usize) -> Result<Held, Failure> {
    let mut props = allocation_props(card);
    if way == "hostpages" {
        (props[2], props[3]) = (HOST, 0);
    }
    let (mut made, bytes) = (0u64, bytes.max(1).next_multiple_of(PAGE));
    driver.call("cuMemCreate", &[address(&mut made), bytes, place(&props), 0])?;
    Ok(Held::Physical(made))
}

/// Width and rows for so many bytes; one row where they come to no whole rows.
fn rows_of(bytes: usize, row: usize) -> (usize, usize) {
    if bytes > 0 && bytes.is_multiple_of(row) { (row, bytes / row) } else { (bytes, 1) }
}

/// Width, height, and format with channels: four floats in rows, or one byte in one.
fn array_shape(bytes: usize) -> [usize; 3] {
    match rows_of(bytes, ROW) {
        (ROW, rows) => [ROW / 16, rows, 0x4_0000_0020],
        (width, _) => [width, 0, 0x1_0000_0001],
    }
}

/// Physical memory, addresses, and one mapped to the other.
fn map(driver: &Driver, card: usize, bytes: usize) -> Result<Held, Failure> {
    let bytes = bytes.max(1).next_multiple_of(PAGE);
    let (mut start, mut handle) = (0u64, 0u64);
    let props = allocation_props(card);
    driver.call("cuMemCreate", &[address(&mut handle), bytes, place(&props), 0])?;
    driver.call("cuMemAddressReserve", &[address(&mut start), bytes, 0, 0, 0])?;
    let at = start as usize;
    driver.call("cuMemMap", &[at, bytes, 0, handle as usize, 0])?;
    // On this card, for reading and writing.
    let access = [1i32, card as i32, 3];
    driver.call("cuMemSetAccess", &[at, bytes, place(&access), 1])?;
    Ok(Held::Mapped(start, bytes, handle))
}

/// An array without memory, and pages that are mapped to it and otherwise released.
fn sparse(driver: &Driver, card: usize, bytes: usize) -> Result<Held, Failure> {
    let bytes = bytes.max(1).next_multiple_of(PAGE);
    let [width, height, element] = array_shape(bytes);
    let (mut array, mut made) = (0usize, 0u64);
    // Width, height, no depth, an element, the flag that says so.
    let shape = [width, height, 0, element, 0x40];
    driver.call("cuArray3DCreate_v2", &[address(&mut array), place(&shape)])?;
    let props = allocation_props(card);
    let made_pages = driver.call("cuMemCreate", &[address(&mut made), bytes, place(&props), 0]);
    if let Err(failure) = made_pages {
        driver.call("cuArrayDestroy", &[array])?;
        return Err(failure);
    }
    // CUarrayMapInfo: an array, its first level whole, and what is mapped there.
    let extent = [(width as u64) << 32, height.max(1) as u64 | 1 << 32];
    let part = [0, array as u64, 0, 0, 0, extent[0], extent[1], 1, made, 0, 1, 0];
    driver.call("cuMemMapArrayAsync", &[place(&part), 1, 0])?;
    driver.call("cuMemRelease", &[made as usize])?;
    Ok(Held::Array(array))
}

fn give(driver: &Driver, held: Held) -> Answer {
    match held {
        Held::Plain(start) => driver.call("cuMemFree_v2", &[start as usize]),
        Held::Async(start) => driver.call("cuMemFreeAsync", &[start as usize, 0]),
        Held::Pooled(start, pool) => {
            driver.call("cuMemFreeAsync", &[start as usize, 0])?;
            driver.call("cuMemPoolDestroy", &[pool])
        }
        Held::Mapped(start, bytes, handle) => {
            driver.call("cuMemUnmap", &[start as usize, bytes])?;
            driver.call("cuMemAddressFree", &[start as usize, bytes])?;
            driver.call("cuMemRelease", &[handle as usize])
        }
        Held::Kept(start, bytes) => {
            driver.call("cuMemUnmap", &[start as usize, bytes])?;
            driver.call("cuMemAddressFree", &[start as usize, bytes])
        }
        Held::Array(handle) => driver.call("cuArrayDestroy", &[handle]),
        Held::Mipmap(handle) => driver.call("cuMipmappedArrayDestroy", &[handle]),
        Held::Host(handle) => driver.call("cuMemFreeHost", &[handle]),
        Held::Context(handle) => driver.call("cuCtxDestroy_v2", &[handle]),
        Held::Physical(handle) => driver.call("cuMemRelease", &[handle as usize]),
        Held::Opened(start) => driver.call("cuIpcCloseMemHandle", &[start as usize]),
    }
}

/// `CUmemAllocationProp`: pinned, no handles, on a device.
fn allocation_props(card: usize) -> [u32; 8] {
    [1, 0, 1, card as u32, 0, 0, 0, 0]
}

/// `CUmemPoolProps`, which begins alike and is longer.
fn pool_props(card: usize) -> [u32; 22] {
    let mut props = [0; 22];
    props[..4].copy_from_slice(&[1, 0, 1, card as u32]);
    props
}
