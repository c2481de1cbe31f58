//! The processor as a device that can fail, and that keeps adapters if it is asked to.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::mem;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use cotenant_train::{AdamW, Embedded, LossBuffers, Mnrl, Ranking, clip};
use cotenant_transformer::{
    AdaptSlopes, Adapter, Attention, Backend, Course, Cpu, CpuLinear, CpuWorkspace, EncoderConfig,
    EncoderWeights, Ending, Fault, Judging, Keeper, Linear, Member, Norm, NormTape, Packed, Pairs,
    Pools, Precision, RoundRanking, SlabState, Target, Verdict, scale_to_unit,
};

/// The processor, with memory for so many floats a buffer, that is lost after so many products.
pub struct Frail {
    cpu: Cpu,
    /// Whether it keeps adapters.
    keeps: bool,
    pub floats_max: AtomicUsize,
    /// Bytes of adapters' states that it has memory for.
    pub slab_bytes_max: AtomicUsize,
    slab_bytes: Arc<AtomicUsize>,
    pub products_left: AtomicI64,
    /// States that were brought.
    pub brought: AtomicUsize,
    /// Rounds in which it helped another device.
    pub helped: AtomicUsize,
    fault: Mutex<Option<Fault>>,
}

/// A state; what is not on the device cannot be used.
pub struct Slab {
    state: Arc<Mutex<SlabState>>,
    is_there: bool,
    bytes: usize,
    /// Of all states on the device.
    all_bytes: Arc<AtomicUsize>,
}

