//! What a run will take, before it runs: memory by parts and time.

use std::sync::Arc;
use std::time::Instant;

use cotenant_train::{Demand, Example as TrainExample, Texts};
use cotenant_transformer::{
    Adapter, AdapterLayout, EncoderConfig, Forward, Packed, Precision, Scratch, Start, Tape,
    TapeMode, random,
};
use serde::{Deserialize, Serialize};

use super::base::BaseModel;
use super::error::JobError;
use super::observer::Observer;
use super::prepare::{Lesson, Prepared, Read};
use super::rerank::JUDGED_MAX;
use super::settings;
use super::train::{threads, trainer_limits};
use super::workshop::{NEVER, Workshop};
use crate::data::{Dataset, Example};
use crate::retrieval::pipeline::RERANKED_MAX;
use crate::workspace::{Length, Limits, Task, TenantConfig, Workspace};

/// Bytes of activations that a run keeps between forward and backward; what does not fit is
/// computed twice.
pub(super) const TAPE_BYTES_MAX: usize = 320 << 20;

/// Bytes of a process that runs nothing yet: code, thread stacks, allocator, tokenizer.
const PROCESS_BYTES: usize = 40 << 20;

/// A named part of the memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// What it holds.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
}

/// What a run will take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Resident memory at the peak, by parts.
    pub parts: Vec<Part>,
    /// Seconds on this machine, from a short trial; `None` where none was made.
    pub wall_s: Option<f64>,
}

impl Estimate {
    /// The sum of the parts, in MiB.
    pub fn peak_mib(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum::<u64>().div_ceil(1 << 20)
    }
}

/// One tenant as the estimate sees it.
struct Load<'a> {
    config: &'a TenantConfig,
    dataset: &'a Dataset,
    texts: &'a dyn Texts,
    /// What training reads.
    cut: Arc<dyn Texts>,
    examples: Vec<TrainExample>,
}

/// Predicts a workspace without running it: reads and tokenises its data, puts stand-ins where
/// negatives would be mined, and times a short trial.
pub fn estimate(
    workspace: &Workspace,
    base: &BaseModel,
    observer: &dyn Observer,
) -> Result<Estimate, JobError> {
    let embedder = base.embedder(&workspace.limits);
    let workshop = Workshop { base, embedder: &embedder, cache: None, observer, stop: &NEVER };
    let mut read = Vec::new();
    for config in &workspace.tenants {
        let (dataset, texts) = workshop.read(config)?;
        read.push(Read { config, dataset, texts });
    }
    let loads = loads(&workshop, &read);
    let mut estimate = of_loads(&workspace.limits, base, &loads)?;
    estimate.wall_s = Some(seconds(base, &workspace.limits, &loads)?);
    Ok(estimate)
}

/// Predicts the memory of a run whose tenants are read, before anything is embedded or mined.
pub(super) fn of_read(
    limits: &Limits,
    workshop: &Workshop<'_>,
    read: &[Read<'_>],
) -> Result<Estimate, JobError> {
    of_loads(limits, workshop.base, &loads(workshop, read))
}

fn loads<'a>(workshop: &Workshop<'_>, read: &'a [Read<'_>]) -> Vec<Load<'a>> {
    let load = |read: &'a Read<'_>| {
        let Read { config, dataset, texts } = read;
        let examples = with_stand_ins(dataset, config);
        let Lesson { examples, cut } = workshop.lesson(config, dataset, texts, &examples);
        Load { config, dataset, texts: &**texts, cut, examples }
    };
    read.iter().map(load).collect()
}

/// Predicts a run whose tenants are ready to train.
pub(super) fn of_prepared(
    workspace: &Workspace,
    base: &BaseModel,
    tenants: &[Prepared],
) -> Result<Estimate, JobError> {
    let loads: Vec<Load<'_>> = tenants
        .iter()
        .map(|tenant| Load {
            config: &tenant.config,
            dataset: &tenant.dataset,
            texts: &*tenant.texts,
            cut: Arc::clone(&tenant.cut),
            examples: tenant.examples.clone(),
        })
        .collect();
    let mut estimate = of_loads(&workspace.limits, base, &loads)?;
    estimate.wall_s = Some(seconds(base, &workspace.limits, &loads)?);
    Ok(estimate)
}

