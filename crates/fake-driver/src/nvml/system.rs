//! Beginning, ending, versions.

use std::sync::atomic::Ordering;

use super::{INITIALISED, cards};
use crate::codes::{Code, Outcome, nvml};
use crate::ffi::{Out, TextOut, driver};
use crate::state;

driver! {
    nvml:

    fn nvmlInit() { initialise() }

    fn nvmlInit_v2() { initialise() }

    fn nvmlInitWithFlags(_flags: u32) { initialise() }

    fn nvmlShutdown() {
        let counted = INITIALISED.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
            count.checked_sub(1)
        });
        counted.map(drop).map_err(|_| nvml::UNINITIALIZED)
    }

    fn nvmlSystemGetDriverVersion(text: TextOut, room: u32) {
        write(text, driver_release(cards()?.driver_version()), room)
    }

    fn nvmlSystemGetNVMLVersion(text: TextOut, room: u32) {
        let version = cards()?.driver_version();
        write(text, &format!("{}.{}", version / 1000, driver_release(version)), room)
    }

    fn nvmlSystemGetCudaDriverVersion(version: Out<i32>) {
        version.set(cards()?.driver_version() as i32)
    }

    fn nvmlSystemGetCudaDriverVersion_v2(version: Out<i32>) {
        version.set(cards()?.driver_version() as i32)
    }
}

/// Writes a text; NVML refuses where it does not fit.
pub(super) fn write(text: TextOut, value: &str, room: u32) -> Outcome {
    match text.set(value, room as usize) {
        Ok(true) => Ok(()),
        Ok(false) => Err(nvml::INSUFFICIENT_SIZE),
        Err(Code(_)) => Err(nvml::INVALID_ARGUMENT),
    }
}

fn initialise() -> Outcome {
    state::cards().map_err(|_| nvml::DRIVER_NOT_LOADED)?;
    INITIALISED.fetch_add(1, Ordering::AcqRel);
    Ok(())
}

/// A release of the driver that has a version of CUDA.
fn driver_release(cuda: u32) -> &'static str {
    match cuda {
        0..12_000 => "520.61.05",
        12_000..13_000 => "550.54.15",
        13_000..13_040 => "580.65.06",
        _ => "615.44.01",
    }
}
