//! The library in front of real programs, on cards that are a test's own.
//!
//! Each test makes cards, a slice of them with its two pages, and programs that are told line by
//! line what to do. What a program is told is compared with what the cards know to be so.

#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

mod compute;
mod hygiene;
mod memory;
mod model;
mod pages;
mod progress;
mod scene;
mod truth;
mod watching;