fn of_loads(limits: &Limits, base: &BaseModel, loads: &[Load<'_>]) -> Result<Estimate, JobError> {
    let config = base.folder.config();
    let demands =
        loads.iter().map(|load| demand(load, limits, config)).collect::<Result<Vec<_>, _>>()?;
    let demands: Vec<Demand> = demands.into_iter().flatten().collect();
    let training = cotenant_train::estimate(&base.encoder, &trainer_limits(limits), &demands);
    let longest = base.folder.tokens_max();
    let chunk = limits.chunk_tokens.max(longest);
    let embedding = threads(limits) * base.encoder.scratch_bytes(chunk, longest);
    let texts: usize = loads.iter().map(|load| text_bytes(load)).sum();
    let vectors: usize = loads
        .iter()
        .map(|load| load.dataset.documents.len() * config.hidden * 4)
        .max()
        .unwrap_or(0);
    let parts = [
        ("process", PROCESS_BYTES),
        ("base model", base_bytes(config, base.precision)),
        ("texts", texts),
        ("embeddings", vectors),
        ("adapters", training.adapters),
        ("optimizers", training.optimizers),
        ("gradients", training.gradients),
        ("activations kept", training.tapes),
        ("activations at work", training.scratch.max(embedding)),
        ("batches", training.round + training.losses + training.examples),
        ("prefix cache", training.prefix_cache),
    ];
    let parts = parts.into_iter().filter(|(_, bytes)| *bytes > 0);
    let parts =
        parts.map(|(name, bytes)| Part { name: name.into(), bytes: bytes as u64 }).collect();
    Ok(Estimate { parts, wall_s: None })
}

/// Frozen weights as the processor holds them: tables in f32, each matrix twice, for training; in
/// int8, which only embeds, once.
fn base_bytes(config: &EncoderConfig, precision: Precision) -> usize {
    let EncoderConfig { hidden, layers, intermediate, vocab, positions, .. } = *config;
    let tables = 4 * hidden * (vocab + positions);
    let matrices = layers * (4 * hidden * hidden + 2 * hidden * intermediate);
    let bytes = match precision {
        Precision::F32 => 2 * 4,
        Precision::Bf16 => 2 * 2,
        Precision::Int8 => 1,
    };
    tables + bytes * matrices
}

/// A tenant's strings and token ids.
fn text_bytes(load: &Load<'_>) -> usize {
    let documents = load.dataset.documents.iter();
    let strings: usize =
        documents.map(|d| d.text.len() + d.title.len() + d.heading.len() + 96).sum();
    let tokens: usize = (0..load.dataset.texts()).map(|text| tokens_of(load.texts, text)).sum();
    // The strings stand twice while they are tokenised: in the data set and in the token store.
    2 * strings + 4 * tokens + 48 * load.dataset.texts() as usize
}

fn tokens_of(texts: &dyn Texts, text: u32) -> usize {
    texts.tokens(text).map_or(0, |tokens| tokens.len())
}

fn demand(
    load: &Load<'_>,
    limits: &Limits,
    config: &EncoderConfig,
) -> Result<Option<Demand>, JobError> {
    let mut settings = settings::settings(load.config, limits, &load.examples);
    if !load.dataset.dev.is_empty() {
        settings.evaluation = Some(settings::evaluation(load.config, &settings, &load.examples));
    }
    let tenant = load.config.name.to_string();
    let layout = AdapterLayout::from_spec(&settings.lora, config)
        .map_err(|source| JobError::Spec { tenant, source })?;
    let layout = match load.config.task {
        Task::Embed => layout,
        Task::Rerank => layout.with_head(config),
    };
    let cut = |text: u32| tokens_of(&*load.cut, text);
    Ok(Demand::new(&load.examples, &settings, &layout, &cut))
}

/// The training examples with documents drawn by a counter in place of mined negatives.
fn with_stand_ins(dataset: &Dataset, config: &TenantConfig) -> Vec<Example> {
    let documents = dataset.documents.len() as u64;
    let stand_in =
        |example: usize, at: usize| (random::mix(&[example as u64, at as u64]) % documents) as u32;
    let with = |(at, example): (usize, &Example)| match example {
        Example::Pair { query, positive, negatives } => {
            let mut negatives = negatives.clone();
            negatives.extend((0..config.negatives_mined()).map(|i| stand_in(at, i)));
            Example::Pair { query: *query, positive: *positive, negatives }
        }
        Example::Scored { .. } => example.clone(),
    };
    dataset.train.iter().enumerate().map(with).collect()
}

/// Seconds for all tenants, at the speed of a short trial on one thread: the training, and two
/// passes over the documents, or one and what a reranker is judged by.
fn seconds(base: &BaseModel, limits: &Limits, loads: &[Load<'_>]) -> Result<f64, JobError> {
    let (embed, train) = trial(base, limits.chunk_tokens)?;
    let mut seconds = 0.0;
    for load in loads {
        let dataset = load.dataset;
        let documents = 0..dataset.documents.len() as u32;
        let documents: usize =
            documents.map(|d| tokens_of(load.texts, dataset.document_text(d))).sum();
        let negatives_max = settings::settings(load.config, limits, &load.examples).negatives_max;
        let examples: usize =
            load.examples.iter().map(|e| example_tokens(&*load.cut, e, negatives_max)).sum();
        let trained = match load.config.training.length {
            Length::Epochs(epochs) => examples * epochs as usize,
            Length::Steps(steps) => {
                examples / load.examples.len().max(1)
                    * load.config.training.batch
                    * load.config.training.accumulate
                    * steps as usize
            }
        };
        let judged = match load.config.task {
            Task::Embed => documents,
            Task::Rerank => {
                let pair = examples / (load.examples.len() * (1 + negatives_max)).max(1);
                let looks = match load.config.training.length {
                    Length::Epochs(epochs) => 1 + epochs as usize,
                    Length::Steps(_) => 2,
                };
                let dev = dataset.dev.len().min(JUDGED_MAX) * looks;
                pair * RERANKED_MAX * (dataset.test.len() + dev)
            }
        };
        seconds += (documents + judged) as f64 * embed + trained as f64 * train;
    }
    Ok(seconds / threads(limits) as f64)
}

/// Tokens of an example in one step, of whose negatives no more than some are drawn.
fn example_tokens(cut: &dyn Texts, example: &TrainExample, negatives_max: usize) -> usize {
    let tokens = |text: &u32| tokens_of(cut, *text);
    let drawn = |negatives: &[u32]| negatives.iter().take(negatives_max).map(tokens).sum::<usize>();
    match example {
        TrainExample::Pair { anchor, positive, negatives } => {
            tokens(anchor) + tokens(positive) + drawn(negatives)
        }
        TrainExample::Scored { left, right, .. } => tokens(left) + tokens(right),
        TrainExample::Choice { right, wrong } => {
            let wrong: Vec<u32> = wrong.iter().map(|one| one.text).collect();
            tokens(&right.text) + drawn(&wrong)
        }
    }
}

/// Seconds a token to embed, and to train, on one thread: the best of three chunks.
fn trial(base: &BaseModel, chunk_tokens: usize) -> Result<(f64, f64), JobError> {
    const TEXT_TOKENS: usize = 64;
    let config = base.folder.config();
    let failed = |source| JobError::Spec { tenant: "trial".into(), source };
    let layout = AdapterLayout::from_spec(&trial_spec(), config).map_err(failed)?;
    let adapter = Adapter::initial(layout.into(), 1);
    let text: Vec<u32> =
        (0..TEXT_TOKENS.min(config.tokens_max())).map(|i| (i % config.vocab) as u32).collect();
    let texts = chunk_tokens.div_ceil(text.len()).max(1);
    let mut batch = Packed::default();
    batch.push((0..texts).map(|_| text.as_slice()), Some(0), None);
    let tokens = batch.tokens().len() as f64;
    let forward = Forward { batch: &batch, adapters: &[&adapter], start: Start::Tokens };
    let (mut scratch, mut tape) = (Scratch::default(), Tape::default());
    let mut out = vec![0.0; texts * config.hidden];
    let slopes = out.clone();
    let mut gradients = vec![Vec::new()];
    let (mut embed, mut train) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..3 {
        let begun = Instant::now();
        base.encoder.embed(&forward, &mut scratch, &mut out);
        embed = embed.min(begun.elapsed().as_secs_f64() / tokens);
        let begun = Instant::now();
        base.encoder.forward(&forward, TapeMode::Full, &mut scratch, &mut tape, &mut out);
        base.encoder.backward(&forward, &mut scratch, &mut tape, &slopes, &mut gradients);
        train = train.min(begun.elapsed().as_secs_f64() / tokens);
    }
    Ok((embed, train))
}

fn trial_spec() -> cotenant_transformer::LoraSpec {
    cotenant_train::Settings::default().lora
}
