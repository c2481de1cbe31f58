//! Partitions of cards in MIG mode: what a card offers, and those that the pool's programs hold.
//!
//! ```text
//!                 may change             with a compute instance
//! (no partition) ----------> made, empty -----------------------> whole --- take ---> held
//!                                                                   ^                  |
//! (no partition) <---------- destroyed, if we made it <---------- give back -----------+
//! ```
//!
//! What is to be made is written down first, so that after a crash in between it is known whose it
//! is: a partition at a place that the record names is ours, any other is somebody else's.
//!
//! # Invariants
//! - Without [`CardSettings::MayChange`](crate::CardSettings) nothing is made or destroyed.
//! - Only what the record says that we made is ever destroyed, and only when nobody uses it.
//! - MIG mode is never switched.

mod error;
mod layout;
mod partitions;
mod record;
mod seen;

pub use error::PartitionError;
pub(crate) use layout::{Offer, offer};
pub use partitions::Partitions;
pub(crate) use seen::read;
