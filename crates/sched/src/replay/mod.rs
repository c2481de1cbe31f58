//! Replays traces of real clusters: which jobs a policy finds room for, as they arrive one by one
//! and stay.
//!
//! [`Cluster`] and [`Workload`] are read from text, [`Arrivals`] says in which order jobs come, and
//! [`Replay`] lets a policy place them and counts: nothing leaves and nothing waits, as in the experiment
//! that was published with the traces. In [`timed`], jobs come and go when the trace says, and wait.

mod arrival;
mod board;
mod cluster;
mod engine;
mod findings;
mod placer;
pub mod timed;
mod trace;
mod workload;

pub use arrival::{Arrivals, Order};
pub use cluster::Cluster;
pub use engine::{Placed, Replay};
pub use findings::{Counts, Findings, PERCENT_MAX};
pub use trace::{NodeRow, PodRow, Service, Times, TraceError, read_nodes, read_pods};
pub use workload::Workload;
