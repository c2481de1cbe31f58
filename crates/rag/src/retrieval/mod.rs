//! From texts to rankings: embedding many texts on many threads, exact search, quality.

mod cache;
mod embedder;
mod measure;
pub mod pipeline;
mod vectors;

pub use cache::VectorCache;
pub use embedder::{Embedder, NotEmbedded, OnDone, unless};
pub use measure::{Measurement, Pace, Quality, measure};
pub use vectors::Vectors;
pub(crate) use vectors::dot;