impl Drop for Slab {
    fn drop(&mut self) {
        if self.is_there {
            self.all_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

pub struct Round {
    members: Vec<RoundMember>,
    /// `[texts, hidden]`
    rows: Vec<f32>,
    slopes: Vec<f32>,
    /// Of each row before it was scaled, if it was.
    lengths: Vec<Option<f32>>,
    hidden: usize,
    verdicts: Vec<Verdict>,
}

struct RoundMember {
    state: Arc<Mutex<SlabState>>,
    sum: Vec<f32>,
}

#[derive(Default)]
pub struct Workspace {
    cpu: CpuWorkspace,
    /// The states of the round's members, while there is a round.
    kept: Option<Vec<Arc<Mutex<SlabState>>>>,
    /// The pass's adapters with the values of their states.
    adapters: Vec<Adapter>,
    gradients: Vec<Vec<f32>>,
}

impl Frail {
    pub fn new() -> Self {
        Self {
            cpu: Cpu::new(Precision::F32).unwrap(),
            keeps: false,
            floats_max: AtomicUsize::new(usize::MAX),
            slab_bytes_max: AtomicUsize::new(usize::MAX),
            slab_bytes: Arc::default(),
            products_left: AtomicI64::new(i64::MAX),
            brought: AtomicUsize::new(0),
            helped: AtomicUsize::new(0),
            fault: Mutex::default(),
        }
    }

    /// One that keeps adapters.
    pub fn keeping() -> Self {
        Self { keeps: true, ..Self::new() }
    }

    pub fn fault(&self) -> MutexGuard<'_, Option<Fault>> {
        self.fault.lock().unwrap()
    }

    fn fail(&self, fault: Fault) {
        self.fault().get_or_insert(fault);
    }
}

/// Operations that do what the processor does.
macro_rules! as_the_processor {
    ($(fn $name:ident($($argument:ident: $kind:ty),* $(,)?);)*) => {
        $(fn $name(&self, $($argument: $kind),*) {
            self.cpu.$name($($argument),*);
        })*
    };
}

/// The same, with a workspace first.
macro_rules! as_the_processor_with_a_workspace {
    ($(fn $name:ident($($argument:ident: $kind:ty),* $(,)?);)*) => {
        $(fn $name(&self, workspace: &mut Workspace, $($argument: $kind),*) {
            self.cpu.$name(&mut workspace.cpu, $($argument),*);
        })*
    };
}

type Rows = Vec<f32>;
type FrozenNorm = <Cpu as Backend>::Norm;
type FrozenTables = <Cpu as Backend>::Tables;

impl Backend for Frail {
    type Floats = Rows;
    type Linear = CpuLinear;
    type Norm = FrozenNorm;
    type Tables = FrozenTables;
    type Workspace = Workspace;
    type Keeper = Self;

    fn keeper(&self) -> Option<&Self> {
        self.keeps.then_some(self)
    }

    const CAN_FAIL: bool = true;

    fn has_failed(&self) -> bool {
        self.fault().is_some()
    }

    fn take_fault(&self) -> Option<Fault> {
        self.fault().take()
    }

    fn linear_from(&self, parts: &[&Linear]) -> CpuLinear {
        self.cpu.linear_from(parts)
    }

    fn norm_from(&self, norm: Norm, eps: f32) -> FrozenNorm {
        self.cpu.norm_from(norm, eps)
    }

    fn tables_from(&self, weights: &mut EncoderWeights, config: &EncoderConfig) -> FrozenTables {
        self.cpu.tables_from(weights, config)
    }

    fn resize(&self, buffer: &mut Rows, len: usize) {
        if len > self.floats_max.load(Ordering::Relaxed) {
            self.fail(Fault::OutOfMemory(format!("there is no room for {len} floats")));
        }
        self.cpu.resize(buffer, len);
    }

    fn linear(&self, workspace: &mut Workspace, linear: &CpuLinear, x: &Rows, y: &mut Rows) {
        if self.products_left.fetch_sub(1, Ordering::Relaxed) <= 0 {
            self.fail(Fault::Lost("the card fell off the bus".to_owned()));
        }
        self.cpu.linear(&mut workspace.cpu, linear, x, y);
        if self.has_failed() {
            // What comes out of a device that failed is nothing.
            y.fill(f32::NAN);
        }
    }

    fn begin(
        &self,
        workspace: &mut Workspace,
        (batch, adapters): (&Packed, &[&Adapter]),
        course: Course,
    ) {
        let Workspace { cpu, kept, adapters: own, gradients } = workspace;
        own.clear();
        if let Some(kept) = kept {
            let value = |(adapter, state): (&&Adapter, &Arc<Mutex<SlabState>>)| {
                assert!(adapter.values.is_empty(), "what is kept is nowhere else");
                let values = state.lock().unwrap().values.clone();
                Adapter { layout: Arc::clone(&adapter.layout), values }
            };
            own.extend(adapters.iter().zip(&*kept).map(value));
            gradients.clear();
            gradients.extend(batch.segments().iter().map(|segment| {
                vec![0.0; segment.adapter.map_or(0, |at| adapters[at].layout.len())]
            }));
        }
        self.cpu.begin(cpu, (batch, adapters), course);
    }

    fn adapt(&self, workspace: &mut Workspace, pairs: Pairs<'_>, x: &Rows, y: &mut Rows) {
        let Workspace { cpu, kept, adapters, .. } = workspace;
        let own: Vec<&Adapter> = adapters.iter().collect();
        let adapters = if kept.is_some() { &own } else { pairs.adapters };
        self.cpu.adapt(cpu, Pairs { adapters, ..pairs }, x, y);
    }

    fn adapt_backward(
        &self,
        workspace: &mut Workspace,
        pairs: Pairs<'_>,
        slopes: AdaptSlopes<'_, Rows>,
        gradients: &mut [Vec<f32>],
    ) {
        let Workspace { cpu, kept, adapters, gradients: own_gradients } = workspace;
        let own: Vec<&Adapter> = adapters.iter().collect();
        match kept {
            Some(_) => {
                let pairs = Pairs { adapters: &own, ..pairs };
                self.cpu.adapt_backward(cpu, pairs, slopes, own_gradients);
            }
            None => self.cpu.adapt_backward(cpu, pairs, slopes, gradients),
        }
    }

    fn collect(&self, workspace: &mut Workspace, gradients: &mut [Vec<f32>]) {
        match &workspace.kept {
            Some(_) => gradients.clone_from_slice(&workspace.gradients),
            None => self.cpu.collect(&mut workspace.cpu, gradients),
        }
    }

    as_the_processor! {
        fn copy(from: &Rows, to: &mut Rows);
        fn upload(from: &[f32], to: &mut Rows);
        fn download(from: &Rows, to: &mut [f32]);
        fn add_norm(
            norm: &FrozenNorm,
            x: &Rows,
            delta: &Rows,
            tape: Option<&mut NormTape<Rows>>,
            y: &mut Rows,
        );
        fn norm_again(norm: &FrozenNorm, tape: &NormTape<Rows>, y: &mut Rows);
        fn norm_backward(norm: &FrozenNorm, tape: &NormTape<Rows>, dy: &mut Rows);
        fn gelu(x: &Rows, y: &mut Rows);
        fn gelu_backward(x: &Rows, dy: &mut Rows);
    }

    as_the_processor_with_a_workspace! {
        fn embed(tables: &FrozenTables, batch: &Packed, x: &mut Rows);
        fn linear_backward(linear: &CpuLinear, dy: &Rows, dx: &mut Rows, target: Target);
        fn attention(scope: Attention<'_>, qkv: &Rows, context: &mut Rows);
        fn attention_backward(
            scope: Attention<'_>,
            qkv: &Rows,
            d_context: &Rows,
            d_qkv: &mut Rows,
        );
        fn pool(pools: Pools<'_>, x: &Rows, out: &mut [f32]);
        fn pool_backward(pools: Pools<'_>, d_out: &[f32], dx: &mut Rows);
    }
}

/// What the trainer does itself where nothing is kept, to the bit.
impl Keeper<Frail> for Frail {
    type Slab = Slab;
    type Round = Round;

    fn take(&self, state: &SlabState) -> Result<Slab, Fault> {
        let bytes = SlabState::bytes(state.values.len());
        let all_bytes = Arc::clone(&self.slab_bytes);
        let state = Arc::new(Mutex::new(state.clone()));
        Ok(Slab { state, is_there: false, bytes, all_bytes })
    }

    fn bring(&self, slab: &mut Slab) {
        if slab.is_there || self.has_failed() {
            return;
        }
        let held = self.slab_bytes.load(Ordering::Relaxed) + slab.bytes;
        if held > self.slab_bytes_max.load(Ordering::Relaxed) {
            return self.fail(Fault::OutOfMemory(format!("there is no room for {held} bytes")));
        }
        self.slab_bytes.store(held, Ordering::Relaxed);
        self.brought.fetch_add(1, Ordering::Relaxed);
        slab.is_there = true;
    }

    fn put_aside(&self, slab: &mut Slab) {
        if slab.is_there && !self.has_failed() {
            self.slab_bytes.fetch_sub(slab.bytes, Ordering::Relaxed);
            slab.is_there = false;
        }
    }

    fn read(&self, slab: &Slab) -> Result<SlabState, Fault> {
        Ok(slab.state.lock().unwrap().clone())
    }

    fn begin(
        &self,
        workspace: &mut Workspace,
        members: &mut [Member<'_, Slab>],
        (texts, hidden): (usize, usize),
    ) -> Round {
        let all_there = members.iter().all(|member| member.slab.is_there);
        assert!(all_there || self.has_failed(), "whoever is in a round was brought");
        let member = |Member { slab, goes_on }: &Member<'_, Slab>| {
            let state = slab.state.lock().unwrap();
            let sum = if *goes_on { state.gradient.clone() } else { vec![0.0; state.values.len()] };
            RoundMember { state: Arc::clone(&slab.state), sum }
        };
        let members: Vec<RoundMember> = members.iter().map(member).collect();
        workspace.kept = Some(members.iter().map(|member| Arc::clone(&member.state)).collect());
        let rows = vec![f32::NAN; texts * hidden];
        let verdicts = vec![Verdict { loss: 0.0, gradient_norm: 0.0 }; members.len()];
        Round { members, slopes: rows.clone(), rows, lengths: Vec::new(), hidden, verdicts }
    }

    fn pool(
        &self,
        workspace: &mut Workspace,
        pools: Pools<'_>,
        x: &Rows,
        (round, text): (&mut Round, usize),
    ) {
        let rows = text * round.hidden..(text + pools.batch.texts()) * round.hidden;
        self.cpu.pool(&mut workspace.cpu, pools, x, &mut round.rows[rows]);
    }

    fn judge(&self, round: &mut Round, judgings: &[Judging<'_>]) {
        let Round { rows, slopes, hidden, verdicts, lengths, .. } = round;
        let hidden = *hidden;
        let unscaled: BTreeSet<usize> = judgings
            .iter()
            .filter_map(|judging| match judging {
                Judging::Ranking(_) => None,
                Judging::Host { unscaled } => Some(unscaled.iter().map(|&text| text as usize)),
            })
            .flatten()
            .collect();
        let scaled = rows.chunks_exact_mut(hidden).enumerate();
        let scaled =
            scaled.map(|(text, row)| (!unscaled.contains(&text)).then(|| scale_to_unit(row)));
        *lengths = scaled.collect();
        slopes.fill(0.0);
        for (judging, verdict) in judgings.iter().zip(verdicts) {
            let Judging::Ranking(ranking) = judging else { continue };
            let RoundRanking { anchors, columns, excluded, scale, is_symmetric, part } = *ranking;
            let task = Ranking {
                anchors: anchors.to_vec(),
                columns: columns.to_vec(),
                excluded: excluded.to_vec(),
            };
            let mut own = vec![0.0; slopes.len()];
            let mnrl = Mnrl { scale, symmetric: is_symmetric };
            let embedded = Embedded { rows, hidden };
            let mut buffers = LossBuffers::default();
            verdict.loss = mnrl.evaluate(&task, embedded, &mut own, &mut buffers);
            // A text is in one ranking.
            slopes.iter_mut().zip(own).for_each(|(slope, own)| *slope += own * part);
        }
    }

    fn write_loss(&self, round: &mut Round, member: usize, loss: f32) {
        round.verdicts[member].loss = loss;
    }

    fn read_values(&self, round: &Round, member: usize, part: Range<usize>) -> Vec<f32> {
        round.members[member].state.lock().unwrap().values[part].to_vec()
    }

    fn settle(&self, round: &mut Round) {
        let Round { rows, slopes, hidden, lengths, .. } = round;
        let hidden = *hidden;
        let rows = rows.chunks_exact(hidden).zip(lengths);
        for (slope, (row, length)) in slopes.chunks_exact_mut(hidden).zip(rows) {
            let Some(length) = length else { continue };
            let along: f32 = slope.iter().zip(row).map(|(slope, v)| slope * v).sum();
            for (slope, v) in slope.iter_mut().zip(row) {
                *slope = (*slope - v * along) / *length;
            }
        }
    }

    fn pool_backward(
        &self,
        workspace: &mut Workspace,
        pools: Pools<'_>,
        (round, text): (&Round, usize),
        dx: &mut Rows,
    ) {
        let rows = text * round.hidden..(text + pools.batch.texts()) * round.hidden;
        self.cpu.pool_backward(&mut workspace.cpu, pools, &round.slopes[rows], dx);
    }

    fn sum(&self, workspace: &mut Workspace, batch: &Packed, round: &mut Round) {
        for (segment, gradient) in batch.segments().iter().zip(&workspace.gradients) {
            let sum = &mut round.members[segment.adapter.unwrap()].sum;
            sum.iter_mut().zip(gradient).for_each(|(sum, slope)| *sum += slope);
        }
    }

    fn begin_helping(
        &self,
        workspace: &mut Workspace,
        values: &[&[f32]],
        (texts, hidden): (usize, usize),
    ) -> Round {
        let state = |values: &&[f32]| {
            Arc::new(Mutex::new(SlabState { values: values.to_vec(), ..SlabState::default() }))
        };
        workspace.kept = Some(values.iter().map(state).collect());
        self.helped.fetch_add(1, Ordering::Relaxed);
        let rows = vec![f32::NAN; texts * hidden];
        let (members, verdicts) = (Vec::new(), Vec::new());
        Round { members, slopes: rows.clone(), rows, lengths: Vec::new(), hidden, verdicts }
    }

    fn read_rows(&self, round: &Round) -> Vec<f32> {
        round.rows.clone()
    }

    fn write_rows(&self, round: &mut Round, text: usize, rows: &[f32]) {
        round.rows[text * round.hidden..][..rows.len()].copy_from_slice(rows);
    }

    fn read_slopes(&self, round: &Round, texts: Range<usize>) -> Vec<f32> {
        round.slopes[texts.start * round.hidden..texts.end * round.hidden].to_vec()
    }

    fn write_slopes(&self, round: &mut Round, text: usize, slopes: &[f32]) {
        round.slopes[text * round.hidden..][..slopes.len()].copy_from_slice(slopes);
    }

    fn add_gradient(&self, round: &mut Round, (member, first): (usize, usize), gradient: &[f32]) {
        let sum = &mut round.members[member].sum[first..];
        sum.iter_mut().zip(gradient).for_each(|(sum, slope)| *sum += slope);
    }

    fn leave(&self, workspace: &mut Workspace) {
        workspace.kept = None;
    }

    fn end(&self, workspace: &mut Workspace, round: &mut Round, endings: &[Ending]) {
        workspace.kept = None;
        if self.has_failed() {
            return;
        }
        let all = round.members.iter_mut().zip(&mut round.verdicts).zip(endings);
        for ((RoundMember { state, sum }, verdict), ending) in all {
            let mut state = state.lock().unwrap();
            let SlabState { values, mean, square, gradient } = &mut *state;
            match ending {
                Ending::Keep => gradient.clone_from(sum),
                Ending::Step(step) => {
                    verdict.gradient_norm = clip(sum, step.norm_max);
                    if verdict.gradient_norm.is_finite() && verdict.loss.is_finite() {
                        let steps = step.steps - 1;
                        let (old_mean, old_square) = (mem::take(mean), mem::take(square));
                        let mut adamw = AdamW { mean: old_mean, square: old_square, steps };
                        adamw.step(values, sum, step.learning_rate, step.weight_decay);
                        (*mean, *square) = (adamw.mean, adamw.square);
                    }
                    // Whatever it is between steps, nobody reads it.
                    gradient.fill(f32::NAN);
                }
            }
        }
    }

    fn verdicts(&self, round: Round) -> Vec<Verdict> {
        round.verdicts
    }
}
