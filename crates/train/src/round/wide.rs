//! One share over several devices: a batch that is larger than a device's part of a round.
//!
//! ```text
//! owner    forward ─▶ all rows ─▶ loss ─▶ slopes ─▶ backward ─▶ sum, in plan order ─▶ step
//!                        ▲                  │                     ▲
//! helpers  forward ── rows                  └─▶ backward ── a gradient a piece
//! ```
//! The logical shards are the plan's pieces, whatever the number of devices: a piece gives the same
//! rows and the same gradient on each, and gradients are added piece by piece in the plan's order, so
//! that how many devices there are changes no bit. Rows, slopes and gradients pass through the host:
//! they are small beside what is computed.

use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use cotenant_transformer::{Adapter, Backend, Fault, Member, Round};

use super::judge::{Numbered, judge};
use super::kept::{Backwards, lay_out, run_backward, run_forward, to_sums};
use super::{Chunk, Engine, RoundCost, Scene, Share, TapePlan, first_layer};
use crate::event::TenantId;
use crate::packing::{Part, PlanShape};

/// What a helper does: some pieces of the plan, with the texts in them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Portion {
    pieces: Range<usize>,
    texts: Range<usize>,
}

/// The owner's ends of what it exchanges with a helper.
struct Helper {
    portion: Portion,
    rows: Receiver<Vec<f32>>,
    slopes: Sender<Vec<f32>>,
    gradients: Receiver<Vec<Vec<f32>>>,
}

/// The helper's ends.
struct Owner {
    rows: Sender<Vec<f32>>,
    slopes: Receiver<Vec<f32>>,
    gradients: Sender<Vec<Vec<f32>>>,
}

/// Runs a share that a device keeps on all devices; `engines` are all of them, the owner first. One
/// that has no memory for its portion is done without; the owner must have it.
pub(crate) fn run_wide<B: Backend>(
    mut engines: Vec<&mut Engine<B>>,
    share: &mut Share,
    next: &[TenantId],
) -> Result<RoundCost, Fault> {
    loop {
        let cost = attempt(&mut engines, share, next)?;
        let faults: Vec<Option<Fault>> =
            engines.iter().map(|engine| engine.encoder.backend().take_fault()).collect();
        if let Some(cost) = cost {
            // It has been stepped: only what ends everything counts now.
            let ends = |fault: &Fault| !matches!(fault, Fault::OutOfMemory(_));
            return faults.into_iter().flatten().find(ends).map_or(Ok(cost), Err);
        }
        if faults.iter().all(Option::is_none) {
            return Err(Fault::Refused("a device gave up without saying why".to_owned()));
        }
        let mut exhausted = Vec::new();
        for (at, (engine, fault)) in engines.iter_mut().zip(faults).enumerate() {
            let why = fault.map(|fault| engine.ask_for_less(fault)).transpose()?.flatten();
            exhausted.extend(why.map(|why| (at, why)));
        }
        for (at, why) in exhausted.into_iter().rev() {
            if at == 0 {
                engines[0].give_up(share, why);
                return Ok(RoundCost::default());
            }
            engines.remove(at).ask_for_all();
        }
    }
}

