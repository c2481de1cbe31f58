//! How one tenant trains.

use cotenant_transformer::{LayerChoice, LoraSpec, Module, SpecError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::texts::Example;

/// How one tenant trains. Everything but `weight` decides the resulting bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The adapter's shape.
    pub lora: LoraSpec,
    /// Probability of dropping a feature that the adapter reads, in thousandths (0..1000).
    pub dropout_per_mille: u32,
    /// What is minimised.
    pub loss: Loss,
    /// Examples in a batch. They share their negatives, so this is not only a matter of speed; it
    /// costs no memory, because tapes have a limit of their own.
    pub batch: usize,
    /// Hard negatives used of an example in one step; of more, a new draw is made each epoch.
    pub negatives_max: usize,
    /// When training ends.
    pub length: Length,
    /// Batches whose gradients are averaged into one optimizer step.
    pub accumulate: usize,
    /// Learning rate at its peak.
    pub learning_rate: f32,
    /// Decoupled weight decay, as AdamW has it.
    pub weight_decay: f32,
    /// Part of all steps in which the learning rate rises from 0, in thousandths.
    pub warmup_per_mille: u32,
    /// How the learning rate falls after that.
    pub decay: Decay,
    /// A longer gradient is scaled down to this Euclidean norm; `None` never scales.
    pub clip_norm: Option<f32>,
    /// Decides the fresh adapter, the order of examples and dropout.
    pub seed: u64,
    /// Share of the machine relative to other tenants.
    pub weight: u32,
    /// Stop early and keep the best adapter; `None` keeps the last.
    pub evaluation: Option<Evaluation>,
    /// Tokens that are run together; a longer text runs alone.
    pub tokens_chunk: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lora: LoraSpec {
                rank: 8,
                alpha: 16.0,
                rslora: false,
                targets: vec![Module::Query, Module::Value],
                layers: LayerChoice::All,
            },
            dropout_per_mille: 0,
            loss: Loss::Mnrl { scale: 20.0, symmetric: false },
            batch: 32,
            negatives_max: 4,
            length: Length::Epochs(1),
            accumulate: 1,
            learning_rate: 2e-4,
            weight_decay: 0.0,
            warmup_per_mille: 100,
            decay: Decay::Linear,
            clip_norm: Some(1.0),
            seed: 42,
            weight: 1,
            evaluation: None,
            tokens_chunk: 256,
        }
    }
}

/// What is minimised.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Multiple-negatives ranking: cross entropy of each anchor's positive among every positive
    /// and hard negative of the batch, over `scale` times the cosine.
    Mnrl {
        /// Factor on the cosine.
        scale: f32,
        /// Also rank the anchors for each positive, and take the mean of both directions.
        symmetric: bool,
    },
    /// CoSENT, for scored pairs: every two pairs of the batch should lie in the order of their
    /// scores, over `scale` times the cosine.
    CoSent {
        /// Factor on the cosine.
        scale: f32,
    },
    /// Localised contrastive estimation, for choices: cross entropy of the right candidate's score
    /// among the scores of all candidates of its question, by an adapter with a head.
    Lce,
}

/// When training ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// After every example was seen this many times.
    Epochs(u32),
    /// After this many optimizer steps.
    Steps(u64),
}

/// How the learning rate falls once it has risen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// In a straight line to 0.
    Linear,
    /// Along half a cosine to 0.
    Cosine,
    /// Not at all.
    Constant,
}

/// When a tenant's adapter is judged, and when to give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Steps between two evaluations. The first comes before any step, the last after all.
    pub every_steps: u64,
    /// Evaluations in a row without a better score that end training; `None` never does.
    pub patience: Option<u32>,
}

/// Settings that cannot be trained with.
#[derive(Debug, Error, PartialEq)]
pub enum SettingsError {
    /// Another tenant has this name.
    #[error("tenant {name:?} exists already\nhint: give each tenant a name of its own")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// A number is outside of its range.
    #[error(
        "{key} is {value}, but must be {must}\nhint: change {key} in the settings or in the data"
    )]
    Range {
        /// The setting.
        key: &'static str,
        /// Its value.
        value: String,
        /// The legal values.
        must: &'static str,
    },
    /// Nothing to train on.
    #[error("tenant has no examples\nhint: check that its data has training queries")]
    NoExamples,
    /// No batch has anything to compare.
    #[error(
        "no batch holds two examples that can be told apart or a hard negative\n\
         hint: raise batch to 2 or more, or add examples or hard negatives"
    )]
    NothingToCompare,
    /// The loss cannot read this example.
    #[error(
        "example {index} is {found}, but the loss {loss} needs {wanted}\n\
         hint: use loss mnrl for pairs, cosent for scored pairs and lce for choices"
    )]
    WrongExample {
        /// The example, from 0.
        index: usize,
        /// What it is.
        found: &'static str,
        /// The loss.
        loss: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// The adapter does not fit the model.
    #[error("failed to lay out the adapter")]
    Adapter(#[from] SpecError),
    /// The adapter to begin with does not fit the model.
    #[error(
        "adapter to begin with does not fit the model: {reason}\n\
         hint: begin with an adapter that was trained on this base model, or with none"
    )]
    BeginAdapter {
        /// What does not fit.
        reason: String,
    },
}

