//! The one place that every submission to a card goes through.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use cotenant_types::limits::CardWord;

use super::account::{self, NOT_PERMITTED, SUCCESS};
use super::driver::{self, Handle};
use super::{capture, cards, state, time};
use crate::compute::{Costs, Flight, Meter, Sample, Shape, Taken, Ticket, Verdict};
use crate::page::{CardIndex, Facts};

/// A kernel of which nothing is known is taken to cost this much.
pub(super) const KERNEL_DEFAULT_NS: u64 = 10_000;

/// Samples are looked at this often while a program only submits.
const COLLECT_NS: u64 = 500_000;

const SHAPES: usize = 1 << 12;
const SAMPLES: usize = 64;

/// CUDA_ERROR_NOT_READY.
const NOT_READY: c_int = 600;

/// CU_STREAM_PER_THREAD: what the null stream means to functions of that kind.
const STREAM_PER_THREAD: usize = 2;

static COSTS: Costs<SHAPES> = Costs::new();
static FLIGHT: Flight<SAMPLES> = Flight::new();
static MARKS: [Marks; SAMPLES] = [const { Marks::none() }; SAMPLES];
static COLLECTED_AT_NS: AtomicU64 = AtomicU64::new(0);

/// A pair of the driver's events, made when first needed and kept.
struct Marks {
    context: AtomicU64,
    start: AtomicU64,
    end: AtomicU64,
}

/// What is submitted.
#[derive(Clone, Copy)]
pub(super) struct Submission {
    /// To which stream; the null stream as functions without a suffix mean it.
    pub(super) stream: Handle,
    /// What it has in common with others of its cost.
    pub(super) shape: Shape,
    /// Its cost while nothing is known.
    pub(super) default_ns: u64,
}

/// The shape of a kernel's launch.
pub(super) fn kernel(function: Handle, grid: [u32; 3], block: [u32; 3], shared: u32) -> Shape {
    let pair = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    Shape::of(&[
        function as u64,
        pair(grid[0], grid[1]),
        pair(grid[2], block[0]),
        pair(block[1], block[2]),
        u64::from(shared),
    ])
}

/// The stream that a function with the suffix `_ptsz` means.
pub(super) fn per_thread(stream: Handle) -> Handle {
    if stream.is_null() { STREAM_PER_THREAD as Handle } else { stream }
}

/// Holds a submission until it may go, lets it go, and measures it if that is worth it.
#[inline]
pub(super) fn submit(call: impl Fn() -> c_int, submission: Submission) -> c_int {
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
    let (charged_ns, is_sampled) = admitted(&meter, submission);
    if is_sampled && !capture::is_any() {
        return measured(&meter, submission, charged_ns, call);
    }
    if is_sampled {
        meter.note_unmeasured(submission.shape, charged_ns);
    }
    let result = call();
    if result != SUCCESS {
        meter.refund(cards::terms(card), charged_ns);
    }
    result
}

/// A call that waits for the card: afterwards much is known.
pub(super) fn waited(call: impl Fn() -> c_int) -> c_int {
    let result = call();
    if FLIGHT.armed() > 0 && !capture::is_any() {
        collect();
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
    FLIGHT.clear();
    capture::forget();
    MARKS.iter().for_each(Marks::clear);
}

/// Samples of a context that is gone are lost with its events.
pub(super) fn forget_context(context: u64) {
    for marks in MARKS.iter().filter(|marks| marks.context.load(Relaxed) == context) {
        marks.clear();
    }
}

fn meter(card: CardIndex) -> Option<Meter<'static, SHAPES, SAMPLES>> {
    Some(Meter { usage: state::usage()?, card, costs: &COSTS, flight: &FLIGHT })
}

