//! Replays traces in time: jobs come when the trace says, run as long as they did, and go.
//!
//! - A job comes at its `creation_time`, the first of all at 0. [`Stream::new`] lets jobs come a
//!   whole number of times as fast as they did: a trace of an idle cluster becomes a busy one.
//! - It runs from its `scheduled_time` to its `deletion_time`; one that was never scheduled, from its
//!   `creation_time`. That is a second at least, and is not made shorter.
//! - What fits nowhere waits. Whenever something went, all that wait are tried again, in the order in
//!   which they came or by their response ratio, and who fits starts: later jobs may overtake.
//! - What no empty node could run is unplaceable; it is counted and has no wait.
//!
//! Begin with [`replay`]. What goes beyond a policy that looks at nodes alone is [`Beyond`].

mod beyond;
mod departures;
mod engine;
mod fewest;
mod findings;
mod lifetimes;
mod moves;
mod queue;
mod ratio;
mod stream;
mod tally;

pub use beyond::{Beyond, UnknownBeyond};
pub use engine::{
    Change, ChangeKind, MOVES_MAX, Setting, replay, replay_observed, replay_within, unplaceable,
};
pub use fewest::fewest_nodes;
pub use findings::{SLICES, TimedFindings, Waits};
pub use stream::{Job, Stream};
