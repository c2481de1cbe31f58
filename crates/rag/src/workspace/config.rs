//! What a workspace says once it is parsed: strong types, with the defaults in one place.

use std::path::PathBuf;

use cotenant_train::{Decay, Length};
use cotenant_transformer::{Cpu, LayerChoice, LoraSpec, Module, Precision};
use cotenant_types::{Mebibytes, TenantName};
use serde::{Deserialize, Serialize};

/// A parsed workspace.
#[derive(Clone, Debug, PartialEq)]
pub struct Workspace {
    /// The file it came from; paths in it are relative to this file's folder.
    pub file: PathBuf,
    /// The base model: a known name, a hub id or a folder (made absolute if it exists).
    pub base: String,
    /// What the run as a whole may use.
    pub limits: Limits,
    /// The tenants, in the file's order; at least one.
    pub tenants: Vec<TenantConfig>,
}

/// What the run as a whole may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most memory of the process; `None` is no limit of our own.
    pub memory_mib: Option<Mebibytes>,
    /// Threads that compute; `None` is one a core.
    pub threads: Option<usize>,
    /// Arithmetic of the matrix products.
    pub precision: PrecisionChoice,
    /// What trains.
    pub device: DeviceChoice,
    /// Cards that train, if cards do.
    pub cards: usize,
    /// Tokens of one forward and backward pass of one thread.
    pub chunk_tokens: usize,
    /// Most memory of the frozen-prefix cache.
    pub prefix_cache_mib: Mebibytes,
    /// Optimizer steps of a tenant between two checkpoints; 0 is only at the end.
    pub checkpoint_every_steps: u64,
}

/// What adapters are trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The processor.
    Cpu,
    /// NVIDIA cards, the first that the process sees.
    Cuda,
}

/// Arithmetic of the matrix products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrecisionChoice {
    /// bf16 where the processor has instructions for it, f32 elsewhere.
    Auto,
    /// f32 everywhere: results are bit-identical between runs and thread counts.
    F32,
    /// bf16 products with f32 sums; an error where the processor has no instructions for it.
    Bf16,
}

impl PrecisionChoice {
    /// What it is on this machine.
    pub(crate) fn precision(self) -> Precision {
        match self {
            Self::Auto => Cpu::best_precision(),
            Self::F32 => Precision::F32,
            Self::Bf16 => Precision::Bf16,
        }
    }

    /// What it is on a card, all of which have bf16.
    pub(crate) fn on_card(self) -> Precision {
        match self {
            Self::Auto | Self::Bf16 => Precision::Bf16,
            Self::F32 => Precision::F32,
        }
    }
}

/// What a tenant trains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// An adapter that embeds: documents are found by their vectors.
    #[default]
    Embed,
    /// An adapter that reads a query together with a document, and scores: what words and the base
    /// model found is put in a better order.
    Rerank,
}

/// One tenant's data and settings.
#[derive(Clone, Debug, PartialEq)]
pub struct TenantConfig {
    /// The tenant's name.
    pub name: TenantName,
    /// What it trains.
    pub task: Task,
    /// Existing folders or one file, absolute or relative to the working directory.
    pub data: Vec<PathBuf>,
    /// Most passages that are made of folders of pages.
    pub passages_max: usize,
    /// The adapter's shape.
    pub adapter: AdapterConfig,
    /// What is optimised.
    pub loss: LossConfig,
    /// How it is optimised.
    pub training: TrainingConfig,
    /// When training stops early and what is kept.
    pub evaluation: EvaluationConfig,
    /// Hard negatives found before training.
    pub negatives: NegativesConfig,
    /// How texts become tokens.
    pub texts: TextsConfig,
}

/// The adapter's shape.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterConfig {
    /// Rank of every pair of matrices.
    pub rank: usize,
    /// Numerator of the scale; `None` is twice the rank.
    pub alpha: Option<f32>,
    /// Scale by `alpha / sqrt(rank)` instead of `alpha / rank`.
    pub rslora: bool,
    /// Adapted linear layers.
    pub targets: Vec<Module>,
    /// Adapted encoder layers.
    pub layers: LayerChoice,
    /// Probability of dropping a feature that an adapter reads, in thousandths.
    pub dropout_per_mille: u32,
}

/// What is optimised.
#[derive(Clone, Debug, PartialEq)]
pub struct LossConfig {
    /// Which loss.
    pub kind: LossChoice,
    /// Factor on the cosines.
    pub scale: f32,
    /// Also asks each positive to find its query (MNRL only).
    pub symmetric: bool,
}

/// Which loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossChoice {
    /// MNRL for pairs, CoSENT for scored pairs.
    Auto,
    /// Multiple-negatives ranking: the other examples of the batch are negatives.
    Mnrl,
    /// CoSENT: pairs in the order of their scores.
    CoSent,
}

