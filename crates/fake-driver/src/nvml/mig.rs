//! Partitions: GPU instances, compute instances in them, and the devices that programs see.

use cotenant_fake_cards::{ComputeFacts, PartitionFacts, PartitionRefused, ProfileAnswers};

use super::card::argument;
use super::{Device, cards, handle, present};
use crate::codes::{Code, Outcome, nvml};
use crate::ffi::{In, List, Out, driver};

/// NVML's `nvmlGpuInstancePlacement_t`, and that of compute instances.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Placement {
    start: u32,
    size: u32,
}

/// NVML's `nvmlGpuInstanceProfileInfo_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct ProfileInfo {
    id: u32,
    is_p2p_supported: u32,
    slice_count: u32,
    instance_count: u32,
    multiprocessor_count: u32,
    engines: [u32; 5],
    memory_size_mb: u64,
}

/// NVML's `nvmlGpuInstanceProfileInfo_v2_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct ProfileInfoV2 {
    version: u32,
    id: u32,
    is_p2p_supported: u32,
    slice_count: u32,
    instance_count: u32,
    multiprocessor_count: u32,
    engines: [u32; 5],
    memory_size_mb: u64,
    name: [u8; 96],
}

/// NVML's `nvmlGpuInstanceInfo_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct InstanceInfo {
    device: Device,
    id: u32,
    profile_id: u32,
    placement: Placement,
}

/// NVML's `nvmlComputeInstanceProfileInfo_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct ComputeProfileInfo {
    id: u32,
    slice_count: u32,
    instance_count: u32,
    multiprocessor_count: u32,
    shared: [u32; 5],
}

/// NVML's `nvmlComputeInstanceInfo_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct ComputeInfo {
    device: Device,
    instance: Instance,
    id: u32,
    profile_id: u32,
    placement: Placement,
}

/// A GPU instance's handle.
pub(crate) type Instance = usize;
/// A compute instance's handle.
pub(crate) type Compute = usize;

const DEVICES: usize = 0x2800_0000;
const INSTANCES: usize = 0x2900_0000;
const COMPUTES: usize = 0x2a00_0000;
const CARD_STEP: usize = 0x1_0000;
const INSTANCE_STEP: usize = 0x100;
const PROFILE_INFO_V2: u32 = 2 << 24 | size_of::<ProfileInfoV2>() as u32;
/// Slices of the compute profiles, by NVML's number, which here is their id too.
const COMPUTE_SLICES: [u32; 7] = [1, 2, 3, 4, 7, 8, 6];
/// Most devices that a card in MIG mode may have.
const DEVICES_MAX: u32 = 7;

