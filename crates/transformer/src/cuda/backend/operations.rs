//! What the encoder asks for, as launches.

use std::sync::atomic::Ordering;

use super::floats::Floats;
use super::pass::{Pass, Slots, Step};
use super::{Cuda, CudaLinear, CudaNorm, CudaTables, CudaWorkspace, run, short};
use crate::adapter::Adapter;
use crate::backend::{
    AdaptSlopes, Attention, Backend, Course, Fault, NormTape, Pairs, Pools, Target,
};
use crate::cuda::machine::{Machine, Way};
use crate::cuda::plan::attention::{
    AttentionArgs, AttentionBackwardArgs, attention, attention_keys, attention_queries,
    softmax_values,
};
use crate::cuda::plan::gelu::{GeluArgs, GeluBackwardArgs, gelu_backward, gelu_forward};
use crate::cuda::plan::lora::{
    LoraArgs, lora_input_slopes, lora_low, lora_low_slopes, lora_pair_slopes, lora_up,
};
use crate::cuda::plan::norm::{
    AddNormArgs, EmbedArgs, NormAgainArgs, NormBackwardArgs, TableRows, add_norm, embed,
    norm_again, norm_backward,
};
use crate::cuda::plan::rows::{NarrowArgs, WidenArgs, narrow, widen};
use crate::cuda::record::Address;
use crate::cuda::source::Real;
use crate::model::{EncoderConfig, EncoderWeights, Linear, Norm};
use crate::packed::Packed;

impl<M: Machine> Backend for Cuda<M> {
    type Floats = Floats<M>;
    type Linear = CudaLinear<M>;
    type Norm = CudaNorm<M>;
    type Tables = CudaTables<M>;
    type Workspace = CudaWorkspace<M>;
    type Keeper = Self;

    fn keeper(&self) -> Option<&Self> {
        Some(self)
    }

    fn linear_from(&self, parts: &[&Linear]) -> CudaLinear<M> {
        let weight: Vec<f32> = parts.iter().flat_map(|part| part.weight.iter().copied()).collect();
        let bias: Vec<f32> = parts.iter().flat_map(|part| part.bias.iter().copied()).collect();
        CudaLinear {
            weight: self.rows(&weight),
            bias: self.wide(&bias),
            bias_row: self.rows(&bias),
            inputs: parts[0].inputs,
            outputs: parts.iter().map(|part| part.outputs).sum(),
        }
    }

    fn norm_from(&self, norm: Norm, eps: f32) -> CudaNorm<M> {
        CudaNorm { gain: self.wide(&norm.gain), bias: self.wide(&norm.bias), eps }
    }

    fn tables_from(&self, weights: &mut EncoderWeights, config: &EncoderConfig) -> CudaTables<M> {
        let hidden = config.hidden;
        self.head_width.store(config.head(), Ordering::Relaxed);
        let mut kinds = std::mem::take(&mut weights.token_types);
        kinds.truncate(2 * hidden);
        let (words, positions) =
            (std::mem::take(&mut weights.words), std::mem::take(&mut weights.positions));
        let rows = TableRows {
            words: words.len() / hidden,
            positions: positions.len() / hidden,
            kinds: kinds.len() / hidden,
        };
        CudaTables {
            words: self.rows(&words),
            positions: self.rows(&positions),
            kinds: self.rows(&kinds),
            rows,
            norm: self.norm_from(std::mem::take(&mut weights.norm), config.norm_eps),
            hidden,
            position_offset: config.position_offset,
        }
    }

    const CAN_FAIL: bool = true;

    fn has_failed(&self) -> bool {
        self.fault().is_some()
    }

    fn take_fault(&self) -> Option<Fault> {
        self.fault().take()
    }

    fn resize(&self, buffer: &mut Floats<M>, len: usize) {
        if buffer.memory().is_some() && buffer.len() == len {
            return;
        }
        // What is given back first may be what is taken then.
        *buffer = Floats::default();
        let bytes = len * self.number_bytes();
        if let Some(memory) = self.attempt(|machine| machine.buffer(bytes)) {
            *buffer = Floats::new(memory, len);
        }
    }

    fn copy(&self, from: &Floats<M>, to: &mut Floats<M>) {
        if let (Some(from), Some(to)) = (from.memory(), to.memory_mut()) {
            self.attempt(|machine| machine.copy(from, to));
        }
    }

    fn upload(&self, from: &[f32], to: &mut Floats<M>) {
        let wide = self.wide(from);
        match self.real {
            Real::Float => *to = wide,
            Real::Bf16 => {
                self.resize(to, from.len());
                let (from, count) = (self.at(&wide), from.len() as u64);
                self.launch(narrow(NarrowArgs { from, to: self.at(to), count }));
            }
        }
    }

    fn download(&self, from: &Floats<M>, to: &mut [f32]) {
        let mut wide = None;
        if self.real == Real::Bf16 {
            let room = self.wide_room(from.len());
            let count = from.len() as u64;
            self.launch(widen(WidenArgs { from: self.at(from), to: self.at(&room), count }));
            wide = Some(room);
        }
        self.download_wide(wide.as_ref().unwrap_or(from), to);
    }

