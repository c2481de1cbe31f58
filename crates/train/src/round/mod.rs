//! Runs one round: forward, loss and backward over the chunks of several tenants' plans.
//!
//! ```text
//! shares -> chunks -> forward (tape kept? full, light or nothing) -> embeddings of each share
//!        -> loss of each share -> backward (nothing kept? forward again) -> gradient of each share
//! ```
//! Work is spread over threads chunk by chunk; within a chunk everything is sequential. What a
//! share gets out depends on the share alone: see `reduce` for the one sum that crosses chunks.

mod backward;
mod crew;
mod forward;
mod judge;
mod kept;
mod reduce;
mod tapes;
mod wide;

use std::mem;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cotenant_transformer::{
    Adapter, Backend, Encoder, Fault, Packed, Scratch, SlabState, TapeMode,
};

use crate::event::TenantId;
use crate::kept::Kept;
use crate::loss::{self, Embedded, Judged, LossBuffers, Slopes};
use crate::packing::{ChunkShape, PlanShape, pack};
use crate::plan::Plan;
use crate::prefix::PrefixCache;
use crate::spec::{Limits, Loss, Tokens};
pub(crate) use kept::KeptShare;
use tapes::{PooledTape, TapePool};
pub(crate) use tapes::{TapeCost, TapePlan, choose as choose_tapes};
pub(crate) use wide::run_wide;

/// Tokens of a chunk below which a device that has no memory for them has none for anything.
const TOKENS_CHUNK_MIN: usize = 64;

/// How far apart in chunks threads may run in backward, for each thread.
pub(crate) const CHUNKS_AHEAD: usize = 4;

/// One tenant's part in a round. It owns everything that the round needs of the tenant.
#[derive(Debug)]
pub(crate) struct Share {
    /// Whose it is.
    pub(crate) tenant: TenantId,
    /// What it runs on.
    pub(crate) device: usize,
    /// The adapter as it stands before the step; without values where the device keeps it.
    pub(crate) adapter: Arc<Adapter>,
    /// What the device is told, where it keeps the tenant's state.
    pub(crate) kept: Option<KeptShare>,
    /// What the tenant's batch is.
    pub(crate) plan: Plan,
    /// The plan's texts.
    pub(crate) tokens: Vec<Tokens>,
    /// Key and rate of dropout, if there is any.
    pub(crate) dropout: Option<(u64, u32)>,
    /// What is minimised.
    pub(crate) loss: Loss,
    /// The batch's part in its optimizer step: the gradient is multiplied with it.
    pub(crate) part: f32,
    /// The batch's gradient is added to it: `[adapter.layout.len()]`, or nothing where the device
    /// keeps it.
    pub(crate) gradient: Vec<f32>,
    /// The batch's loss, once the round has run.
    pub(crate) loss_value: f32,
    /// Why it was not run: the device has no memory for it alone.
    pub(crate) failed: Option<String>,
}

/// Embeddings of a share's texts and the gradient by them, `[texts, hidden]` each.
#[derive(Debug, Default)]
struct Rows {
    embeddings: Vec<f32>,
    slopes: Vec<f32>,
}

/// A chunk while its round runs.
struct Chunk<B: Backend> {
    shape: ChunkShape,
    packed: Packed,
    /// Rows at the first adapted layer, where they come from the prefix cache.
    prefix: Vec<f32>,
    /// `[texts, hidden]`
    out: Vec<f32>,
    keep: Option<TapeMode>,
    tape: Option<PooledTape<B>>,
}

/// What a thread keeps from round to round.
struct Worker<B: Backend> {
    scratch: Scratch<B>,
    losses: LossBuffers,
    /// Texts whose prefix is computed.
    packed: Packed,
    rows: Vec<f32>,
    gradients: Vec<Vec<f32>>,
    /// The tape of chunks that are run a second time.
    tape: Option<PooledTape<B>>,
}

impl<B: Backend> Default for Worker<B> {
    fn default() -> Self {
        let (packed, rows, gradients) = Default::default();
        let (scratch, losses) = (Scratch::default(), LossBuffers::default());
        Self { scratch, losses, packed, rows, gradients, tape: None }
    }
}

/// What all threads read during a phase.
struct Scene<'a, B: Backend> {
    encoder: &'a Encoder<B>,
    prefix: Option<&'a PrefixCache>,
    shares: &'a [Share],
    adapters: &'a [&'a Adapter],
}

