//! What a device must be able to do, operation by operation.
//!
//! A backend owns the frozen weights in the layout its kernels like, and computes on flat buffers
//! of packed rows: `[tokens, width]`, row-major, no padding. The encoder decides what is computed;
//! a backend only how.

use std::ops::Range;

use thiserror::Error;

use crate::adapter::{Adapter, Entry, Module, Site};
use crate::encoder::Pooling;
use crate::keeper::Keeper;
use crate::model::{EncoderConfig, EncoderWeights, Linear, Norm};
use crate::packed::{Packed, Segment};

/// The number format of matrix products with frozen weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// f32 throughout.
    F32,
    /// Factors rounded to bf16, sums in f32.
    Bf16,
    /// Factors rounded to whole 8-bit steps, by column for weights and by row for what they meet,
    /// and summed exactly; for embedding alone.
    Int8,
}

/// Linear layers that read the same rows, and so share one product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Query, key and value, side by side in the output.
    QueryKeyValue,
    /// The projection after attention.
    AttentionOutput,
    /// The first feed-forward layer.
    Intermediate,
    /// The second feed-forward layer.
    Output,
}

impl Group {
    /// The modules of the group, in the order of their output columns.
    pub fn modules(self) -> &'static [Module] {
        match self {
            Group::QueryKeyValue => &[Module::Query, Module::Key, Module::Value],
            Group::AttentionOutput => &[Module::AttentionOutput],
            Group::Intermediate => &[Module::Intermediate],
            Group::Output => &[Module::Output],
        }
    }
}

/// The low-rank pairs that a batch's adapters have on one group of one layer.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    /// The batch, whose segments name adapters.
    pub batch: &'a Packed,
    /// The adapters that segments index.
    pub adapters: &'a [&'a Adapter],
    /// Encoder layer.
    pub layer: usize,
    /// Linear layers within it.
    pub group: Group,
}

/// One low-rank pair on one segment.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// The segment's index in the batch.
    pub at: usize,
    /// The segment.
    pub segment: &'a Segment,
    /// Shapes, scale and place of the matrices.
    pub entry: &'a Entry,
    /// The adapter's values.
    pub values: &'a [f32],
    /// First output column of the pair within the group's output.
    pub column: usize,
}

impl<'a> Pairs<'a> {
    /// Every pair, by segment and module.
    pub fn iter(self) -> impl Iterator<Item = Pair<'a>> {
        self.batch.segments().iter().enumerate().flat_map(move |(at, segment)| {
            let modules = self.group.modules().iter().enumerate();
            modules.filter_map(move |(position, &module)| {
                let adapter = self.adapters[segment.adapter?];
                let entry = adapter.layout.entry(Site { layer: self.layer, module })?;
                let column = position * entry.outputs;
                Some(Pair { at, segment, entry, values: &adapter.values, column })
            })
        })
    }

    /// Whether nothing is adapted here.
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }
}

/// How the texts of a batch become one row each.
#[derive(Clone, Copy, Debug)]
pub struct Pools<'a> {
    /// The texts.
    pub batch: &'a Packed,
    /// The adapters that segments index.
    pub adapters: &'a [&'a Adapter],
    /// How the model pools a text that is embedded.
    pub pooling: Pooling,
}

impl<'a> Pools<'a> {
    /// The tokens of each text, and how they are pooled: where the adapter has a head, by the first
    /// row, which is what the head reads.
    pub fn iter(self) -> impl Iterator<Item = (Range<usize>, Pooling)> {
        let offsets = self.batch.offsets();
        self.batch.segments().iter().flat_map(move |segment| {
            let is_scored = reads_head(segment, self.adapters);
            let pooling = if is_scored { Pooling::Cls } else { self.pooling };
            segment.texts.clone().map(move |at| (offsets[at]..offsets[at + 1], pooling))
        })
    }
}

/// Whether a segment's rows are read by its adapter's head, and not as embeddings.
pub(crate) fn reads_head(segment: &Segment, adapters: &[&Adapter]) -> bool {
    segment.adapter.is_some_and(|at| adapters[at].layout.head().is_some())
}

