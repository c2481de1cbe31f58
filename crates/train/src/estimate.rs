//! Predicts peak memory, part by part, before anything runs. The base model is not among the parts.

use std::collections::HashSet;

use cotenant_transformer::{AdapterLayout, Backend, Encoder};

use crate::loss::buffer_bytes;
use crate::packing::{ChunkShape, PlanShape, pack};
use crate::plan::{Course, Plan};
use crate::round::plan_tapes;
use crate::spec::{Example, Limits, Settings};

/// What one tenant asks of memory at most.
#[derive(Clone, Debug)]
pub struct Demand {
    /// The plan with the most tokens of the first epoch.
    largest: Plan,
    /// Tokens of all batches of that epoch.
    tokens_per_epoch: usize,
    /// Tokens of all its texts, each counted once.
    tokens_all: usize,
    longest_text: usize,
    adapter_values: usize,
    first_layer: usize,
    keeps_best: bool,
    examples_bytes: usize,
}

/// Predicted bytes, by what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// Values of every adapter, and of the best one where it is kept.
    pub adapters: usize,
    /// AdamW's two running means of every tenant.
    pub optimizers: usize,
    /// Gradient sums, each thread's own, and those that wait for their turn.
    pub gradients: usize,
    /// Activations kept for backward.
    pub tapes: usize,
    /// Activations that each thread works on.
    pub scratch: usize,
    /// Embeddings, their gradients, tokens and prefix rows of a round.
    pub round: usize,
    /// Scores and their gradients.
    pub losses: usize,
    /// Cached frozen prefixes in memory.
    pub prefix_cache: usize,
    /// Examples and the order they are taken in; their texts are not counted.
    pub examples: usize,
}

impl MemoryEstimate {
    /// The sum of all parts.
    pub fn total(&self) -> usize {
        let Self { adapters, optimizers, gradients, tapes, scratch, .. } = *self;
        let Self { round, losses, prefix_cache, examples, .. } = *self;
        let state = adapters + optimizers + gradients;
        state + tapes + scratch + round + losses + prefix_cache + examples
    }
}

impl Demand {
    /// Walks through the first epoch. `tokens_of` gives the tokens of a text, special tokens
    /// included. `None` if no batch has anything to compare.
    pub fn new(
        examples: &[Example],
        settings: &Settings,
        layout: &AdapterLayout,
        tokens_of: &dyn Fn(u32) -> usize,
    ) -> Option<Self> {
        let mut course = Course::new(examples, settings);
        if course.is_empty() {
            return None;
        }
        let mut largest: Option<Plan> = None;
        let mut tokens_per_epoch = 0;
        let mut texts = HashSet::new();
        while course.cursor().epoch == 0 {
            let batch = course.batch(examples);
            texts.extend(batch.texts.iter().copied());
            let lengths: Vec<usize> = batch.texts.iter().map(|&text| tokens_of(text)).collect();
            let plan = Plan::new(batch, &lengths, settings.tokens_chunk);
            tokens_per_epoch += plan.tokens();
            if largest.as_ref().is_none_or(|largest| largest.tokens() < plan.tokens()) {
                largest = Some(plan);
            }
            course.advance(examples);
        }
        let negatives: usize = examples.iter().map(negatives).sum();
        Some(Self {
            largest: largest?,
            tokens_per_epoch,
            tokens_all: texts.iter().map(|&text| tokens_of(text)).sum(),
            longest_text: texts.iter().map(|&text| tokens_of(text)).max().unwrap_or(0),
            adapter_values: layout.len(),
            first_layer: layout.first_layer().unwrap_or(0),
            keeps_best: settings.evaluation.is_some(),
            examples_bytes: size_of_val(examples) + FLOAT * (negatives + examples.len()),
        })
    }

    /// Tokens of the largest batch, each text counted once.
    pub fn tokens_per_batch_max(&self) -> usize {
        self.largest.tokens()
    }

    /// Tokens of all batches of the first epoch: what time is in proportion to.
    pub fn tokens_per_epoch(&self) -> usize {
        self.tokens_per_epoch
    }
}

const FLOAT: usize = size_of::<f32>();