/// Time and numbers of a round.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RoundCost {
    /// Chunks run.
    pub(crate) chunks: usize,
    /// Chunks run forward twice.
    pub(crate) chunks_recomputed: usize,
    /// Phase 1.
    pub(crate) forward: Duration,
    /// Phase 2.
    pub(crate) loss: Duration,
    /// Phase 3.
    pub(crate) backward: Duration,
}

impl RoundCost {
    pub(crate) fn add(&mut self, more: Self) {
        self.chunks += more.chunks;
        self.chunks_recomputed += more.chunks_recomputed;
        self.forward += more.forward;
        self.loss += more.loss;
        self.backward += more.backward;
    }

    /// Counts what another device did at the same time.
    pub(crate) fn beside(&mut self, other: Self) {
        self.chunks += other.chunks;
        self.chunks_recomputed += other.chunks_recomputed;
        self.forward = self.forward.max(other.forward);
        self.loss = self.loss.max(other.loss);
        self.backward = self.backward.max(other.backward);
    }
}

/// Runs rounds, reusing its memory.
pub(crate) struct Engine<B: Backend> {
    encoder: Arc<Encoder<B>>,
    /// What the device is asked for.
    limits: Limits,
    /// What it may be asked for.
    limits_max: Limits,
    prefix: Option<Arc<PrefixCache>>,
    workers: Vec<Worker<B>>,
    tapes: TapePool<B>,
    spare_chunks: Vec<Chunk<B>>,
    spare_rows: Vec<Rows>,
    kept: Kept<B>,
}

impl<B: Backend> Engine<B> {
    pub(crate) fn new(
        encoder: Arc<Encoder<B>>,
        limits: Limits,
        prefix: Option<Arc<PrefixCache>>,
    ) -> Self {
        let workers = (0..limits.threads).map(|_| Worker::default()).collect();
        let tapes = TapePool::new(limits.tape_bytes_max);
        let (spare_chunks, spare_rows) = (Vec::new(), Vec::new());
        let kept = Kept::new(limits.kept_bytes_max);
        let limits_max = limits.clone();
        Self { encoder, limits, limits_max, prefix, workers, tapes, spare_chunks, spare_rows, kept }
    }

