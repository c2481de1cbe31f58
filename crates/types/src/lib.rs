//! Nouns and units that every crate of Cotenant shares.
//!
//! Each type here is parsed once, where a value enters the program, and trusted afterwards. The
//! crate knows no files, clocks or policy. Begin with [`TenantName`], then the amounts:
//! [`Bytes`], [`Mebibytes`] and [`Share`]; then what the pool is made of: a [`Card`], the
//! [`JobTerms`] that ask for a share of one, and the [`Slice`] that a job gets. [`limits`] is how a
//! slice's limits are written down for the preload library, and [`trace`] how that counts what a
//! watched program does.
//!
//! # Invariants
//! - What is displayed parses back to the same value.
//! - Amounts are integers with their unit in the type; nothing overflows silently.
//! - A value that exists is valid: there is no way to build a bad tenant name or share.

mod bytes;
mod card;
mod id;
mod job;
pub mod limits;
mod mig;
mod quota;
mod share;
mod slice;
mod tenant;
mod time;
pub mod trace;

pub use bytes::{Bytes, Mebibytes, ParseBytesError};
pub use card::{Card, CardKind, Rung, Site};
pub use id::{CardId, Generation, JobId, LabelError, NodeName};
pub use job::{
    Ask, CardShare, Class, Idle, JobTerms, Load, MemoryAsk, Near, Place, Policy, Preempt, Signal,
    Span, Watermark,
};
pub use mig::{MigGeometry, MigPlace, MigProfile};
pub use quota::Quota;
pub use share::{ParseShareError, Share};
pub use slice::{Amount, MemberSlices, Placement, Slice};
pub use tenant::{TenantName, TenantNameError};
pub use time::{Moment, Seconds};
