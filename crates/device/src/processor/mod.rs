//! The processor and memory of this machine, as a card.

mod card;
mod meter;

pub use card::NoMemory;
pub(crate) use card::{find, node_name};
pub(crate) use meter::ProcessorMeter;
