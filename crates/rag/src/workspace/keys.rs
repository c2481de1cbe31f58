//! What a key is, and every key of a tenant: its name, type and range, default and meaning.
//!
//! This is the one definition: parsing, type checks, guesses and the reference page read it.

use cotenant_train::{Decay, Length};
use cotenant_transformer::{LayerChoice, Module};

use super::config::{LossChoice, NegativesSource, Task, TenantConfig};

/// One key of a table that fills a `T`.
pub(super) struct Key<T> {
    /// As it is written.
    pub name: &'static str,
    /// What it accepts and where that goes.
    pub kind: Kind<T>,
    /// The default as TOML, or in words in parentheses where it is not a constant.
    pub default: fn(&T) -> String,
    /// One or two sentences for a person.
    pub doc: &'static str,
}

impl<T> Key<T> {
    /// What a person is told who wrote a value that is not accepted.
    pub(super) fn meaning(&self, target: &T) -> String {
        let default = (self.default)(target);
        match default.starts_with('(') {
            true => self.doc.to_owned(),
            false => format!("{} Left out, it is {default}", self.doc),
        }
    }
}

/// What a key accepts, and how it is stored.
pub(super) enum Kind<T> {
    /// A whole number in a range.
    Integer { min: u64, max: u64, set: fn(&mut T, u64) },
    /// A number in a range.
    Number { min: f64, max: f64, set: fn(&mut T, f32) },
    /// `true` or `false`.
    Boolean { set: fn(&mut T, bool) },
    /// Any text.
    Text { set: fn(&mut T, String) },
    /// One of these words; `set` gets the word's position.
    Word { words: &'static [&'static str], set: fn(&mut T, usize) },
    /// A list of these words, each at most once; `set` gets their positions.
    Words { words: &'static [&'static str], set: fn(&mut T, Vec<usize>) },
    /// A list of whole numbers below `below`.
    Integers { below: u64, set: fn(&mut T, Vec<usize>) },
    /// A path, or a list of paths, that exist; resolved against the workspace's folder.
    Paths { set: fn(&mut T, Vec<std::path::PathBuf>) },
}

/// Pairs of tenant keys of which at most one may be given.
pub(super) const EXCLUSIVE: [(&str, &str); 2] = [("epochs", "steps"), ("layers", "top_layers")];

const TASKS: [Task; 2] = [Task::Embed, Task::Rerank];
const LOSSES: [LossChoice; 3] = [LossChoice::Auto, LossChoice::Mnrl, LossChoice::CoSent];
const DECAYS: [Decay; 3] = [Decay::Linear, Decay::Cosine, Decay::Constant];
const SOURCES: [NegativesSource; 3] =
    [NegativesSource::Bm25, NegativesSource::Base, NegativesSource::Both];

const TASK_WORDS: &[&str] = &["embed", "rerank"];
const LOSS_WORDS: &[&str] = &["auto", "mnrl", "cosent"];
const DECAY_WORDS: &[&str] = &["linear", "cosine", "constant"];
const SOURCE_WORDS: &[&str] = &["bm25", "base", "both"];
const TARGET_WORDS: &[&str] =
    &["query", "key", "value", "attention_output", "intermediate", "output"];

