//! A CUDA driver and an NVML for cards that exist only in a file, as one library that stands in as
//! `libcuda.so.1` and `libnvidia-ml.so.1` in tests.
//!
//! This crate is a test fixture. It is published nowhere, no program that a user gets holds it, and
//! `cargo xtask tidy` refuses it as anything but a dependency of tests. It speaks the interface of
//! the driver and keeps what belongs to one process: contexts, handles, captures, addresses. It
//! never decides what a card has or how time passes; the crate `fake-cards` does, in a file that
//! all processes share. Names, numbers and layouts are those of CUDA's and NVML's headers; all else
//! is our own. Begin with the module `ffi`, which is all unsafe code, then `api` and `nvml`, where
//! each function of the driver stands with the version that brought it.
//!
//! What is true of it: sizes, limits, errors, versions, order within streams, times of events. What
//! is not: kernels compute nothing, copies happen when they are submitted though they take their
//! time, a graph's nodes run one after another, and memory of another process that is opened by a
//! handle has other content.
//!
//! A test that links the functions of a driver itself must not use this crate as a library, only
//! have it built: both define the same names.
//!
//! # Invariants
//! - No call panics into the program; what it cannot do has a code of the driver.
//! - A process that only asks NVML never counts as a user of the cards.
//! - In a child of a process that used the cards no call reaches them, as with the real driver.
//! - Every exported function can be counted, made to fail and made slow by its name.

mod api;
mod codes;
mod ffi;
mod nvml;
mod state;
