//! A backend that carries out plans on the processor, in f32: the kernels as the encoder uses them.

use super::host::Host;
use crate::backend::{AdaptSlopes, Attention, Backend, NormTape, Pairs, Pools, Target};
use crate::cuda::launch::{Launch, PlanError};
use crate::cuda::plan::attention::{
    AttentionArgs, AttentionBackwardArgs, attention, attention_keys, attention_queries,
    attention_tiles, softmax_values,
};
use crate::cuda::plan::batch::BatchTables;
use crate::cuda::plan::gelu::{GeluArgs, GeluBackwardArgs, gelu_backward, gelu_forward};
use crate::cuda::plan::linear::{LinearArgs, linear_backward, linear_forward};
use crate::cuda::plan::lora::{
    LoraArgs, LoraPlaces, LoraTables, Scratch, lora_input_slopes, lora_low, lora_low_slopes,
    lora_pair_slopes, lora_up,
};
use crate::cuda::plan::norm::{
    AddNormArgs, EmbedArgs, NormAgainArgs, NormBackwardArgs, TableRows, add_norm, embed,
    norm_again, norm_backward,
};
use crate::cuda::plan::pool::{PoolArgs, PoolBackwardArgs, modes, pool_backward, pool_forward};
use crate::cuda::plan::tile::Tile;
use crate::cuda::record::{Address, Record, table};
use crate::model::{EncoderConfig, EncoderWeights, Linear, Norm};
use crate::packed::Packed;

