//! NVIDIA cards, through NVML, which is loaded while the program runs and may be absent.

mod find;
mod limits;
mod links;
mod meter;
mod mig;
mod modes;
mod nvml;
mod read;
mod xid;

pub(crate) use find::{Found, find};
pub use limits::{
    DriverLimits, DriverLimitsError, DriverUse, clear_driver_limits, driver_use, set_driver_limits,
};
pub(crate) use meter::NvidiaMeter;
pub use mig::{PartitionError, Partitions};
pub use modes::NvidiaModes;
pub use xid::{XidKind, XidMeaning, xid_meaning};