driver! {
    nvml:

    fn nvmlDeviceGetMigMode(device: Device, current: Out<u32>, pending: Out<u32>) {
        let (index, facts) = present(device)?;
        if !facts.can_mig {
            return Err(nvml::NOT_SUPPORTED);
        }
        let told = cards()?.answers(index).ok_or(nvml::INVALID_ARGUMENT)?;
        argument(current.set(told.mig_mode as u32))?;
        argument(pending.set(told.mig_mode_pending as u32))
    }

    fn nvmlDeviceGetMaxMigDeviceCount(device: Device, count: Out<u32>) {
        argument(count.set(if present(device)?.1.can_mig { DEVICES_MAX } else { 0 }))
    }

    fn nvmlDeviceGetMigDeviceHandleByIndex(device: Device, index: u32, found: Out<Device>) {
        let (card, _) = present(device)?;
        let partitions = in_mig_mode(card)?;
        let named = |one: &PartitionFacts| {
            let ids = one.computes.iter().map(|compute| (card, one.id, compute.id));
            ids.collect::<Vec<_>>()
        };
        let mut all = partitions.iter().flat_map(named);
        argument(found.set(handle_of(DEVICES, all.nth(index as usize).ok_or(nvml::NOT_FOUND)?)))
    }

    fn nvmlDeviceIsMigDeviceHandle(device: Device, is_partition: Out<u32>) {
        match mig_device(device)? {
            Some(_) => argument(is_partition.set(1)),
            None => {
                super::named(device)?;
                argument(is_partition.set(0))
            }
        }
    }

    fn nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device: Device, parent: Out<Device>) {
        argument(parent.set(handle(needed(device)?.card)))
    }

    fn nvmlDeviceGetGpuInstanceId(device: Device, id: Out<u32>) {
        argument(id.set(needed(device)?.partition.id))
    }

    fn nvmlDeviceGetComputeInstanceId(device: Device, id: Out<u32>) {
        argument(id.set(needed(device)?.compute.id))
    }

    fn nvmlDeviceGetGpuInstanceProfileInfo(device: Device, index: u32, info: Out<ProfileInfo>) {
        let profile = profile(device, index)?;
        argument(info.set(ProfileInfo {
            id: profile.id as u32,
            is_p2p_supported: 0,
            slice_count: profile.slices as u32,
            instance_count: profile.count as u32,
            multiprocessor_count: profile.sms as u32,
            engines: [1, 0, 0, 0, 0],
            memory_size_mb: profile.memory_mib,
        }))
    }

    fn nvmlDeviceGetGpuInstanceProfileInfoV(device: Device, index: u32, info: Out<ProfileInfoV2>) {
        let profile = profile(device, index)?;
        let asked = info.get().map_err(|_| nvml::INVALID_ARGUMENT)?;
        if asked.version != PROFILE_INFO_V2 {
            return Err(nvml::ARGUMENT_VERSION_MISMATCH);
        }
        let text = format!("MIG {}", profile.name());
        let mut name = [0; 96];
        name[..text.len()].copy_from_slice(text.as_bytes());
        argument(info.set(ProfileInfoV2 {
            version: PROFILE_INFO_V2,
            id: profile.id as u32,
            is_p2p_supported: 0,
            slice_count: profile.slices as u32,
            instance_count: profile.count as u32,
            multiprocessor_count: profile.sms as u32,
            engines: [1, 0, 0, 0, 0],
            memory_size_mb: profile.memory_mib,
            name,
        }))
    }

    fn nvmlDeviceGetGpuInstancePossiblePlacements_v2(
        device: Device,
        profile_id: u32,
        places: List<Placement>,
        count: Out<u32>,
    ) {
        let (card, _) = present(device)?;
        let profile = cards()?.profile_of_id(card, profile_id).ok_or(nvml::NOT_SUPPORTED)?;
        let starts = (0..32u32).filter(|&start| profile.may_begin_at(u64::from(start)));
        let size = profile.width as u32;
        let all: Vec<Placement> = starts.map(|start| Placement { start, size }).collect();
        // Without a list NVML only counts.
        argument(count.set(all.len() as u32))?;
        if places.is_null() { Ok(()) } else { argument(places.set(&all)) }
    }

    fn nvmlDeviceCreateGpuInstance(device: Device, profile_id: u32, made: Out<Instance>) {
        make_instance(device, (profile_id, None), made)
    }

    fn nvmlDeviceCreateGpuInstanceWithPlacement(
        device: Device,
        profile_id: u32,
        place: In<Placement>,
        made: Out<Instance>,
    ) {
        let place = place.get().map_err(|_| nvml::INVALID_ARGUMENT)?;
        make_instance(device, (profile_id, Some(place.start)), made)
    }

    fn nvmlGpuInstanceDestroy(instance: Instance) {
        let (card, partition) = instance_of(instance)?;
        Ok(cards()?.destroy_partition(card, partition.id)?)
    }

    fn nvmlDeviceGetGpuInstances(
        device: Device,
        profile_id: u32,
        list: List<Instance>,
        count: Out<u32>,
    ) {
        let (card, _) = present(device)?;
        let partitions = in_mig_mode(card)?;
        let ours = partitions.iter().filter(|one| one.profile.id == u64::from(profile_id));
        let all: Vec<Instance> =
            ours.map(|one| handle_of(INSTANCES, (card, one.id, 0))).collect();
        argument(count.set(all.len() as u32))?;
        argument(list.set(&all))
    }

    fn nvmlDeviceGetGpuInstanceById(device: Device, id: u32, instance: Out<Instance>) {
        let (card, _) = present(device)?;
        let partitions = in_mig_mode(card)?;
        let found = partitions.iter().find(|one| one.id == id).ok_or(nvml::NOT_FOUND)?;
        argument(instance.set(handle_of(INSTANCES, (card, found.id, 0))))
    }

    fn nvmlGpuInstanceGetInfo(instance: Instance, info: Out<InstanceInfo>) {
        let (card, partition) = instance_of(instance)?;
        argument(info.set(InstanceInfo {
            device: handle(card),
            id: partition.id,
            profile_id: partition.profile.id as u32,
            placement: Placement {
                start: partition.start,
                size: partition.profile.width as u32,
            },
        }))
    }

    fn nvmlGpuInstanceGetComputeInstanceProfileInfo(
        instance: Instance,
        index: u32,
        engines: u32,
        info: Out<ComputeProfileInfo>,
    ) {
        let (_, partition) = instance_of(instance)?;
        let slices = *COMPUTE_SLICES.get(index as usize).ok_or(nvml::NOT_SUPPORTED)?;
        let profile = partition.profile;
        if engines != 0 || u64::from(slices) > profile.slices {
            return Err(nvml::NOT_SUPPORTED);
        }
        let all = profile.slices.max(1);
        argument(info.set(ComputeProfileInfo {
            id: index,
            slice_count: slices,
            instance_count: (all / u64::from(slices)) as u32,
            multiprocessor_count: (profile.sms * u64::from(slices) / all) as u32,
            shared: [1, 0, 0, 0, 0],
        }))
    }

    fn nvmlGpuInstanceCreateComputeInstance(
        instance: Instance,
        profile_id: u32,
        made: Out<Compute>,
    ) {
        let (card, partition) = instance_of(instance)?;
        let slices = *COMPUTE_SLICES.get(profile_id as usize).ok_or(nvml::NOT_SUPPORTED)?;
        let id = cards()?.make_compute(card, partition.id, slices)?;
        argument(made.set(handle_of(COMPUTES, (card, partition.id, id))))
    }

    fn nvmlComputeInstanceDestroy(compute: Compute) {
        let found = compute_of(COMPUTES, compute)?;
        Ok(cards()?.destroy_compute(found.card, found.partition.id, found.compute.id)?)
    }

    fn nvmlGpuInstanceGetComputeInstances(
        instance: Instance,
        profile_id: u32,
        list: List<Compute>,
        count: Out<u32>,
    ) {
        let (card, partition) = instance_of(instance)?;
        let slices = *COMPUTE_SLICES.get(profile_id as usize).ok_or(nvml::NOT_SUPPORTED)?;
        let ours = partition.computes.iter().filter(|compute| compute.slices == slices);
        let all: Vec<Compute> =
            ours.map(|compute| handle_of(COMPUTES, (card, partition.id, compute.id))).collect();
        argument(count.set(all.len() as u32))?;
        argument(list.set(&all))
    }

    fn nvmlComputeInstanceGetInfo_v2(compute: Compute, info: Out<ComputeInfo>) {
        let found = compute_of(COMPUTES, compute)?;
        let slices = found.compute.slices;
        let profile_id = COMPUTE_SLICES.iter().position(|&known| known == slices);
        argument(info.set(ComputeInfo {
            device: handle(found.card),
            instance: handle_of(INSTANCES, (found.card, found.partition.id, 0)),
            id: found.compute.id,
            profile_id: profile_id.unwrap_or_default() as u32,
            placement: Placement { start: 0, size: slices },
        }))
    }
}

