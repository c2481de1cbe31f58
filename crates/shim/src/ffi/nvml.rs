//! What NVML says of a card: the slice's memory, and the processes that the pool lets be seen.

use std::ffi::{CStr, c_char, c_int};

use cotenant_types::limits::{ShownProcesses, SlotWord};

use super::account::SUCCESS;
use super::driver::{self, Handle};
use super::shown::{is_limited, view};
use super::{cards, state};
use crate::page::CardIndex;
use std::sync::atomic::Ordering::SeqCst;

/// nvmlMemory_t.
#[repr(C)]
pub struct Memory {
    total: u64,
    free: u64,
    used: u64,
}

/// nvmlMemory_v2_t.
#[repr(C)]
pub struct MemoryWithReserve {
    version: u32,
    total: u64,
    reserved: u64,
    free: u64,
    used: u64,
}

/// nvmlProcessInfo_v1_t.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ShortProcess {
    pid: u32,
    memory: u64,
}

/// nvmlProcessInfo_v2_t, which the third version of the calls has too.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LongProcess {
    pid: u32,
    memory: u64,
    partition: [u32; 2],
}

/// nvmlProcessUtilizationSample_t.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct UtilizationSample {
    pid: u32,
    at_us: u64,
    rates: [u32; 4],
}

/// nvmlProcessUtilizationInfo_v1_t.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct LongUtilizationSample {
    at_us: u64,
    pid: u32,
    rates: [u32; 6],
}

/// nvmlProcessesUtilizationInfo_v1_t.
#[repr(C)]
pub struct UtilizationList {
    version: u32,
    count: u32,
    since_us: u64,
    entries: *mut LongUtilizationSample,
}

/// nvmlProcessDetail_v1_t.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct DetailedProcess {
    pid: u32,
    memory: u64,
    partition: [u32; 2],
    protected_memory: u64,
}

/// nvmlProcessDetailList_v1_t.
#[repr(C)]
pub struct DetailedList {
    version: u32,
    mode: u32,
    count: u32,
    entries: *mut DetailedProcess,
}

/// An entry of a list of processes.
pub(super) trait Process: Copy {
    fn pid(self) -> u32;
}

macro_rules! processes {
    ($($kind:ty),*) => {
        $(impl Process for $kind {
            fn pid(self) -> u32 {
                self.pid
            }
        })*
    };
}

processes!(ShortProcess, LongProcess, UtilizationSample, LongUtilizationSample, DetailedProcess);

impl Process for u32 {
    fn pid(self) -> u32 {
        self
    }
}

/// `nvmlDeviceGetMemoryInfo`.
///
/// # Safety
/// The place is null, or one to which the driver writes.
pub(super) unsafe fn memory(call: impl Fn() -> c_int, device: Handle, place: *mut Memory) -> c_int {
    let result = call();
    if result != SUCCESS || place.is_null() || !is_limited() {
        return result;
    }
    let Some(card) = card_of(device) else { return result };
    // SAFETY: the caller's; the driver has just written there.
    let memory = unsafe { &mut *place };
    let shown = view(card, memory.total, memory.free);
    *memory = Memory { total: shown.total, free: shown.free, used: shown.used };
    result
}

/// `nvmlDeviceGetMemoryInfo_v2`: what the driver reserves is not the slice's.
///
/// # Safety
/// As for [`memory`].
pub(super) unsafe fn memory_with_reserve(
    call: impl Fn() -> c_int,
    device: Handle,
    place: *mut MemoryWithReserve,
) -> c_int {
    let result = call();
    if result != SUCCESS || place.is_null() || !is_limited() {
        return result;
    }
    let Some(card) = card_of(device) else { return result };
    if cards::memory(card).0.is_none() {
        return result;
    }
    // SAFETY: the caller's; the driver has just written there.
    let memory = unsafe { &mut *place };
    let shown = view(card, memory.total, memory.free);
    (memory.total, memory.free, memory.used) = (shown.total, shown.free, shown.used);
    memory.reserved = 0;
    result
}

