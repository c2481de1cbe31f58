//! Partitions of a card in MIG mode: GPU instances, and the compute instances in them.

use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::ptr;

use nvml_wrapper::{Device, Nvml};
use nvml_wrapper_sys::bindings as sys;

use super::refused::{Refused, function};

/// How many profiles NVML has numbers for: more than it names today, so that new ones are found.
pub(crate) const PROFILES: u32 = 32;

/// Compute profiles, likewise.
const COMPUTE_PROFILES: u32 = 16;

/// Room for a list; a card has 7 partitions at most, and a profile 8 places.
const ROOM: usize = 64;

/// A card whose partitions are asked for, made or destroyed.
#[derive(Clone, Copy)]
pub(crate) struct MigCard<'n> {
    nvml: &'n Nvml,
    device: &'n Device<'n>,
}

/// A profile as NVML tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawProfile {
    /// NVML's number for it.
    pub(crate) index: u32,
    /// By what it is made.
    pub(crate) id: u32,
    /// Its name, if this driver tells names.
    pub(crate) name: Option<String>,
    pub(crate) slices: u32,
    pub(crate) count: u32,
    pub(crate) memory_mib: u64,
    pub(crate) multiprocessors: u32,
}

/// A partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instance<'n> {
    handle: sys::nvmlGpuInstance_t,
    /// Its number on the card.
    pub(crate) id: u32,
    pub(crate) start: u32,
    of: PhantomData<&'n Nvml>,
}

/// A compute instance of a partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compute<'n> {
    handle: sys::nvmlComputeInstance_t,
    /// Its number in its partition.
    pub(crate) id: u32,
    pub(crate) slices: u32,
    of: PhantomData<&'n Nvml>,
}

/// A compute instance as programs see it.
pub(crate) struct MigDevice<'n> {
    pub(crate) device: Device<'n>,
    /// Its partition's number.
    pub(crate) instance: u32,
    /// Its number in the partition.
    pub(crate) compute: u32,
}

impl<'n> MigCard<'n> {
    pub(crate) fn new(nvml: &'n Nvml, device: &'n Device<'n>) -> Self {
        Self { nvml, device }
    }

    /// The profile of that number; nothing if the card has none.
    pub(crate) fn profile(self, index: u32) -> Result<Option<RawProfile>, Refused> {
        match self.named_profile(index) {
            Err(Refused::Missing(_)) => self.nameless_profile(index),
            other => other,
        }
    }

    fn named_profile(self, index: u32) -> Result<Option<RawProfile>, Refused> {
        let ask = function!(self.nvml, nvmlDeviceGetGpuInstanceProfileInfoV)?;
        let mut info = sys::nvmlGpuInstanceProfileInfo_v2_t {
            version: 2 << 24 | size_of::<sys::nvmlGpuInstanceProfileInfo_v2_t>() as u32,
            id: 0,
            isP2pSupported: 0,
            sliceCount: 0,
            instanceCount: 0,
            multiprocessorCount: 0,
            copyEngineCount: 0,
            decoderCount: 0,
            encoderCount: 0,
            jpegCount: 0,
            ofaCount: 0,
            memorySizeMB: 0,
            name: [0; 96],
        };
        // SAFETY: the handle is of `nvml`, which is open, and `info` is a struct of the version that
        // it names.
        if !is_offered(unsafe { ask(self.device.handle(), index, &mut info) })? {
            return Ok(None);
        }
        Ok(Some(RawProfile {
            index,
            id: info.id,
            name: Some(text(&info.name)),
            slices: info.sliceCount,
            count: info.instanceCount,
            memory_mib: info.memorySizeMB,
            multiprocessors: info.multiprocessorCount,
        }))
    }

    fn nameless_profile(self, index: u32) -> Result<Option<RawProfile>, Refused> {
        let ask = function!(self.nvml, nvmlDeviceGetGpuInstanceProfileInfo)?;
        let mut info = sys::nvmlGpuInstanceProfileInfo_t {
            id: 0,
            isP2pSupported: 0,
            sliceCount: 0,
            instanceCount: 0,
            multiprocessorCount: 0,
            copyEngineCount: 0,
            decoderCount: 0,
            encoderCount: 0,
            jpegCount: 0,
            ofaCount: 0,
            memorySizeMB: 0,
        };
        // SAFETY: the handle is of `nvml`, which is open, and `info` is a place for the answer.
        if !is_offered(unsafe { ask(self.device.handle(), index, &mut info) })? {
            return Ok(None);
        }
        Ok(Some(RawProfile {
            index,
            id: info.id,
            name: None,
            slices: info.sliceCount,
            count: info.instanceCount,
            memory_mib: info.memorySizeMB,
            multiprocessors: info.multiprocessorCount,
        }))
    }

