//! From texts to rankings: embedding many texts on many threads, exact search, quality.

mod embedder;
mod measure;
mod vectors;

pub use embedder::Embedder;
pub use measure::{Measurement, Quality, measure};
pub use vectors::Vectors;
pub(crate) use vectors::dot;