/// A device in a partition, with what it belongs to.
pub(super) struct MigDevice {
    pub(super) card: usize,
    pub(super) partition: PartitionFacts,
    pub(super) compute: ComputeFacts,
}

/// The partition's device that has this handle; none if it is a card's.
pub(super) fn mig_device(device: Device) -> Result<Option<MigDevice>, Code> {
    match (DEVICES..INSTANCES).contains(&device) {
        true => compute_of(DEVICES, device).map(Some),
        false => Ok(None),
    }
}

fn needed(device: Device) -> Result<MigDevice, Code> {
    mig_device(device)?.ok_or(nvml::INVALID_ARGUMENT)
}

/// The partition's device of this identity.
pub(super) fn by_uuid(wanted: &str) -> Result<Option<Device>, Code> {
    let cards = cards()?;
    for card in 0..cards.len() {
        for one in cards.partitions(card) {
            let is_it = |compute: &&ComputeFacts| uuid_text(&compute.uuid) == wanted;
            if let Some(compute) = one.computes.iter().find(is_it) {
                return Ok(Some(handle_of(DEVICES, (card, one.id, compute.id))));
            }
        }
    }
    Ok(None)
}

/// Its identity as NVML writes it.
pub(super) fn uuid_text(uuid: &[u8; 16]) -> String {
    super::uuid_text(uuid).replacen("GPU", "MIG", 1)
}