    /// Where partitions of a profile may lie: first slots and widths.
    pub(crate) fn placements(self, profile_id: u32) -> Result<Vec<(u32, u32)>, Refused> {
        let ask = function!(self.nvml, nvmlDeviceGetGpuInstancePossiblePlacements_v2)?;
        let mut count = 0;
        // SAFETY: the handle is of `nvml`, which is open; without a list the function only counts.
        let code = unsafe { ask(self.device.handle(), profile_id, ptr::null_mut(), &mut count) };
        Refused::check(code)?;
        let mut list = [sys::nvmlGpuInstancePlacement_t { start: 0, size: 0 }; ROOM];
        if count as usize > ROOM {
            return Err(Refused::NoRoom);
        }
        // SAFETY: as above, and the list has room for as many as were counted.
        let code = unsafe { ask(self.device.handle(), profile_id, list.as_mut_ptr(), &mut count) };
        Refused::check(code)?;
        let found = list.iter().take(count as usize);
        Ok(found.map(|place| (place.start, place.size)).collect())
    }

    /// Partitions of a profile that there are.
    pub(crate) fn instances(self, profile_id: u32) -> Result<Vec<Instance<'n>>, Refused> {
        let ask = function!(self.nvml, nvmlDeviceGetGpuInstances)?;
        let mut list: [sys::nvmlGpuInstance_t; ROOM] = [ptr::null_mut(); ROOM];
        let mut count = ROOM as u32;
        // SAFETY: the handle is of `nvml`, which is open, and the list has more room than a card has
        // partitions.
        let code = unsafe { ask(self.device.handle(), profile_id, list.as_mut_ptr(), &mut count) };
        Refused::check(code)?;
        list.iter().take(count as usize).map(|&handle| self.instance(handle)).collect()
    }

    /// Makes a partition at a place.
    pub(crate) fn create(
        self,
        profile_id: u32,
        (start, size): (u32, u32),
    ) -> Result<Instance<'n>, Refused> {
        let make = function!(self.nvml, nvmlDeviceCreateGpuInstanceWithPlacement)?;
        let place = sys::nvmlGpuInstancePlacement_t { start, size };
        let mut handle = ptr::null_mut();
        // SAFETY: the handle is of `nvml`, which is open, and both pointers outlive the call.
        Refused::check(unsafe { make(self.device.handle(), profile_id, &place, &mut handle) })?;
        self.instance(handle)
    }

    /// Destroys a partition without compute instances.
    pub(crate) fn destroy(self, instance: &Instance<'n>) -> Result<(), Refused> {
        let destroy = function!(self.nvml, nvmlGpuInstanceDestroy)?;
        // SAFETY: the handle is of `nvml`, which is open; one that is no more is refused by it.
        Refused::check(unsafe { destroy(instance.handle) })
    }

    fn instance(self, handle: sys::nvmlGpuInstance_t) -> Result<Instance<'n>, Refused> {
        let ask = function!(self.nvml, nvmlGpuInstanceGetInfo)?;
        let mut info = sys::nvmlGpuInstanceInfo_t {
            device: ptr::null_mut(),
            id: 0,
            profileId: 0,
            placement: sys::nvmlGpuInstancePlacement_t { start: 0, size: 0 },
        };
        // SAFETY: NVML, which is open, has just given the handle, and `info` is a place for the answer.
        Refused::check(unsafe { ask(handle, &mut info) })?;
        Ok(Instance { handle, id: info.id, start: info.placement.start, of: PhantomData })
    }

    /// The compute instances of a partition.
    pub(crate) fn computes(self, instance: &Instance<'n>) -> Result<Vec<Compute<'n>>, Refused> {
        let ask = function!(self.nvml, nvmlGpuInstanceGetComputeInstances)?;
        let mut computes = Vec::new();
        for (id, slices) in self.compute_profiles(instance)? {
            let mut list: [sys::nvmlComputeInstance_t; ROOM] = [ptr::null_mut(); ROOM];
            let mut count = ROOM as u32;
            // SAFETY: the handle is of `nvml`, which is open, and the list has more room than a
            // partition has compute instances.
            let code = unsafe { ask(instance.handle, id, list.as_mut_ptr(), &mut count) };
            Refused::check(code)?;
            for &handle in list.iter().take(count as usize) {
                let id = self.compute_id(handle)?;
                computes.push(Compute { handle, id, slices, of: PhantomData });
            }
        }
        Ok(computes)
    }

    /// Makes the compute instance that has all slices of its partition.
    pub(crate) fn create_whole_compute(
        self,
        instance: &Instance<'n>,
        slices: u32,
    ) -> Result<(), Refused> {
        let make = function!(self.nvml, nvmlGpuInstanceCreateComputeInstance)?;
        let profiles = self.compute_profiles(instance)?;
        let whole = profiles.iter().find(|(_, of)| *of == slices).ok_or(Refused::NotFound)?;
        let mut handle = ptr::null_mut();
        // SAFETY: the handle is of `nvml`, which is open, and `handle` is a place for another.
        Refused::check(unsafe { make(instance.handle, whole.0, &mut handle) })
    }

    /// Destroys a compute instance.
    pub(crate) fn destroy_compute(self, compute: &Compute<'n>) -> Result<(), Refused> {
        let destroy = function!(self.nvml, nvmlComputeInstanceDestroy)?;
        // SAFETY: the handle is of `nvml`, which is open; one that is no more is refused by it.
        Refused::check(unsafe { destroy(compute.handle) })
    }

    /// Ids of the compute profiles of a partition that share its engines, with their slices. Of two
    /// with as many slices the first is the plain one.
    fn compute_profiles(self, instance: &Instance<'n>) -> Result<Vec<(u32, u32)>, Refused> {
        let ask = function!(self.nvml, nvmlGpuInstanceGetComputeInstanceProfileInfo)?;
        let mut profiles: Vec<(u32, u32)> = Vec::new();
        for index in 0..COMPUTE_PROFILES {
            let mut info = sys::nvmlComputeInstanceProfileInfo_t {
                id: 0,
                sliceCount: 0,
                instanceCount: 0,
                multiprocessorCount: 0,
                sharedCopyEngineCount: 0,
                sharedDecoderCount: 0,
                sharedEncoderCount: 0,
                sharedJpegCount: 0,
                sharedOfaCount: 0,
            };
            let engines = sys::NVML_COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED;
            // SAFETY: the handle is of `nvml`, which is open, and `info` is a place for the answer.
            let code = unsafe { ask(instance.handle, index, engines, &mut info) };
            if is_offered(code)? && profiles.iter().all(|(id, _)| *id != info.id) {
                profiles.push((info.id, info.sliceCount));
            }
        }
        Ok(profiles)
    }

    fn compute_id(self, handle: sys::nvmlComputeInstance_t) -> Result<u32, Refused> {
        let ask = function!(self.nvml, nvmlComputeInstanceGetInfo_v2)?;
        let mut info = sys::nvmlComputeInstanceInfo_t {
            device: ptr::null_mut(),
            gpuInstance: ptr::null_mut(),
            id: 0,
            profileId: 0,
            placement: sys::nvmlComputeInstancePlacement_t { start: 0, size: 0 },
        };
        // SAFETY: NVML, which is open, has just given the handle, and `info` is a place for the answer.
        Refused::check(unsafe { ask(handle, &mut info) })?;
        Ok(info.id)
    }

    /// Every compute instance of the card as programs see it.
    pub(crate) fn devices(self) -> Vec<MigDevice<'n>> {
        let count = self.device.mig_device_count().unwrap_or(0);
        let found = (0..count).filter_map(|index| self.device.mig_device_by_index(index).ok());
        found.filter_map(|device| self.place_of(device)).collect()
    }

    fn place_of(self, device: Device<'n>) -> Option<MigDevice<'n>> {
        let instance_id = function!(self.nvml, nvmlDeviceGetGpuInstanceId).ok()?;
        let compute_id = function!(self.nvml, nvmlDeviceGetComputeInstanceId).ok()?;
        let (mut instance, mut compute) = (0, 0);
        // SAFETY: the handle is of `nvml`, which is open, and both pointers are places for numbers.
        let codes = unsafe {
            [instance_id(device.handle(), &mut instance), compute_id(device.handle(), &mut compute)]
        };
        let is_known = codes.into_iter().all(|code| Refused::check(code).is_ok());
        is_known.then_some(MigDevice { device, instance, compute })
    }
}

