//! The fused trainer: many tenants' adapters on one frozen encoder, in one process.
//!
//! A tenant's step is a plan that only its own examples, seed and settings decide; a round packs
//! the plans of several tenants into chunks of tokens and runs forward, loss, backward and
//! optimizer over them. The crate never knows HTTP, slices, tokenizers, data files, or another
//! tenant's data inside a loss; the only files it touches are its checkpoint and its cache.
//!
//! Begin with [`Trainer`], [`TenantSpec`], [`Settings`] and [`Event`]; inside, with `tenant`.
//!
//! # Invariants
//! - A tenant's adapter is bit-identical on the CPU whether it trained alone, fused with any
//!   others, joined late or resumed, on any number of threads and with any limits.
//! - A tenant that fails (bad text, a number that is not finite, no memory for it alone) ends alone.
//! - A damaged or foreign checkpoint is an error that says what is wrong, never a panic.

mod checkpoint;
mod estimate;
mod event;
mod fleet;
mod hash;
mod kept;
mod loss;
mod optimizer;
mod packing;
mod plan;
mod prefix;
mod round;
mod spec;
mod tenant;
mod trainer;

pub use checkpoint::CheckpointError;
#[cfg(feature = "fuzzing")]
pub use checkpoint::assemble_checkpoint;
pub use estimate::{Demand, MemoryEstimate, estimate};
pub use event::{Counters, Event, FinishReason, Outcome, Progress, TenantId};
pub use loss::{CoSent, Embedded, LossBuffers, Mnrl, Ranking, Scored};
pub use optimizer::{AdamW, Schedule, clip};
pub use plan::steps_per_epoch;
pub use prefix::PrefixCounters;
pub use spec::{Candidate, Decay, Evaluation, Example, Length, Limits, LimitsError, Loss};
pub use spec::{PrefixLimits, Settings, SettingsError, TenantSpec, TextError, Texts, Tokens};
pub use trainer::{Base, TenantError, Trainer};
