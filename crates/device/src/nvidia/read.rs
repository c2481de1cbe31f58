//! What a card says of itself when it is asked.

use cotenant_types::{CardId, Mebibytes, Share};
use nvml_wrapper::enum_wrappers::device::{
    Clock, EccCounter, MemoryError, TemperatureSensor, TemperatureThreshold,
};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use super::nvml::rows;
use crate::meter::{CardUse, Health, PartitionUse};
use crate::vitals::{EccErrors, RowRemaps, Throttle, Vitals};

/// What the card is doing. Memory must be known; a card that does not say how busy it is, as in MIG
/// mode, counts as idle, since in that case nothing else would tell either.
pub(super) fn read_card(
    (nvml, device): (&Nvml, &Device<'_>),
    id: &CardId,
    (partitions, xids): (&[PartitionUse], &[u64]),
) -> Result<CardUse, NvmlError> {
    let memory_used = match device.memory_info() {
        Ok(memory) => Mebibytes(memory.used >> 20),
        // In MIG mode only root may ask the card itself; what partitions use is known to all.
        Err(NvmlError::NoPermission | NvmlError::NotSupported) if !partitions.is_empty() => {
            Mebibytes(partitions.iter().map(|one| one.memory_used.0).sum())
        }
        Err(error) => return Err(error),
    };
    let compute = match device.utilization_rates() {
        Ok(rates) => from_percent(rates.gpu),
        Err(NvmlError::NotSupported | NvmlError::FailedToLoadSymbol(_)) => Share::ZERO,
        Err(error) => return Err(error),
    };
    let vitals = Vitals { xids: xids.to_vec(), ..read_vitals(nvml, device) };
    let health = if vitals.faults().is_empty() { Health::Good } else { Health::Failing };
    Ok(CardUse {
        card: id.clone(),
        compute,
        memory_used,
        temperature_c: device.temperature(TemperatureSensor::Gpu).ok(),
        power_mw: device.power_usage().ok(),
        health,
        vitals,
    })
}

/// Everything else; what a card does not say is left out.
fn read_vitals(nvml: &Nvml, device: &Device<'_>) -> Vitals {
    let bits = device.current_throttle_reasons().ok().map(|reasons| reasons.bits());
    let errors = |kind| device.total_ecc_errors(kind, EccCounter::Volatile).ok();
    let ecc = errors(MemoryError::Corrected).zip(errors(MemoryError::Uncorrected));
    let rows = rows(nvml, device).ok();
    Vitals {
        throttled_by: Throttle::of_bits(bits.unwrap_or(0)),
        throttle_bits: bits,
        power_limit_mw: device.enforced_power_limit().ok(),
        slowdown_c: device.temperature_threshold(TemperatureThreshold::Slowdown).ok(),
        shutdown_c: device.temperature_threshold(TemperatureThreshold::Shutdown).ok(),
        sm_clock_mhz: device.clock_info(Clock::SM).ok(),
        memory_clock_mhz: device.clock_info(Clock::Memory).ok(),
        energy_mj: device.total_energy_consumption().ok(),
        pcie_replays: device.pcie_replay_counter().ok(),
        ecc: ecc.map(|(corrected, uncorrected)| EccErrors { corrected, uncorrected }),
        rows: rows.map(|rows| RowRemaps {
            corrected: rows.corrected,
            uncorrected: rows.uncorrected,
            is_pending: rows.is_pending,
            has_failed: rows.has_failed,
        }),
        are_pages_pending: device.are_pages_pending_retired().ok(),
        xids: Vec::new(),
    }
}

pub(super) fn from_percent(percent: u32) -> Share {
    Share::from_per_mille(percent.saturating_mul(10)).unwrap_or(Share::WHOLE)
}
