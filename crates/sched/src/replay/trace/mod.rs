//! Reads the tables of a trace: nodes and pods, one a line, as the openb traces have them.

mod error;
mod nodes;
mod pods;
mod table;

pub use error::TraceError;
pub use nodes::{NodeRow, read_nodes};
pub use pods::{PodRow, Service, Times, read_pods};
