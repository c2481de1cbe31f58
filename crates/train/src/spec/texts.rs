//! What a tenant brings: texts by number, examples over them, and settings.

use std::sync::Arc;

use cotenant_transformer::{Adapter, Text};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::settings::Settings;

/// A tenant's table of texts. Equal texts should have one number: a number is what "the same text"
/// means when a step is freed of duplicates.
pub trait Texts: Send + Sync {
    /// Token ids of a text, special tokens included, cut to the model's length. May block while
    /// other threads still prepare the text: the trainer measures that wait. An error ends this
    /// tenant alone.
    fn tokens(&self, text: u32) -> Result<Arc<[u32]>, TextError>;

    /// The text as the encoder reads it: alone, unless the table is one of pairs.
    fn read(&self, text: u32) -> Result<Tokens, TextError> {
        self.tokens(text).map(|ids| Tokens { first: ids.len(), ids })
    }

    /// Whether [`Texts::tokens`] answers without waiting. A tenant whose next batch is not ready
    /// lets others go first while they are.
    fn is_ready(&self, text: u32) -> bool {
        let _ = text;
        true
    }

    /// A hash of the text's content, known without waiting. A checkpoint refuses to go on with
    /// texts that have changed.
    fn key(&self, text: u32) -> u64;

    /// The texts that the coming epoch asks for, in that order and with repetitions, so that they
    /// can be prepared ahead. Called once an epoch, before the first of them is asked for.
    fn announce(&self, upcoming: &[u32]) {
        let _ = upcoming;
    }
}

/// Token ids of a text, shared by whoever reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Token ids, special ones included.
    pub ids: Arc<[u32]>,
    /// Tokens of type 0, which come first; all of them where a text is read alone.
    pub first: usize,
}

impl Tokens {
    /// As the encoder takes it.
    pub fn as_text(&self) -> Text<'_> {
        Text { tokens: &self.ids, first: self.first }
    }
}

/// A text that cannot be trained on; the reason is shown to the tenant.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{reason}")]
pub struct TextError {
    /// What is wrong with which text, and where it came from.
    pub reason: String,
}

/// One training example over a tenant's texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Example {
    /// A question and a text that answers it.
    Pair {
        /// The question.
        anchor: u32,
        /// What should be near it.
        positive: u32,
        /// What should not; any number, also none.
        negatives: Vec<u32>,
    },
    /// Two texts and how alike they are.
    Scored {
        /// One text.
        left: u32,
        /// The other.
        right: u32,
        /// Higher is more alike; only the order of scores matters.
        score: f32,
    },
    /// Candidates of one question, of which one answers. Each text of the table is the question and
    /// a candidate, read together.
    Choice {
        /// What answers it.
        right: Candidate,
        /// What does not; any number, also none.
        wrong: Vec<Candidate>,
    },
}

/// A candidate of a question.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The question and the candidate, read together.
    pub text: u32,
    /// What is known of its score before it is read, as a logit: the loss adds it to what the head
    /// says, so that the head learns what is not known yet. 0 for each where nothing is known.
    pub prior: f32,
}

/// A tenant as it joins a [`crate::Trainer`].
#[derive(Clone)]
pub struct TenantSpec {
    /// Unique among the trainer's tenants; a checkpoint knows a tenant by it.
    pub name: String,
    /// At least one, all of the kind that the loss wants.
    pub examples: Vec<Example>,
    /// The table that the examples' numbers refer to.
    pub texts: Arc<dyn Texts>,
    /// How to train.
    pub settings: Settings,
    /// Where to begin; its layout then stands in for `settings.lora`. `None` begins with a fresh
    /// adapter, which changes nothing yet.
    pub adapter: Option<Adapter>,
}
