//! A model folder: everything needed to turn texts into embeddings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::json::{JsonFile, read_bytes};
use super::names::EncoderTensors;
use super::sentence::{Prompts, read_modules, read_pooling, read_prompts, read_reading};
use super::weights::{WEIGHTS_FILE, open_weights, read_weights};
use super::{Digest, EncoderConfig, EncoderWeights, ModelError, Tokenizer};
use crate::encoder::Pooling;

/// Longest `config.json` that is read.
const CONFIG_BYTES_MAX: u64 = 4 << 20;

/// A published BERT-family model on disk.
///
/// Two layouts are read: that of sentence-transformers (`modules.json`, a pooling folder), and the
/// plain one of transformers. A plain folder says nothing of pooling, so its token vectors are
/// averaged and the mean is normalised, which is what sentence-transformers and most published
/// models do; a model made for CLS pooling needs its sentence-transformers folder.
#[derive(Clone, Debug)]
pub struct ModelFolder {
    path: PathBuf,
    transformer: PathBuf,
    config: EncoderConfig,
    pooling: Pooling,
    normalize: bool,
    tokens_max: usize,
    lowercase: bool,
    prompts: Prompts,
}

impl ModelFolder {
    /// Reads the configuration files of a folder; weights and tokenizer are read when asked for.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let modules = read_modules(path)?;
        let transformer =
            modules.as_ref().map_or_else(|| path.to_owned(), |modules| modules.transformer.clone());
        let config = read_config(&transformer)?;
        let (pooling, normalize) = match &modules {
            Some(modules) => (read_pooling(&modules.pooling, config.hidden)?, modules.normalize),
            None => (Pooling::Mean, true),
        };
        let reading = read_reading(&transformer)?;
        let tokens_max = reading.tokens_max.unwrap_or(usize::MAX).min(config.tokens_max());
        Ok(Self {
            path: path.to_owned(),
            transformer,
            config,
            pooling,
            normalize,
            tokens_max,
            lowercase: reading.lowercase,
            prompts: read_prompts(path)?,
        })
    }

    /// The folder, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The encoder's shape.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// How token vectors become one vector.
    pub fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// Whether that vector is scaled to length 1.
    pub fn normalize(&self) -> bool {
        self.normalize
    }

    /// Longest text in tokens, special ones included: what the folder says, and never more than
    /// the position table holds.
    pub fn tokens_max(&self) -> usize {
        self.tokens_max
    }

    /// Texts that the model expects in front of others, by name (`query`, `document`, ...).
    pub fn prompts(&self) -> &BTreeMap<String, String> {
        &self.prompts.by_name
    }

    /// Name of the prompt that is used when none is named; one of [`ModelFolder::prompts`].
    pub fn default_prompt_name(&self) -> Option<&str> {
        self.prompts.default_name.as_deref()
    }

    /// Reads the weights, converted to f32.
    pub fn weights(&self) -> Result<EncoderWeights, ModelError> {
        read_weights(&self.transformer, &self.config)
    }

    /// Reads the tokenizer, with the padding and truncation that its file may carry taken out, and
    /// checks it against the vocabulary.
    pub fn tokenizer(&self) -> Result<Tokenizer, ModelError> {
        Tokenizer::read(&self.transformer.join(Tokenizer::FILE), &self.config, self.lowercase)
    }

    /// SHA-256 of the weights file, as `sha256sum` prints it and hubs publish it.
    pub fn weights_digest(&self) -> Result<Digest, ModelError> {
        Digest::of_file(&self.transformer.join(WEIGHTS_FILE))
    }

    /// SHA-256 of all that decides an embedding: weights, configuration, tokenizer, pooling and the
    /// longest text. A key for caches of tokens, hidden states and vectors.
    pub fn fingerprint(&self) -> Result<Digest, ModelError> {
        let config = Digest::of_file(&self.transformer.join(CONFIG_FILE))?;
        let tokenizer = Digest::of_file(&self.transformer.join(Tokenizer::FILE))?;
        let text = format!(
            "weights {}\nconfig {config}\ntokenizer {tokenizer}\n\
             pooling {:?} normalize {} lowercase {} tokens_max {}\n",
            self.weights_digest()?,
            self.pooling,
            self.normalize,
            self.lowercase,
            self.tokens_max
        );
        Ok(Digest::of_bytes(text.as_bytes()))
    }

    /// Where `config.json`, weights and tokenizer lie: the folder itself, or one below it.
    pub(super) fn transformer(&self) -> &Path {
        &self.transformer
    }

    /// Whether texts are lower-cased before the tokenizer sees them.
    pub(super) fn lowercase(&self) -> bool {
        self.lowercase
    }

    /// The open weights file.
    pub(super) fn tensors(&self) -> Result<EncoderTensors, ModelError> {
        open_weights(&self.transformer, &self.config)
    }
}

/// The file that holds the encoder's shape.
pub(super) const CONFIG_FILE: &str = "config.json";

fn read_config(folder: &Path) -> Result<EncoderConfig, ModelError> {
    let path = folder.join(CONFIG_FILE);
    if let Some(bytes) = read_bytes(&path, CONFIG_BYTES_MAX)? {
        return EncoderConfig::from_json(&bytes, &path);
    }
    let adapter = JsonFile::read(&folder.join("adapter_config.json"))?;
    let hint = match adapter {
        Some(adapter) => {
            let base = adapter.text("base_model_name_or_path")?.unwrap_or("not named there");
            format!("the folder holds an adapter; open its base model ({base}) and load it there")
        }
        None if folder.is_dir() => {
            "a model folder holds config.json, model.safetensors and tokenizer.json".to_owned()
        }
        None => "there is no such folder; check the path".to_owned(),
    };
    Err(ModelError::Missing { path, hint })
}
