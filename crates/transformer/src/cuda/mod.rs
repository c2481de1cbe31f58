//! The trainer and the server on NVIDIA cards.
//!
//! ```text
//! encoder ─▶ backend: what is asked for, as launches ─▶ machine ─▶ a card, by `driver`
//!                        ▲                                    └──▶ in tests the processor, by `emulated`
//!                      plan: shapes and addresses to launches
//! ```
//! A kernel's text lies in `kernels/` and is compiled at run time. A plan is a pure function from
//! what is to be done, with its shapes and addresses, to a [`Launch`](launch::Launch). No kernel adds
//! floats in an order that a launch decides: a row's, a text's or a pair's result has the same bits
//! whatever else the launch computes, as on the CPU.
//!
//! Tests run the same texts on the processor (`emulated`) against the CPU backend, and compile them
//! for cards where NVRTC is there (`tests/compiles.rs`).

mod backend;
mod driver;
#[cfg(any(test, feature = "emulation"))]
mod emulated;
mod kernel;
mod launch;
mod machine;
mod plan;
mod profile;
mod record;
mod rig;
mod source;
#[cfg(test)]
#[cfg(target_arch = "x86_64")]
mod tests;

#[cfg(feature = "emulation")]
pub use self::emulated::{EmulatedDevice, open as open_emulated};
pub use self::profile::KernelUse;
pub use self::rig::{CudaDevice, CudaNotes, open};