fn handle_of(kind: usize, (card, partition, compute): (usize, u32, u32)) -> usize {
    kind + card * CARD_STEP + partition as usize * INSTANCE_STEP + compute as usize
}

/// The card, partition and compute instance that a handle of a kind names.
fn parts(kind: usize, handle: usize) -> Result<(usize, u32, u32), Code> {
    let offset = handle.checked_sub(kind).filter(|offset| *offset < 0x100_0000);
    let offset = offset.ok_or(nvml::INVALID_ARGUMENT)?;
    let within = offset % CARD_STEP;
    let (partition, compute) = (within / INSTANCE_STEP, within % INSTANCE_STEP);
    Ok((offset / CARD_STEP, partition as u32, compute as u32))
}

fn in_mig_mode(card: usize) -> Result<Vec<PartitionFacts>, Code> {
    let cards = cards()?;
    let told = cards.answers(card).ok_or(nvml::INVALID_ARGUMENT)?;
    if told.mig_mode == 1 { Ok(cards.partitions(card)) } else { Err(nvml::NOT_SUPPORTED) }
}

fn instance_of(instance: Instance) -> Result<(usize, PartitionFacts), Code> {
    let (card, id, _) = parts(INSTANCES, instance)?;
    let found = cards()?.partitions(card).into_iter().find(|one| one.id == id);
    Ok((card, found.ok_or(nvml::INVALID_ARGUMENT)?))
}

fn compute_of(kind: usize, handle: usize) -> Result<MigDevice, Code> {
    let (card, id, compute) = parts(kind, handle)?;
    let found = cards()?.partitions(card).into_iter().find(|one| one.id == id);
    let partition = found.ok_or(nvml::INVALID_ARGUMENT)?;
    let compute = partition.computes.iter().find(|one| one.id == compute).copied();
    Ok(MigDevice { card, compute: compute.ok_or(nvml::INVALID_ARGUMENT)?, partition })
}

fn profile(device: Device, index: u32) -> Result<ProfileAnswers, Code> {
    let (card, facts) = present(device)?;
    if !facts.can_mig {
        return Err(nvml::NOT_SUPPORTED);
    }
    cards()?.profile(card, index as usize).ok_or(nvml::NOT_SUPPORTED)
}

fn make_instance(
    device: Device,
    (profile_id, start): (u32, Option<u32>),
    made: Out<Instance>,
) -> Outcome {
    let (card, _) = present(device)?;
    let id = cards()?.make_partition(card, profile_id, start)?;
    argument(made.set(handle_of(INSTANCES, (card, id, 0))))
}

impl From<PartitionRefused> for Code {
    fn from(refused: PartitionRefused) -> Self {
        match refused {
            PartitionRefused::Mode => nvml::NOT_SUPPORTED,
            PartitionRefused::Unknown => nvml::INVALID_ARGUMENT,
            PartitionRefused::Room => nvml::INSUFFICIENT_RESOURCES,
            PartitionRefused::Busy => nvml::IN_USE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_as_long_as_the_headers_say() {
        assert_eq!((size_of::<Placement>(), size_of::<ProfileInfo>()), (8, 48));
        assert_eq!(size_of::<ProfileInfoV2>(), 152);
        assert_eq!((size_of::<InstanceInfo>(), size_of::<ComputeInfo>()), (24, 32));
        assert_eq!(size_of::<ComputeProfileInfo>(), 36);
    }

    #[test]
    fn handles_say_what_they_name() {
        let names = (3, 7, 5);
        assert_eq!(parts(COMPUTES, handle_of(COMPUTES, names)), Ok(names));
        assert_eq!(parts(INSTANCES, handle_of(DEVICES, names)), Err(nvml::INVALID_ARGUMENT));
    }
}
