//! The base model as a run holds it.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use cotenant_transformer::{Adapter, Cpu, Encoder, ModelFolder, Precision, Tokenizer};

use super::error::JobError;
use super::train::threads;
use crate::retrieval::{Embedder, EmbeddingModel};
use crate::workspace::{Limits, PrecisionChoice};

/// A base model in memory, shared by every tenant.
pub struct BaseModel {
    /// What the user called it.
    pub name: String,
    /// Where it lies.
    pub folder: ModelFolder,
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// Its frozen weights, ready to compute.
    pub encoder: Arc<Encoder<Cpu>>,
    /// The precision of its products.
    pub precision: Precision,
    /// A hash of weights, tokenizer and precision.
    pub fingerprint: u64,
    /// A hash of the folder's files, in hexadecimal.
    pub digest: String,
    /// Seconds that loading it took.
    pub load_s: f64,
}

impl BaseModel {
    /// Loads a model folder.
    pub fn open(path: &Path, name: &str, precision: PrecisionChoice) -> Result<Self, JobError> {
        let begun = Instant::now();
        let precision = precision.precision();
        let cpu = Cpu::new(precision)?;
        let folder = ModelFolder::open(path)?;
        let tokenizer = Arc::new(folder.tokenizer()?);
        let weights = folder.weights()?;
        // Always unit vectors, whatever the folder says: losses, search and margins are by cosine.
        let encoder = Encoder::new(cpu, folder.config().clone(), weights, folder.pooling(), true);
        let digest = folder.fingerprint()?;
        let fingerprint = digest.short() ^ precision_bits(precision);
        let (name, digest, encoder) = (name.to_owned(), digest.to_string(), Arc::new(encoder));
        let load_s = begun.elapsed().as_secs_f64();
        Ok(Self { name, folder, tokenizer, encoder, precision, fingerprint, digest, load_s })
    }

    /// What embeds with this model under these limits.
    pub(crate) fn embedder(&self, limits: &Limits) -> Embedder {
        Embedder {
            model: EmbeddingModel::Cpu(self.encoder.clone()),
            threads: threads(limits),
            chunk_tokens: limits.chunk_tokens,
            fingerprint: self.fingerprint,
            precision: self.precision,
        }
    }

    /// Loads a PEFT adapter that fits this model and embeds; a reranker is refused.
    pub fn adapter(&self, folder: &Path) -> Result<Adapter, JobError> {
        let adapter = Adapter::load_peft(folder, self.folder.config())?;
        match adapter.layout.head() {
            None => Ok(adapter),
            Some(_) => Err(JobError::NotEmbedding { path: folder.to_owned() }),
        }
    }

    /// Loads a PEFT adapter that fits this model and scores; one that embeds is refused.
    pub fn reranker(&self, folder: &Path) -> Result<Adapter, JobError> {
        let adapter = Adapter::load_peft(folder, self.folder.config())?;
        match adapter.layout.head() {
            Some(_) => Ok(adapter),
            None => Err(JobError::NotReranker { path: folder.to_owned() }),
        }
    }

    /// The model's shape, as people know it.
    pub fn shape(&self) -> Vec<(&'static str, String)> {
        let config = self.folder.config();
        vec![
            ("layers", config.layers.to_string()),
            ("hidden", config.hidden.to_string()),
            ("heads", config.heads.to_string()),
            ("intermediate", config.intermediate.to_string()),
            ("vocab", config.vocab.to_string()),
            ("tokens_max", self.folder.tokens_max().to_string()),
            ("pooling", format!("{:?}", self.folder.pooling()).to_lowercase()),
            ("normalize", self.folder.normalize().to_string()),
        ]
    }

    /// The precision's name in workspaces and reports.
    pub fn precision_name(&self) -> &'static str {
        precision_name(self.precision)
    }
}

/// A precision's name in workspaces and reports.
pub(super) fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "f32",
        Precision::Bf16 => "bf16",
        Precision::Int8 => "int8",
    }
}

fn precision_bits(precision: Precision) -> u64 {
    match precision {
        Precision::F32 => 0,
        Precision::Bf16 => 0x6266_3136,
        Precision::Int8 => 0x696e_7438,
    }
}
