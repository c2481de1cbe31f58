//! What NVIDIA cards are doing, as their driver says.

use std::collections::BTreeMap;

use cotenant_types::{CardId, Mebibytes, Share};
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use crate::meter::{CardUse, Health, ProcessUse, Reading, lost};

/// Reads NVIDIA cards. NVML is opened at the first reading, and again if it could not be.
#[derive(Debug)]
pub(crate) struct NvidiaMeter {
    nvml: Option<Nvml>,
    cards: Vec<Metered>,
}

#[derive(Debug)]
struct Metered {
    id: CardId,
    /// The driver's time of the newest sample of processes that was read, in microseconds.
    seen_us: u64,
}

impl NvidiaMeter {
    pub(crate) fn new(cards: Vec<CardId>) -> Self {
        let cards = cards.into_iter().map(|id| Metered { id, seen_us: 0 });
        Self { nvml: None, cards: cards.collect() }
    }

    pub(crate) fn read(&mut self, reading: &mut Reading) {
        if self.nvml.is_none() {
            self.nvml = Nvml::init().ok();
        }
        for metered in &mut self.cards {
            let device = self.nvml.as_ref().map(|nvml| nvml.device_by_uuid(metered.id.as_str()));
            let Some(Ok(device)) = device else {
                reading.cards.push(lost(metered.id.clone()));
                continue;
            };
            match read_card(&device, &metered.id) {
                Ok(card) => reading.cards.push(card),
                Err(_) => reading.cards.push(lost(metered.id.clone())),
            }
            reading.processes.extend(metered.read_processes(&device));
        }
    }
}

/// What the card is doing. Memory must be known; a card that does not say how busy it is counts
/// as idle, since in that case nothing else would tell either.
fn read_card(device: &Device<'_>, id: &CardId) -> Result<CardUse, NvmlError> {
    let memory = device.memory_info()?;
    let compute = match device.utilization_rates() {
        Ok(rates) => from_percent(rates.gpu),
        Err(NvmlError::NotSupported | NvmlError::FailedToLoadSymbol(_)) => Share::ZERO,
        Err(error) => return Err(error),
    };
    Ok(CardUse {
        card: id.clone(),
        compute,
        memory_used: Mebibytes(memory.used >> 20),
        temperature_c: device.temperature(TemperatureSensor::Gpu).ok(),
        power_mw: device.power_usage().ok(),
        health: Health::Good,
    })
}

impl Metered {
    /// What processes do on the card; empty where the driver does not say.
    fn read_processes(&mut self, device: &Device<'_>) -> Vec<ProcessUse> {
        let mut memory = BTreeMap::new();
        let plain = device.running_compute_processes().unwrap_or_default();
        let served = device.mps_running_compute_processes().unwrap_or_default();
        for process in plain.into_iter().chain(served) {
            let used = match process.used_gpu_memory {
                UsedGpuMemory::Unavailable => None,
                UsedGpuMemory::Used(bytes) => Some(bytes),
            };
            memory.insert(process.pid, used);
        }
        let samples = device.process_utilization_stats(self.seen_us).unwrap_or_default();
        let samples: Vec<Sample> = samples
            .into_iter()
            .map(|sample| Sample {
                pid: sample.pid,
                at_us: sample.timestamp,
                percent: sample.sm_util,
            })
            .collect();
        self.seen_us = samples.iter().map(|sample| sample.at_us).fold(self.seen_us, u64::max);
        join(&self.id, &memory, &samples)
    }
}

/// How busy one process kept the card at one time.
#[derive(Clone, Copy, Debug)]
struct Sample {
    pid: u32,
    at_us: u64,
    percent: u32,
}

/// Processes that hold memory or were seen at work, with the newest sample of each.
fn join(card: &CardId, memory: &BTreeMap<u32, Option<u64>>, samples: &[Sample]) -> Vec<ProcessUse> {
    let mut newest: BTreeMap<u32, Sample> = BTreeMap::new();
    for sample in samples {
        let kept = newest.entry(sample.pid).or_insert(*sample);
        if sample.at_us > kept.at_us {
            *kept = *sample;
        }
    }
    let mut processes: BTreeMap<u32, ProcessUse> = BTreeMap::new();
    let pids = memory.keys().chain(newest.keys()).filter(|&&pid| pid != 0);
    for &pid in pids {
        let compute = newest.get(&pid).map(|sample| from_percent(sample.percent));
        let bytes = memory.get(&pid).copied().flatten();
        let memory_used = bytes.map(|bytes| Mebibytes(bytes >> 20));
        processes.insert(pid, ProcessUse { card: card.clone(), pid, compute, memory_used });
    }
    processes.into_values().collect()
}

fn from_percent(percent: u32) -> Share {
    Share::from_per_mille(percent.saturating_mul(10)).unwrap_or(Share::WHOLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_joined_from_memory_and_samples() {
        let memory = BTreeMap::from([(7, Some(3 << 20)), (8, None), (0, Some(1))]);
        let sample = |pid, at_us, percent| Sample { pid, at_us, percent };
        let samples = [sample(7, 20, 30), sample(7, 10, 90), sample(9, 5, 250)];
        let joined = join(&"GPU-1".parse().unwrap(), &memory, &samples);
        let shown: Vec<_> = joined
            .iter()
            .map(|one| (one.pid, one.compute.map(Share::per_mille), one.memory_used))
            .collect();
        let expected = [(7, Some(300), Some(Mebibytes(3))), (8, None, None), (9, Some(1000), None)];
        assert_eq!(shown, expected);
    }

    #[test]
    fn cards_without_a_driver_are_lost() {
        let id: CardId = "GPU-of-no-machine".parse().unwrap();
        let mut reading = Reading::default();
        NvidiaMeter::new(vec![id.clone()]).read(&mut reading);
        assert_eq!(reading.cards, [lost(id)]);
        assert!(reading.processes.is_empty());
    }
}
