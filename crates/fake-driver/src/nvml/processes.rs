//! Processes on cards, and how much they use them.

use cotenant_fake_cards::ProcessTruth;

use super::card::argument;
use super::{Device, cards, mig, present};
use crate::codes::{Code, Outcome, nvml};
use crate::ffi::{List, Out, driver};

/// NVML's `nvmlProcessInfo_v1_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct ProcessV1 {
    pid: u32,
    used: u64,
}

/// NVML's `nvmlProcessInfo_v2_t`, which v3 is too.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct ProcessV2 {
    pid: u32,
    used: u64,
    gpu_instance: u32,
    compute_instance: u32,
}

/// NVML's `nvmlProcessUtilizationSample_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pid: u32,
    at_us: u64,
    sm: u32,
    memory: u32,
    encoder: u32,
    decoder: u32,
}

/// A time in microseconds at which the cards' clock is taken to begin.
const EPOCH_US: u64 = 1_700_000_000_000_000;
const NO_INSTANCE: u32 = u32::MAX;

driver! {
    nvml:

    fn nvmlDeviceGetComputeRunningProcesses(
        device: Device,
        count: Out<u32>,
        list: List<ProcessV1>,
    ) {
        give(&running(device, |pid, used| ProcessV1 { pid, used })?, count, list)
    }

    fn nvmlDeviceGetComputeRunningProcesses_v2(
        device: Device,
        count: Out<u32>,
        list: List<ProcessV2>,
    ) {
        give(&running(device, ProcessV2::new)?, count, list)
    }

    fn nvmlDeviceGetComputeRunningProcesses_v3(
        device: Device,
        count: Out<u32>,
        list: List<ProcessV2>,
    ) {
        match mig::mig_device(device)? {
            Some(device) => give(&on_partition(&device), count, list),
            None => give(&running(device, ProcessV2::new)?, count, list),
        }
    }

    fn nvmlDeviceGetGraphicsRunningProcesses_v3(
        device: Device,
        count: Out<u32>,
        _list: List<ProcessV2>,
    ) {
        present(device)?;
        argument(count.set(0))
    }

    fn nvmlDeviceGetMPSComputeRunningProcesses_v3(
        device: Device,
        count: Out<u32>,
        _list: List<ProcessV2>,
    ) {
        present(device)?;
        argument(count.set(0))
    }

    fn nvmlDeviceGetProcessUtilization(
        device: Device,
        list: List<Sample>,
        count: Out<u32>,
        seen_us: u64,
    ) {
        let (index, _) = present(device)?;
        if cards()?.answers(index).is_some_and(|told| told.mig_mode == 1) {
            return Err(nvml::NOT_SUPPORTED);
        }
        let samples: Vec<Sample> = alive(index)?
            .iter()
            .filter_map(|process| {
                let (at_ns, percent) = process.cards[index].sampled;
                let at_us = EPOCH_US + at_ns / 1000;
                let sample =
                    Sample { pid: process.pid, at_us, sm: percent, memory: 0, encoder: 0, decoder: 0 };
                (at_ns > 0 && at_us > seen_us).then_some(sample)
            })
            .collect();
        if samples.is_empty() {
            argument(count.set(0))?;
            return Err(nvml::NOT_FOUND);
        }
        give(&samples, count, list)
    }
}

impl ProcessV2 {
    fn new(pid: u32, used: u64) -> Self {
        Self { pid, used, gpu_instance: NO_INSTANCE, compute_instance: NO_INSTANCE }
    }
}

/// Processes on a partition, as tests say.
fn on_partition(device: &mig::MigDevice) -> Vec<ProcessV2> {
    let (gpu_instance, compute_instance) = (device.partition.id, device.compute.id);
    let process =
        |&(pid, used): &(u32, u64)| ProcessV2 { pid, used, gpu_instance, compute_instance };
    device.partition.users.iter().map(process).collect()
}

/// Live processes with a context on a card.
fn alive(index: usize) -> Result<Vec<ProcessTruth>, Code> {
    let mut processes = cards()?.truth().processes;
    processes.retain(|process| process.is_alive && process.cards[index].contexts > 0);
    Ok(processes)
}

fn running<T>(device: Device, make: impl Fn(u32, u64) -> T) -> Result<Vec<T>, Code> {
    let (index, _) = present(device)?;
    let processes = alive(index)?;
    Ok(processes.iter().map(|one| make(one.pid, one.cards[index].used_bytes)).collect())
}

/// Gives a list as NVML does: where there is too little room, it says how much there must be.
fn give<T: Copy>(values: &[T], count: Out<u32>, list: List<T>) -> Outcome {
    let room = count.get().map_err(|_| nvml::INVALID_ARGUMENT)? as usize;
    argument(count.set(values.len() as u32))?;
    if values.len() > room || list.is_null() && !values.is_empty() {
        return Err(nvml::INSUFFICIENT_SIZE);
    }
    argument(list.set(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_as_long_as_the_headers_say() {
        assert_eq!((size_of::<ProcessV1>(), size_of::<ProcessV2>()), (16, 24));
        assert_eq!(size_of::<Sample>(), 32);
    }
}
