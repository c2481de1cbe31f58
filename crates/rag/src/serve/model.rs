//! The base model of a server: one for all its adapters.

use std::path::Path;

use cotenant_transformer::{Cpu, Encoder, ModelFolder, Precision, Tokenizer};

use super::error::ServeError;

/// A base model in memory.
pub(super) struct Model {
    pub(super) name: String,
    pub(super) folder: ModelFolder,
    pub(super) tokenizer: Tokenizer,
    /// Its embeddings have the length that the last layer gives them.
    pub(super) encoder: Encoder<Cpu>,
    pub(super) precision: Precision,
    /// A hash of the folder's files, in hexadecimal.
    pub(super) digest: String,
}

impl Model {
    pub(super) fn open(path: &Path, name: &str, precision: Precision) -> Result<Self, ServeError> {
        let cpu = Cpu::new(precision)?;
        let folder = ModelFolder::open(path)?;
        let tokenizer = folder.tokenizer()?;
        let weights = folder.weights()?;
        // Who asks says whether vectors are scaled, so it is done later.
        let encoder = Encoder::new(cpu, folder.config().clone(), weights, folder.pooling(), false);
        let digest = folder.fingerprint()?.to_string();
        Ok(Self { name: name.to_owned(), folder, tokenizer, encoder, precision, digest })
    }

    /// Values of an embedding.
    pub(super) fn width(&self) -> usize {
        self.folder.config().hidden
    }

    pub(super) fn precision_name(&self) -> &'static str {
        match self.precision {
            Precision::F32 => "float32",
            Precision::Bf16 => "bfloat16",
            Precision::Int8 => "int8",
        }
    }
}