/// Which texts a tenant has, and the shape of its adapter.
const DATA_AND_ADAPTER: &[Key<TenantConfig>] = &[
    Key {
        name: "data",
        kind: Kind::Paths { set: |tenant, paths| tenant.data = paths },
        default: |_| "(required)".to_owned(),
        doc: "A BEIR folder, a JSONL file of pairs, triplets or scored pairs, or one or more \
              folders of Markdown, HTML or text. Relative to the workspace file.",
    },
    Key {
        name: "task",
        kind: Kind::Word { words: TASK_WORDS, set: |tenant, at| tenant.task = TASKS[at] },
        default: |tenant| word(TASK_WORDS, &TASKS, tenant.task),
        doc: "`embed` trains an adapter that finds documents by their vectors, `rerank` one that \
              reads a query together with each of the first 30 documents that words and the base \
              model find, and helps to order them.",
    },
    Key {
        name: "passages_max",
        kind: Kind::Integer {
            min: 10,
            max: 10_000_000,
            set: |tenant, passages| tenant.passages_max = passages as usize,
        },
        default: |tenant| tenant.passages_max.to_string(),
        doc: "Most passages made of folders of pages; more are sampled evenly over the pages.",
    },
    Key {
        name: "rank",
        kind: Kind::Integer {
            min: 1,
            max: 1024,
            set: |tenant, rank| tenant.adapter.rank = rank as usize,
        },
        default: |tenant| tenant.adapter.rank.to_string(),
        doc: "Rank of the adapter: more can learn more and costs more.",
    },
    Key {
        name: "alpha",
        kind: Kind::Number {
            min: 1e-3,
            max: 1e6,
            set: |tenant, alpha| tenant.adapter.alpha = Some(alpha),
        },
        default: |tenant| {
            tenant.adapter.alpha.map_or("(twice the rank)".to_owned(), |alpha| format!("{alpha:?}"))
        },
        doc: "The adapter's change is scaled by `alpha / rank`.",
    },
    Key {
        name: "targets",
        kind: Kind::Words {
            words: TARGET_WORDS,
            set: |tenant, at| {
                tenant.adapter.targets = at.into_iter().map(|at| Module::ALL[at]).collect();
            },
        },
        default: |tenant| {
            let targets = tenant.adapter.targets.iter();
            let words = targets.map(|&target| word(TARGET_WORDS, &Module::ALL, target));
            format!("[{}]", words.collect::<Vec<_>>().join(", "))
        },
        doc: "Which linear layers of an encoder layer are adapted.",
    },
    Key {
        name: "layers",
        kind: Kind::Integers {
            below: 1024,
            set: |tenant, layers| tenant.adapter.layers = LayerChoice::Only(layers),
        },
        default: |_| "(every layer)".to_owned(),
        doc: "Which encoder layers are adapted, counted from 0. Excludes `top_layers`.",
    },
    Key {
        name: "top_layers",
        kind: Kind::Integer {
            min: 1,
            max: 1024,
            set: |tenant, top| tenant.adapter.layers = LayerChoice::Top(top as usize),
        },
        default: |_| "(every layer)".to_owned(),
        doc: "Adapts the last so many layers only: what lies below is computed once and kept, so \
              later epochs are faster. Excludes `layers`.",
    },
    Key {
        name: "dropout",
        kind: Kind::Number {
            min: 0.0,
            max: 0.9,
            set: |tenant, part| tenant.adapter.dropout_per_mille = per_mille(part),
        },
        default: |tenant| part(tenant.adapter.dropout_per_mille),
        doc: "Part of the features that an adapter does not see in a step.",
    },
    Key {
        name: "rslora",
        kind: Kind::Boolean { set: |tenant, on| tenant.adapter.rslora = on },
        default: |tenant| tenant.adapter.rslora.to_string(),
        doc: "Scales by `alpha / sqrt(rank)`, which keeps large ranks learning.",
    },
];

