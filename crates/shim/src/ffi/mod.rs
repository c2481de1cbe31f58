//! Where the library meets the system and the driver: the only unsafe code of this crate.
//!
//! Begin with `table.rs`: each entry point that is taken over, with the function that does it.

// The names of entry points are the driver's.
#![allow(non_camel_case_types, non_snake_case)]

mod account;
mod arrays;
mod capture;
mod cards;
mod context;
mod copies;
mod driver;
mod graph_memory;
mod graphs;
mod guard;
mod lookup;
pub mod mapping;
mod marks;
mod memory;
mod nvml;
mod pools;
pub mod process;
mod resolve;
mod search;
mod shown;
mod state;
mod submit;
pub mod table;
pub mod time;
mod virtual_memory;
pub mod waived;
mod watch;
