//! Rounds of tenants whose states the device keeps: all phases on the device, in the order of one
//! thread, and nothing waited for but what came of them and what `judge` has the host do.

use std::sync::Arc;
use std::time::Instant;

use cotenant_transformer::{
    Adapter, Backend, Ending, Fault, Forward, Member, Round, Scratch, Tape, TapeMode,
};

use super::forward::start;
use super::judge::{judge, number};
use super::{Chunk, Engine, RoundCost, Scene, Share, Worker, plan_shape};
use crate::event::TenantId;
use crate::kept::Slab;

/// What the device is told of a share's tenant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeptShare {
    /// Whether the batch adds to the gradient of earlier ones, or begins a step.
    pub(crate) goes_on: bool,
    /// What becomes of the gradient.
    pub(crate) ending: Ending,
    /// Its norm, once the round has run and has stepped.
    pub(crate) gradient_norm: f32,
}

impl<B: Backend> Engine<B> {
    /// Runs shares that the device keeps, as many at a time as it has room for; each is finished
    /// once it has run. `next` are those that are wanted after them, the soonest first.
    pub(super) fn run_kept(
        &mut self,
        shares: &mut [Share],
        next: &[TenantId],
        meanwhile: &mut dyn FnMut(),
    ) -> Result<RoundCost, Fault> {
        let mut cost = RoundCost::default();
        let mut done = 0;
        while done < shares.len() {
            let rest = &mut shares[done..];
            let count = self.kept.together(rest.iter().map(|share| share.tenant));
            let (these, later) = rest.split_at_mut(count);
            let soon = later.iter().map(|share| share.tenant).chain(next.iter().copied());
            let run = self.attempt_kept(these, &soon.collect::<Vec<_>>(), meanwhile);
            let Some(fault) = self.encoder.backend().take_fault() else {
                cost.add(run);
                done += count;
                continue;
            };
            // With no room for states at all these are one.
            if let (Some(why), [alone]) = (self.ask_for_less(fault)?, these) {
                self.give_up(alone, why);
                done += 1;
            }
        }
        Ok(cost)
    }

    fn attempt_kept(
        &mut self,
        shares: &mut [Share],
        next: &[TenantId],
        meanwhile: &mut dyn FnMut(),
    ) -> RoundCost {
        let encoder = Arc::clone(&self.encoder);
        let Some(keeper) = encoder.backend().keeper() else { return RoundCost::default() };
        let tenants: Vec<TenantId> = shares.iter().map(|share| share.tenant).collect();
        // Those that are next come to the device while it works on these.
        self.kept.bring(encoder.backend(), &tenants, next);
        let held: Vec<Arc<Adapter>> =
            shares.iter().map(|share| Arc::clone(&share.adapter)).collect();
        let adapters: Vec<&Adapter> = held.iter().map(Arc::as_ref).collect();
        let plans: Vec<_> = shares.iter().map(plan_shape).collect();
        let (mut chunks, tape_plan) = self.chunks_of(&plans);
        let Self { workers, kept, prefix, .. } = self;
        let worker = &mut workers[0];
        let scene =
            Scene { encoder: &encoder, prefix: prefix.as_deref(), shares, adapters: &adapters };

        let begun = Instant::now();
        lay_out(&scene, worker, &mut chunks);
        let mut members: Vec<Member<'_, Slab<B>>> = kept
            .slabs(&tenants)
            .zip(shares.iter())
            .map(|(slab, share)| Member { slab, goes_on: share.kept.is_some_and(|it| it.goes_on) })
            .collect();
        let texts = shares.iter().map(|share| share.plan.texts.len()).sum();
        let mut round = Round::begin((&encoder, keeper), &mut worker.scratch, &mut members, texts);
        run_forward(&scene, worker, &mut chunks, &mut round);
        let forwarded = Instant::now();
        let numbered = number(&scene, &chunks);
        judge(&scene, worker, &numbered, &mut round);
        let judged = Instant::now();
        let backward = (&mut chunks[..], &mut round);
        run_backward((&scene, tape_plan.recompute), worker, backward, to_sums);
        let endings: Vec<Ending> =
            shares.iter().map(|share| share.kept.map_or(Ending::Keep, |it| it.ending)).collect();
        round.end(&mut worker.scratch, &endings);
        meanwhile();
        for (share, verdict) in shares.iter_mut().zip(round.verdicts()) {
            share.loss_value = verdict.loss;
            if let Some(kept) = &mut share.kept {
                kept.gradient_norm = verdict.gradient_norm;
            }
        }
        let cost = RoundCost {
            chunks: chunks.len(),
            chunks_recomputed: tape_plan.recomputed(),
            forward: forwarded - begun,
            loss: judged - forwarded,
            backward: judged.elapsed(),
        };
        self.clear_up(chunks, Vec::new());
        cost
    }
}

