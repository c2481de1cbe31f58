//! The one place that every submission to a card goes through.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use cotenant_types::limits::{CARDS_MAX, CardWord};
use cotenant_types::trace::CallKind;

use super::account::{self, NOT_PERMITTED, SUCCESS};
use super::driver::Handle;
use super::marks::Marks;
use super::{capture, cards, state, time, watch};
use crate::compute::{
    ALWAYS_SAMPLED_NS, Asked, Costs, Flight, Meter, Sample, Shape, Taken, Ticket,
};
use crate::page::{CardIndex, Facts};
use crate::trace::{Awaited, Slot, Submitted};

/// A kernel of which nothing is known is taken to cost this much.
pub(super) const KERNEL_DEFAULT_NS: u64 = 10_000;

/// Samples are looked at this often while a program only submits.
const COLLECT_NS: u64 = 500_000;

const SHAPES: usize = 1 << 12;
const SAMPLES: usize = 64;

/// CU_STREAM_PER_THREAD: what the null stream means to functions of that kind.
const STREAM_PER_THREAD: usize = 2;

static COSTS: Costs<SHAPES> = Costs::new();
/// By card: what one card has under way says nothing of another, which it may even wait for.
static FLIGHTS: [Flight<SAMPLES>; CARDS_MAX] = [const { Flight::new() }; CARDS_MAX];
static MARKS: [[Marks; SAMPLES]; CARDS_MAX] =
    [const { [const { Marks::none() }; SAMPLES] }; CARDS_MAX];
/// Cards that anything was submitted to, a bit for each.
static USED: AtomicU64 = AtomicU64::new(0);
static COLLECTED_AT_NS: AtomicU64 = AtomicU64::new(0);

/// What is submitted.
#[derive(Clone, Copy)]
pub(super) struct Submission {
    /// To which stream; the null stream as functions without a suffix mean it.
    pub(super) stream: Handle,
    /// What it has in common with others of its cost.
    pub(super) shape: Shape,
    /// Its cost while nothing is known.
    pub(super) default_ns: u64,
    /// Blocks of a kernel; none of a graph.
    pub(super) blocks: Option<u64>,
}

/// A kernel as it is launched.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    pub(super) shape: Shape,
    pub(super) blocks: u64,
}

/// A kernel's launch: what its cost depends on.
pub(super) fn kernel(function: Handle, grid: [u32; 3], block: [u32; 3], shared: u32) -> Kernel {
    let pair = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    let shape = Shape::of(&[
        function as u64,
        pair(grid[0], grid[1]),
        pair(grid[2], block[0]),
        pair(block[1], block[2]),
        u64::from(shared),
    ]);
    let blocks = grid.into_iter().fold(1, |all: u64, side| all.saturating_mul(u64::from(side)));
    Kernel { shape, blocks }
}

/// The stream that a function with the suffix `_ptsz` means.
pub(super) fn per_thread(stream: Handle) -> Handle {
    if stream.is_null() { STREAM_PER_THREAD as Handle } else { stream }
}

/// Holds a submission until it may go, lets it go, and measures it if that is worth it. If
/// somebody watches, it is counted too.
#[inline]
pub(super) fn submit(call: impl Fn() -> c_int, submission: Submission) -> c_int {
    match watch::slot() {
        None => held(call, submission),
        Some(slot) => watched(&slot, call, submission),
    }
}

#[inline]
fn held(call: impl Fn() -> c_int, submission: Submission) -> c_int {
    match state::phase() {
        state::Phase::Free => return call(),
        state::Phase::Refusing => return NOT_PERMITTED,
        state::Phase::Limited => {}
    }
    let Some(card) = cards::current() else { return call() };
    // Whoever submits is known to the slice, though it may hold no memory.
    let (Some(meter), Some(_)) = (meter(card), state::ledger()) else {
        return state::on_failure(NOT_PERMITTED).unwrap_or_else(call);
    };
    if capture::is_capturing(submission.stream) {
        return call();
    }
    note_used(card);
    let (charged_ns, is_sampled) = admitted(&meter, submission);
    let is_measurable = !capture::is_any();
    if is_sampled && is_measurable {
        return measured(&meter, submission, charged_ns, call);
    }
    let result = refunded(&meter, charged_ns, call());
    if is_sampled && result == SUCCESS {
        meter.note_unmeasured(submission.shape, charged_ns);
    }
    result
}

/// A call that waits for the card: afterwards much is known.
pub(super) fn waited(awaited: Awaited, call: impl Fn() -> c_int) -> c_int {
    let watched = watch::begin(CallKind::Synchronize);
    let result = call();
    collect();
    if let Some(watched) = watched {
        watched.waited(awaited);
    }
    result
}

