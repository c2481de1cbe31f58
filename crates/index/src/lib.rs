//! Dense and BM25 retrieval in one index on disk, with a namespace for each tenant.
//!
//! The crate knows documents, vectors and queries. It never knows the model that made a vector, or
//! the network. Begin with [`Index`], then [`Namespace`].
//!
//! # Invariants
//! - A document is known by its [`Slot`] within a namespace; a slot is given once and never again.
//! - What is made from documents, vectors' structures among it, can be made again from them.
//! - Of equal scores the lower slot comes first, so that a search gives the same answer each time.
//! - A write that was acknowledged is there after any crash, as a whole; no other is there in part.
//! - Bytes on disk that are not those that were written are an error that names the file.

mod bytes;
pub mod dense;
pub mod filter;
pub mod fusion;
mod hit;
mod store;
pub mod text;

pub use bytes::Bytes;
pub use hit::{Hit, Slot};
#[cfg(feature = "fuzzing")]
pub use store::fuzzing;
pub use store::{
    Answer, AnswerRoom, Change, Coverage, DamagedFile, Document, EmbeddingSpec, EmbeddingStats,
    Found, Index, IndexError, KindName, Namespace, Query, Receipt, Stats, Storage, Verified, View,
    Weights, limits,
};
