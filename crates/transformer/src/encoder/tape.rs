//! What a forward pass keeps for backward, and the buffers that passes share.

use crate::backend::{Backend, NormTape};
use crate::model::EncoderConfig;

/// How much of a pass is kept; every mode gives the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TapeMode {
    /// Everything backward reads.
    Full,
    /// All but the feed-forward layer's inner rows, which backward computes again: about half the
    /// memory for a sixth more arithmetic.
    Light,
    /// The rows around each norm alone; backward computes queries, keys, values and inner rows
    /// again: less than a quarter of the memory for about a quarter more arithmetic.
    Lean,
}

/// One layer's share of a tape.
pub(super) struct LayerTape<B: Backend> {
    /// Stale in a lean tape.
    pub qkv: B::Floats,
    pub attention_norm: NormTape<B::Floats>,
    /// The feed-forward layer before GELU; stale in all but a full tape.
    pub inner: B::Floats,
    pub output_norm: NormTape<B::Floats>,
}

impl<B: Backend> Default for LayerTape<B> {
    fn default() -> Self {
        Self {
            qkv: B::Floats::default(),
            attention_norm: NormTape::default(),
            inner: B::Floats::default(),
            output_norm: NormTape::default(),
        }
    }
}

/// What one forward pass kept. Reusing a tape reuses its buffers.
pub struct Tape<B: Backend> {
    pub(super) mode: TapeMode,
    /// The lowest adapted layer, where backward ends.
    pub(super) first: usize,
    /// `[tokens, hidden]`, the input of that layer.
    pub(super) input: B::Floats,
    /// From `first` up.
    pub(super) layers: Vec<LayerTape<B>>,
    /// `[texts, hidden]`, as the pass returned them.
    pub(super) embeddings: Vec<f32>,
    /// `[texts]` lengths of the pooled vectors before normalising.
    pub(super) lengths: Vec<f32>,
}

impl<B: Backend> Default for Tape<B> {
    fn default() -> Self {
        Self {
            mode: TapeMode::Full,
            first: 0,
            input: B::Floats::default(),
            layers: Vec::new(),
            embeddings: Vec::new(),
            lengths: Vec::new(),
        }
    }
}

/// The buffers of one thread's passes.
pub struct Scratch<B: Backend> {
    pub(super) workspace: B::Workspace,
    pub(super) x: B::Floats,
    pub(super) y: B::Floats,
    pub(super) context: B::Floats,
    pub(super) delta: B::Floats,
    /// After GELU.
    pub(super) activated: B::Floats,
    /// Where a layer that keeps no tape writes what it would keep.
    pub(super) spare: LayerTape<B>,
    pub(super) d_y: B::Floats,
    pub(super) d_inner: B::Floats,
    pub(super) d_qkv: B::Floats,
    /// `[texts, hidden]`, on the host.
    pub(super) d_pooled: Vec<f32>,
}

impl<B: Backend> Default for Scratch<B> {
    fn default() -> Self {
        Self {
            workspace: B::Workspace::default(),
            x: B::Floats::default(),
            y: B::Floats::default(),
            context: B::Floats::default(),
            delta: B::Floats::default(),
            activated: B::Floats::default(),
            spare: LayerTape::default(),
            d_y: B::Floats::default(),
            d_inner: B::Floats::default(),
            d_qkv: B::Floats::default(),
            d_pooled: Vec::new(),
        }
    }
}

/// Bytes of a tape over `tokens` tokens whose lowest adapted layer is `first`.
pub(super) fn tape_bytes(
    config: &EncoderConfig,
    tokens: usize,
    first: usize,
    mode: TapeMode,
) -> usize {
    let rows = match mode {
        TapeMode::Full => 3 * config.hidden + config.intermediate,
        TapeMode::Light => 3 * config.hidden,
        TapeMode::Lean => 0,
    };
    let layer = 2 * (config.hidden + 1) + rows;
    4 * tokens * (config.hidden + (config.layers - first) * layer)
}

/// Bytes of one thread's buffers for batches of `tokens` tokens whose longest text has `longest`.
pub(super) fn scratch_bytes(config: &EncoderConfig, tokens: usize, longest: usize) -> usize {
    let (hidden, inner) = (config.hidden, config.intermediate);
    let rows = 5 * hidden + 3 * inner + 2 * (3 * hidden);
    // Scores and their gradients, and in bf16 two matrices of pairs, which are half as wide.
    let head = longest * (3 * longest.next_multiple_of(16) + config.head());
    4 * (tokens * rows + head)
}
