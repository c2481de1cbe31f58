//! Dense and BM25 retrieval in one index on disk, with a namespace for each tenant.
//!
//! The crate knows documents, vectors and queries. It never knows the model that made a vector, or
//! the network.
//!
//! # Invariants
//! - A document is known by its [`Slot`] within a namespace; a slot is given once and never again.
//! - What is made from documents, vectors' structures among it, can be made again from them.
//! - Of equal scores the lower slot comes first, so that a search gives the same answer each time.

pub mod dense;
mod hit;

pub use hit::{Hit, Slot};
