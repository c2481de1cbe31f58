//! The shell of the pool: keeps the state, stores it, carries out what the scheduler decides, and
//! answers over HTTP.
//!
//! It decides no placement. Begin with [`up`], which puts the threads together: the keeper owns the
//! state and the store, the executor runs jobs, the meter reads use, and the server answers.
//!
//! # Invariants
//! - What is acknowledged is on the disk.
//! - State changes on one thread alone, and is committed before anything is done about it.
//! - A job's processes outlive the daemon, and a daemon that comes back takes them over.
//! - Nothing of one tenant's is shown to another.

mod executor;
mod fail_at;
mod http;
mod keeper;
mod live;
mod meter;
mod outright;
mod prune;
#[cfg(test)]
mod simulation;
mod store;
mod up;
mod words;

pub use cotenant_device::{CardSettings, CardsSpec, ParseCardsError};
pub use cotenant_sched::{ParsePoolPolicyError, PoolPolicy};
pub use executor::{InternalError, run_member, supervise};
pub use http::{MetricNames, ParseMetricNamesError};
pub use up::{Config, End, Pool, UpError, up};
