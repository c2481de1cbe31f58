//! Nouns and units that every crate of Cotenant shares.
//!
//! Each type here is parsed once, where a value enters the program, and trusted afterwards. The
//! crate knows no files, clocks or policy. Begin with [`TenantName`], then the amounts:
//! [`Bytes`], [`Mebibytes`] and [`Share`].
//!
//! # Invariants
//! - What is displayed parses back to the same value.
//! - Amounts are integers with their unit in the type; nothing overflows silently.
//! - A value that exists is valid: there is no way to build a bad tenant name or share.

mod bytes;
mod share;
mod tenant;

pub use bytes::{Bytes, Mebibytes, ParseBytesError};
pub use share::{ParseShareError, Share};
pub use tenant::{TenantName, TenantNameError};
