//! The two pages by which a pool and the preload library in a tenant's process speak.
//!
//! The **limit page** holds facts that the pool knows: what a slice may have, and what its
//! neighbours do. The pool writes it; a tenant has it read-only. The **usage page** holds what a
//! slice's processes use; they write it, and the pool reads it without trusting it.
//!
//! Both are files of 64-bit words in the machine's own order, since they never leave a machine.
//! This module is their layout and nothing else: it neither opens nor maps anything.

mod page;
mod seal;
#[cfg(test)]
mod tests;
mod usage;

pub use page::{CardLimit, LimitPage, LimitPageError, Neighbours, OnFailure, ShownProcesses};
pub use seal::LimitWord;
pub use usage::{CardWord, HeaderWord, SlotWord, UsageLayout};

/// Cards that a slice may have parts of.
pub const CARDS_MAX: usize = 64;

/// The folder that a container finds its two pages in, whatever its environment says.
pub const SLICE_FOLDER: &str = "/run/cotenant/slice";

/// The variable that names that folder where the fixed one is not there.
pub const SLICE_VARIABLE: &str = "COTENANT_SLICE";

/// The limit page's name in the slice's folder.
pub const LIMITS_FILE: &str = "limits";

/// The usage page's name in the slice's folder.
pub const USAGE_FILE: &str = "usage";