/// A submission of a program that is watched.
#[cold]
fn watched(slot: &Slot<'static>, call: impl Fn() -> c_int, submission: Submission) -> c_int {
    if capture::is_capturing(submission.stream) {
        return held(call, submission);
    }
    let Some(watched) = watch::begin(CallKind::Launch) else { return held(call, submission) };
    watch::note_card(slot);
    let result = match state::phase() {
        state::Phase::Free => observed(call, submission),
        state::Phase::Limited | state::Phase::Refusing => held(call, submission),
    };
    let Submission { stream, shape, default_ns, blocks } = submission;
    let now = time::now_ns();
    let cost_ns = COSTS.estimate(shape, default_ns, now).cost_ns;
    let submitted = Submitted { blocks, stream: stream as u64, cost_ns };
    watched.launched((result == SUCCESS).then_some(submitted), now);
    result
}

/// A submission without limits, measured as often as one with limits would be.
fn observed(call: impl Fn() -> c_int, submission: Submission) -> c_int {
    // A program without limits has all cards of its own; which is which does not matter.
    let Some(card) = CardIndex::new(0) else { return call() };
    let (now, flight) = (time::now_ns(), &FLIGHTS[card.get()]);
    note_used(card);
    collect_now_and_then(flight, now);
    let Submission { shape, default_ns, stream, .. } = submission;
    let estimate = COSTS.estimate(shape, default_ns, now);
    flight.submit(estimate.cost_ns);
    let is_worth_it =
        estimate.is_young || estimate.cost_ns >= ALWAYS_SAMPLED_NS || flight.wants_sample();
    let is_idle = watch::slot().is_none_or(|slot| slot.is_idle(now));
    let (result, marking) = match is_worth_it && !capture::is_any() {
        true => marked(card, stream, call),
        false => (call(), Marking::NoRoom),
    };
    match marking {
        Marking::Done(taken) => {
            let marks = &MARKS[card.get()][taken.0];
            if is_idle || marks.have_begun() {
                // The card waited for the call, so that the time between the marks is the call's.
                marks.leave_out(time::now_ns().saturating_sub(now));
            }
            flight.arm(taken, Sample { shape, charged_ns: estimate.cost_ns, card });
        }
        Marking::NoRoom | Marking::Failed if !estimate.is_learnt && result == SUCCESS => {
            COSTS.note_unmeasured(shape, estimate.cost_ns);
        }
        Marking::NoRoom | Marking::Failed => {}
    }
    result
}

/// What a graph may cost, before it was ever launched.
pub(super) fn suggest(shape: Shape, cost_ns: u64) {
    COSTS.suggest(shape, cost_ns);
}

/// Takes in what the driver saw of the slice, as the pool passes it on.
pub(super) fn observe(facts: &Facts) {
    for (index, facts) in facts.cards.iter().enumerate() {
        if let (Some(facts), Some(card)) = (facts, CardIndex::new(index))
            && facts.seen_at_ns > 0
            && let Some(meter) = meter(card)
        {
            meter.observe(facts);
        }
    }
}

/// In a child, which has submitted nothing and whose events are gone.
pub(super) fn forget() {
    capture::forget();
    for (flight, marks) in flights() {
        flight.clear();
        marks.iter().for_each(Marks::clear);
    }
    USED.store(0, Relaxed);
}

/// Samples of a context that is gone are lost with its events.
pub(super) fn forget_context(context: u64) {
    let marks = flights().flat_map(|(_, marks)| marks);
    marks.filter(|marks| marks.is_of(context)).for_each(Marks::clear);
}

fn meter(card: CardIndex) -> Option<Meter<'static, SHAPES, SAMPLES>> {
    Some(Meter { usage: state::usage()?, card, costs: &COSTS, flight: &FLIGHTS[card.get()] })
}

/// Waits until the meter lets the submission go; what it was charged, and whether to measure it.
#[inline]
fn admitted(meter: &Meter<'static, SHAPES, SAMPLES>, submission: Submission) -> (u64, bool) {
    loop {
        cards::refresh();
        let now = time::now_ns();
        collect_now_and_then(meter.flight, now);
        let terms = cards::terms(meter.card);
        let Submission { shape, default_ns, .. } = submission;
        let asked = Asked { shape, default_ns, is_measurable: !capture::is_any() };
        match meter.admit(terms, asked, now) {
            Ticket::Go { charged_ns, is_sampled } => return (charged_ns, is_sampled),
            Ticket::WaitUntil(moment) => hold(meter, moment, now),
            Ticket::DrainUntil(moment) => {
                collect();
                hold(meter, moment, now);
            }
        }
    }
}

