//! What NVIDIA cards are doing, as their driver says.

use std::collections::{BTreeMap, BTreeSet};

use cotenant_types::{CardId, Mebibytes, Share};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::{Device, Nvml};

use super::nvml::{MigCard, XidWatch};
use super::read::read_card;
use crate::meter::{CardUse, PartitionUse, ProcessUse, Reading, lost};
use crate::vitals::Vitals;

/// Reads NVIDIA cards. NVML is opened at the first reading, and again if it could not be.
#[derive(Debug)]
pub(crate) struct NvidiaMeter {
    watch: Option<XidWatch>,
    cards: Vec<Metered>,
}

#[derive(Debug)]
struct Metered {
    id: CardId,
    /// The driver's time of the newest sample of processes that was read, in microseconds.
    seen_us: u64,
    /// Xid errors of the card, the newest last.
    xids: Vec<u64>,
}

impl NvidiaMeter {
    pub(crate) fn new(cards: Vec<CardId>) -> Self {
        let cards = cards.into_iter().map(|id| Metered { id, seen_us: 0, xids: Vec::new() });
        let mut meter = Self { watch: None, cards: cards.collect() };
        // Errors are told only to who waits for them, so that the wait begins now.
        meter.open();
        meter
    }

    fn open(&mut self) {
        if self.watch.is_none() {
            let ids = self.cards.iter().map(|metered| metered.id.as_str());
            self.watch = Nvml::init().ok().map(|nvml| XidWatch::new(nvml, ids));
        }
    }

    pub(crate) fn read(&mut self, reading: &mut Reading) {
        self.open();
        for event in self.watch.iter().flat_map(XidWatch::look) {
            let metered = self.cards.iter_mut().find(|one| one.id.as_str() == event.card);
            if let Some(metered) = metered {
                Vitals::push_xid(&mut metered.xids, event.xid);
            }
        }
        let nvml = self.watch.as_ref().map(XidWatch::nvml);
        for metered in &mut self.cards {
            let device = nvml.map(|nvml| (nvml, nvml.device_by_uuid(metered.id.as_str())));
            match device {
                Some((nvml, Ok(device))) => metered.read((nvml, &device), reading),
                Some((_, Err(_))) | None => reading.cards.push(metered.lost()),
            }
        }
    }

    /// Processes on whole cards alone; nothing of cards that do not answer.
    pub(crate) fn read_processes(&mut self, processes: &mut Vec<ProcessUse>) {
        let Some(nvml) = self.watch.as_ref().map(XidWatch::nvml) else { return };
        for metered in &mut self.cards {
            if let Ok(device) = nvml.device_by_uuid(metered.id.as_str()) {
                processes.extend(metered.read_processes(&device));
            }
        }
    }
}

