//! Rows of a card's memory that were replaced by others.

use nvml_wrapper::{Device, Nvml};

use super::refused::{Refused, function};

/// What a card says of its rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    /// Replaced after errors that were corrected.
    pub(crate) corrected: u32,
    /// Replaced after errors that were not.
    pub(crate) uncorrected: u32,
    /// Whether some wait for a reset.
    pub(crate) is_pending: bool,
    /// Whether one could not be replaced.
    pub(crate) has_failed: bool,
}

/// A card's rows; cards before Ampere have none that can be replaced.
pub(crate) fn rows(nvml: &Nvml, device: &Device<'_>) -> Result<Rows, Refused> {
    let ask = function!(nvml, nvmlDeviceGetRemappedRows)?;
    let (mut corrected, mut uncorrected, mut pending, mut failed) = (0, 0, 0, 0);
    // SAFETY: the handle is of `nvml`, which is open, and each pointer is a place for a number.
    let code = unsafe {
        ask(device.handle(), &mut corrected, &mut uncorrected, &mut pending, &mut failed)
    };
    Refused::check(code)?;
    Ok(Rows { corrected, uncorrected, is_pending: pending != 0, has_failed: failed != 0 })
}
