//! The processor as a device: every operation on one thread, vectorised, in a fixed order.
//!
//! Parallelism is one level up, across batches: threads then share nothing but frozen weights, and
//! no barrier stands inside a layer.

mod allocator;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
mod attention;
#[cfg(target_arch = "x86_64")]
mod attention16;
mod bf16;
mod gelu;
mod int8;
mod lanes;
mod lora;
mod norm;
#[cfg(target_arch = "x86_64")]
mod pairs16;
mod panels;
mod rows;
mod small;
#[cfg(target_arch = "x86_64")]
mod softmax16;
mod tables;
mod transpose;

use thiserror::Error;

use crate::adapter::Adapter;
use crate::backend::{
    AdaptSlopes, Attention, Backend, Course, NormTape, Pairs, Pools, Precision, Target,
};
use crate::keeper::NoKeeper;
use crate::model::{EncoderConfig, EncoderWeights, Linear, Norm};
use crate::packed::Packed;

pub use self::allocator::keep_memory_flat;
use self::attention::{HeadScratch, Heads};
use self::bf16::{Avx512Bf16, Bf16Isa, Line, Panels16};
use self::int8::{Int8Isa, Panels8, Rounded};
use self::lanes::Isa;
use self::lora::{LoraScratch, Rows};
use self::norm::Normalised;
use self::panels::{Operands, Panels};
use self::tables::Tables;

/// The processor, multiplying in one [`Precision`].
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    isa: Isa,
    products: Products,
    /// Set where those of attention run in bf16.
    heads16: Option<Avx512Bf16>,
}

/// What products with frozen weights run in.
#[derive(Clone, Copy, Debug)]
enum Products {
    F32,
    Bf16(Bf16Isa),
    Int8(Int8Isa),
}

/// The processor has no products in the precision asked for.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "this processor has no bf16 products (AMX or AVX512-BF16)\nhint: use precision f32 or auto"
)]
pub struct UnsupportedPrecision;

impl Cpu {
    /// The processor in this precision.
    pub fn new(precision: Precision) -> Result<Self, UnsupportedPrecision> {
        Ok(match precision {
            Precision::F32 => Self { isa: Isa::detect(), products: Products::F32, heads16: None },
            Precision::Bf16 => Self::with_bf16(Bf16Isa::detect().ok_or(UnsupportedPrecision)?),
            Precision::Int8 => Self {
                isa: Isa::detect(),
                products: Products::Int8(Int8Isa::detect()),
                heads16: Avx512Bf16::detect(),
            },
        })
    }

    fn with_bf16(bf16: Bf16Isa) -> Self {
        let products = Products::Bf16(bf16);
        Self { isa: Isa::detect(), products, heads16: Avx512Bf16::detect() }
    }

    /// The fastest precision that this processor trains in.
    pub fn best_precision() -> Precision {
        match Bf16Isa::detect() {
            Some(_) => Precision::Bf16,
            None => Precision::F32,
        }
    }

    /// One for each kind of bf16 product that can be tested here.
    #[cfg(test)]
    pub(crate) fn every_bf16() -> impl Iterator<Item = Self> {
        Bf16Isa::every().into_iter().map(Self::with_bf16)
    }
}

/// A frozen linear layer in panels: `Wᵀ` for the forward and `W` for the backward product.
#[derive(Debug)]
pub struct CpuLinear {
    forward: Matrix,
    /// `None` in int8, which does not train.
    backward: Option<Matrix>,
    bias: Vec<f32>,
}

#[derive(Debug)]
enum Matrix {
    F32(Panels),
    Bf16(Bf16Isa, Panels16),
    Int8(Int8Isa, Panels8),
}

/// A thread's scratch memory.
#[derive(Debug, Default)]
pub struct CpuWorkspace {
    head: HeadScratch,
    #[cfg(target_arch = "x86_64")]
    head16: attention16::HeadScratch16,
    lora: LoraScratch,
    rounded: Vec<Line>,
    rounded8: Rounded,
}

impl Cpu {
    fn matrix(&self, k: usize, n: usize, at: impl Fn(usize, usize) -> f32) -> Matrix {
        match self.products {
            Products::F32 => Matrix::F32(Panels::new(k, n, at)),
            Products::Bf16(isa) => Matrix::Bf16(isa, Panels16::new(k, n, at)),
            Products::Int8(isa) if k <= int8::INPUTS_MAX => {
                Matrix::Int8(isa, Panels8::new(k, n, at))
            }
            Products::Int8(_) => Matrix::F32(Panels::new(k, n, at)),
        }
    }

