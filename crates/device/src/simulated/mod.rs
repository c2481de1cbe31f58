//! Cards in numbers alone: what they are, and what they do when something breaks.

mod file;
mod models;
mod pool;
mod state;

pub use file::PoolFileError;
pub use models::{Model, UnknownModel};
pub use pool::{PoolError, SimulatedGroup, SimulatedNodes, SimulatedPool};
pub use state::{CardFault, SimulatedCards, SimulatedError};
