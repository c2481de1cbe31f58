//! What a run tells whoever watches.

/// A part of a run that takes a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Reading the tenant's files.
    Read,
    /// Embedding its documents with the base model, to measure before and to mine.
    EmbedBefore,
    /// Looking for hard negatives.
    Mine,
    /// Training, all tenants at once.
    Train,
    /// Embedding its documents with the trained adapter.
    EmbedAfter,
    /// Reading what was found for each test query together with the query.
    Rerank,
}

impl Stage {
    /// What a person reads.
    pub fn title(self) -> &'static str {
        match self {
            Stage::Read => "reading",
            Stage::EmbedBefore => "embedding with the base model",
            Stage::Mine => "mining hard negatives",
            Stage::Train => "training",
            Stage::EmbedAfter => "embedding with the adapter",
            Stage::Rerank => "reranking",
        }
    }
}

/// Something happened in a run. Tenants are named, or positions where all train together.
#[derive(Clone, Debug, PartialEq)]
pub enum RunEvent {
    /// Something a person should know and nothing stops for.
    Warned {
        /// Whose data or settings.
        tenant: String,
        /// A sentence.
        message: String,
    },
    /// A stage began.
    StageStarted {
        /// Whose; the stage's own name stands for all tenants.
        tenant: String,
        /// Which.
        stage: Stage,
        /// Units of work: texts, or optimizer steps in training.
        total: u64,
    },
    /// A stage came forward.
    StageAdvanced {
        /// Whose.
        tenant: String,
        /// Which.
        stage: Stage,
        /// Units done since the last event.
        by: u64,
    },
    /// A stage ended.
    StageFinished {
        /// Whose.
        tenant: String,
        /// Which.
        stage: Stage,
    },
    /// An optimizer step was taken.
    StepFinished {
        /// Whose.
        tenant: String,
        /// Steps so far.
        step: u64,
        /// Mean loss of the step.
        loss: f32,
    },
    /// The adapter was judged on the dev queries.
    Scored {
        /// Whose.
        tenant: String,
        /// Steps taken.
        step: u64,
        /// nDCG@10 on the dev pool.
        ndcg10: f64,
        /// Whether it is the best so far, and kept.
        improved: bool,
    },
    /// The tenant's training ended.
    TenantFinished {
        /// Whose.
        tenant: String,
        /// Why, as a sentence without a stop.
        reason: String,
        /// Whether something went wrong.
        failed: bool,
    },
    /// A checkpoint was written.
    CheckpointWritten,
}

/// Watches a run; called from several threads.
pub trait Observer: Sync {
    /// Told of every event, in the order of each thread.
    fn on_event(&self, event: &RunEvent);
}
