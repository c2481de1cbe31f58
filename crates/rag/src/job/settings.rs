//! From a tenant's part of the workspace to the trainer's settings.

use cotenant_train::{self as train, Evaluation, Example, Loss, Settings};

use crate::data::{self, DataError, Layout, Loaded};
use crate::workspace::{Limits, LossChoice, Task, TenantConfig};

/// The trainer's settings for a tenant with these examples.
pub(super) fn settings(config: &TenantConfig, limits: &Limits, examples: &[Example]) -> Settings {
    let TenantConfig { adapter, loss, training, .. } = config;
    let is_scored = matches!(examples.first(), Some(Example::Scored { .. }));
    let mnrl = Loss::Mnrl { scale: loss.scale, symmetric: loss.symmetric };
    let cosent = Loss::CoSent { scale: loss.scale };
    let most_negatives = examples.iter().map(negatives).max().unwrap_or(0);
    Settings {
        lora: adapter.spec(),
        dropout_per_mille: adapter.dropout_per_mille,
        loss: match (config.task, loss.kind) {
            (Task::Rerank, LossChoice::Auto | LossChoice::Mnrl | LossChoice::CoSent) => Loss::Lce,
            (Task::Embed, LossChoice::Auto) if is_scored => cosent,
            (Task::Embed, LossChoice::Auto | LossChoice::Mnrl) => mnrl,
            (Task::Embed, LossChoice::CoSent) => cosent,
        },
        batch: training.batch,
        negatives_max: match config.task {
            Task::Embed => most_negatives,
            Task::Rerank => most_negatives.min(config.negatives().max(1)),
        },
        length: training.length,
        accumulate: training.accumulate,
        learning_rate: training.learning_rate,
        weight_decay: training.weight_decay,
        warmup_per_mille: training.warmup_per_mille,
        decay: training.decay,
        clip_norm: (training.clip_norm > 0.0).then_some(training.clip_norm),
        seed: training.seed,
        weight: training.weight,
        evaluation: None,
        tokens_chunk: limits.chunk_tokens,
    }
}

/// Refuses examples that the tenant's loss cannot learn from. All examples of a tenant are of one
/// kind, so the first one tells.
pub(super) fn check_loss(config: &TenantConfig, loaded: &Loaded) -> Result<(), DataError> {
    if config.task == Task::Rerank {
        return check_rerank(config, loaded);
    }
    let problem = match (config.loss.kind, loaded.dataset.train.first()) {
        (LossChoice::CoSent, Some(data::Example::Pair { .. })) => {
            "the examples have no scores, but loss = \"cosent\" orders scored pairs"
        }
        (LossChoice::Mnrl, Some(data::Example::Scored { .. })) => {
            "the examples are scored pairs, but loss = \"mnrl\" ranks pairs without scores"
        }
        (LossChoice::Auto | LossChoice::CoSent | LossChoice::Mnrl, _) => return Ok(()),
    };
    let fix = match (config.loss.kind, loaded.layout) {
        (LossChoice::Mnrl, _) => {
            "write loss = \"cosent\", or take the scores out and keep the pairs that answer"
        }
        (LossChoice::CoSent | LossChoice::Auto, Layout::Jsonl) => {
            "write loss = \"mnrl\", or give each line two texts and a \"score\""
        }
        (LossChoice::CoSent | LossChoice::Auto, Layout::Beir | Layout::Pages) => {
            "write loss = \"mnrl\"; scored pairs come from a .jsonl file"
        }
    };
    let hint = format!("{fix}; without loss, or with \"auto\", the one that fits is taken");
    Err(wrong_loss(config, loaded, (problem, hint)))
}

/// Refuses what a reranker cannot learn from.
fn check_rerank(config: &TenantConfig, loaded: &Loaded) -> Result<(), DataError> {
    let (problem, hint) = match (config.loss.kind, loaded.dataset.train.first()) {
        (LossChoice::Mnrl | LossChoice::CoSent, _) => (
            "the loss is one over embeddings, but task = \"rerank\" trains scores",
            "leave loss out, or write task = \"embed\"",
        ),
        (LossChoice::Auto, Some(data::Example::Scored { .. })) => (
            "the examples are scored pairs, but task = \"rerank\" learns which document answers",
            "take the scores out and keep the pairs that answer, or write task = \"embed\"",
        ),
        (LossChoice::Auto, Some(data::Example::Pair { .. }) | None) => return Ok(()),
    };
    Err(wrong_loss(config, loaded, (problem, hint.to_owned())))
}

fn wrong_loss(
    config: &TenantConfig,
    loaded: &Loaded,
    (problem, hint): (&str, String),
) -> DataError {
    let folder = config.data.first().cloned().unwrap_or_default();
    let path = match loaded.layout {
        Layout::Beir => folder.join("qrels").join("train.tsv"),
        Layout::Jsonl | Layout::Pages => folder,
    };
    DataError::WrongLoss { path, line: loaded.first_line, problem: problem.to_owned(), hint }
}

/// When the adapter is judged: as the workspace says, or at each epoch's end.
pub(super) fn evaluation(
    config: &TenantConfig,
    settings: &Settings,
    examples: &[Example],
) -> Evaluation {
    let every_steps = match config.evaluation.every_steps {
        0 => train::steps_per_epoch(examples, settings).max(1),
        steps => steps,
    };
    let patience = config.evaluation.patience;
    Evaluation { every_steps, patience: (patience > 0).then_some(patience) }
}

fn negatives(example: &Example) -> usize {
    match example {
        Example::Pair { negatives, .. } => negatives.len(),
        Example::Scored { .. } => 0,
        Example::Choice { wrong, .. } => wrong.len(),
    }
}
