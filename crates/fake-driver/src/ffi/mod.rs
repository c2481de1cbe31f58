//! The border to C: places that a program names, functions that it looks up, memory of cards.
//!
//! All unsafe code of this crate is below here. A program that calls a driver vouches for its
//! pointers; null is found and refused, and more cannot be known.

mod address;
mod entry;
mod memory;
mod pointer;
mod text;

pub(crate) use address::call_host_function;
pub(crate) use entry::{Entry, Exported, driver};
pub(crate) use memory::{Region, RegionKind, copy, fill, on_fork_in_child};
pub(crate) use pointer::{In, List, Out, Text, TextOut};
