//! Replays traces of real clusters: which jobs a policy finds room for, as they arrive one by one
//! and stay.
//!
//! [`Cluster`] and [`Workload`] are read from text, [`Arrivals`] says in which order jobs come, and
//! [`Replay`] lets a policy place them and counts. There are no times yet: nothing leaves and nothing
//! waits, as in the experiment that was published with the traces.

mod arrival;
mod board;
mod cluster;
mod engine;
mod findings;
mod trace;
mod workload;

pub use arrival::{Arrivals, Order};
pub use cluster::Cluster;
pub use engine::{Placed, Replay};
pub use findings::{Counts, Findings, PERCENT_MAX};
pub use trace::{NodeRow, PodRow, TraceError, read_nodes, read_pods};
pub use workload::Workload;