    fn multiply(&self, workspace: &mut CpuWorkspace, matrix: &Matrix, operands: Operands<'_>) {
        match matrix {
            Matrix::F32(panels) => panels.multiply(self.isa, operands),
            Matrix::Bf16(isa, panels) => panels.multiply(*isa, &mut workspace.rounded, operands),
            Matrix::Int8(isa, panels) => {
                let Operands { x, bias, y, .. } = operands;
                panels.multiply(*isa, &mut workspace.rounded8, (x, bias, y));
            }
        }
    }
}

impl Backend for Cpu {
    type Floats = Vec<f32>;
    type Linear = CpuLinear;
    type Norm = (Norm, f32);
    type Tables = Tables;
    type Workspace = CpuWorkspace;
    type Keeper = NoKeeper;

    fn linear_from(&self, parts: &[&Linear]) -> CpuLinear {
        let inputs = parts[0].inputs;
        let outputs = parts.iter().map(|part| part.outputs).sum();
        let rows: Vec<&[f32]> =
            parts.iter().flat_map(|part| part.weight.chunks_exact(inputs)).collect();
        CpuLinear {
            forward: self.matrix(inputs, outputs, |p, j| rows[j][p]),
            backward: match self.products {
                Products::Int8(_) => None,
                Products::F32 | Products::Bf16(_) => {
                    Some(self.matrix(outputs, inputs, |p, j| rows[p][j]))
                }
            },
            bias: parts.iter().flat_map(|part| part.bias.iter().copied()).collect(),
        }
    }

    fn norm_from(&self, norm: Norm, eps: f32) -> (Norm, f32) {
        (norm, eps)
    }

    fn tables_from(&self, weights: &mut EncoderWeights, config: &EncoderConfig) -> Tables {
        let mut kinds = std::mem::take(&mut weights.token_types);
        kinds.truncate(2 * config.hidden);
        let second = kinds.split_off(config.hidden.min(kinds.len()));
        Tables {
            words: std::mem::take(&mut weights.words),
            positions: std::mem::take(&mut weights.positions),
            kinds: [kinds, second],
            norm: (std::mem::take(&mut weights.norm), config.norm_eps),
            position_offset: config.position_offset,
        }
    }

    fn resize(&self, buffer: &mut Vec<f32>, len: usize) {
        // Exactly, since doubling would hold much more than what was predicted.
        buffer.reserve_exact(len.saturating_sub(buffer.len()));
        buffer.resize(len, 0.0);
    }

    fn copy(&self, from: &Vec<f32>, to: &mut Vec<f32>) {
        to.copy_from_slice(from);
    }

    fn upload(&self, from: &[f32], to: &mut Vec<f32>) {
        to.clear();
        to.extend_from_slice(from);
    }

    fn download(&self, from: &Vec<f32>, to: &mut [f32]) {
        to.copy_from_slice(from);
    }

    fn begin(&self, _: &mut CpuWorkspace, _: (&Packed, &[&Adapter]), _: Course) {}

    fn embed(&self, _: &mut CpuWorkspace, tables: &Tables, batch: &Packed, x: &mut Vec<f32>) {
        tables.embed(self.isa, batch, x);
    }

    fn linear(
        &self,
        workspace: &mut CpuWorkspace,
        linear: &CpuLinear,
        x: &Vec<f32>,
        y: &mut Vec<f32>,
    ) {
        let operands = Operands { x, bias: &linear.bias, y, target: Target::Replace };
        self.multiply(workspace, &linear.forward, operands);
    }

    fn linear_backward(
        &self,
        workspace: &mut CpuWorkspace,
        linear: &CpuLinear,
        dy: &Vec<f32>,
        dx: &mut Vec<f32>,
        target: Target,
    ) {
        let operands = Operands { x: dy, bias: &[], y: dx, target };
        let matrix = linear.backward.as_ref().expect("int8 embeds and does not train");
        self.multiply(workspace, matrix, operands);
    }

    fn adapt(
        &self,
        workspace: &mut CpuWorkspace,
        pairs: Pairs<'_>,
        x: &Vec<f32>,
        y: &mut Vec<f32>,
    ) {
        let tokens = pairs.batch.tokens().len();
        let rows = Rows { isa: self.isa, batch: pairs.batch, y_width: y.len() / tokens };
        for pair in pairs.iter() {
            lora::forward(&rows, &pair, &mut workspace.lora, x, y);
        }
    }

