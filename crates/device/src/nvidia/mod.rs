//! NVIDIA cards, through NVML, which is loaded while the program runs and may be absent.

mod find;
mod links;
mod meter;
mod modes;

pub(crate) use find::{Found, find};
pub(crate) use meter::NvidiaMeter;
pub use modes::NvidiaModes;
