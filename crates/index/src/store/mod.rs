//! What is on disk, and how it survives.
//!
//! ```text
//! lock                          held by the process that has the index
//! manifest                      namespaces and the numbers of their folders
//! namespace-000000/
//!     manifest                  which files count, and which embedding searches use
//!     log-000001                what was written since the last flush
//!     log-000001.mark           how much of the log was acknowledged
//!     live-000002               which slots of segments are live
//!     documents-000003          a segment: ids, texts, metadata
//!     text-000004               its full text
//!     columns-000007            its metadata, by field and value
//!     removals-000008           what its full text no longer counts
//!     vectors-000005            a run: vectors of an embedding
//!     dense-000006              what searches them, as it was at some moment
//! ```
//! Every file but log and mark is written once, under a new name, synced, and then named by a
//! manifest that is swapped as a whole. What no manifest names is removed when it is opened.

mod background;
pub(crate) mod codec;
mod disk;
mod document;
mod documents;
mod embedding;
mod error;
mod folder;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod index;
pub mod limits;
mod live;
mod log;
mod manifest;
mod memory;
mod mmap;
mod namespace;
mod new_files;
mod record;
mod sealed;
mod spec;
mod tiers;
mod vectors;

#[cfg(test)]
mod tests;

pub use document::{Change, Document};
pub use error::{DamagedFile, IndexError};
pub use index::Index;
pub use namespace::{
    Answer, AnswerRoom, Coverage, EmbeddingStats, Found, Namespace, Query, Receipt, Stats,
    Verified, View, Weights,
};
pub use spec::{EmbeddingSpec, KindName, Storage};
