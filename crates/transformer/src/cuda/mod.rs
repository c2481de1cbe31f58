//! The trainer on NVIDIA cards.

pub(crate) mod driver;