    fn begin(
        &self,
        workspace: &mut CudaWorkspace<M>,
        (batch, adapters): (&Packed, &[&Adapter]),
        course: Course,
    ) {
        // What the pass before held is free for this one.
        workspace.pass = None;
        let is_backward = course == Course::Backward;
        let kept = workspace.kept.as_ref().map(|kept| kept.values(&self.machine, adapters));
        let kept = match kept.transpose() {
            Ok(kept) => kept,
            Err(why) => return self.refuse(&why),
        };
        let adapters = Slots { adapters, kept: kept.as_deref() };
        let width = self.head_width.load(Ordering::Relaxed);
        workspace.pass = self.attempt(|machine| {
            let how = (is_backward, &mut workspace.room);
            Pass::begin(machine, (batch, self.real, width), adapters, how)
        });
    }

    fn as_one(&self, kind: &dyn Fn() -> u64, work: &mut dyn FnMut()) {
        if self.has_failed() {
            return;
        }
        let done = self.machine.as_one(kind, &mut || {
            work();
            self.fault().clone().map_or(Ok(()), Err)
        });
        if let Err(fault) = done {
            self.fault().get_or_insert(fault);
        }
    }

    fn embed(
        &self,
        workspace: &mut CudaWorkspace<M>,
        tables: &CudaTables<M>,
        batch: &Packed,
        x: &mut Floats<M>,
    ) {
        let Some(pass) = &workspace.pass else { return };
        let places = pass.batch(&self.machine);
        let args = EmbedArgs {
            words: self.at(&tables.words),
            positions: self.at(&tables.positions),
            kinds: self.at(&tables.kinds),
            gain: self.at(&tables.norm.gain),
            bias: self.at(&tables.norm.bias),
            tokens: places.tokens,
            texts: places.texts,
            offsets: places.offsets,
            firsts: places.firsts,
            x: self.at(x),
            rows: short(batch.tokens().len()),
            hidden: short(tables.hidden),
            position_offset: short(tables.position_offset),
            eps: tables.norm.eps,
        };
        self.launch(embed(args, batch, tables.rows));
    }

    fn linear(
        &self,
        _: &mut CudaWorkspace<M>,
        linear: &CudaLinear<M>,
        x: &Floats<M>,
        y: &mut Floats<M>,
    ) {
        self.multiply(Way::Forward, linear, x, (y, Target::Replace));
    }

    fn linear_backward(
        &self,
        _: &mut CudaWorkspace<M>,
        linear: &CudaLinear<M>,
        dy: &Floats<M>,
        dx: &mut Floats<M>,
        target: Target,
    ) {
        self.multiply(Way::Backward, linear, dy, (dx, target));
    }

    fn adapt(
        &self,
        workspace: &mut CudaWorkspace<M>,
        pairs: Pairs<'_>,
        x: &Floats<M>,
        y: &mut Floats<M>,
    ) {
        let Some(pass) = &workspace.pass else { return };
        let Some(group) = pass.group(pairs.layer, pairs.group) else { return };
        let width = y.len() / pairs.batch.tokens().len();
        let args = LoraArgs { x: self.at(x), y: self.at(y), ..self.lora_args(pass, width) };
        let on = |step| {
            let (pairs, tiles) = pass.places(&self.machine, group, step);
            LoraArgs { pairs, tiles, ..args }
        };
        self.launch(lora_low(self.real, on(Step::Low), &group.tables));
        self.launch(lora_up(self.real, on(Step::Up), &group.tables));
    }

    fn adapt_backward(
        &self,
        workspace: &mut CudaWorkspace<M>,
        pairs: Pairs<'_>,
        slopes: AdaptSlopes<'_, Floats<M>>,
        _: &mut [Vec<f32>],
    ) {
        let Some(pass) = &workspace.pass else { return };
        let Some(group) = pass.group(pairs.layer, pairs.group) else { return };
        let AdaptSlopes { x, dy, dx } = slopes;
        let width = dy.len() / pairs.batch.tokens().len();
        let args = LoraArgs {
            x: self.at(x),
            dy: self.at(dy),
            dx: dx.map_or(Address::NONE, |dx| self.at(dx)),
            ..self.lora_args(pass, width)
        };
        let on = |step| {
            let (pairs, tiles) = pass.places(&self.machine, group, step);
            LoraArgs { pairs, tiles, ..args }
        };
        self.launch(lora_low_slopes(self.real, on(Step::LowSlopes), &group.tables));
        self.launch(lora_pair_slopes(self.real, on(Step::PairSlopes), &group.tables));
        self.launch(lora_input_slopes(self.real, on(Step::InputSlopes), &group.tables));
    }

    fn collect(&self, workspace: &mut CudaWorkspace<M>, gradients: &mut [Vec<f32>]) {
        self.in_pass(workspace, |pass| pass.collect(&self.machine, gradients));
    }