/// Waits until the meter lets the submission go; what it was charged, and whether to measure it.
#[inline]
fn admitted(meter: &Meter<'static, SHAPES, SAMPLES>, submission: Submission) -> (u64, bool) {
    loop {
        cards::refresh();
        let now = time::now_ns();
        if FLIGHT.armed() > 0 && now >= COLLECTED_AT_NS.load(Relaxed) + COLLECT_NS {
            COLLECTED_AT_NS.store(now, Relaxed);
            if !capture::is_any() {
                collect();
            }
        }
        let terms = cards::terms(meter.card);
        let Submission { shape, default_ns, .. } = submission;
        match meter.admit(terms, shape, default_ns, now) {
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

/// Submits between two marks.
#[cold]
fn measured(
    meter: &Meter<'static, SHAPES, SAMPLES>,
    submission: Submission,
    charged_ns: u64,
    call: impl Fn() -> c_int,
) -> c_int {
    let context = account::current_context();
    let suits = |taken: Taken| MARKS[taken.0].context.load(Relaxed) == context;
    let Some(taken) = FLIGHT.take(suits) else {
        meter.note_unmeasured(submission.shape, charged_ns);
        return refunded(meter, charged_ns, call());
    };
    let marks = &MARKS[taken.0];
    let is_marked = marks.are_of(context) && record(&marks.start, submission.stream);
    let result = call();
    if result == SUCCESS && is_marked && record(&marks.end, submission.stream) {
        let Submission { shape, .. } = submission;
        let sample = Sample { shape, charged_ns, card: meter.card };
        meter.arm(taken, sample, time::now_ns());
    } else {
        FLIGHT.drop_taken(taken);
        meter.note_unmeasured(submission.shape, charged_ns);
    }
    refunded(meter, charged_ns, result)
}

fn refunded(meter: &Meter<'static, SHAPES, SAMPLES>, charged_ns: u64, result: c_int) -> c_int {
    if result != SUCCESS {
        meter.refund(cards::terms(meter.card), charged_ns);
    }
    result
}

/// Looks which samples are done, and learns from them.
#[cold]
fn collect() {
    FLIGHT.collect(
        |taken| MARKS[taken.0].look(),
        |sample, measured_ns| {
            if let Some(meter) = meter(sample.card) {
                meter.learn(cards::terms(sample.card), sample, measured_ns);
            }
        },
    );
}

fn record(event: &AtomicU64, stream: Handle) -> bool {
    // SAFETY: the event was made for the current context, and the stream is the program's.
    unsafe { driver::cuEventRecord(event.load(Relaxed) as Handle, stream) == SUCCESS }
}

impl Marks {
    const fn none() -> Self {
        Self { context: AtomicU64::new(0), start: AtomicU64::new(0), end: AtomicU64::new(0) }
    }

    fn clear(&self) {
        for word in [&self.context, &self.start, &self.end] {
            word.store(0, Relaxed);
        }
    }

    /// Makes them events of this context, if they are not already.
    fn are_of(&self, context: u64) -> bool {
        if context == 0 {
            return false;
        }
        if self.context.load(Relaxed) == context {
            return true;
        }
        for word in [&self.start, &self.end] {
            let old = word.swap(0, Relaxed);
            if old != 0 {
                // SAFETY: the event is ours, and nobody has marked with it since it was taken.
                unsafe { driver::cuEventDestroy_v2(old as Handle) };
            }
            let mut event = std::ptr::null_mut();
            // SAFETY: the place is ours.
            if unsafe { driver::cuEventCreate(&mut event, 0) } != SUCCESS {
                self.context.store(0, Relaxed);
                return false;
            }
            word.store(event as u64, Relaxed);
        }
        self.context.store(context, Relaxed);
        true
    }

    fn look(&self) -> Verdict {
        let (start, end) = (self.start.load(Relaxed), self.end.load(Relaxed));
        if start == 0 || end == 0 {
            return Verdict::Lost;
        }
        // SAFETY: the events are ours, of a context that was not destroyed.
        match unsafe { driver::cuEventQuery(end as Handle) } {
            SUCCESS => {}
            NOT_READY => return Verdict::NotYet,
            _ => return Verdict::Lost,
        }
        let mut ms = 0.0f32;
        // SAFETY: as above, and the place is ours.
        let result = unsafe { driver::cuEventElapsedTime(&mut ms, start as Handle, end as Handle) };
        match result {
            SUCCESS if ms.is_finite() && ms >= 0.0 => {
                Verdict::Took((f64::from(ms) * 1_000_000.0) as u64)
            }
            SUCCESS => Verdict::Lost,
            NOT_READY => Verdict::NotYet,
            _ => Verdict::Lost,
        }
    }
}
