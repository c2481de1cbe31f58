//! What NVML can do and `nvml-wrapper` does not say: partitions, memory limits of control groups,
//! errors as they happen, rows of memory.
//!
//! All unsafe code of this crate is below here. Functions come from the library that the wrapper has
//! loaded, by the declarations of `nvml-wrapper-sys`, or by `dlsym` where that is older than they
//! are. A function that this driver lacks is a [`Refused::Missing`], never a failure to load.
//!
//! # Invariants
//! - A handle lives no longer than the [`Nvml`](nvml_wrapper::Nvml) that gave it.
//! - A list is never longer than the room that the driver was told of.

mod events;
mod limits;
mod mig;
mod refused;
mod rows;

pub(crate) use events::XidWatch;
pub(crate) use limits::{ALL_MEMORY, Limits, has_limits, limits, set_limits};
pub(crate) use mig::{Instance, MigCard, PROFILES, RawProfile};
pub(crate) use refused::Refused;
pub(crate) use rows::rows;
