//! Compute modes of NVIDIA cards, as NVML reads and sets them.

use cotenant_types::CardId;
use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::ComputeMode as NvmlMode;

use crate::mps::{ComputeMode, ComputeModes};

/// Compute modes through NVML, which is loaded anew for each call: they are rare.
#[derive(Clone, Copy, Debug, Default)]
pub struct NvidiaModes;

impl ComputeModes for NvidiaModes {
    fn read(&self, card: &CardId) -> Result<ComputeMode, String> {
        let nvml = Nvml::init().map_err(|error| error.to_string())?;
        let device = nvml.device_by_uuid(card.as_str()).map_err(|error| error.to_string())?;
        let mode = device.compute_mode().map_err(|error| error.to_string())?;
        Ok(match mode {
            NvmlMode::Default => ComputeMode::Default,
            // Drivers of today know the first as a former name of the second.
            NvmlMode::ExclusiveThread | NvmlMode::ExclusiveProcess => ComputeMode::Exclusive,
            NvmlMode::Prohibited => ComputeMode::Prohibited,
        })
    }

    fn set(&self, card: &CardId, mode: ComputeMode) -> Result<(), String> {
        let nvml = Nvml::init().map_err(|error| error.to_string())?;
        let mut device = nvml.device_by_uuid(card.as_str()).map_err(|error| error.to_string())?;
        let mode = match mode {
            ComputeMode::Default => NvmlMode::Default,
            ComputeMode::Exclusive => NvmlMode::ExclusiveProcess,
            ComputeMode::Prohibited => NvmlMode::Prohibited,
        };
        device.set_compute_mode(mode).map_err(|error| error.to_string())
    }
}
