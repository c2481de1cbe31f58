//! Decides for the pool, and does nothing: a job's life, queues, quotas, placement, explanations.
//!
//! [`step`] takes in what happened and says what is to be done; [`plan`] looks at all that waits and
//! proposes what starts where, which comes back in as an event. Both are functions of their
//! arguments: the crate knows no clock, randomness, files, threads or hash order. Begin with
//! [`Event`] and [`Command`], then [`State`]. Beside them stand policies of placement, in [`policy`],
//! and what compares them on traces of real clusters, in [`replay`].
//!
//! # Invariants
//! - The same events give the same state, commands and plans, bit for bit.
//! - No card gives more than it has, and no tenant holds more than its limit.
//! - Slices are free again only when every machine said that nothing runs there any more, or is
//!   fenced: nothing runs twice.
//! - A job that waits has a reason, and the reason is true.

pub mod advise;

mod event;
mod explain;
mod fair;
mod keyed;
mod ledger;
mod memory;
mod mig;
mod place;
mod plan;
pub mod policy;
mod pressure;
mod reason;
pub mod replay;
pub mod sizing;
mod state;
mod step;

pub use event::{Command, Event, Exit, News, Outcome, Refusal, Run, StartFailure};
pub use explain::in_words;
pub use memory::{PastRun, RUNS_COUNTED_MAX, expected_memory};
pub use place::{ParsePoolPolicyError, Placing, PoolPolicy};
pub use plan::{Plan, Preemption, Start, plan};
pub use pressure::Pressure;
pub use reason::{CardLack, Help, ModelLack, Reason};
pub use state::{AfterStop, CardRecord, EndedJob, Held, Job, Phase, State};
pub use step::{Effects, step};