/// The processor as a card.
#[derive(Clone, Copy)]
pub(super) struct Device(pub &'static Host);

/// Embedding tables and their norm.
pub(super) struct Tables {
    weights: EncoderWeights,
    config: EncoderConfig,
}

/// Where kernels read.
fn at<T>(values: &[T]) -> Address {
    Address(values.as_ptr().expose_provenance() as u64)
}

/// Where kernels write.
fn at_mut<T>(values: &mut [T]) -> Address {
    Address(values.as_mut_ptr().expose_provenance() as u64)
}

/// A table, aligned as kernels read it.
fn words<R: Record>(records: &[R]) -> Vec<u64> {
    let bytes = table(records);
    bytes
        .chunks(8)
        .map(|word| {
            let mut whole = [0; 8];
            whole[..word.len()].copy_from_slice(word);
            u64::from_ne_bytes(whole)
        })
        .collect()
}

impl Device {
    fn run(self, launch: Result<Option<Launch>, PlanError>) {
        if let Some(launch) = launch.unwrap() {
            self.0.run(&launch, 3).unwrap_or_else(|message| panic!("{message}"));
        }
    }
}

/// The memory of pairs on a batch.
struct PairMemory {
    tables: LoraTables,
    pairs: Vec<u64>,
    batch: BatchTables,
    /// What `tables` points into.
    _low: Vec<f32>,
    _d_low: Vec<f32>,
    _row_keys: Vec<u64>,
}

impl PairMemory {
    fn new(pairs: Pairs<'_>, gradients: &[Address]) -> Self {
        let scratch = Scratch::of(pairs);
        let mut low = vec![f32::NAN; scratch.low_values];
        let mut d_low = low.clone();
        let mut row_keys = vec![0; scratch.row_keys];
        let adapters: Vec<Address> = pairs.adapters.iter().map(|a| at(&a.values)).collect();
        let places = LoraPlaces {
            adapters: &adapters,
            gradients,
            low: at_mut(&mut low),
            d_low: at_mut(&mut d_low),
            row_keys: at_mut(&mut row_keys),
        };
        let tables = LoraTables::new(pairs, &places).unwrap();
        let (batch, pairs) = (BatchTables::new(pairs.batch).unwrap(), words(&tables.pairs));
        Self { tables, pairs, batch, _low: low, _d_low: d_low, _row_keys: row_keys }
    }

    fn args(&self, y_width: usize) -> LoraArgs {
        let none = Address::NONE;
        LoraArgs {
            pairs: at(&self.pairs),
            tiles: none,
            x: none,
            y: none,
            dy: none,
            dx: none,
            texts: at(&self.batch.texts),
            offsets: at(&self.batch.offsets),
            text_keys: at(&self.batch.text_keys),
            y_width: y_width as u32,
        }
    }
}

type Floats = Vec<f32>;

impl Backend for Device {
    type Floats = Floats;
    type Linear = Linear;
    type Norm = (Norm, f32);
    type Tables = Tables;
    type Workspace = ();

    fn linear_from(&self, parts: &[&Linear]) -> Linear {
        Linear {
            weight: parts.iter().flat_map(|part| part.weight.clone()).collect(),
            bias: parts.iter().flat_map(|part| part.bias.clone()).collect(),
            inputs: parts[0].inputs,
            outputs: parts.iter().map(|part| part.outputs).sum(),
        }
    }

    fn norm_from(&self, norm: Norm, eps: f32) -> (Norm, f32) {
        (norm, eps)
    }

    fn tables_from(&self, weights: &mut EncoderWeights, config: &EncoderConfig) -> Tables {
        let weights = EncoderWeights { layers: Vec::new(), ..weights.clone() };
        Tables { weights, config: config.clone() }
    }

    fn resize(&self, buffer: &mut Floats, len: usize) {
        buffer.clear();
        buffer.resize(len, f32::NAN);
    }

    fn copy(&self, from: &Floats, to: &mut Floats) {
        to.copy_from_slice(from);
    }

    fn upload(&self, from: &[f32], to: &mut Floats) {
        to.clear();
        to.extend_from_slice(from);
    }

    fn download(&self, from: &Floats, to: &mut [f32]) {
        to.copy_from_slice(from);
    }

    fn embed(&self, tables: &Tables, batch: &Packed, x: &mut Floats) {
        let (of_batch, Tables { weights, config }) = (BatchTables::new(batch).unwrap(), tables);
        let args = EmbedArgs {
            words: at(&weights.words),
            positions: at(&weights.positions),
            kinds: at(&weights.token_types),
            gain: at(&weights.norm.gain),
            bias: at(&weights.norm.bias),
            tokens: at(batch.tokens()),
            texts: at(&of_batch.texts),
            offsets: at(&of_batch.offsets),
            firsts: at(&of_batch.firsts),
            x: at_mut(x),
            rows: batch.tokens().len() as u32,
            hidden: config.hidden as u32,
            position_offset: config.position_offset as u32,
            eps: config.norm_eps,
        };
        let rows = TableRows {
            words: config.vocab,
            positions: config.positions,
            kinds: config.token_types,
        };
        self.run(embed(args, batch, rows));
    }

    fn linear(&self, (): &mut (), linear: &Linear, x: &Floats, y: &mut Floats) {
        self.run(linear_forward(LinearArgs {
            x: at(x),
            weight: at(&linear.weight),
            bias: at(&linear.bias),
            y: at_mut(y),
            rows: (x.len() / linear.inputs) as u32,
            inner: linear.inputs as u32,
            columns: linear.outputs as u32,
            is_added: 0,
        }));
    }

    fn linear_backward(
        &self,
        (): &mut (),
        linear: &Linear,
        dy: &Floats,
        dx: &mut Floats,
        target: Target,
    ) {
        self.run(linear_backward(LinearArgs {
            x: at(dy),
            weight: at(&linear.weight),
            bias: Address::NONE,
            y: at_mut(dx),
            rows: (dy.len() / linear.outputs) as u32,
            inner: linear.outputs as u32,
            columns: linear.inputs as u32,
            is_added: u32::from(target == Target::Add),
        }));
    }

    fn adapt(&self, (): &mut (), pairs: Pairs<'_>, x: &Floats, y: &mut Floats) {
        let memory = PairMemory::new(pairs, &[]);
        let args = memory.args(y.len() / pairs.batch.tokens().len());
        let args = LoraArgs { x: at(x), y: at_mut(y), ..args };
        let tables = &memory.tables;
        let with = |tiles: &[u64]| LoraArgs { tiles: at(tiles), ..args };
        let (low, up) = (words(&tables.low), words(&tables.up));
        self.run(lora_low(with(&low), tables));
        self.run(lora_up(with(&up), tables));
    }

    fn adapt_backward(
        &self,
        (): &mut (),
        pairs: Pairs<'_>,
        slopes: AdaptSlopes<'_, Floats>,
        gradients: &mut [Vec<f32>],
    ) {
        let gradients: Vec<Address> = gradients.iter_mut().map(|own| at_mut(own)).collect();
        let memory = PairMemory::new(pairs, &gradients);
        let AdaptSlopes { x, dy, dx } = slopes;
        let args = memory.args(dy.len() / pairs.batch.tokens().len());
        let args = LoraArgs { x: at(x), dy: at(dy), ..args };
        let tables = &memory.tables;
        let with = |tiles: &[u64]| LoraArgs { tiles: at(tiles), ..args };
        let of = |tiles: &[Tile]| words(tiles);
        self.run(lora_low_slopes(with(&of(&tables.low_slopes)), tables));
        self.run(lora_pair_slopes(with(&of(&tables.pair_slopes)), tables));
        if let Some(dx) = dx {
            let tiles = of(&tables.input_slopes);
            self.run(lora_input_slopes(LoraArgs { dx: at_mut(dx), ..with(&tiles) }, tables));
        }
    }

    fn attention(&self, (): &mut (), scope: Attention<'_>, qkv: &Floats, context: &mut Floats) {
        let batch = BatchTables::new(scope.batch).unwrap();
        let tiles = attention_tiles(&batch.offsets, scope.width).unwrap();
        let table = words(&tiles);
        let args = AttentionArgs {
            qkv: at(qkv),
            context: at_mut(context),
            offsets: at(&batch.offsets),
            tiles: at(&table),
            heads: scope.heads as u32,
            width: scope.width as u32,
            scale: 1.0 / (scope.width as f32).sqrt(),
        };
        self.run(attention(args, tiles.len()));
    }

    fn attention_backward(
        &self,
        (): &mut (),
        scope: Attention<'_>,
        qkv: &Floats,
        d_context: &Floats,
        d_qkv: &mut Floats,
    ) {
        let batch = BatchTables::new(scope.batch).unwrap();
        let tiles = attention_tiles(&batch.offsets, scope.width).unwrap();
        let table = words(&tiles);
        let mut softmax = vec![f32::NAN; softmax_values(scope.batch.tokens().len(), scope.heads)];
        let args = AttentionBackwardArgs {
            qkv: at(qkv),
            d_context: at(d_context),
            d_qkv: at_mut(d_qkv),
            softmax: at_mut(&mut softmax),
            offsets: at(&batch.offsets),
            tiles: at(&table),
            heads: scope.heads as u32,
            width: scope.width as u32,
            scale: 1.0 / (scope.width as f32).sqrt(),
        };
        self.run(attention_queries(args, tiles.len()));
        self.run(attention_keys(args, tiles.len()));
    }

    fn add_norm(
        &self,
        (norm, eps): &(Norm, f32),
        x: &Floats,
        delta: &Floats,
        tape: Option<&mut NormTape<Floats>>,
        y: &mut Floats,
    ) {
        let (normalised, scales) = match tape {
            Some(tape) => (at_mut(&mut tape.rows), at_mut(&mut tape.scales)),
            None => (Address::NONE, Address::NONE),
        };
        self.run(add_norm(AddNormArgs {
            x: at(x),
            delta: at(delta),
            gain: at(&norm.gain),
            bias: at(&norm.bias),
            normalised,
            scales,
            y: at_mut(y),
            rows: (x.len() / norm.gain.len()) as u32,
            hidden: norm.gain.len() as u32,
            eps: *eps,
        }));
    }

    fn norm_again(&self, (norm, _): &(Norm, f32), tape: &NormTape<Floats>, y: &mut Floats) {
        self.run(norm_again(NormAgainArgs {
            normalised: at(&tape.rows),
            gain: at(&norm.gain),
            bias: at(&norm.bias),
            y: at_mut(y),
            rows: tape.scales.len() as u32,
            hidden: norm.gain.len() as u32,
        }));
    }

    fn norm_backward(&self, (norm, _): &(Norm, f32), tape: &NormTape<Floats>, dy: &mut Floats) {
        self.run(norm_backward(NormBackwardArgs {
            normalised: at(&tape.rows),
            scales: at(&tape.scales),
            gain: at(&norm.gain),
            dy: at_mut(dy),
            rows: tape.scales.len() as u32,
            hidden: norm.gain.len() as u32,
        }));
    }

    fn gelu(&self, x: &Floats, y: &mut Floats) {
        self.run(gelu_forward(GeluArgs { x: at(x), y: at_mut(y), count: x.len() as u32 }));
    }

    fn gelu_backward(&self, x: &Floats, dy: &mut Floats) {
        let count = x.len() as u32;
        self.run(gelu_backward(GeluBackwardArgs { x: at(x), dy: at_mut(dy), count }));
    }

    fn pool(&self, pools: Pools<'_>, x: &Floats, out: &mut [f32]) {
        let batch = BatchTables::new(pools.batch).unwrap();
        let texts = pools.batch.texts();
        self.run(pool_forward(PoolArgs {
            x: at(x),
            offsets: at(&batch.offsets),
            modes: at(&modes(pools)),
            out: at_mut(out),
            texts: texts as u32,
            hidden: (out.len() / texts) as u32,
        }));
    }

    fn pool_backward(&self, pools: Pools<'_>, d_out: &[f32], dx: &mut Floats) {
        let batch = BatchTables::new(pools.batch).unwrap();
        self.run(pool_backward(PoolBackwardArgs {
            d_out: at(d_out),
            texts: at(&batch.texts),
            offsets: at(&batch.offsets),
            modes: at(&modes(pools)),
            dx: at_mut(dx),
            rows: batch.texts.len() as u32,
            hidden: (d_out.len() / pools.batch.texts()) as u32,
        }));
    }
}
