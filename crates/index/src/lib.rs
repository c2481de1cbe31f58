//! Dense and BM25 retrieval in one index on disk, with a namespace for each tenant.
//!
//! The crate knows documents, vectors and queries. It never knows the model that made a vector, or
//! the network.
//!
//! # Invariants
//! - A document is known by its [`Slot`] within a namespace; a slot is given once and never again.
//! - Of equal scores the lower slot comes first, so that a search gives the same answer each time.

mod bytes;
pub mod filter;
pub mod fusion;
mod hit;
pub mod text;

pub use bytes::Bytes;
pub use hit::{Hit, Slot};
