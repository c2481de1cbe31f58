//! The fused trainer: many tenants' adapters on one frozen encoder, in one process.
//!
//! A tenant's step is a plan that only its own examples, seed and settings decide; a round packs
//! the plans of several tenants into chunks of tokens, whichever tenant they come from, and runs
//! forward, loss, backward and optimizer over them. The crate knows texts as numbers in a tenant's
//! table and as token ids. It never knows HTTP, slices, tokenizers, file formats of data sets, or
//! another tenant's data inside a loss; the only files it touches are its checkpoint and its cache.
//!
//! Begin with [`Trainer`] (what is called), [`TenantSpec`] and [`Settings`] (what is asked) and
//! [`Event`] (what happened). Inside, `plan` says what a step is, `packer` and `fairness` who is in
//! a round, `round` how it runs, `tenant` what a tenant goes through from start to finish.
//!
//! # Invariants
//! - A tenant's adapter is bit-identical on the CPU whether it trained alone, fused with any
//!   others, joined late or resumed from a checkpoint, on any number of threads and with any limits.
//! - Losses, gradients and optimizer state are never shared between tenants, and a tenant that
//!   fails (bad text, a number that is not finite) ends alone.
//! - Everything that grows has a limit: a round's tokens, tapes, waiting gradients, caches.
//! - A damaged or foreign checkpoint is an error that says what is wrong, never a panic.

mod checkpoint;
mod estimate;
mod event;
mod fairness;
mod hash;
mod loss;
mod optimizer;
mod packer;
mod plan;
mod prefix;
mod round;
mod schedule;
mod settings;
mod tenant;
mod texts;
mod trainer;

pub use checkpoint::CheckpointError;
pub use estimate::{Demand, MemoryEstimate, estimate};
pub use event::{Counters, Event, FinishReason, Outcome, Progress, TenantId};
pub use loss::{CoSent, Embedded, LossBuffers, Mnrl, Ranking, Scored};
pub use optimizer::{AdamW, clip};
pub use plan::steps_per_epoch;
pub use prefix::PrefixCounters;
pub use schedule::Schedule;
pub use settings::{
    Decay, Evaluation, Length, Limits, LimitsError, Loss, PrefixLimits, Settings, SettingsError,
};
pub use texts::{Example, TenantSpec, TextError, Texts};
pub use trainer::{Base, ScoreError, Trainer};
