//! The encoder: token ids to embeddings, and gradients of embeddings to gradients of adapters.
//!
//! ```text
//! x0 = norm(words + types + positions)
//! each layer:  q,k,v = x · Wqkv       context = attention(q, k, v)
//!              y  = norm(x + context · Wo)
//!              x' = norm(y + gelu(y · Wi) · Wd)
//! embedding = normalise(pool(x))
//! ```
//! Adapters add their low-rank product to any of the four linear layers' outputs. The texts of one
//! that has a head are not embedded: their first rows go to the head as they are.

mod backward;
mod forward;
#[cfg(test)]
mod golden;
mod round;
mod tape;

use crate::adapter::Adapter;
use crate::backend::{Backend, Group, Pairs};
use crate::model::{EncoderConfig, EncoderWeights};
use crate::packed::Packed;

pub use self::forward::scale_to_unit;
pub use self::round::Round;
pub use self::tape::{Scratch, Tape, TapeMode};

/// How a text's token rows become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The mean of all its rows.
    Mean,
    /// Its first row.
    Cls,
}

/// Where a forward pass begins.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// At the batch's token ids.
    Tokens,
    /// At the input of an encoder layer, as [`Encoder::prefix`] wrote it.
    Hidden {
        /// The first layer that runs.
        layer: usize,
        /// `[tokens, hidden]`
        rows: &'a [f32],
    },
}

/// One pass: what is encoded, with which adapters, from where.
#[derive(Clone, Copy, Debug)]
pub struct Forward<'a> {
    /// The texts.
    pub batch: &'a Packed,
    /// The adapters that the batch's segments index.
    pub adapters: &'a [&'a Adapter],
    /// Where the pass begins; no adapter may change a layer below.
    pub start: Start<'a>,
}

impl<'a> Forward<'a> {
    fn pairs(&self, layer: usize, group: Group) -> Pairs<'a> {
        Pairs { batch: self.batch, adapters: self.adapters, layer, group }
    }

    /// The lowest adapted layer of the batch, or `layers` if nothing is adapted.
    fn first_adapted(&self, layers: usize) -> usize {
        let used = self.batch.segments().iter().filter_map(|segment| segment.adapter);
        used.filter_map(|at| self.adapters[at].layout.first_layer()).min().unwrap_or(layers)
    }

    fn first_layer(&self) -> usize {
        match self.start {
            Start::Tokens => 0,
            Start::Hidden { layer, .. } => layer,
        }
    }
}

/// One encoder layer on a device.
struct Layer<B: Backend> {
    qkv: B::Linear,
    attention_output: B::Linear,
    attention_norm: B::Norm,
    intermediate: B::Linear,
    output: B::Linear,
    output_norm: B::Norm,
}

/// A frozen encoder on a device; immutable, and shared by any number of threads and adapters.
pub struct Encoder<B: Backend> {
    backend: B,
    config: EncoderConfig,
    pooling: Pooling,
    normalize: bool,
    tables: B::Tables,
    layers: Vec<Layer<B>>,
}

impl<B: Backend> Encoder<B> {
    /// Puts a model on a device. Weights have the shapes that the configuration says, as
    /// [`ModelFolder::weights`](crate::ModelFolder::weights) has checked.
    pub fn new(
        backend: B,
        config: EncoderConfig,
        mut weights: EncoderWeights,
        pooling: Pooling,
        normalize: bool,
    ) -> Self {
        let tables = backend.tables_from(&mut weights, &config);
        let norm = |norm| backend.norm_from(norm, config.norm_eps);
        let layers = weights.layers.into_iter().map(|layer| Layer {
            qkv: backend.linear_from(&[&layer.query, &layer.key, &layer.value]),
            attention_output: backend.linear_from(&[&layer.attention_output]),
            attention_norm: norm(layer.attention_norm),
            intermediate: backend.linear_from(&[&layer.intermediate]),
            output: backend.linear_from(&[&layer.output]),
            output_norm: norm(layer.output_norm),
        });
        let layers = layers.collect();
        Self { backend, config, pooling, normalize, tables, layers }
    }

    /// The device.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// The model's shape.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }
}

impl<B: Backend> std::fmt::Debug for Encoder<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("config", &self.config).finish_non_exhaustive()
    }
}