    fn adapt_backward(
        &self,
        workspace: &mut CpuWorkspace,
        pairs: Pairs<'_>,
        slopes: AdaptSlopes<'_, Vec<f32>>,
        gradients: &mut [Vec<f32>],
    ) {
        let AdaptSlopes { x, dy, mut dx } = slopes;
        let tokens = pairs.batch.tokens().len();
        let rows = Rows { isa: self.isa, batch: pairs.batch, y_width: dy.len() / tokens };
        for pair in pairs.iter() {
            let dx = dx.as_deref_mut().map(Vec::as_mut_slice);
            let gradient = &mut gradients[pair.at];
            lora::backward(&rows, &pair, &mut workspace.lora, (x, dy), dx, gradient);
        }
    }

    fn collect(&self, _: &mut CpuWorkspace, _: &mut [Vec<f32>]) {}

    fn attention(
        &self,
        workspace: &mut CpuWorkspace,
        scope: Attention<'_>,
        qkv: &Vec<f32>,
        context: &mut Vec<f32>,
    ) {
        let heads = Heads { count: scope.heads, width: scope.width };
        let hidden = scope.heads * scope.width;
        for text in scope.batch.offsets().windows(2) {
            let qkv = &qkv[text[0] * 3 * hidden..text[1] * 3 * hidden];
            let context = &mut context[text[0] * hidden..text[1] * hidden];
            match self.heads16 {
                #[cfg(target_arch = "x86_64")]
                Some(isa) => {
                    attention16::forward(isa, heads, qkv, &mut workspace.head16, context);
                }
                _ => attention::forward(self.isa, heads, qkv, &mut workspace.head, context),
            }
        }
    }

    fn attention_backward(
        &self,
        workspace: &mut CpuWorkspace,
        scope: Attention<'_>,
        qkv: &Vec<f32>,
        d_context: &Vec<f32>,
        d_qkv: &mut Vec<f32>,
    ) {
        let heads = Heads { count: scope.heads, width: scope.width };
        let hidden = scope.heads * scope.width;
        for text in scope.batch.offsets().windows(2) {
            let wide = text[0] * 3 * hidden..text[1] * 3 * hidden;
            let d_context = &d_context[text[0] * hidden..text[1] * hidden];
            let d_qkv = &mut d_qkv[wide.clone()];
            let qkv = &qkv[wide];
            match self.heads16 {
                #[cfg(target_arch = "x86_64")]
                Some(isa) => {
                    let scratch = &mut workspace.head16;
                    attention16::backward(isa, heads, qkv, d_context, scratch, d_qkv);
                }
                _ => {
                    let scratch = &mut workspace.head;
                    attention::backward(self.isa, heads, qkv, d_context, scratch, d_qkv);
                }
            }
        }
    }

    fn add_norm(
        &self,
        norm: &(Norm, f32),
        x: &Vec<f32>,
        delta: &Vec<f32>,
        tape: Option<&mut NormTape<Vec<f32>>>,
        y: &mut Vec<f32>,
    ) {
        let norm = (&norm.0, norm.1);
        match tape {
            Some(tape) => {
                let saved = Normalised { rows: &mut tape.rows, scales: &mut tape.scales };
                norm::add_norm(self.isa, x, delta, norm, saved, y);
            }
            None => norm::add_norm_alone(self.isa, x, delta, norm, y),
        }
    }

    fn norm_again(&self, norm: &(Norm, f32), tape: &NormTape<Vec<f32>>, y: &mut Vec<f32>) {
        norm::scale_shift(self.isa, &tape.rows, &norm.0, y);
    }

    fn norm_backward(&self, norm: &(Norm, f32), tape: &NormTape<Vec<f32>>, dy: &mut Vec<f32>) {
        norm::norm_backward(self.isa, &tape.rows, &tape.scales, &norm.0, dy);
    }

    fn gelu(&self, x: &Vec<f32>, y: &mut Vec<f32>) {
        gelu::gelu(self.isa, x, y);
    }

    fn gelu_backward(&self, x: &Vec<f32>, dy: &mut Vec<f32>) {
        gelu::gelu_backward(self.isa, x, dy);
    }

    fn pool(&self, _: &mut CpuWorkspace, pools: Pools<'_>, x: &Vec<f32>, out: &mut [f32]) {
        tables::pool(pools, x, out);
    }

    fn pool_backward(
        &self,
        _: &mut CpuWorkspace,
        pools: Pools<'_>,
        d_out: &[f32],
        dx: &mut Vec<f32>,
    ) {
        tables::pool_backward(pools, d_out, dx);
    }
}