/// A list of processes: those of other slices are left out, if the pool wants that.
///
/// # Safety
/// The places are what the driver takes: a number, and as many entries.
pub(super) unsafe fn processes<P: Process>(
    call: impl Fn() -> c_int,
    device: Handle,
    count: *mut u32,
    entries: *mut P,
) -> c_int {
    let result = call();
    if result != SUCCESS || count.is_null() || entries.is_null() || !is_limited() {
        return result;
    }
    if cards::shown() == ShownProcesses::All || card_of(device).is_none() {
        return result;
    }
    // SAFETY: the caller's; the driver has written so many entries.
    let listed = unsafe { std::slice::from_raw_parts_mut(entries, *count as usize) };
    let mut kept = 0;
    for at in 0..listed.len() {
        if is_of_slice(listed[at].pid()) {
            listed[kept] = listed[at];
            kept += 1;
        }
    }
    // SAFETY: the caller's.
    unsafe { *count = kept as u32 };
    result
}

/// A list with its number beside it, as newer calls have it.
///
/// # Safety
/// The list is null, or what the driver takes.
pub(super) unsafe fn utilization_list(
    call: impl Fn() -> c_int,
    device: Handle,
    list: *mut UtilizationList,
) -> c_int {
    if list.is_null() {
        return call();
    }
    // SAFETY: the caller's.
    unsafe { processes(call, device, &raw mut (*list).count, (*list).entries) }
}

/// As [`utilization_list`].
///
/// # Safety
/// As there.
pub(super) unsafe fn detailed_list(
    call: impl Fn() -> c_int,
    device: Handle,
    list: *mut DetailedList,
) -> c_int {
    if list.is_null() {
        return call();
    }
    // SAFETY: the caller's.
    unsafe { processes(call, device, &raw mut (*list).count, (*list).entries) }
}

/// Whether a process of that number has moved into the slice's page.
fn is_of_slice(pid: u32) -> bool {
    let Some(usage) = state::usage() else { return false };
    let is_it = |owner: u64| owner != 0 && (owner >> 32) as u32 & 0x7fff_ffff == pid;
    usage.slots().any(|slot| is_it(usage.slot(slot, SlotWord::OWNER).load(SeqCst)))
}

/// The card that an NVML device is, if the slice has it.
fn card_of(device: Handle) -> Option<CardIndex> {
    if state::limits().is_none() {
        // Limits of the environment are by number. NVML's numbers are those of CUDA as long as a
        // program sees all cards in the bus's order.
        let mut index = 0;
        // SAFETY: the place is ours.
        let result = unsafe { driver::nvmlDeviceGetIndex(device, &mut index) };
        return (result == SUCCESS).then_some(index as usize).and_then(CardIndex::new);
    }
    let mut text = [0 as c_char; 96];
    // SAFETY: the place is ours and as long as said.
    let result = unsafe { driver::nvmlDeviceGetUUID(device, text.as_mut_ptr(), text.len() as u32) };
    if result != SUCCESS {
        return None;
    }
    // SAFETY: the driver has written a C string there.
    let text = unsafe { CStr::from_ptr(text.as_ptr()) };
    cards::of_uuid(&parse(text.to_bytes())?)
}

/// `GPU-` or `MIG-`, then 32 hexadecimal digits with dashes between.
fn parse(text: &[u8]) -> Option<[u8; 16]> {
    let digits = text.get(4..)?.iter().filter(|byte| **byte != b'-');
    let mut uuid = [0; 16];
    let mut count = 0;
    for digit in digits {
        let value = (*digit as char).to_digit(16)? as u8;
        let byte = uuid.get_mut(count / 2)?;
        *byte = *byte << 4 | value;
        count += 1;
    }
    (count == 32).then_some(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the driver's header has them.
    #[test]
    fn lists_of_processes_lie_as_the_driver_has_them() {
        let sizes = [
            size_of::<ShortProcess>(),
            size_of::<LongProcess>(),
            size_of::<UtilizationSample>(),
            size_of::<LongUtilizationSample>(),
            size_of::<DetailedProcess>(),
            size_of::<UtilizationList>(),
            size_of::<DetailedList>(),
        ];
        assert_eq!(sizes, [16, 24, 32, 40, 32, 24, 24]);
    }

    #[test]
    fn numbers_of_cards_are_read() {
        let expected: [u8; 16] = std::array::from_fn(|at| at as u8 * 16 + at as u8);
        let check = |text: &str, expected: Option<[u8; 16]>| {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        };
        check("GPU-00112233-4455-6677-8899-aabbccddeeff", Some(expected));
        check("MIG-00112233-4455-6677-8899-AABBCCDDEEFF", Some(expected));
        check("GPU-00112233-4455-6677-8899-aabbccddeef", None);
        check("GPU-00112233-4455-6677-8899-aabbccddeeff0", None);
        check("GPU-0011223g-4455-6677-8899-aabbccddeeff", None);
        check("MI", None);
    }
}
