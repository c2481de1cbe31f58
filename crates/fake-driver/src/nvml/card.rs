//! Cards as NVML tells of them.

use super::system::write;
use super::{Device, cards, handle, mig, named, present, uuid_text};
use crate::api::device::bus_id;
use crate::codes::{Code, Outcome, nvml};
use crate::ffi::{Out, Text, TextOut, driver};

/// NVML's `nvmlMemory_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    total: u64,
    free: u64,
    used: u64,
}

/// NVML's `nvmlMemory_v2_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct MemoryV2 {
    version: u32,
    total: u64,
    reserved: u64,
    free: u64,
    used: u64,
}

/// NVML's `nvmlPciInfo_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct PciInfo {
    legacy_id: [u8; 16],
    domain: u32,
    bus: u32,
    device: u32,
    device_id: u32,
    subsystem_id: u32,
    id: [u8; 32],
}

const MEMORY_V2: u32 = 2 << 24 | size_of::<MemoryV2>() as u32;
/// What a card draws when idle and more when busy, in milliwatts.
const IDLE_MW: u32 = 60_000;
const BUSY_MW: u32 = 400_000;

driver! {
    nvml:

    fn nvmlDeviceGetCount(count: Out<u32>) { argument(count.set(cards()?.len() as u32)) }

    fn nvmlDeviceGetCount_v2(count: Out<u32>) { argument(count.set(cards()?.len() as u32)) }

    fn nvmlDeviceGetHandleByIndex(index: u32, device: Out<Device>) { by_index(index, device) }

    fn nvmlDeviceGetHandleByIndex_v2(index: u32, device: Out<Device>) { by_index(index, device) }

    fn nvmlDeviceGetHandleByUUID(uuid: Text, device: Out<Device>) {
        let wanted = uuid.get().map_err(|_| nvml::INVALID_ARGUMENT)?;
        let cards = cards()?;
        let all = (0..cards.len()).filter_map(|index| Some((index, cards.card(index)?)));
        let found = { all }.find(|(_, facts)| uuid_text(&facts.uuid) == wanted);
        let found = match found {
            Some((index, _)) => Some(handle(index)),
            None => mig::by_uuid(&wanted)?,
        };
        argument(device.set(found.ok_or(nvml::NOT_FOUND)?))
    }

    fn nvmlDeviceGetHandleByPciBusId_v2(id: Text, device: Out<Device>) {
        let wanted = id.get().map_err(|_| nvml::INVALID_ARGUMENT)?;
        // The domain may have four digits or eight.
        let is_it = |index: &usize| wanted.to_uppercase().ends_with(&bus_id(*index));
        let found = (0..cards()?.len()).find(is_it);
        argument(device.set(handle(found.ok_or(nvml::NOT_FOUND)?)))
    }

    fn nvmlDeviceGetIndex(device: Device, index: Out<u32>) {
        argument(index.set(named(device)?.0 as u32))
    }

    fn nvmlDeviceGetMinorNumber(device: Device, number: Out<u32>) {
        argument(number.set(named(device)?.0 as u32))
    }

    fn nvmlDeviceGetName(device: Device, text: TextOut, room: u32) {
        write(text, &present(device)?.1.name, room)
    }

    fn nvmlDeviceGetUUID(device: Device, text: TextOut, room: u32) {
        let uuid = match mig::mig_device(device)? {
            Some(partition) => mig::uuid_text(&partition.compute.uuid),
            None => uuid_text(&named(device)?.1.uuid),
        };
        write(text, &uuid, room)
    }

    fn nvmlDeviceGetPciInfo(device: Device, info: Out<PciInfo>) { pci_info(device, info) }

    fn nvmlDeviceGetPciInfo_v2(device: Device, info: Out<PciInfo>) { pci_info(device, info) }

    fn nvmlDeviceGetPciInfo_v3(device: Device, info: Out<PciInfo>) { pci_info(device, info) }

    fn nvmlDeviceGetCudaComputeCapability(device: Device, major: Out<i32>, minor: Out<i32>) {
        let (first, second) = present(device)?.1.compute;
        argument(major.set(first as i32))?;
        argument(minor.set(second as i32))
    }

    fn nvmlDeviceGetMemoryInfo(device: Device, memory: Out<Memory>) {
        let facts = present(device)?.1;
        let (total, used) = (facts.memory_bytes, facts.used_bytes);
        argument(memory.set(Memory { total, free: total.saturating_sub(used), used }))
    }

    fn nvmlDeviceGetMemoryInfo_v2(device: Device, memory: Out<MemoryV2>) {
        let asked = memory.get().map_err(|_| nvml::INVALID_ARGUMENT)?;
        if asked.version != MEMORY_V2 {
            return Err(nvml::ARGUMENT_VERSION_MISMATCH);
        }
        let (total, used) = match mig::mig_device(device)? {
            Some(device) => {
                let users = device.partition.users.iter().map(|(_, bytes)| bytes);
                (device.partition.profile.memory_mib << 20, users.sum())
            }
            None => {
                let facts = present(device)?.1;
                (facts.memory_bytes, facts.used_bytes)
            }
        };
        let version = MEMORY_V2;
        let free = total.saturating_sub(used);
        argument(memory.set(MemoryV2 { version, total, reserved: 0, free, used }))
    }

    fn nvmlDeviceGetUtilizationRates(device: Device, rates: Out<[u32; 2]>) {
        let (index, facts) = present(device)?;
        // In MIG mode a card does not say how busy it is.
        match cards()?.answers(index) {
            Some(told) if told.mig_mode == 1 => Err(nvml::NOT_SUPPORTED),
            _ => argument(rates.set([facts.busy_percent, 0])),
        }
    }

    fn nvmlDeviceGetPowerUsage(device: Device, mw: Out<u32>) {
        let busy = present(device)?.1.busy_percent;
        argument(mw.set(IDLE_MW + busy.min(100) * (BUSY_MW / 100)))
    }

    fn nvmlDeviceGetEnforcedPowerLimit(device: Device, mw: Out<u32>) {
        let (index, _) = present(device)?;
        let told = cards()?.answers(index).map_or(0, |told| told.power_limit_mw as u32);
        argument(mw.set(if told == 0 { IDLE_MW + BUSY_MW } else { told }))
    }

    fn nvmlDeviceGetTemperature(device: Device, sensor: i32, celsius: Out<u32>) {
        let (_, facts) = present(device)?;
        if sensor != 0 {
            return Err(nvml::NOT_SUPPORTED);
        }
        argument(celsius.set(facts.temperature_c))
    }

    fn nvmlDeviceGetCurrentClocksThrottleReasons(device: Device, reasons: Out<u64>) {
        argument(reasons.set(present(device)?.1.throttle_reasons))
    }

    fn nvmlDeviceGetCurrentClocksEventReasons(device: Device, reasons: Out<u64>) {
        argument(reasons.set(present(device)?.1.throttle_reasons))
    }

    fn nvmlDeviceGetComputeMode(device: Device, mode: Out<u32>) {
        present(device)?;
        argument(mode.set(0))
    }

    fn nvmlDeviceGetPersistenceMode(device: Device, mode: Out<u32>) {
        present(device)?;
        argument(mode.set(1))
    }

    fn nvmlDeviceGetNvLinkState(device: Device, _link: u32, _is_active: Out<u32>) {
        present(device)?;
        Err(nvml::NOT_SUPPORTED)
    }
}

