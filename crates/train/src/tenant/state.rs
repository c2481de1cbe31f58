//! Everything of a tenant that training changes, but for its place among its batches.

use std::sync::Arc;

use cotenant_transformer::Adapter;
use serde::{Deserialize, Serialize};

use crate::event::FinishReason;
use crate::optimizer::AdamW;

/// Where a tenant stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Ready for its next batch.
    Training,
    /// Waits to be told how good its adapter is.
    AwaitingScore,
    /// Takes no further steps.
    Finished(FinishReason),
}

/// The best adapter so far.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Best {
    /// Steps taken when it was judged.
    pub(crate) step: u64,
    /// Its score; higher is better.
    pub(crate) score: f64,
    /// Its values.
    pub(crate) values: Vec<f32>,
}

/// What a checkpoint holds of a tenant, besides its place among its batches. Where a device keeps the
/// adapter's values, the means and the gradient, they are empty here.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// Where it stands.
    pub(crate) phase: Phase,
    /// The adapter after `step` steps; once finished, the final one.
    pub(crate) adapter: Arc<Adapter>,
    /// The step that the adapter belongs to.
    pub(crate) adapter_step: u64,
    /// State of the optimizer; empty once finished.
    pub(crate) optimizer: AdamW,
    /// Sum over the batches of the current step so far; empty between steps of a new tenant.
    pub(crate) gradient: Vec<f32>,
    /// Sum of the losses of those batches, each times its part.
    pub(crate) loss: f64,
    /// Tokens and examples of those batches.
    pub(crate) step_tokens: u64,
    /// Examples of those batches.
    pub(crate) step_pairs: u64,
    /// Optimizer steps taken.
    pub(crate) step: u64,
    /// Tokens embedded so far.
    pub(crate) tokens: u64,
    /// Examples so far.
    pub(crate) pairs: u64,
    /// The loss of each step.
    pub(crate) losses: Vec<f32>,
    /// Every score that was reported, with the steps taken when the adapter was judged.
    pub(crate) scores: Vec<(u64, f64)>,
    /// The best adapter, where scores are reported.
    pub(crate) best: Option<Best>,
    /// Evaluations since the best one.
    pub(crate) evaluations_in_vain: u32,
}

impl State {
    /// Before the first step.
    pub(super) fn new(phase: Phase, adapter: Adapter) -> Self {
        let optimizer = AdamW::new(adapter.values.len());
        Self {
            phase,
            adapter: Arc::new(adapter),
            adapter_step: 0,
            optimizer,
            gradient: Vec::new(),
            loss: 0.0,
            step_tokens: 0,
            step_pairs: 0,
            step: 0,
            tokens: 0,
            pairs: 0,
            losses: Vec::new(),
            scores: Vec::new(),
            best: None,
            evaluations_in_vain: 0,
        }
    }
}
