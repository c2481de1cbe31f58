//! A card as the backend uses it: memory, copies beside the computation, programs, products, graphs.
//!
//! Nothing of CUDA is linked. The driver, the compiler for kernels (NVRTC) and cuBLASLt are looked
//! for when a [`Card`], a [`Compiler`] or [`Products`] is opened, and what is missing is one sentence
//! and a hint. Functions and types of the driver and of cuBLASLt are those of the crate `cudarc`,
//! which panics where a library or a function is missing; so `library` asks for all of them first.
//!
//! A card has three streams. All work is in the order of its *compute* stream; *copies* go beside it,
//! and so do copies of *pages*, which are wanted later and must not hold up the others. Events make one
//! wait for the other where that must be, never this process:
//!
//! ```text
//! pages    ──── put aside ── bring ────────────────────────────────
//!            │          │         └─ arrived, when it is wanted
//! copies   ──┼─ upload ─┼──────────────────────┬─ download ─┬──
//!            │ released │ arrived      so far  │            │ left
//! compute  ──┴──────────┴─ kernels ────────────┴────────────┴──
//! ```
//!
//! Whoever submits work to one card does so from one thread at a time; a capture takes up whatever
//! is submitted while it lasts.
//!
//! All unsafe code of the trainer's CUDA side is below here, most of it in `raw` and `light`, which
//! say what the driver and cuBLASLt rely on.

#![cfg_attr(not(test), expect(unused_imports, reason = "the backend that uses them comes next"))]

mod cache;
mod card;
mod code;
mod compiler;
mod error;
mod graph;
mod library;
mod light;
mod memory;
mod operands;
mod pool;
mod products;
mod program;
mod raw;
mod target;
#[cfg(test)]
pub(in crate::cuda) mod tests;
mod timing;
mod transfer;

pub(crate) use cache::Cache;
pub(crate) use card::{Card, CardFacts, MemoryFacts};
pub(crate) use compiler::{Compiler, Source};
pub(crate) use error::CudaError;
pub(crate) use graph::Graphs;
pub(crate) use memory::Buffer;
pub(crate) use operands::{Number, Product, Weights};
pub(crate) use products::{Factors, Products};
pub(crate) use program::{Function, Program, Shape};
#[cfg(test)]
pub(crate) use target::Target;
pub(crate) use target::Version;
pub(crate) use timing::Mark;
pub(crate) use transfer::{Arriving, Page};
