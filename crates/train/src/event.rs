//! What happened, and what it cost.

use std::fmt;
use std::time::Duration;

use cotenant_transformer::Adapter;
use serde::{Deserialize, Serialize};

/// A tenant of one [`crate::Trainer`], numbered in the order of joining.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TenantId(pub u32);

impl fmt::Display for TenantId {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "tenant {}", self.0)
    }
}

/// Everything that a round can bring about.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An optimizer step was taken.
    StepFinished {
        /// Whose step.
        tenant: TenantId,
        /// Steps taken so far, this one included.
        step: u64,
        /// Mean loss of the step's batches, as measured before the step changed the adapter.
        loss: f32,
        /// Euclidean norm of the gradient before clipping.
        gradient_norm: f32,
        /// Learning rate of the step.
        learning_rate: f32,
        /// Tokens embedded for it (each text counted once a batch).
        tokens: u64,
        /// Examples in it.
        pairs: u64,
    },
    /// The tenant waits until [`crate::Trainer::report_score`] tells how good its adapter is;
    /// others go on meanwhile.
    EvaluationDue {
        /// Whose adapter.
        tenant: TenantId,
        /// Steps taken so far; 0 asks for the quality before training.
        step: u64,
    },
    /// A reported score was compared with the best so far.
    ScoreCompared {
        /// Whose score.
        tenant: TenantId,
        /// Steps taken when the adapter was judged.
        step: u64,
        /// The score.
        score: f64,
        /// The best score so far, this one included.
        best: f64,
        /// Whether this one is the best.
        improved: bool,
    },
    /// The tenant takes no further steps; its adapter is final.
    TenantFinished {
        /// Who.
        tenant: TenantId,
        /// Why.
        reason: FinishReason,
    },
}

/// Why a tenant takes no further steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// Every step was taken.
    Completed,
    /// `patience` evaluations in a row brought nothing better.
    EarlyStopped,
    /// A loss or gradient was not a finite number. The step was not taken: the adapter holds the
    /// values before it.
    NotFinite {
        /// `loss` or `gradient`.
        what: String,
        /// The step that was not taken, counted from 1.
        step: u64,
    },
    /// A text could not be trained on.
    BadText {
        /// The text's number.
        text: u32,
        /// What is wrong with it.
        reason: String,
    },
    /// The device has no memory for its batch alone, however few tokens it runs at a time. The step
    /// was not taken.
    OutOfMemory {
        /// What the device says.
        reason: String,
    },
    /// [`crate::Trainer::remove`] took the tenant out before it was through.
    Removed,
}

impl FinishReason {
    /// Whether the tenant ended because something was wrong.
    pub fn is_failure(&self) -> bool {
        match self {
            FinishReason::Completed | FinishReason::EarlyStopped | FinishReason::Removed => false,
            FinishReason::NotFinite { .. }
            | FinishReason::BadText { .. }
            | FinishReason::OutOfMemory { .. } => true,
        }
    }
}

impl fmt::Display for FinishReason {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            FinishReason::Completed => write!(formatter, "every step was taken"),
            FinishReason::EarlyStopped => write!(formatter, "nothing better was found for a while"),
            FinishReason::NotFinite { what, step } => write!(
                formatter,
                "the {what} of step {step} is not a finite number\n\
                 hint: try a lower learning rate or a lower scale of the loss"
            ),
            FinishReason::BadText { text, reason } => {
                write!(
                    formatter,
                    "text {text} cannot be trained on: {reason}\n\
                     hint: remove or change that text in the tenant's data"
                )
            }
            FinishReason::OutOfMemory { reason } => write!(formatter, "{reason}"),
            FinishReason::Removed => write!(formatter, "removed before it was through"),
        }
    }
}

/// How far a tenant is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// The tenant's name.
    pub name: String,
    /// Optimizer steps taken.
    pub step: u64,
    /// Optimizer steps in all, unless it stops early.
    pub steps_total: u64,
    /// Epochs begun before the current one.
    pub epoch: u32,
    /// Examples seen, counted once an epoch.
    pub pairs: u64,
    /// Tokens embedded.
    pub tokens: u64,
    /// The loss of every step so far.
    pub losses: Vec<f32>,
    /// Every score reported, before a resume or after, with the steps taken when it was due.
    pub scores: Vec<(u64, f64)>,
    /// The best score reported and the step it belongs to.
    pub best: Option<(u64, f64)>,
    /// Why the tenant is through; `None` while it is not.
    pub finished: Option<FinishReason>,
}

/// What a tenant leaves with.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The best adapter where scores were reported, otherwise the last one.
    pub adapter: Adapter,
    /// The step that adapter belongs to.
    pub adapter_step: u64,
    /// How far training went.
    pub progress: Progress,
    /// Why it went no further.
    pub reason: FinishReason,
}

/// What a trainer has done since it was made; a resumed one counts on from its checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Rounds run.
    pub rounds: u64,
    /// Optimizer steps, of all tenants.
    pub steps: u64,
    /// Tokens embedded for training, each text once a batch.
    pub tokens: u64,
    /// Examples.
    pub pairs: u64,
    /// Chunks run.
    pub chunks: u64,
    /// Chunks whose forward ran a second time because no tape was kept.
    pub chunks_recomputed: u64,
    /// Waiting for texts to be ready; a part of `planning`, and of `backward` where batches are made
    /// ready while a device works.
    pub data_stall: Duration,
    /// Deciding what a round does, waiting for texts included.
    pub planning: Duration,
    /// Forward, cached prefixes included.
    pub forward: Duration,
    /// Losses and their gradients.
    pub loss: Duration,
    /// Backward, recomputed forwards included.
    pub backward: Duration,
    /// Checks, clipping and optimizers.
    pub optimizer: Duration,
}
