//! From texts to rankings: embedding many texts on many threads, exact search, quality.

mod cache;
mod embedder;
mod measure;
mod vectors;

pub use cache::VectorCache;
pub use embedder::Embedder;
pub use measure::{Measurement, Quality, measure};
pub use vectors::Vectors;
pub(crate) use vectors::dot;