impl Settings {
    /// Refuses what cannot be trained with, as far as settings alone tell.
    pub fn check(&self) -> Result<(), SettingsError> {
        let positive = |key, value: usize| match value {
            0 => Err(SettingsError::Range { key, value: "0".into(), must: "at least 1" }),
            1.. => Ok(()),
        };
        positive("batch", self.batch)?;
        positive("accumulate", self.accumulate)?;
        positive("weight", self.weight as usize)?;
        positive("tokens_chunk", self.tokens_chunk)?;
        match self.length {
            Length::Epochs(epochs) => positive("epochs", epochs as usize)?,
            Length::Steps(steps) => positive("steps", steps.min(1) as usize)?,
        }
        if let Some(evaluation) = self.evaluation {
            positive("evaluate every", evaluation.every_steps.min(1) as usize)?;
            positive("patience", evaluation.patience.unwrap_or(1) as usize)?;
        }
        let scale = match self.loss {
            Loss::Mnrl { scale, .. } | Loss::CoSent { scale } => scale,
            Loss::Lce => 1.0,
        };
        let numbers = [
            ("learning_rate", self.learning_rate, "a finite number above 0", true),
            ("scale", scale, "a finite number above 0", true),
            ("clip_norm", self.clip_norm.unwrap_or(1.0), "a finite number above 0", true),
            ("alpha", self.lora.alpha, "a finite number above 0", true),
            ("weight_decay", self.weight_decay, "a finite number, 0 or above", false),
        ];
        for (key, value, must, above_zero) in numbers {
            if !value.is_finite() || value < 0.0 || (above_zero && value == 0.0) {
                return Err(SettingsError::Range { key, value: value.to_string(), must });
            }
        }
        for (key, value) in [("dropout", self.dropout_per_mille), ("warmup", self.warmup_per_mille)]
        {
            if value >= 1000 {
                let must = "below 1000 thousandths";
                return Err(SettingsError::Range { key, value: value.to_string(), must });
            }
        }
        Ok(())
    }

    /// Refuses examples that the loss cannot read.
    pub fn check_examples(&self, examples: &[Example]) -> Result<(), SettingsError> {
        if examples.is_empty() {
            return Err(SettingsError::NoExamples);
        }
        for (index, example) in examples.iter().enumerate() {
            let (loss, wanted) = match self.loss {
                Loss::Mnrl { .. } => ("mnrl", "a pair"),
                Loss::CoSent { .. } => ("cosent", "a scored pair"),
                Loss::Lce => ("lce", "a choice"),
            };
            let (found, score) = match example {
                Example::Pair { .. } => ("a pair", 0.0),
                Example::Scored { score, .. } => ("a scored pair", *score),
                Example::Choice { right, wrong } => {
                    let sum = wrong.iter().map(|one| one.prior).sum::<f32>();
                    ("a choice", right.prior + sum)
                }
            };
            if found != wanted {
                return Err(SettingsError::WrongExample { index, found, loss, wanted });
            }
            if !score.is_finite() {
                let (key, must) = ("score", "a finite number");
                return Err(SettingsError::Range { key, value: score.to_string(), must });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::io::ErrorKind;
    use std::path::PathBuf;

    use super::*;
    use crate::checkpoint::CheckpointError;
    use crate::spec::LimitsError;

    /// The error, or what caused it, says what to do.
    #[track_caller]
    fn check(error: &(dyn Error + 'static)) {
        let chain = std::iter::successors(Some(error), |&error| error.source());
        let chain: Vec<String> = chain.map(ToString::to_string).collect();
        let mut lines = chain.iter().flat_map(|message| message.lines());
        assert!(lines.any(|line| line.starts_with("hint: ")), "{chain:?}");
    }

    #[test]
    fn every_error_ends_with_what_to_do() {
        let (path, text) = (|| PathBuf::from("run/checkpoint"), || "text".to_owned());
        let io = || ErrorKind::PermissionDenied.into();
        let wrong = SettingsError::WrongExample { index: 0, found: "a", loss: "b", wanted: "c" };
        let errors: [Box<dyn Error>; 13] = [
            Box::new(SettingsError::NameTaken { name: text() }),
            Box::new(SettingsError::Range { key: "batch", value: text(), must: "at least 1" }),
            Box::new(SettingsError::NoExamples),
            Box::new(SettingsError::NothingToCompare),
            Box::new(wrong),
            Box::new(SettingsError::Adapter(SpecError::NoTargets)),
            Box::new(SettingsError::BeginAdapter { reason: text() }),
            Box::new(LimitsError::Zero { key: "threads" }),
            Box::new(LimitsError::Folder { folder: path(), source: io() }),
            Box::new(CheckpointError::Io { action: "read", path: path(), source: io() }),
            Box::new(CheckpointError::Damaged { path: path(), reason: text() }),
            Box::new(CheckpointError::Version { path: path(), found: 9, supported: 1 }),
            Box::new(CheckpointError::Differs { path: path(), difference: text() }),
        ];
        errors.iter().for_each(|error| check(&**error));
    }
}
