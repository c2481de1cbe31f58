//! Real programs that each idle for one known reason: the doctor names it first. Those that are
//! well hear nothing.
//!
//! The programs are modes of the example `patient`; those that use a card do so on the fake driver,
//! in real time. Nothing depends on how fast the machine is, only on what a program spends most of
//! its time with.

#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

mod card;
mod edges;
mod host;
mod ward;
