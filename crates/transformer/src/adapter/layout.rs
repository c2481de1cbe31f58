//! Where each low-rank pair of an adapter lies in its flat buffer.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::head::Head;
use crate::model::EncoderConfig;

/// A linear layer of an encoder layer that an adapter can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Module {
    /// `attention.self.query`
    Query,
    /// `attention.self.key`
    Key,
    /// `attention.self.value`
    Value,
    /// `attention.output.dense`
    AttentionOutput,
    /// `intermediate.dense`
    Intermediate,
    /// `output.dense`
    Output,
}

impl Module {
    /// Every module, in the order of the forward pass.
    pub const ALL: [Module; 6] = [
        Module::Query,
        Module::Key,
        Module::Value,
        Module::AttentionOutput,
        Module::Intermediate,
        Module::Output,
    ];

    /// The module's path below `encoder.layer.N.` in published BERT-family checkpoints.
    pub fn path(self) -> &'static str {
        match self {
            Module::Query => "attention.self.query",
            Module::Key => "attention.self.key",
            Module::Value => "attention.self.value",
            Module::AttentionOutput => "attention.output.dense",
            Module::Intermediate => "intermediate.dense",
            Module::Output => "output.dense",
        }
    }

    /// `(inputs, outputs)` of the module in a model of this configuration.
    pub fn shape(self, config: &EncoderConfig) -> (usize, usize) {
        let (hidden, intermediate) = (config.hidden, config.intermediate);
        match self {
            Module::Query | Module::Key | Module::Value | Module::AttentionOutput => {
                (hidden, hidden)
            }
            Module::Intermediate => (hidden, intermediate),
            Module::Output => (intermediate, hidden),
        }
    }
}

/// One adapted linear layer of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site {
    /// Encoder layer, from 0.
    pub layer: usize,
    /// Linear layer within it.
    pub module: Module,
}

/// Which encoder layers are adapted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerChoice {
    /// Every layer.
    All,
    /// The last `k` layers; what lies below is the same for every tenant and can be cached.
    Top(usize),
    /// These layers, from 0.
    Only(Vec<usize>),
}

/// What a user asks of an adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoraSpec {
    /// Rank of every pair.
    pub rank: usize,
    /// Numerator of the scale.
    pub alpha: f32,
    /// Scale by `alpha / sqrt(rank)` (rsLoRA, arXiv:2312.03732) instead of `alpha / rank`.
    pub rslora: bool,
    /// Adapted linear layers.
    pub targets: Vec<Module>,
    /// Adapted encoder layers.
    pub layers: LayerChoice,
}

/// Why a [`LoraSpec`] does not fit a model.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SpecError {
    /// Rank 0 adapts nothing.
    #[error(
        "rank must be at least 1 and at most {max}, not {rank}\n\
         hint: set rank to a number in that range, such as 8 or 16 where it allows them"
    )]
    Rank {
        /// The rank asked for.
        rank: usize,
        /// The smaller side of the smallest adapted matrix.
        max: usize,
    },
    /// No linear layer was named.
    #[error(
        "no linear layer is named to adapt\n\
         hint: name in targets at least one of query, key, value, attention_output, intermediate, \
         output, and no empty list of layers"
    )]
    NoTargets,
    /// A layer that the model does not have.
    #[error(
        "layer {layer} does not exist: the model has {layers} layers\n\
         hint: layers count from 0, so the last one is {}; top_layers takes 1 to {layers}",
        layers.saturating_sub(1)
    )]
    Layer {
        /// The layer asked for, or the count of a `top` choice.
        layer: usize,
        /// Number of layers of the model.
        layers: usize,
    },
}

/// One low-rank pair: `y += scale * (x · Aᵀ) · Bᵀ`.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The linear layer it changes.
    pub site: Site,
    /// Number of rows of `A` and columns of `B`.
    pub rank: usize,
    /// Width of `x`.
    pub inputs: usize,
    /// Width of `y`.
    pub outputs: usize,
    /// Factor on the product.
    pub scale: f32,
    /// `A`, `[rank, inputs]` row-major, as a range of the adapter's values.
    pub a: Range<usize>,
    /// `B`, `[outputs, rank]` row-major, as a range of the adapter's values.
    pub b: Range<usize>,
}