/// How a tenant is optimised.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingConfig {
    /// Examples of one batch.
    pub batch: usize,
    /// When training ends.
    pub length: Length,
    /// Batches of one optimizer step.
    pub accumulate: usize,
    /// Peak learning rate.
    pub learning_rate: f32,
    /// AdamW's decoupled weight decay.
    pub weight_decay: f32,
    /// Part of the steps in which the learning rate rises, in thousandths.
    pub warmup_per_mille: u32,
    /// How the learning rate falls afterwards.
    pub decay: Decay,
    /// Largest norm of a gradient; 0 is no clipping.
    pub clip_norm: f32,
    /// Seed of the initial adapter, the order of examples and dropout.
    pub seed: u64,
    /// Share of the machine, relative to the other tenants' weights.
    pub weight: u32,
}

/// When training stops early and what is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvaluationConfig {
    /// Optimizer steps between two looks at the dev queries; 0 is each epoch's end.
    pub every_steps: u64,
    /// Looks without a better nDCG@10 before training stops; 0 is never.
    pub patience: u32,
    /// Most tokens of a text when quality is measured; `None` is what the model allows.
    pub tokens_max: Option<usize>,
}

/// Hard negatives found before training.
#[derive(Clone, Debug, PartialEq)]
pub struct NegativesConfig {
    /// Negatives of one example in a step; 0 mines none, and `None` is what suits the task.
    pub per_example: Option<usize>,
    /// What they are found with.
    pub source: NegativesSource,
    /// A negative's cosine is at most this part of the positive's: closer ones may be unlabelled
    /// answers.
    pub margin: f32,
    /// Ranks from which they are taken.
    pub depth: usize,
}

/// What mined negatives are found with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NegativesSource {
    /// BM25 ranks.
    Bm25,
    /// The base model's ranks.
    Base,
    /// Both in turn.
    Both,
}

/// How texts become tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextsConfig {
    /// Most tokens of a query in training, with the special ones.
    pub query_tokens_max: usize,
    /// Most tokens of a document in training, with the special ones.
    pub document_tokens_max: usize,
    /// Written in front of each query (`query: ` for E5).
    pub query_prefix: String,
    /// Written in front of each document (`passage: ` for E5).
    pub document_prefix: String,
}

impl TenantConfig {
    /// A tenant with every setting at its default and no data.
    pub fn new(name: TenantName) -> Self {
        Self {
            name,
            task: Task::Embed,
            data: Vec::new(),
            passages_max: 20_000,
            adapter: AdapterConfig {
                rank: 16,
                alpha: None,
                rslora: false,
                targets: Module::ALL.to_vec(),
                layers: LayerChoice::All,
                dropout_per_mille: 0,
            },
            loss: LossConfig { kind: LossChoice::Auto, scale: 20.0, symmetric: false },
            training: TrainingConfig {
                batch: 32,
                length: Length::Epochs(3),
                accumulate: 1,
                learning_rate: 3e-4,
                weight_decay: 0.01,
                warmup_per_mille: 100,
                decay: Decay::Linear,
                clip_norm: 1.0,
                seed: 7,
                weight: 1,
            },
            evaluation: EvaluationConfig { every_steps: 0, patience: 0, tokens_max: None },
            negatives: NegativesConfig {
                per_example: None,
                source: NegativesSource::Both,
                margin: 0.95,
                depth: 50,
            },
            texts: TextsConfig {
                query_tokens_max: 128,
                document_tokens_max: 128,
                query_prefix: String::new(),
                document_prefix: String::new(),
            },
        }
    }
}

impl TenantConfig {
    /// Negatives of one example in a step: each of them costs a reranker as much as the positive,
    /// but it is compared with nothing else, while an embedding is compared with the whole batch.
    pub fn negatives(&self) -> usize {
        self.negatives.per_example.unwrap_or(match self.task {
            Task::Embed => 2,
            Task::Rerank => 7,
        })
    }

    /// Negatives that are mined for an example. A reranker draws anew from more of them each epoch,
    /// since what it will read is whatever stands among the first.
    pub fn negatives_mined(&self) -> usize {
        match self.task {
            Task::Embed => self.negatives(),
            Task::Rerank => 3 * self.negatives(),
        }
    }
}

impl AdapterConfig {
    /// The adapter as the encoder takes it.
    pub fn spec(&self) -> LoraSpec {
        LoraSpec {
            rank: self.rank,
            alpha: self.alpha.unwrap_or(2.0 * self.rank as f32),
            rslora: self.rslora,
            targets: self.targets.clone(),
            layers: self.layers.clone(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_mib: None,
            threads: None,
            precision: PrecisionChoice::Auto,
            device: DeviceChoice::Cpu,
            cards: 1,
            chunk_tokens: 256,
            prefix_cache_mib: Mebibytes(1024),
            checkpoint_every_steps: 50,
        }
    }
}