/// What a product does with what its target holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Overwrites it.
    Replace,
    /// Adds to it.
    Add,
}

/// Which way a pass goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// From tokens to embeddings.
    Forward,
    /// From gradients of embeddings to those of adapters.
    Backward,
}

/// Why a device could not do what it was asked to; each says so in words, with a hint.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// Its memory does not suffice; with smaller batches it may.
    #[error("{0}")]
    OutOfMemory(String),
    /// It answers no more.
    #[error("{0}")]
    Lost(String),
    /// It will never do this.
    #[error("{0}")]
    Refused(String),
}

/// All that backward needs of a layer norm.
#[derive(Debug, Default)]
pub struct NormTape<F> {
    /// `[tokens, hidden]` rows with mean 0 and variance 1, before gain and bias.
    pub rows: F,
    /// `[tokens]` reciprocal standard deviations.
    pub scales: F,
}

/// A device: buffers, frozen weights, and operations on packed rows.
pub trait Backend: Send + Sync {
    /// A flat buffer of f32.
    type Floats: Default + Send;
    /// A frozen linear layer, ready for products in both directions.
    type Linear: Send + Sync;
    /// A frozen layer norm.
    type Norm: Send + Sync;
    /// Frozen word, position and type tables with their norm.
    type Tables: Send + Sync;
    /// A thread's own scratch memory for kernels, and what they read of the pass under way.
    type Workspace: Default + Send;
    /// What keeps adapters on the device from step to step; [`NoKeeper`](crate::NoKeeper) where
    /// nothing does.
    type Keeper: Keeper<Self>;

    /// It, where there is one.
    fn keeper(&self) -> Option<&Self::Keeper> {
        None
    }

    /// Takes over a linear layer whose outputs are those of `parts`, side by side.
    fn linear_from(&self, parts: &[&Linear]) -> Self::Linear;
    /// Takes over a layer norm.
    fn norm_from(&self, norm: Norm, eps: f32) -> Self::Norm;
    /// Takes over the embedding tables, leaving them empty in `weights`.
    fn tables_from(&self, weights: &mut EncoderWeights, config: &EncoderConfig) -> Self::Tables;

    /// Gives a buffer a length; its contents are then unspecified.
    fn resize(&self, buffer: &mut Self::Floats, len: usize);
    /// Copies between buffers of equal length.
    fn copy(&self, from: &Self::Floats, to: &mut Self::Floats);
    /// Copies from the host; the buffer takes the slice's length.
    fn upload(&self, from: &[f32], to: &mut Self::Floats);
    /// Copies to the host.
    fn download(&self, from: &Self::Floats, to: &mut [f32]);

    /// Whether operations may fail at all.
    const CAN_FAIL: bool = false;

    /// Whether something went wrong since the last failure was taken. Until it is, a device does
    /// nothing more, and what it seemed to compute is nothing.
    fn has_failed(&self) -> bool {
        false
    }
    /// What went wrong; the device goes on then, if it can.
    fn take_fault(&self) -> Option<Fault> {
        None
    }

    /// Gets a batch and its adapters to where the pass that follows reads them; both stay as they
    /// are until it has ended. Nothing to do where that is the host's memory.
    fn begin(&self, workspace: &mut Self::Workspace, scene: (&Packed, &[&Adapter]), course: Course);

    /// Does `work` as one piece, where that is faster. Work of one kind asks for the same operations in
    /// the same order each time, and only for those that are between rows of the device.
    fn as_one(&self, _kind: &dyn Fn() -> u64, work: &mut dyn FnMut()) {
        work();
    }

    /// `x: [tokens, hidden]` = norm(words + types + positions).
    fn embed(
        &self,
        workspace: &mut Self::Workspace,
        tables: &Self::Tables,
        batch: &Packed,
        x: &mut Self::Floats,
    );