#[cold]
fn hold(meter: &Meter<'static, SHAPES, SAMPLES>, until_ns: u64, now_ns: u64) {
    let reader = state::limits();
    let watched = reader.map(|reader| (reader.sequence_word(), reader.sequence()));
    time::wait(watched, until_ns, now_ns);
    let waited = time::now_ns().saturating_sub(now_ns);
    meter.usage.card(meter.card, CardWord::WAITED_NS).fetch_add(waited, Relaxed);
}

/// Submits, charged, between two marks.
#[cold]
fn measured(
    meter: &Meter<'static, SHAPES, SAMPLES>,
    submission: Submission,
    charged_ns: u64,
    call: impl Fn() -> c_int,
) -> c_int {
    let Submission { shape, stream, .. } = submission;
    let (result, marking) = marked(meter.card, stream, call);
    if result == SUCCESS {
        match marking {
            Marking::Done(taken) => {
                let sample = Sample { shape, charged_ns, card: meter.card };
                meter.arm(taken, sample, time::now_ns());
            }
            Marking::NoRoom => meter.note_unmeasured(shape, charged_ns),
            Marking::Failed => meter.note_unmarked(shape, charged_ns),
        }
    }
    refunded(meter, charged_ns, result)
}

/// What became of the marks beside a submission.
enum Marking {
    /// Both are on the stream.
    Done(Taken),
    /// All are in use.
    NoRoom,
    /// They could not be made, or the submission was refused.
    Failed,
}

/// Submits between two marks.
fn marked(card: CardIndex, stream: Handle, call: impl Fn() -> c_int) -> (c_int, Marking) {
    let (flight, all) = (&FLIGHTS[card.get()], &MARKS[card.get()]);
    let context = account::current_context();
    let suits = |taken: Taken| all[taken.0].is_of(context);
    let Some(taken) = flight.take(suits) else { return (call(), Marking::NoRoom) };
    let marks = &all[taken.0];
    let is_marked = marks.are_of(context) && marks.begin(stream);
    let result = call();
    if result == SUCCESS && is_marked && marks.end(stream) {
        return (result, Marking::Done(taken));
    }
    flight.drop_taken(taken);
    (result, Marking::Failed)
}

fn refunded(meter: &Meter<'static, SHAPES, SAMPLES>, charged_ns: u64, result: c_int) -> c_int {
    if result != SUCCESS {
        meter.refund(cards::terms(meter.card), charged_ns);
    }
    result
}

/// Looks which samples are done while a program only submits.
#[inline]
fn collect_now_and_then(flight: &Flight<SAMPLES>, now_ns: u64) {
    if flight.armed() > 0 && now_ns >= COLLECTED_AT_NS.load(Relaxed) + COLLECT_NS {
        COLLECTED_AT_NS.store(now_ns, Relaxed);
        collect();
    }
}

/// Looks which samples are done, and learns from them; not while a stream is captured, since that
/// may forbid it.
fn collect() {
    if flights().any(|(flight, _)| flight.armed() > 0) && !capture::is_any() {
        capture::relaxed(|| flights().for_each(collect_of));
    }
}

/// What was submitted to each card that was used.
fn flights() -> impl Iterator<Item = (&'static Flight<SAMPLES>, &'static [Marks; SAMPLES])> {
    let used = USED.load(Relaxed);
    let used = move |card: &usize| used >> card & 1 == 1;
    (0..CARDS_MAX).filter(used).map(|card| (&FLIGHTS[card], &MARKS[card]))
}

#[inline]
fn note_used(card: CardIndex) {
    let bit = 1 << card.get();
    if USED.load(Relaxed) & bit == 0 {
        USED.fetch_or(bit, Relaxed);
    }
}

#[cold]
fn collect_of((flight, marks): (&Flight<SAMPLES>, &[Marks; SAMPLES])) {
    if flight.armed() == 0 {
        return;
    }
    flight.collect(
        |taken| marks[taken.0].look(),
        |sample, measured_ns| {
            if let Some(meter) = meter(sample.card) {
                return meter.learn(cards::terms(sample.card), sample, measured_ns);
            }
            let lesson = COSTS.learn(sample.shape, measured_ns);
            if let Some(slot) = watch::slot().filter(|_| lesson.unmeasured > 0) {
                slot.lengthen(lesson.unmeasured, measured_ns, time::now_ns());
            }
        },
    );
}