/// Predicts what training tenants with these demands takes under these limits, on top of the base
/// model and of the texts.
pub fn estimate<B: Backend>(
    encoder: &Encoder<B>,
    limits: &Limits,
    demands: &[Demand],
) -> MemoryEstimate {
    let hidden = encoder.config().hidden;
    let round = fullest_round(demands, limits.round_tokens_max);
    let shapes: Vec<PlanShape> = round.iter().map(|demand| plan_shape(demand)).collect();
    let chunks = pack(&shapes, limits.tokens_chunk);
    let sum = |part: fn(&Demand) -> usize| demands.iter().map(part).sum::<usize>();
    let values = sum(|demand| demand.adapter_values);
    let best = sum(|demand| if demand.keeps_best { demand.adapter_values } else { 0 });
    let prefix_tokens = |demand: &Demand, tokens: usize| {
        let is_cached = demand.first_layer > 0 && limits.prefix.is_on();
        if is_cached { tokens } else { 0 }
    };
    let cached: usize = demands.iter().map(|demand| prefix_tokens(demand, demand.tokens_all)).sum();
    let texts: usize = round.iter().map(|demand| demand.largest.texts.len()).sum();
    let tokens: usize = round.iter().map(|demand| demand.largest.tokens()).sum();
    let prefix_rows: usize =
        round.iter().map(|demand| prefix_tokens(demand, demand.largest.tokens())).sum();
    let loss = round.iter().map(|demand| buffer_bytes(&demand.largest.task, hidden)).max();
    MemoryEstimate {
        adapters: FLOAT * (values + best),
        optimizers: FLOAT * 2 * values,
        gradients: FLOAT * (values + gradient_values(&chunks, &round, limits.threads)),
        tapes: tape_bytes(encoder, &chunks, limits) + FLOAT * texts * hidden,
        scratch: scratch_bytes(encoder, &chunks, &round, limits),
        round: FLOAT * (3 * texts * hidden + prefix_rows * hidden + tokens),
        losses: loss.unwrap_or(0) * limits.threads.min(round.len()),
        prefix_cache: (FLOAT * cached * hidden).min(limits.prefix.memory_bytes_max),
        examples: sum(|demand| demand.examples_bytes),
    }
}

/// The tenants of a round as full as it can be, by first fit from the largest plan on.
fn fullest_round(demands: &[Demand], round_tokens_max: usize) -> Vec<&Demand> {
    let mut order: Vec<&Demand> = demands.iter().collect();
    order.sort_by_key(|demand| std::cmp::Reverse(demand.largest.tokens()));
    let (mut round, mut tokens) = (Vec::new(), 0);
    for demand in order {
        let more = demand.largest.tokens();
        if round.is_empty() || tokens + more <= round_tokens_max {
            tokens += more;
            round.push(demand);
        }
    }
    round
}

fn plan_shape(demand: &Demand) -> PlanShape {
    let Demand { largest, first_layer, .. } = demand;
    let pieces = (0..largest.pieces.len()).map(|piece| largest.piece_tokens(piece)).collect();
    PlanShape { first_layer: *first_layer, pieces }
}

/// Tapes that are kept, and those that threads run chunks again with.
fn tape_bytes<B: Backend>(encoder: &Encoder<B>, chunks: &[ChunkShape], limits: &Limits) -> usize {
    plan_tapes(encoder, chunks, limits).uses(limits.threads).iter().sum()
}

fn scratch_bytes<B: Backend>(
    encoder: &Encoder<B>,
    chunks: &[ChunkShape],
    round: &[&Demand],
    limits: &Limits,
) -> usize {
    let tokens = chunks.iter().map(|chunk| chunk.tokens).max().unwrap_or(0);
    let longest = round.iter().map(|demand| demand.longest_text).max().unwrap_or(0);
    limits.threads.min(chunks.len()) * encoder.scratch_bytes(tokens, longest)
}

/// Values of gradients that threads fill, and of those that wait for a slower thread's.
fn gradient_values(chunks: &[ChunkShape], round: &[&Demand], threads: usize) -> usize {
    let of_chunk = |chunk: &ChunkShape| {
        chunk.parts.iter().map(|part| round[part.plan].adapter_values).sum::<usize>()
    };
    let threads = threads.min(chunks.len());
    chunks.iter().map(of_chunk).max().unwrap_or(0) * (2 * threads).saturating_sub(1)
}

fn negatives(example: &Example) -> usize {
    match example {
        Example::Pair { negatives, .. } => negatives.len(),
        Example::Scored { .. } => 0,
        Example::Choice { wrong, .. } => wrong.len(),
    }
}
