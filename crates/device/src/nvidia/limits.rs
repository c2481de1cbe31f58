//! Limits of memory that the driver itself holds a control group to, since r615.
//!
//! They are the group's and go with it: settings of the card stay as they are, so that they need
//! root but no permission to change those. They hold memory alone.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cotenant_types::{CardId, Mebibytes};
use nvml_wrapper::Nvml;
use thiserror::Error;

use super::nvml::{ALL_MEMORY, Limits, Refused, limits, set_limits};

/// What a control group may have of a card's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriverLimits {
    /// What it has before others: beyond it, its memory is the first to be moved away.
    pub request: Mebibytes,
    /// What it never passes: beyond it, allocations fail.
    pub limit: Mebibytes,
}

/// What a control group has of a card's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriverUse {
    /// What holds; nothing where the driver holds it to no limit.
    pub limits: Option<DriverLimits>,
    /// What it uses.
    pub used: Mebibytes,
}

/// Why the driver does not hold a control group.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DriverLimitsError {
    /// NVML, or the card in it, cannot be used.
    #[error("card '{card}' cannot be asked for memory limits: it says \"{why}\"")]
    Driver {
        /// The card.
        card: CardId,
        /// What the driver says.
        why: String,
    },
    /// A path that NVML cannot be given.
    #[error("the control group {0} has a path with a zero in it")]
    Path(PathBuf),
    /// Only root may.
    #[error(
        "card '{card}' lets only root limit the memory of {group}; start the pool as root, or ask \
         for another enforcement, such as mps or intercept"
    )]
    Root {
        /// The card.
        card: CardId,
        /// The group.
        group: PathBuf,
    },
    /// The driver or the card has no such limits.
    #[error(
        "card '{card}' cannot limit the memory of {group}: {why}; that needs driver r615 or newer \
         and a card outside MIG mode, and the group must be one of version 2"
    )]
    Unsupported {
        /// The card.
        card: CardId,
        /// The group.
        group: PathBuf,
        /// What is missing.
        why: String,
    },
    /// Something else.
    #[error("card '{card}' does not limit the memory of {group}: {why}; see the kernel's log")]
    Failed {
        /// The card.
        card: CardId,
        /// The group.
        group: PathBuf,
        /// What the driver says.
        why: String,
    },
    /// A limit was set, and another is in force.
    #[error(
        "card '{card}' was told to hold {group} to {wished} and holds it to {found}; something \
         else sets its limits too"
    )]
    Unkept {
        /// The card.
        card: CardId,
        /// The group.
        group: PathBuf,
        /// What was asked for.
        wished: Mebibytes,
        /// What holds.
        found: Mebibytes,
    },
}

/// How much more than was asked for a driver may give by rounding up.
const ROUNDED_MAX: Mebibytes = Mebibytes(256);

/// Holds the control group in a folder to limits, and reads back whether it is.
pub fn set_driver_limits(
    card: &CardId,
    group: &Path,
    wished: DriverLimits,
) -> Result<DriverLimits, DriverLimitsError> {
    let bytes = |amount: Mebibytes| amount.0.saturating_mul(1 << 20);
    let hard = bytes(wished.limit);
    let raw = Limits { soft: bytes(wished.request).min(hard), hard, used: 0 };
    let found = with(card, group, |nvml, device, path| {
        set_limits(nvml, device, (path, raw))?;
        limits(nvml, device, path)
    })?;
    let held = used_of(found).limits;
    let is_kept = |found: Mebibytes| {
        (wished.limit.0..=wished.limit.0.saturating_add(ROUNDED_MAX.0)).contains(&found.0)
    };
    match held {
        Some(held) if is_kept(held.limit) => Ok(held),
        other => Err(DriverLimitsError::Unkept {
            card: card.clone(),
            group: group.to_owned(),
            wished: wished.limit,
            found: other.map_or(Mebibytes(ALL_MEMORY >> 20), |held| held.limit),
        }),
    }
}

/// What the driver holds the control group in a folder to, and what it uses.
pub fn driver_use(card: &CardId, group: &Path) -> Result<DriverUse, DriverLimitsError> {
    with(card, group, limits).map(used_of)
}

/// Lets go of a control group; one that was never held is fine. A group that is removed is let go
/// of by itself.
pub fn clear_driver_limits(card: &CardId, group: &Path) -> Result<(), DriverLimitsError> {
    let none = Limits { soft: 0, hard: ALL_MEMORY, used: 0 };
    with(card, group, |nvml, device, path| set_limits(nvml, device, (path, none)))
}

fn used_of(raw: Limits) -> DriverUse {
    let mebibytes = |bytes: u64| Mebibytes(bytes >> 20);
    let limits = (raw.hard != ALL_MEMORY)
        .then(|| DriverLimits { request: mebibytes(raw.soft), limit: mebibytes(raw.hard) });
    DriverUse { limits, used: mebibytes(raw.used) }
}

fn with<T>(
    card: &CardId,
    group: &Path,
    act: impl FnOnce(&Nvml, &nvml_wrapper::Device<'_>, &std::ffi::CStr) -> Result<T, Refused>,
) -> Result<T, DriverLimitsError> {
    let path = CString::new(group.as_os_str().as_bytes())
        .map_err(|_| DriverLimitsError::Path(group.to_owned()))?;
    let said = |error: nvml_wrapper::error::NvmlError| DriverLimitsError::Driver {
        card: card.clone(),
        why: error.to_string(),
    };
    let nvml = Nvml::init().map_err(said)?;
    let device = nvml.device_by_uuid(card.as_str()).map_err(said)?;
    let (card, group) = (card.clone(), group.to_owned());
    act(&nvml, &device, &path).map_err(|why| match why {
        Refused::NoPermission => DriverLimitsError::Root { card, group },
        Refused::Missing(_) | Refused::NotSupported => {
            DriverLimitsError::Unsupported { card, group, why: why.to_string() }
        }
        Refused::NotFound | Refused::InUse | Refused::NoRoom | Refused::Lost | Refused::Code(_) => {
            DriverLimitsError::Failed { card, group, why: why.to_string() }
        }
    })
}