fn attempt<B: Backend>(
    engines: &mut [&mut Engine<B>],
    share: &mut Share,
    next: &[TenantId],
) -> Result<Option<RoundCost>, Fault> {
    let Some((owner, helpers)) = engines.split_first_mut() else { return Ok(None) };
    let read = owner.kept.read(owner.encoder.backend(), share.tenant);
    let values = read.expect("the owner keeps it")?.values;
    let mut portions = divide(share, helpers.len() + 1).into_iter();
    let own = portions.next().expect("there is one for each device");
    let (ran, costs) = thread::scope(|scope| {
        let (mut asked, mut started) = (Vec::new(), Vec::new());
        let busy = |(_, portion): &(_, Portion)| !portion.pieces.is_empty();
        for (engine, portion) in helpers.iter_mut().zip(portions).filter(busy) {
            let ((give_rows, rows), (slopes, take_slopes)) = (channel(), channel());
            let (give_gradients, gradients) = channel();
            let ends = Owner { rows: give_rows, slopes: take_slopes, gradients: give_gradients };
            let (share, values) = (&*share, values.as_slice());
            let own = portion.clone();
            started.push(scope.spawn(move || help(engine, (share, values), &own, &ends)));
            asked.push(Helper { portion, rows, slopes, gradients });
        }
        let ran = lead(owner, (&*share, next), &own, asked);
        let join = |thread: thread::ScopedJoinHandle<'_, RoundCost>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        (ran, started.into_iter().map(join).collect::<Vec<_>>())
    });
    let Some((mut cost, loss, norm)) = ran else { return Ok(None) };
    costs.into_iter().for_each(|other| cost.beside(other));
    share.loss_value = loss;
    if let Some(kept) = &mut share.kept {
        kept.gradient_norm = norm;
    }
    Ok(Some(cost))
}

/// Pieces in their order, about as many tokens for each device.
fn divide(share: &Share, devices: usize) -> Vec<Portion> {
    let plan = &share.plan;
    let (all, mut done, mut from) = (plan.tokens(), 0, 0);
    let mut portions = Vec::with_capacity(devices);
    for device in 1..=devices {
        let mut to = from;
        while to < plan.pieces.len() && (device == devices || done * devices < all * device) {
            done += plan.piece_tokens(to);
            to += 1;
        }
        let text = |piece: usize| plan.pieces.get(piece).map_or(plan.texts.len(), |it| it.start);
        portions.push(Portion { pieces: from..to, texts: text(from)..text(to) });
        from = to;
    }
    portions
}

impl<B: Backend> Engine<B> {
    /// Chunks of a portion, with their tapes.
    fn chunks_of_portion(&mut self, share: &Share, portion: &Portion) -> (Vec<Chunk<B>>, TapePlan) {
        let pieces = portion.pieces.clone().map(|piece| share.plan.piece_tokens(piece)).collect();
        let shape = PlanShape { first_layer: first_layer(&share.adapter), pieces };
        let (mut chunks, tape_plan) = self.chunks_of(&[shape]);
        for Part { piece, .. } in chunks.iter_mut().flat_map(|chunk| &mut chunk.shape.parts) {
            *piece += portion.pieces.start;
        }
        (chunks, tape_plan)
    }
}

