//! Cards that exist only in a file which processes share: memory, streams, events and time, so that
//! what limits programs on real cards can be tested without one.
//!
//! This crate is a test fixture. It is published nowhere, no program that a user gets holds it, and
//! `cargo xtask tidy` refuses it as anything but a dependency of tests. It never knows the interface
//! of a driver: the crate `fake-driver` speaks that, and has no state that other processes could
//! see. Begin with [`Description`] and [`Cards`], by which a test makes cards, moves their clock,
//! makes calls fail and reads what really happened; then [`Client`], by which a process uses them,
//! and the module `engine`, which says how cards spend time. [`install`] puts the driver where the
//! loader finds it, and [`tenant`] is a program that does as a script says.
//!
//! # Invariants
//! - Cards never hold more memory than they have.
//! - A process that ends in any way, or becomes another program, has nothing on the cards any more
//!   once somebody looks; what it had used stays known.
//! - Simulated time never goes back. What a card did depends on what was submitted when, and not on
//!   who asks.
//! - A virtual clock moves only if a test says so, or if every process waits and none holds it.
//! - A process that is killed leaves nothing locked.

mod answers;
mod cards;
mod client;
mod description;
mod engine;
mod install;
mod process;
mod system;
pub mod tenant;
mod truth;
mod world;

pub use answers::{
    CardAnswers, ComputeFacts, LimitRefused, MemoryLimitFacts, PartitionFacts, PartitionRefused,
    ProfileAnswers, RecordError, Recorded,
};
pub use cards::Cards;
pub use client::{Client, EventId, Kernel, Refused, StreamId, StreamRole, Submission};
pub use description::{CardDescription, DescribeError, Description, Fault, Sharing, Time};
pub use install::{InstallError, install, library_path};
pub use system::{Library, LoadError, OpenError};
pub use truth::{CardFacts, Hold, ProcessTruth, ProcessUse, Truth};
pub use world::{CARDS_MAX, EVENTS_MAX, PROCESSES_MAX, QUEUE_MAX, STREAMS_MAX};
