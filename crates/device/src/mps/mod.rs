//! MPS: one server for the programs that share a card, with a limit on each of them.
//!
//! A *group* is a user and a list of cards. Programs that hold slices of just these cards, and run
//! as that user, share the group's control daemon, which starts the server when the first of them
//! uses CUDA. The daemon is a child of this process, outlives it, and is found again by its record.
//!
//! ```text
//! <folder>/<user>-<hash of cards>/    mode 0700, owned by the user
//!   group.toml    cards, clients and their limits, the daemon's process, former compute modes
//!   pipe/         CUDA_MPS_PIPE_DIRECTORY
//!   log/          CUDA_MPS_LOG_DIRECTORY, and what the daemon printed
//!
//!            join                   join, leave                leave (the last)
//! (nothing) ------> daemon runs  -----------------> daemon runs ------> (nothing)
//!                       |  dies: `look` says so; the next `join` starts another
//! ```
//!
//! # How a client is held
//! Its own limits are in its environment, which [`environment`](crate::environment()) gives. A
//! program that drops its environment still meets the server's limits, which are those of the
//! largest client of the group: MPS lets a client lower the server's limits, not raise them. So a
//! group of one is held by the server exactly, and in a larger one the largest is. Limits of a
//! server reach only programs that start later, so that a resize counts from the next start.
//!
//! # Invariants
//! - A server serves one user. A client of another user would wait in a queue without an end, so
//!   that it is refused before it starts.
//! - The compute mode of a card changes only with [`CardSettings::MayChange`](crate::CardSettings), and is put back.
//! - Every answer of the control program is text from outside: bounded in bytes and in time.

mod answer;
mod attach;
mod command;
mod compute_mode;
mod control;
mod error;
mod facts;
mod folder;
mod groups;
mod limits;
mod plan;
mod program;

pub use attach::{Attached, Unattached};
pub(crate) use command::amount;
pub use compute_mode::{ComputeMode, ComputeModes};
pub use control::{Control, Waits};
pub use error::MpsError;
pub use groups::{GroupDown, Joined, MpsConfig, MpsGroups};
pub(crate) use limits::percent;
pub use limits::{ClientCard, MpsClient};