/// What is optimised and how.
const TRAINING: &[Key<TenantConfig>] = &[
    Key {
        name: "loss",
        kind: Kind::Word { words: LOSS_WORDS, set: |tenant, at| tenant.loss.kind = LOSSES[at] },
        default: |tenant| word(LOSS_WORDS, &LOSSES, tenant.loss.kind),
        doc: "`mnrl` ranks each positive above the rest of the batch, `cosent` orders scored \
              pairs, `auto` takes the one that fits the data.",
    },
    Key {
        name: "scale",
        kind: Kind::Number { min: 0.1, max: 1000.0, set: |tenant, x| tenant.loss.scale = x },
        default: |tenant| format!("{:?}", tenant.loss.scale),
        doc: "Factor on the cosines in the loss (the inverse of a temperature).",
    },
    Key {
        name: "symmetric",
        kind: Kind::Boolean { set: |tenant, on| tenant.loss.symmetric = on },
        default: |tenant| tenant.loss.symmetric.to_string(),
        doc: "With `mnrl`, also ranks each query for its positive.",
    },
    Key {
        name: "batch",
        kind: Kind::Integer {
            min: 2,
            max: 65_536,
            set: |tenant, batch| tenant.training.batch = batch as usize,
        },
        default: |tenant| tenant.training.batch.to_string(),
        doc: "Examples of one batch. A large batch costs time, not memory.",
    },
    Key {
        name: "epochs",
        kind: Kind::Integer {
            min: 1,
            max: 10_000,
            set: |tenant, epochs| tenant.training.length = Length::Epochs(epochs as u32),
        },
        default: |tenant| match tenant.training.length {
            Length::Epochs(epochs) => epochs.to_string(),
            Length::Steps(_) => "(none)".to_owned(),
        },
        doc: "Passes over the training examples. Excludes `steps`.",
    },
    Key {
        name: "steps",
        kind: Kind::Integer {
            min: 1,
            max: 1 << 32,
            set: |tenant, steps| tenant.training.length = Length::Steps(steps),
        },
        default: |_| "(from epochs)".to_owned(),
        doc: "Optimizer steps in all. Excludes `epochs`.",
    },
    Key {
        name: "accumulate",
        kind: Kind::Integer {
            min: 1,
            max: 1024,
            set: |tenant, batches| tenant.training.accumulate = batches as usize,
        },
        default: |tenant| tenant.training.accumulate.to_string(),
        doc: "Batches whose gradients are added up for one optimizer step.",
    },
    Key {
        name: "learning_rate",
        kind: Kind::Number {
            min: 0.0,
            max: 1.0,
            set: |tenant, rate| tenant.training.learning_rate = rate,
        },
        default: |tenant| tenant.training.learning_rate.to_string(),
        doc: "The highest learning rate, reached after warm-up.",
    },
    Key {
        name: "weight_decay",
        kind: Kind::Number {
            min: 0.0,
            max: 1.0,
            set: |tenant, x| tenant.training.weight_decay = x,
        },
        default: |tenant| tenant.training.weight_decay.to_string(),
        doc: "AdamW's weight decay.",
    },
    Key {
        name: "warmup",
        kind: Kind::Number {
            min: 0.0,
            max: 1.0,
            set: |tenant, part| tenant.training.warmup_per_mille = per_mille(part),
        },
        default: |tenant| part(tenant.training.warmup_per_mille),
        doc: "Part of the steps in which the learning rate rises from zero.",
    },
    Key {
        name: "decay",
        kind: Kind::Word {
            words: DECAY_WORDS,
            set: |tenant, at| tenant.training.decay = DECAYS[at],
        },
        default: |tenant| word(DECAY_WORDS, &DECAYS, tenant.training.decay),
        doc: "How the learning rate falls after warm-up.",
    },
    Key {
        name: "clip_norm",
        kind: Kind::Number { min: 0.0, max: 1e6, set: |tenant, x| tenant.training.clip_norm = x },
        default: |tenant| format!("{:?}", tenant.training.clip_norm),
        doc: "Largest norm of a gradient; larger ones are scaled down. 0 clips nothing.",
    },
    Key {
        name: "seed",
        kind: Kind::Integer {
            min: 0,
            max: i64::MAX as u64,
            set: |tenant, seed| tenant.training.seed = seed,
        },
        default: |tenant| tenant.training.seed.to_string(),
        doc: "Seed of the adapter's start, the order of examples and dropout.",
    },
    Key {
        name: "weight",
        kind: Kind::Integer {
            min: 1,
            max: 1000,
            set: |tenant, weight| tenant.training.weight = weight as u32,
        },
        default: |tenant| tenant.training.weight.to_string(),
        doc: "Share of the machine, relative to the other tenants' weights.",
    },
];