    /// `y = x · Wᵀ + bias`.
    fn linear(
        &self,
        workspace: &mut Self::Workspace,
        linear: &Self::Linear,
        x: &Self::Floats,
        y: &mut Self::Floats,
    );
    /// `dx = dy · W`, or added.
    fn linear_backward(
        &self,
        workspace: &mut Self::Workspace,
        linear: &Self::Linear,
        dy: &Self::Floats,
        dx: &mut Self::Floats,
        target: Target,
    );

    /// `y += scale * (dropout(x) · Aᵀ) · Bᵀ` for every pair, on its segment's rows.
    fn adapt(
        &self,
        workspace: &mut Self::Workspace,
        pairs: Pairs<'_>,
        x: &Self::Floats,
        y: &mut Self::Floats,
    );
    /// The gradients of [`Backend::adapt`]: those of `A` and `B` overwrite the pair's part of
    /// `gradients[segment]`, at the latest by [`Backend::collect`]; that of `x` is added to `dx`
    /// where it is wanted.
    fn adapt_backward(
        &self,
        workspace: &mut Self::Workspace,
        pairs: Pairs<'_>,
        slopes: AdaptSlopes<'_, Self::Floats>,
        gradients: &mut [Vec<f32>],
    );

    /// Ends a backward pass: what [`Backend::adapt_backward`] has left on the device is in
    /// `gradients` then.
    fn collect(&self, workspace: &mut Self::Workspace, gradients: &mut [Vec<f32>]);

    /// `context: [tokens, hidden]` from `qkv: [tokens, 3 * hidden]`, each text over itself.
    fn attention(
        &self,
        workspace: &mut Self::Workspace,
        scope: Attention<'_>,
        qkv: &Self::Floats,
        context: &mut Self::Floats,
    );
    /// `d_qkv` from `d_context`.
    fn attention_backward(
        &self,
        workspace: &mut Self::Workspace,
        scope: Attention<'_>,
        qkv: &Self::Floats,
        d_context: &Self::Floats,
        d_qkv: &mut Self::Floats,
    );

    /// `y = norm(x + delta)`, with what backward needs in `tape`, if it is wanted.
    fn add_norm(
        &self,
        norm: &Self::Norm,
        x: &Self::Floats,
        delta: &Self::Floats,
        tape: Option<&mut NormTape<Self::Floats>>,
        y: &mut Self::Floats,
    );
    /// `y` of [`Backend::add_norm`] again, from its tape.
    fn norm_again(&self, norm: &Self::Norm, tape: &NormTape<Self::Floats>, y: &mut Self::Floats);
    /// `dy` becomes the gradient of the norm's input, in place.
    fn norm_backward(
        &self,
        norm: &Self::Norm,
        tape: &NormTape<Self::Floats>,
        dy: &mut Self::Floats,
    );

    /// `y = gelu(x)`.
    fn gelu(&self, x: &Self::Floats, y: &mut Self::Floats);
    /// `dy *= gelu'(x)`, in place.
    fn gelu_backward(&self, x: &Self::Floats, dy: &mut Self::Floats);

    /// `out: [texts, hidden]`, one pooled row a text.
    fn pool(
        &self,
        workspace: &mut Self::Workspace,
        pools: Pools<'_>,
        x: &Self::Floats,
        out: &mut [f32],
    );
    /// `dx: [tokens, hidden]` from `d_out: [texts, hidden]`.
    fn pool_backward(
        &self,
        workspace: &mut Self::Workspace,
        pools: Pools<'_>,
        d_out: &[f32],
        dx: &mut Self::Floats,
    );
}

/// The buffers of [`Backend::adapt_backward`].
#[derive(Debug)]
pub struct AdaptSlopes<'a, F> {
    /// What the pairs read.
    pub x: &'a F,
    /// The gradient of what they wrote.
    pub dy: &'a F,
    /// Where the gradient of `x` is added; `None` where nothing below is trained.
    pub dx: Option<&'a mut F>,
}

/// What attention runs over.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// The texts.
    pub batch: &'a Packed,
    /// Number of heads.
    pub heads: usize,
    /// Width of one head.
    pub width: usize,
}