/// The owner's part; the cost, the loss and the norm, or nothing where a device failed.
fn lead<B: Backend>(
    engine: &mut Engine<B>,
    (share, next): (&Share, &[TenantId]),
    own: &Portion,
    helpers: Vec<Helper>,
) -> Option<(RoundCost, f32, f32)> {
    let encoder = engine.encoder.clone();
    let keeper = encoder.backend().keeper()?;
    let tenant = [share.tenant];
    engine.kept.bring(encoder.backend(), &tenant, next);
    let (mut chunks, tape_plan) = engine.chunks_of_portion(share, own);
    let Engine { workers, kept, prefix, .. } = &mut *engine;
    let worker = &mut workers[0];
    let adapters: [&Adapter; 1] = [&share.adapter];
    let shares = std::slice::from_ref(share);
    let prefix = prefix.as_deref();
    let scene = Scene { encoder: &encoder, prefix, shares, adapters: &adapters };
    let begun = Instant::now();
    lay_out(&scene, worker, &mut chunks);
    let kept_share = share.kept?;
    let member = |slab| Member { slab, goes_on: kept_share.goes_on };
    let mut members: Vec<_> = kept.slabs(&tenant).map(member).collect();
    let texts = share.plan.texts.len();
    let mut round = Round::begin((&encoder, keeper), &mut worker.scratch, &mut members, texts);
    run_forward(&scene, worker, &mut chunks, &mut round);
    let done = (|| {
        for helper in &helpers {
            round.take_rows(helper.portion.texts.start, &helper.rows.recv().ok()?);
        }
        let forwarded = Instant::now();
        judge(&scene, worker, &[Numbered::whole(share)], &mut round);
        for Helper { portion, slopes, .. } in &helpers {
            slopes.send(round.slopes(portion.texts.clone())).ok()?;
        }
        let judged = Instant::now();
        run_backward((&scene, tape_plan.recompute), worker, (&mut chunks, &mut round), to_sums)?;
        for Helper { portion, gradients, .. } in &helpers {
            let mut pieces = portion.pieces.clone();
            while !pieces.is_empty() {
                for gradient in gradients.recv().ok()? {
                    round.take_gradient(0, 0, &gradient);
                    pieces.next();
                }
            }
        }
        Some((forwarded, judged))
    })();
    // Those who wait for something go on, if only to find that nothing comes.
    drop(helpers);
    let Some((forwarded, judged)) = done.filter(|_| !encoder.backend().has_failed()) else {
        round.leave(&mut worker.scratch);
        engine.clear_up(chunks, Vec::new());
        return None;
    };
    round.end(&mut worker.scratch, &[kept_share.ending]);
    let verdict = round.verdicts().into_iter().next()?;
    let cost = RoundCost {
        chunks: chunks.len(),
        chunks_recomputed: tape_plan.recomputed(),
        forward: forwarded - begun,
        loss: judged - forwarded,
        backward: judged.elapsed(),
    };
    engine.clear_up(chunks, Vec::new());
    Some((cost, verdict.loss, verdict.gradient_norm))
}

/// A helper's part. Where its device fails, or the owner's, it ends early, and its ends are dropped.
fn help<B: Backend>(
    engine: &mut Engine<B>,
    (share, values): (&Share, &[f32]),
    portion: &Portion,
    owner: &Owner,
) -> RoundCost {
    let encoder = engine.encoder.clone();
    let Some(keeper) = encoder.backend().keeper() else { return RoundCost::default() };
    let (mut chunks, tape_plan) = engine.chunks_of_portion(share, portion);
    let Engine { workers, prefix, .. } = &mut *engine;
    let worker = &mut workers[0];
    let adapters: [&Adapter; 1] = [&share.adapter];
    let shares = std::slice::from_ref(share);
    let prefix = prefix.as_deref();
    let scene = Scene { encoder: &encoder, prefix, shares, adapters: &adapters };
    let begun = Instant::now();
    lay_out(&scene, worker, &mut chunks);
    let texts = portion.texts.len();
    let mut round = Round::help((&encoder, keeper), &mut worker.scratch, &[values], texts);
    run_forward(&scene, worker, &mut chunks, &mut round);
    let has_failed = || encoder.backend().has_failed();
    let mut times = None;
    let _ = (|| {
        let rows = round.rows();
        (!has_failed()).then_some(())?;
        owner.rows.send(rows).ok()?;
        let forwarded = Instant::now();
        round.take_slopes(0, &owner.slopes.recv().ok()?);
        let judged = Instant::now();
        run_backward(
            (&scene, tape_plan.recompute),
            worker,
            (&mut chunks, &mut round),
            |round, chunk| {
                let Backwards { forward, scratch, tape, first } = chunk;
                let mut gradients = vec![Vec::new(); forward.batch.segments().len()];
                round.differentiate(&forward, scratch, tape, (first, &mut gradients));
                (!has_failed()).then_some(())?;
                owner.gradients.send(gradients).ok()
            },
        )?;
        times = Some((forwarded, judged, Instant::now()));
        Some(())
    })();
    round.leave(&mut worker.scratch);
    let cost = times.map(|(forwarded, judged, ended)| RoundCost {
        chunks: chunks.len(),
        chunks_recomputed: tape_plan.recomputed(),
        forward: forwarded - begun,
        loss: judged - forwarded,
        backward: ended - judged,
    });
    engine.clear_up(chunks, Vec::new());
    cost.unwrap_or_default()
}