/// What is looked at while training, and how texts are prepared.
const PREPARATION: &[Key<TenantConfig>] = &[
    Key {
        name: "evaluate_every_steps",
        kind: Kind::Integer {
            min: 0,
            max: 1 << 32,
            set: |tenant, steps| tenant.evaluation.every_steps = steps,
        },
        default: |tenant| tenant.evaluation.every_steps.to_string(),
        doc: "Optimizer steps between two looks at the dev queries; the best adapter seen is kept. \
              0 looks at the end of each epoch.",
    },
    Key {
        name: "patience",
        kind: Kind::Integer {
            min: 0,
            max: 10_000,
            set: |tenant, looks| tenant.evaluation.patience = looks as u32,
        },
        default: |tenant| tenant.evaluation.patience.to_string(),
        doc: "Looks without a better nDCG@10 before training stops. 0 never stops early.",
    },
    Key {
        name: "evaluation_tokens_max",
        kind: Kind::Integer {
            min: 0,
            max: 1 << 20,
            set: |tenant, tokens| {
                tenant.evaluation.tokens_max = (tokens > 0).then_some(tokens as usize);
            },
        },
        default: |tenant| tenant.evaluation.tokens_max.unwrap_or(0).to_string(),
        doc: "Most tokens of a text when quality is measured and when it is searched. 0 is what \
              the model allows.",
    },
    Key {
        name: "negatives",
        kind: Kind::Integer {
            min: 0,
            max: 32,
            set: |tenant, negatives| tenant.negatives.per_example = Some(negatives as usize),
        },
        default: |tenant| match tenant.negatives.per_example {
            Some(negatives) => negatives.to_string(),
            None => "(2, and 7 for `rerank`)".to_owned(),
        },
        doc: "Hard negatives of each example in a step, found before training; a reranker finds \
              three times as many, and draws from them each epoch. 0 finds none.",
    },
    Key {
        name: "negatives_from",
        kind: Kind::Word {
            words: SOURCE_WORDS,
            set: |tenant, at| tenant.negatives.source = SOURCES[at],
        },
        default: |tenant| word(SOURCE_WORDS, &SOURCES, tenant.negatives.source),
        doc: "What hard negatives are found with: BM25, the base model, or both in turn.",
    },
    Key {
        name: "negatives_margin",
        kind: Kind::Number { min: 0.0, max: 1.0, set: |tenant, x| tenant.negatives.margin = x },
        default: |tenant| tenant.negatives.margin.to_string(),
        doc: "A hard negative's cosine to the query is at most this part of the positive's; \
              closer texts may be answers that nobody labelled.",
    },
    Key {
        name: "negatives_depth",
        kind: Kind::Integer {
            min: 1,
            max: 1000,
            set: |tenant, ranks| tenant.negatives.depth = ranks as usize,
        },
        default: |tenant| tenant.negatives.depth.to_string(),
        doc: "Ranks from which hard negatives are taken.",
    },
    Key {
        name: "query_tokens_max",
        kind: Kind::Integer {
            min: 4,
            max: 1 << 20,
            set: |tenant, tokens| tenant.texts.query_tokens_max = tokens as usize,
        },
        default: |tenant| tenant.texts.query_tokens_max.to_string(),
        doc: "Most tokens of a query in training; the rest is cut.",
    },
    Key {
        name: "document_tokens_max",
        kind: Kind::Integer {
            min: 4,
            max: 1 << 20,
            set: |tenant, tokens| tenant.texts.document_tokens_max = tokens as usize,
        },
        default: |tenant| tenant.texts.document_tokens_max.to_string(),
        doc: "Most tokens of a document in training; the rest is cut.",
    },
    Key {
        name: "query_prefix",
        kind: Kind::Text { set: |tenant, text| tenant.texts.query_prefix = text },
        default: |tenant| format!("{:?}", tenant.texts.query_prefix),
        doc: "Written in front of each query; E5 models want `query: `.",
    },
    Key {
        name: "document_prefix",
        kind: Kind::Text { set: |tenant, text| tenant.texts.document_prefix = text },
        default: |tenant| format!("{:?}", tenant.texts.document_prefix),
        doc: "Written in front of each document; E5 models want `passage: `.",
    },
];

/// The keys of `[tenant.NAME]` and, but for `data`, of `[defaults]`.
pub(super) fn tenant_keys() -> impl Iterator<Item = &'static Key<TenantConfig>> + Clone {
    DATA_AND_ADAPTER.iter().chain(TRAINING).chain(PREPARATION)
}

/// The word of a value, quoted.
pub(super) fn word<V: PartialEq>(words: &[&str], values: &[V], value: V) -> String {
    let at = values.iter().position(|known| *known == value).expect("every value has a word");
    format!("{:?}", words[at])
}

/// A part of one in thousandths, rounded.
fn per_mille(part: f32) -> u32 {
    (part * 1000.0).round() as u32
}

/// Thousandths as a part of one.
fn part(per_mille: u32) -> String {
    format!("{:?}", per_mille as f32 / 1000.0)
}
