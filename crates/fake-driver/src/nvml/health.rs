//! Errors of memory, clocks, power and heat.

use cotenant_fake_cards::CardAnswers;

use super::card::argument;
use super::{Device, cards, present};
use crate::codes::{Code, Outcome, nvml};
use crate::ffi::{Out, driver};

driver! {
    nvml:

    fn nvmlDeviceGetEccMode(device: Device, current: Out<u32>, pending: Out<u32>) {
        let mode = told(device)?.ecc_mode.checked_sub(1).ok_or(nvml::NOT_SUPPORTED)?;
        argument(current.set(mode as u32))?;
        argument(pending.set(mode as u32))
    }

    fn nvmlDeviceGetTotalEccErrors(device: Device, kind: u32, counter: u32, count: Out<u64>) {
        let told = told(device)?;
        if told.ecc_mode != 2 {
            return Err(nvml::NOT_SUPPORTED);
        }
        match (kind, counter) {
            (0, 0 | 1) => argument(count.set(told.ecc_corrected)),
            (1, 0 | 1) => argument(count.set(told.ecc_uncorrected)),
            _ => Err(nvml::INVALID_ARGUMENT),
        }
    }

    fn nvmlDeviceGetRemappedRows(
        device: Device,
        corrected: Out<u32>,
        uncorrected: Out<u32>,
        pending: Out<u32>,
        failed: Out<u32>,
    ) {
        let told = told(device)?;
        if told.rows_told == 0 {
            return Err(nvml::NOT_SUPPORTED);
        }
        argument(corrected.set(told.rows_corrected as u32))?;
        argument(uncorrected.set(told.rows_uncorrected as u32))?;
        argument(pending.set(told.rows_pending as u32))?;
        argument(failed.set(told.rows_failed as u32))
    }

    fn nvmlDeviceGetRetiredPagesPendingStatus(device: Device, is_pending: Out<u32>) {
        let pending = told(device)?.pages.checked_sub(1).ok_or(nvml::NOT_SUPPORTED)?;
        argument(is_pending.set(pending as u32))
    }

    fn nvmlDeviceGetPowerManagementLimit(device: Device, mw: Out<u32>) {
        known(told(device)?.power_limit_mw, mw)
    }

    fn nvmlDeviceGetTemperatureThreshold(device: Device, kind: u32, celsius: Out<u32>) {
        let told = told(device)?;
        match kind {
            0 => known(told.shutdown_c, celsius),
            1 => known(told.slowdown_c, celsius),
            _ => Err(nvml::NOT_SUPPORTED),
        }
    }

    fn nvmlDeviceGetClockInfo(device: Device, kind: u32, mhz: Out<u32>) {
        let told = told(device)?;
        match kind {
            1 => known(told.sm_mhz, mhz),
            2 => known(told.memory_mhz, mhz),
            _ => Err(nvml::NOT_SUPPORTED),
        }
    }

    fn nvmlDeviceGetTotalEnergyConsumption(device: Device, mj: Out<u64>) {
        match told(device)?.energy_mj {
            0 => Err(nvml::NOT_SUPPORTED),
            known => argument(mj.set(known)),
        }
    }

    fn nvmlDeviceGetPcieReplayCounter(device: Device, count: Out<u32>) {
        let told = told(device)?;
        if told.replays_told == 0 {
            return Err(nvml::NOT_SUPPORTED);
        }
        argument(count.set(told.replays as u32))
    }
}

fn told(device: Device) -> Result<CardAnswers, Code> {
    let (index, _) = present(device)?;
    cards()?.answers(index).ok_or(nvml::INVALID_ARGUMENT)
}

fn known(value: u64, out: Out<u32>) -> Outcome {
    if value == 0 { Err(nvml::NOT_SUPPORTED) } else { argument(out.set(value as u32)) }
}