/// Whether a profile is there: a card refuses those that it has not, in one of several ways.
fn is_offered(code: sys::nvmlReturn_t) -> Result<bool, Refused> {
    match Refused::check(code) {
        Ok(()) => Ok(true),
        Err(Refused::NotSupported | Refused::NotFound) => Ok(false),
        Err(Refused::Code(sys::nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT)) => Ok(false),
        Err(other) => Err(other),
    }
}

/// A text that ends with a zero, or with its room.
fn text(bytes: &[c_char]) -> String {
    let bytes: Vec<u8> = bytes.iter().map(|&byte| byte as u8).collect();
    let text = CStr::from_bytes_until_nul(&bytes);
    text.map_or_else(|_| String::from_utf8_lossy(&bytes), CStr::to_string_lossy).into_owned()
}

// What the headers say, for the structs that are filled in here.
const _: () = assert!(size_of::<sys::nvmlGpuInstanceProfileInfo_t>() == 48);
const _: () = assert!(size_of::<sys::nvmlGpuInstanceProfileInfo_v2_t>() == 152);
const _: () = assert!(size_of::<sys::nvmlGpuInstanceInfo_t>() == 24);
const _: () = assert!(size_of::<sys::nvmlGpuInstancePlacement_t>() == 8);
const _: () = assert!(size_of::<sys::nvmlComputeInstanceProfileInfo_t>() == 36);
const _: () = assert!(size_of::<sys::nvmlComputeInstanceInfo_t>() == 32);
const _: () = assert!(size_of::<sys::nvmlEventData_t>() == 32);