/// All pairs of an adapter, ordered by layer and module, the head behind them if it has one, and
/// the length of its flat buffer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdapterLayout {
    entries: Vec<Entry>,
    head: Option<Head>,
    len: usize,
}

impl AdapterLayout {
    /// The layout that a user's wish gives on a model.
    pub fn from_spec(spec: &LoraSpec, config: &EncoderConfig) -> Result<Self, SpecError> {
        let layers: Vec<usize> = match &spec.layers {
            LayerChoice::All => (0..config.layers).collect(),
            LayerChoice::Top(k) if *k >= 1 && *k <= config.layers => {
                (config.layers - k..config.layers).collect()
            }
            LayerChoice::Top(k) => {
                return Err(SpecError::Layer { layer: *k, layers: config.layers });
            }
            LayerChoice::Only(only) => only.clone(),
        };
        if spec.targets.is_empty() || layers.is_empty() {
            return Err(SpecError::NoTargets);
        }
        if let Some(&layer) = layers.iter().find(|&&layer| layer >= config.layers) {
            return Err(SpecError::Layer { layer, layers: config.layers });
        }
        let max = config.hidden.min(config.intermediate);
        if spec.rank == 0 || spec.rank > max {
            return Err(SpecError::Rank { rank: spec.rank, max });
        }
        let rank = spec.rank as f32;
        let scale = spec.alpha / if spec.rslora { rank.sqrt() } else { rank };
        let pairs = layers.iter().flat_map(|&layer| {
            spec.targets.iter().map(move |&module| (Site { layer, module }, spec.rank, scale))
        });
        Ok(Self::from_pairs(pairs.collect(), config))
    }

    /// The layout of pairs given one by one as site, rank and scale; duplicates are dropped.
    pub fn from_pairs(mut pairs: Vec<(Site, usize, f32)>, config: &EncoderConfig) -> Self {
        pairs.sort_by_key(|(site, ..)| *site);
        pairs.dedup_by_key(|(site, ..)| *site);
        let mut layout = AdapterLayout::default();
        for (site, rank, scale) in pairs {
            let (inputs, outputs) = site.module.shape(config);
            let a = layout.len..layout.len + rank * inputs;
            let b = a.end..a.end + outputs * rank;
            layout.len = b.end;
            layout.entries.push(Entry { site, rank, inputs, outputs, scale, a, b });
        }
        layout
    }

    /// The same pairs with a head behind them: an adapter that scores two texts read together,
    /// and embeds nothing.
    pub fn with_head(mut self, config: &EncoderConfig) -> Self {
        if self.head.is_none() {
            let head = Head::behind(self.len, config);
            self.len = head.end();
            self.head = Some(head);
        }
        self
    }

    /// The head, if the adapter scores.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// The pairs, ordered by layer and module.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The pair at a site, if that site is adapted.
    pub fn entry(&self, site: Site) -> Option<&Entry> {
        let at = self.entries.binary_search_by_key(&site, |entry| entry.site).ok()?;
        Some(&self.entries[at])
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is adapted.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The lowest adapted layer; below it every tenant computes the same.
    pub fn first_layer(&self) -> Option<usize> {
        self.entries.first().map(|entry| entry.site.layer)
    }
}

/// An adapter: a layout and its values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Adapter {
    /// Where each matrix lies.
    pub layout: Arc<AdapterLayout>,
    /// `layout.len()` values.
    pub values: Vec<f32>,
}

impl Adapter {
    /// A fresh adapter that changes nothing yet: `B` is zero and `A` is uniform in
    /// `±1/sqrt(inputs)`, as PEFT draws it (Kaiming uniform with `a = sqrt(5)`), from a counter
    /// keyed by the seed, the site and the element. A head begins as [`Head`] says.
    pub fn initial(layout: Arc<AdapterLayout>, seed: u64) -> Self {
        let mut values = vec![0.0; layout.len()];
        for entry in layout.entries() {
            let bound = 1.0 / (entry.inputs as f32).sqrt();
            let site = (entry.site.layer as u64) << 8 | entry.site.module as u64;
            for (i, value) in values[entry.a.clone()].iter_mut().enumerate() {
                let bits = crate::random::mix(&[seed, site, i as u64]);
                *value = (crate::random::unit(bits) * 2.0 - 1.0) * bound;
            }
        }
        if let Some(head) = layout.head() {
            head.initialize(&mut values);
        }
        Self { layout, values }
    }
}