/// Runs all chunks forward, their texts end to end.
pub(super) fn run_forward<B: Backend>(
    scene: &Scene<B>,
    worker: &mut Worker<B>,
    chunks: &mut [Chunk<B>],
    round: &mut Round<'_, B>,
) {
    let mut first = 0;
    for chunk in chunks {
        let Chunk { packed, prefix, keep, tape, shape, .. } = chunk;
        let start = start(scene, shape.first_layer, prefix);
        let forward = Forward { batch: packed, adapters: scene.adapters, start };
        let tape = keep.zip(tape.as_mut()).map(|(mode, tape)| (mode, &mut tape.tape));
        round.forward(&forward, tape, &mut worker.scratch, first);
        first += packed.texts();
    }
}

/// A chunk that is run backward.
pub(super) struct Backwards<'a, B: Backend> {
    pub(super) forward: Forward<'a>,
    pub(super) scratch: &'a mut Scratch<B>,
    pub(super) tape: &'a mut Tape<B>,
    /// The round's text that is its first.
    pub(super) first: usize,
}

/// Runs all chunks backward by `run`, in their order, until it gives up; those without a tape once more
/// forward before.
pub(super) fn run_backward<B: Backend>(
    (scene, recompute): (&Scene<B>, TapeMode),
    worker: &mut Worker<B>,
    (chunks, round): (&mut [Chunk<B>], &mut Round<'_, B>),
    mut run: impl FnMut(&mut Round<'_, B>, Backwards<'_, B>) -> Option<()>,
) -> Option<()> {
    let mut first = 0;
    for chunk in chunks {
        let Chunk { packed, prefix, tape, shape, .. } = chunk;
        let start = start(scene, shape.first_layer, prefix);
        let forward = Forward { batch: packed, adapters: scene.adapters, start };
        let Worker { scratch, tape: own, .. } = worker;
        let tape = match tape {
            Some(tape) => &mut tape.tape,
            None => {
                let own = own.as_mut().expect("a round with too few tapes has one");
                round.run_again(&forward, recompute, scratch, &mut own.tape);
                &mut own.tape
            }
        };
        run(round, Backwards { forward, scratch, tape, first })?;
        first += packed.texts();
    }
    Some(())
}

/// Runs a chunk backward to the sums of its members.
pub(super) fn to_sums<B: Backend>(round: &mut Round<'_, B>, chunk: Backwards<'_, B>) -> Option<()> {
    let Backwards { forward, scratch, tape, first } = chunk;
    round.backward(&forward, scratch, tape, first);
    Some(())
}

/// Lays all chunks out, with what frozen layers give for them. That is waited for, so it comes before
/// anything is asked for that is not.
pub(super) fn lay_out<B: Backend>(
    scene: &Scene<B>,
    worker: &mut Worker<B>,
    chunks: &mut [Chunk<B>],
) {
    for chunk in chunks {
        chunk.fill(scene);
        chunk.fetch_prefix(scene, worker);
    }
}
