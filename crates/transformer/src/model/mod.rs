//! A published model on disk: configuration, weights, pooling and tokenizer.

mod config;
mod digest;
mod error;
mod export;
mod folder;
pub(crate) mod folder_writer;
pub(crate) mod json;
pub(crate) mod names;
mod pair;
mod sentence;
pub(crate) mod tensor_file;
pub(crate) mod tensor_writer;
mod tokenizer;
mod weights;

pub use config::EncoderConfig;
pub use digest::Digest;
pub use error::ModelError;
pub use export::export_merged;
pub use folder::ModelFolder;
pub use pair::TextIds;
pub use tokenizer::{PlacedToken, Tokenizer};
pub use weights::{EncoderWeights, LayerWeights, Linear, Norm};
