//! From texts to rankings: embedding many texts on many threads, exact search, quality.

mod cache;
mod cross;
mod embedder;
mod measure;
pub mod pipeline;
mod vectors;

pub use cache::VectorCache;
pub use cross::CrossEncoder;
pub(crate) use cross::{PairTexts, score, sigmoid};
pub use embedder::{CardModel, Embedder, EmbeddingModel, NotEmbedded, OnDone, unless};
pub(crate) use measure::{DEPTH, judged};
pub use measure::{Measurement, Pace, Quality, measure};
pub use vectors::Vectors;
pub(crate) use vectors::dot;
