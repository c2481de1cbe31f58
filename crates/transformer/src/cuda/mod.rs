//! Kernels of the fused trainer for NVIDIA cards, and the plans of their launches.
//!
//! A kernel's text lies in `kernels/` and is compiled at run time. A plan is a pure function from
//! what is to be done, with its shapes and addresses, to a [`Launch`](launch::Launch); whoever holds
//! the card carries it out. No kernel adds floats in an order that a launch decides: a row's, a
//! text's or a pair's result has the same bits whatever else the launch computes, as on the CPU.
//!
//! Tests run the same texts on the processor (`tests/host.rs`) against the CPU backend, and compile
//! them for cards where NVRTC is there (`nvrtc.rs`).

mod backend;
mod kernel;
mod launch;
mod machine;
#[cfg(target_os = "linux")]
mod nvrtc;
mod plan;
mod record;
mod source;
#[cfg(test)]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod tests;
