//! A card that is none: the kernels' own text on the processor, built by g++, for the tests and for
//! checks of what is to be checked on a card.
//!
//! It computes what a card computes but for the order in which tensor cores sum within sixteen
//! products, and takes about ten thousand times as long.

mod host;
mod machine;

pub(super) use host::Host;
#[cfg(test)]
pub(super) use host::{Library, Shape};
pub(super) use machine::HostMachine;

use super::backend::Cuda;
use super::rig::CudaNotes;
use super::source::Real;
use crate::backend::{Fault, Precision};

/// The kernels of a card on the processor, as the device of an encoder.
pub type EmulatedDevice = Cuda<HostMachine>;

/// Builds the kernels for a precision, or takes those that were built before.
///
/// # Errors
/// Where there is no g++, on processors other than x86-64, and if cards do not have the precision.
pub fn open(precision: Precision) -> Result<(EmulatedDevice, CudaNotes), Fault> {
    let real = Real::of(precision)?;
    let host = Host::open(real).map_err(|reason| Fault::Refused(reason.to_owned()))?;
    let notes = CudaNotes {
        card: "kernels on the processor".to_owned(),
        driver: "none".to_owned(),
        compiler: "g++".to_owned(),
        code: "g++".to_owned(),
        products: None,
        free_bytes: 0,
        notes: Vec::new(),
    };
    Ok((Cuda::new(HostMachine::new(host), real), notes))
}