    pub(crate) fn encoder(&self) -> &Encoder<B> {
        &self.encoder
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Runs a task for each item on the engine's threads.
    pub(crate) fn spread(&mut self, items: usize, task: impl Fn(usize) + Sync) {
        crew::run(&mut self.workers, items, |_, item| task(item));
    }

    /// The tenants whose states the device keeps.
    pub(crate) fn kept(&self) -> &Kept<B> {
        &self.kept
    }

    /// Has the device keep a tenant's state.
    pub(crate) fn keep(&mut self, tenant: TenantId, state: &SlabState) -> Result<(), Fault> {
        self.kept.take(self.encoder.backend(), tenant, state)
    }

    /// Forgets a tenant's state.
    pub(crate) fn forget(&mut self, tenant: TenantId) {
        self.kept.forget(tenant);
    }

    /// Fills in each share's loss and adds to its gradient; those whose tenants the device keeps are
    /// stepped as well, if their step ends. Where a device's memory does not suffice, it is tried
    /// again with fewer tokens at a time, which changes no result, and in the end share by share: one
    /// that has no room alone is as it was, and says so. `next` are the tenants that are wanted in
    /// later rounds, the soonest first. `meanwhile` is called while the device works by itself on those
    /// that it keeps.
    ///
    /// # Errors
    /// If the device failed otherwise: nothing that it keeps can be gone on with then.
    pub(crate) fn run(
        &mut self,
        shares: &mut [Share],
        next: &[TenantId],
        meanwhile: &mut dyn FnMut(),
    ) -> Result<RoundCost, Fault> {
        shares.sort_by_key(|share| (share.kept.is_some(), share.tenant));
        let at = shares.partition_point(|share| share.kept.is_none());
        let (home, kept) = shares.split_at_mut(at);
        let mut cost = self.run_home(home)?;
        cost.add(self.run_kept(kept, next, meanwhile)?);
        shares.sort_by_key(|share| share.tenant);
        Ok(cost)
    }

    /// Runs shares whose states are the host's.
    fn run_home(&mut self, shares: &mut [Share]) -> Result<RoundCost, Fault> {
        let mut cost = RoundCost::default();
        while !shares.is_empty() {
            let before: Vec<Vec<f32>> = match B::CAN_FAIL {
                true => shares.iter().map(|share| share.gradient.clone()).collect(),
                false => Vec::new(),
            };
            let run = self.attempt(shares);
            let Some(fault) = self.encoder.backend().take_fault() else { return Ok(run) };
            for (share, gradient) in shares.iter_mut().zip(before) {
                share.gradient = gradient;
            }
            let Some(why) = self.ask_for_less(fault)? else { continue };
            if let [alone] = shares {
                self.give_up(alone, why);
            } else {
                for alone in shares.chunks_mut(1) {
                    cost.add(self.run_home(alone)?);
                }
            }
            break;
        }
        Ok(cost)
    }

    /// Asks less of the device from now on, after it had no memory; says why it cannot be asked for
    /// less.
    fn ask_for_less(&mut self, fault: Fault) -> Result<Option<String>, Fault> {
        let tokens = self.limits.tokens_chunk / 2;
        match fault {
            Fault::OutOfMemory(_) if tokens >= TOKENS_CHUNK_MIN => {
                self.limits.tokens_chunk = tokens;
                self.limits.tape_bytes_max /= 2;
                self.limits.kept_bytes_max /= 2;
                self.set_limits();
                Ok(None)
            }
            Fault::OutOfMemory(_) if self.limits.kept_bytes_max > 0 && self.kept.is_used() => {
                self.limits.kept_bytes_max = 0;
                self.set_limits();
                Ok(None)
            }
            Fault::OutOfMemory(why) => Ok(Some(why)),
            fault @ (Fault::Lost(_) | Fault::Refused(_)) => Err(fault),
        }
    }

    /// Gives up on a share, and asks for as much as before: others may fit.
    fn give_up(&mut self, share: &mut Share, why: String) {
        share.failed = Some(why);
        self.ask_for_all();
    }

    /// Asks for as much as it may.
    fn ask_for_all(&mut self) {
        self.limits = self.limits_max.clone();
        self.set_limits();
    }

    /// Lets go of what was taken within other limits.
    fn set_limits(&mut self) {
        self.tapes = TapePool::new(self.limits.tape_bytes_max);
        self.workers.iter_mut().for_each(|worker| *worker = Worker::default());
        self.kept.limit(self.encoder.backend(), self.limits.kept_bytes_max);
    }

    fn attempt(&mut self, shares: &mut [Share]) -> RoundCost {
        let held: Vec<Arc<Adapter>> =
            shares.iter().map(|share| Arc::clone(&share.adapter)).collect();
        let adapters: Vec<&Adapter> = held.iter().map(Arc::as_ref).collect();
        let plans: Vec<PlanShape> = shares.iter().map(plan_shape).collect();
        let (mut chunks, tape_plan) = self.chunks_of(&plans);
        let encoder = Arc::clone(&self.encoder);
        let mut rows = self.rows_for(shares);
        let mut totals: Vec<Vec<f32>> =
            shares.iter_mut().map(|share| mem::take(&mut share.gradient)).collect();

        let begun = Instant::now();
        let prefix = self.prefix.as_deref();
        let scene = Scene { encoder: &encoder, prefix, shares, adapters: &adapters };
        forward::run(&scene, &mut self.workers, &mut chunks);
        forward::collect(&scene, &chunks, &mut rows);
        let forwarded = Instant::now();
        let losses = evaluate_losses(&scene, &mut self.workers, &mut rows, &mut totals);
        let judged = Instant::now();
        let recompute = tape_plan.recompute;
        backward::run(
            &scene,
            &mut self.workers,
            &mut chunks,
            backward::Work { rows: &rows, totals: &mut totals, recompute },
        );
        let cost = RoundCost {
            chunks: chunks.len(),
            chunks_recomputed: tape_plan.recomputed(),
            forward: forwarded - begun,
            loss: judged - forwarded,
            backward: judged.elapsed(),
        };
        for ((share, total), loss) in shares.iter_mut().zip(totals).zip(losses) {
            (share.gradient, share.loss_value) = (total, loss);
        }
        self.clear_up(chunks, rows);
        cost
    }

    /// Chunks of these plans, with the tapes that there is memory for.
    fn chunks_of(&mut self, plans: &[PlanShape]) -> (Vec<Chunk<B>>, TapePlan) {
        let shapes = pack(plans, self.limits.tokens_chunk);
        let tape_plan = plan_tapes(&self.encoder, &shapes, &self.limits);
        (self.set_up(shapes, &tape_plan), tape_plan)
    }

    /// Chunks of these shapes with the tapes that the plan gives them.
    fn set_up(&mut self, shapes: Vec<ChunkShape>, plan: &TapePlan) -> Vec<Chunk<B>> {
        let mut tapes = self.tapes.take(&plan.uses(self.workers.len())).into_iter();
        let mut chunks = Vec::with_capacity(shapes.len());
        for (shape, keep) in shapes.into_iter().zip(&plan.keeps) {
            let tape = keep.and_then(|_| tapes.next());
            let spare = self.spare_chunks.pop().unwrap_or_else(Chunk::empty);
            chunks.push(Chunk { shape, keep: *keep, tape, ..spare });
        }
        for (worker, tape) in self.workers.iter_mut().zip(tapes) {
            worker.tape = Some(tape);
        }
        chunks
    }

    /// Puts everything back that the next round can use.
    fn clear_up(&mut self, mut chunks: Vec<Chunk<B>>, rows: Vec<Rows>) {
        let workers = self.workers.iter_mut().filter_map(|worker| worker.tape.take());
        self.tapes
            .give_back(workers.chain(chunks.iter_mut().filter_map(|chunk| chunk.tape.take())));
        self.spare_chunks.extend(chunks);
        self.spare_rows.extend(rows);
    }

    fn rows_for(&mut self, shares: &[Share]) -> Vec<Rows> {
        let hidden = self.encoder.config().hidden;
        let mut rows_of = |share: &Share| {
            let mut rows = self.spare_rows.pop().unwrap_or_default();
            let len = share.plan.texts.len() * hidden;
            rows.embeddings.resize(len, 0.0);
            rows.slopes.clear();
            rows.slopes.resize(len, 0.0);
            rows
        };
        shares.iter().map(&mut rows_of).collect()
    }
}

impl<B: Backend> Chunk<B> {
    fn empty() -> Self {
        let (shape, packed) = Default::default();
        Self { shape, packed, prefix: Vec::new(), out: Vec::new(), keep: None, tape: None }
    }
}

/// Phase 2: each share's loss, the gradient of its embeddings in `rows`, and that of its head, if it
/// has one, added to its total.
fn evaluate_losses<B: Backend>(
    scene: &Scene<B>,
    workers: &mut [Worker<B>],
    rows: &mut [Rows],
    totals: &mut [Vec<f32>],
) -> Vec<f32> {
    let hidden = scene.encoder.config().hidden;
    let cells: Vec<Mutex<(&mut Rows, &mut Vec<f32>, f32)>> =
        rows.iter_mut().zip(totals).map(|(rows, total)| Mutex::new((rows, total, 0.0))).collect();
    crew::run(workers, cells.len(), |worker, item| {
        let Share { adapter, loss, plan, part, .. } = &scene.shares[item];
        let mut cell = cells[item].lock().expect("each item is run once");
        let (Rows { embeddings, slopes }, total, value) = &mut *cell;
        let embedded = Embedded { rows: embeddings, hidden };
        let judged = Judged { task: &plan.task, embedded, adapter, part: *part };
        let slopes = Slopes { rows: slopes, values: total };
        *value = loss::evaluate(*loss, judged, slopes, &mut worker.losses);
    });
    cells.into_iter().map(|cell| cell.into_inner().expect("no worker panicked").2).collect()
}

/// What the packer needs to know of a share.
fn plan_shape(share: &Share) -> PlanShape {
    let pieces = (0..share.plan.pieces.len()).map(|piece| share.plan.piece_tokens(piece)).collect();
    PlanShape { first_layer: first_layer(&share.adapter), pieces }
}

fn first_layer(adapter: &Adapter) -> usize {
    adapter.layout.first_layer().expect("a tenant's adapter is never empty")
}

/// Which tapes a round of these chunks keeps.
///
/// Tokens count in eighths of a chunk: a pool whose tapes came in every size would buy memory anew
/// in each round, for the tokens of a batch are never the same twice.
pub(crate) fn plan_tapes<B: Backend>(
    encoder: &Encoder<B>,
    chunks: &[ChunkShape],
    limits: &Limits,
) -> TapePlan {
    let cost = |chunk: &ChunkShape| {
        let tokens = chunk.tokens.next_multiple_of(limits.tokens_chunk.div_ceil(8));
        let bytes = |mode| encoder.tape_bytes(tokens, chunk.first_layer, mode);
        TapeCost {
            full: bytes(TapeMode::Full),
            light: bytes(TapeMode::Light),
            lean: bytes(TapeMode::Lean),
        }
    };
    let costs: Vec<TapeCost> = chunks.iter().map(cost).collect();
    choose_tapes(&costs, limits.tape_bytes_max, limits.threads)
}