impl Metered {
    fn read(&mut self, (nvml, device): (&Nvml, &Device<'_>), reading: &mut Reading) {
        let is_partitioned = device.mig_mode().is_ok_and(|mode| mode.current != 0);
        let (partitions, processes) = match is_partitioned {
            true => read_partitions(&self.id, MigCard::new(nvml, device)),
            false => (Vec::new(), self.read_processes(device)),
        };
        let known = (partitions.as_slice(), self.xids.as_slice());
        let card = read_card((nvml, device), &self.id, known);
        reading.cards.push(card.unwrap_or_else(|_| self.lost()));
        reading.partitions.extend(partitions);
        reading.processes.extend(processes);
    }

    /// The card when it does not answer; its last errors say why.
    fn lost(&self) -> CardUse {
        let lost = lost(self.id.clone());
        CardUse { vitals: Vitals { xids: self.xids.clone(), ..Vitals::default() }, ..lost }
    }

    /// What processes do on the card; empty where the driver does not say.
    fn read_processes(&mut self, device: &Device<'_>) -> Vec<ProcessUse> {
        let memory = memory_by_process(device);
        let samples = device.process_utilization_stats(self.seen_us).unwrap_or_default();
        let newest = samples.iter().map(|sample| sample.timestamp);
        self.seen_us = newest.fold(self.seen_us, u64::max);
        let samples = samples.into_iter();
        let samples: Vec<Sample> =
            samples.map(|sample| Sample { pid: sample.pid, percent: sample.sm_util }).collect();
        join(&self.id, &memory, &samples)
    }
}

/// What each process holds on a card or partition, if the driver says.
fn memory_by_process(device: &Device<'_>) -> BTreeMap<u32, Option<u64>> {
    let plain = device.running_compute_processes().unwrap_or_default();
    let served = device.mps_running_compute_processes().unwrap_or_default();
    let used = |memory| match memory {
        UsedGpuMemory::Unavailable => None,
        UsedGpuMemory::Used(bytes) => Some(bytes),
    };
    let all = plain.into_iter().chain(served);
    all.map(|process| (process.pid, used(process.used_gpu_memory))).collect()
}

/// What partitions do, and the processes on them. In MIG mode the driver says for no process how
/// busy it is.
fn read_partitions(card: &CardId, mig: MigCard<'_>) -> (Vec<PartitionUse>, Vec<ProcessUse>) {
    let (mut partitions, mut processes) = (Vec::new(), Vec::new());
    for found in mig.devices() {
        let Ok(id) = found.device.uuid() else { continue };
        let memory = memory_by_process(&found.device);
        let held = memory.values().flatten().sum();
        let used = found.device.memory_info().map_or(held, |memory| memory.used);
        let pids: BTreeSet<u32> = memory.keys().copied().collect();
        let (card, memory_used) = (card.clone(), Mebibytes(used >> 20));
        processes.extend(join(&card, &memory, &[]));
        partitions.push(PartitionUse { card, id, memory_used, pids: pids.into_iter().collect() });
    }
    (partitions, processes)
}

/// How busy one process kept the card for a while.
#[derive(Clone, Copy, Debug)]
struct Sample {
    pid: u32,
    percent: u32,
}

/// Processes that hold memory or were seen at work, with the mean of the samples of each: each
/// tells of the time since the one before, of which the newest alone would leave out most.
fn join(card: &CardId, memory: &BTreeMap<u32, Option<u64>>, samples: &[Sample]) -> Vec<ProcessUse> {
    let mut by_process: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for sample in samples {
        let (sum, count) = by_process.entry(sample.pid).or_default();
        (*sum, *count) = (*sum + u64::from(sample.percent.min(100)), *count + 1);
    }
    let mean = |(sum, count): &(u64, u64)| {
        let milli = u32::try_from(sum * 10 / count).expect("no mean is above its largest");
        Share::from_per_mille(milli).expect("a whole card at most")
    };
    let mut processes: BTreeMap<u32, ProcessUse> = BTreeMap::new();
    let pids = memory.keys().chain(by_process.keys()).filter(|&&pid| pid != 0);
    for &pid in pids {
        let compute = by_process.get(&pid).map(mean);
        let bytes = memory.get(&pid).copied().flatten();
        let memory_used = bytes.map(|bytes| Mebibytes(bytes >> 20));
        processes.insert(pid, ProcessUse { card: card.clone(), pid, compute, memory_used });
    }
    processes.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_joined_from_memory_and_samples() {
        let memory = BTreeMap::from([(7, Some(3 << 20)), (8, None), (0, Some(1))]);
        let sample = |pid, percent| Sample { pid, percent };
        let samples = [sample(7, 31), sample(7, 90), sample(9, 250)];
        let joined = join(&"GPU-1".parse().unwrap(), &memory, &samples);
        let shown: Vec<_> = joined
            .iter()
            .map(|one| (one.pid, one.compute.map(Share::per_mille), one.memory_used))
            .collect();
        let expected = [(7, Some(605), Some(Mebibytes(3))), (8, None, None), (9, Some(1000), None)];
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