/// What null means to NVML.
pub(super) fn argument(outcome: Outcome) -> Outcome {
    outcome.map_err(|Code(_)| nvml::INVALID_ARGUMENT)
}

fn by_index(index: u32, device: Out<Device>) -> Outcome {
    let index = index as usize;
    let facts = cards()?.card(index).ok_or(nvml::INVALID_ARGUMENT)?;
    if facts.is_lost {
        return Err(nvml::GPU_IS_LOST);
    }
    argument(device.set(handle(index)))
}

fn pci_info(device: Device, info: Out<PciInfo>) -> Outcome {
    let (index, _) = named(device)?;
    let mut made = PciInfo {
        legacy_id: [0; 16],
        domain: 0,
        bus: index as u32 + 1,
        device: 0,
        device_id: 0x2330_10de,
        subsystem_id: 0,
        id: [0; 32],
    };
    let short = bus_id(index);
    let long = format!("0000{short}");
    made.legacy_id[..short.len()].copy_from_slice(short.as_bytes());
    made.id[..long.len()].copy_from_slice(long.as_bytes());
    argument(info.set(made))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_as_long_as_the_headers_say() {
        assert_eq!((size_of::<Memory>(), size_of::<MemoryV2>()), (24, 40));
        assert_eq!(size_of::<PciInfo>(), 68);
        assert_eq!(MEMORY_V2, 0x0200_0028);
    }
}