    fn attention(
        &self,
        workspace: &mut CudaWorkspace<M>,
        scope: Attention<'_>,
        qkv: &Floats<M>,
        context: &mut Floats<M>,
    ) {
        let (qkv, context) = (self.at(qkv), self.at(context));
        self.in_pass(workspace, |pass| {
            let (args, size) = self.attention_args(pass, scope);
            let AttentionBackwardArgs { offsets, tiles, heads, width, scale, .. } = args;
            let args = AttentionArgs { qkv, context, offsets, tiles, heads, width, scale };
            run(&self.machine, attention(self.real, args, size)?)
        });
    }

    fn attention_backward(
        &self,
        workspace: &mut CudaWorkspace<M>,
        scope: Attention<'_>,
        qkv: &Floats<M>,
        d_context: &Floats<M>,
        d_qkv: &mut Floats<M>,
    ) {
        let values = softmax_values(scope.batch.tokens().len(), scope.heads);
        if workspace.softmax.len() != values {
            workspace.softmax = self.wide_room(values);
        }
        let (qkv, d_context, d_qkv) = (self.at(qkv), self.at(d_context), self.at(d_qkv));
        let softmax = self.at(&workspace.softmax);
        self.in_pass(workspace, |pass| {
            let (args, size) = self.attention_args(pass, scope);
            let args = AttentionBackwardArgs { qkv, d_context, d_qkv, softmax, ..args };
            run(&self.machine, attention_queries(self.real, args, size)?)?;
            run(&self.machine, attention_keys(self.real, args, size)?)
        });
    }

    fn add_norm(
        &self,
        norm: &CudaNorm<M>,
        x: &Floats<M>,
        delta: &Floats<M>,
        tape: Option<&mut NormTape<Floats<M>>>,
        y: &mut Floats<M>,
    ) {
        let hidden = norm.gain.len();
        let rows = x.len() / hidden.max(1);
        let (mut normalised, mut scales) = (Address::NONE, Address::NONE);
        if let Some(tape) = tape {
            // In f32, whatever rows are.
            tape.scales = self.wide_room(rows);
            (normalised, scales) = (self.at(&tape.rows), self.at(&tape.scales));
        }
        self.launch(add_norm(AddNormArgs {
            x: self.at(x),
            delta: self.at(delta),
            gain: self.at(&norm.gain),
            bias: self.at(&norm.bias),
            normalised,
            scales,
            y: self.at(y),
            rows: short(rows),
            hidden: short(hidden),
            eps: norm.eps,
        }));
    }

    fn norm_again(&self, norm: &CudaNorm<M>, tape: &NormTape<Floats<M>>, y: &mut Floats<M>) {
        let hidden = norm.gain.len();
        self.launch(norm_again(NormAgainArgs {
            normalised: self.at(&tape.rows),
            gain: self.at(&norm.gain),
            bias: self.at(&norm.bias),
            y: self.at(y),
            rows: short(y.len() / hidden.max(1)),
            hidden: short(hidden),
        }));
    }

    fn norm_backward(&self, norm: &CudaNorm<M>, tape: &NormTape<Floats<M>>, dy: &mut Floats<M>) {
        let hidden = norm.gain.len();
        self.launch(norm_backward(NormBackwardArgs {
            normalised: self.at(&tape.rows),
            scales: self.at(&tape.scales),
            gain: self.at(&norm.gain),
            dy: self.at(dy),
            rows: short(dy.len() / hidden.max(1)),
            hidden: short(hidden),
        }));
    }

    fn gelu(&self, x: &Floats<M>, y: &mut Floats<M>) {
        let count = x.len() as u64;
        self.launch(gelu_forward(GeluArgs { x: self.at(x), y: self.at(y), count }));
    }

    fn gelu_backward(&self, x: &Floats<M>, dy: &mut Floats<M>) {
        let count = x.len() as u64;
        self.launch(gelu_backward(GeluBackwardArgs { x: self.at(x), dy: self.at(dy), count }));
    }

    fn pool(
        &self,
        workspace: &mut CudaWorkspace<M>,
        pools: Pools<'_>,
        x: &Floats<M>,
        out: &mut [f32],
    ) {
        let pooled = self.wide_room(out.len());
        if let Some(pass) = &workspace.pass {
            let hidden = out.len() / pools.batch.texts().max(1);
            self.pool_to(pass, (pools, hidden), x, self.at(&pooled));
        }
        self.download_wide(&pooled, out);
    }

    fn pool_backward(
        &self,
        workspace: &mut CudaWorkspace<M>,
        pools: Pools<'_>,
        d_out: &[f32],
        dx: &mut Floats<M>,
    ) {
        let slopes = self.wide(d_out);
        let Some(pass) = &workspace.pass else { return };
        let hidden = dx.len() / pools.batch.tokens().len().max(1);
        self.unpool_from(pass, (pools, hidden), self.at(&slopes), dx);
    }
}
