//! What a process has submitted and not seen finished, and the samples by which it finds out.
//!
//! A sample is a pair of marks on a stream, around one submission. It tells what that submission
//! took, and that everything submitted to that stream before it is done. Of other streams it tells
//! nothing, so what was submitted since the oldest sample that is still out counts as under way.
//!
//! A process has one flight for each card. It holds nobody for ever: what is under way may wait for
//! what its thread submits next, as kernels of several cards do that speak to each other. So once
//! nothing was finished for far longer than the largest of it should take, one more goes, and then
//! one more in each such time, so that even then no more is under way than time goes by.
//!
//! ```text
//! free --take--> taken --arm--> armed --collect--> free
//!                  '---drop_taken---^
//! ```

use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::costs::Shape;
use crate::page::CardIndex;

/// Work that a process may have in flight on a card that it shares: what it cannot take back when
/// a neighbour wakes up. One quantum.
pub const IN_FLIGHT_NS_MAX: u64 = 100_000_000;

/// A sample is taken at least once in so much estimated work, so that what is in flight is known.
const WORK_NS_PER_SAMPLE: u64 = 10_000_000;

/// While nothing that is under way is finished, one more goes at most this often.
pub const LET_GO_EVERY_NS: u64 = 5_000_000;

/// Nothing is finished when so many times the largest has gone by: a card that is shared with some
/// others may take as long for it, so that they are not what was waited for.
const PATIENCE: u64 = 8;

const FREE: u8 = 0;
const TAKEN: u8 = 1;
const ARMED: u8 = 2;
const COLLECTED: u8 = 3;

/// A place for a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken(pub usize);

/// What was submitted between the marks of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its shape.
    pub shape: Shape,
    /// What it was charged, without any factor.
    pub charged_ns: u64,
    /// The card.
    pub card: CardIndex,
}

/// What a look at a sample's second mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Between the marks lay so much time.
    Took(u64),
    /// The card has not come to it yet.
    NotYet,
    /// It will never be known: the context is gone.
    Lost,
}

struct Place {
    state: AtomicU8,
    shape: AtomicU64,
    charged_ns: AtomicU64,
    card: AtomicU64,
    /// All that had been submitted when the sample was armed.
    submitted_ns: AtomicU64,
}

/// Samples and work of a process, for `N` samples at a time.
pub struct Flight<const N: usize> {
    places: [Place; N],
    submitted_ns: AtomicU64,
    finished_ns: AtomicU64,
    /// The newest that was submitted before a sample that is done.
    collected_ns: AtomicU64,
    sampled_at_ns: AtomicU64,
    armed: AtomicUsize,
    /// How far things were when somebody was held last, and since when, or since one more went.
    stuck_at_ns: AtomicU64,
    stuck_since_ns: AtomicU64,
    let_go: AtomicU64,
}

impl<const N: usize> Default for Flight<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Flight<N> {
    /// Nothing in flight.
    pub const fn new() -> Self {
        Self {
            places: [const { Place::empty() }; N],
            submitted_ns: AtomicU64::new(0),
            finished_ns: AtomicU64::new(0),
            collected_ns: AtomicU64::new(0),
            sampled_at_ns: AtomicU64::new(0),
            armed: AtomicUsize::new(0),
            stuck_at_ns: AtomicU64::new(0),
            stuck_since_ns: AtomicU64::new(0),
            let_go: AtomicU64::new(0),
        }
    }

    /// Counts a submission.
    pub fn submit(&self, cost_ns: u64) {
        self.submitted_ns.fetch_add(cost_ns, Relaxed);
    }

    /// Takes a submission back that the driver refused.
    pub fn submit_no_longer(&self, cost_ns: u64) {
        let less = |now: u64| Some(now.saturating_sub(cost_ns));
        let _ = self.submitted_ns.fetch_update(Relaxed, Relaxed, less);
    }

    /// Whether more than that is in flight, a sample will tell when it no longer is, and that may
    /// be waited for: see the head.
    pub fn is_over(&self, limit_ns: u64, now_ns: u64) -> bool {
        if self.in_flight_ns() <= limit_ns || self.armed.load(Relaxed) == 0 {
            return false;
        }
        let finished = self.finished_ns.load(Relaxed);
        if self.stuck_at_ns.swap(finished, Relaxed) != finished
            || self.stuck_since_ns.load(Relaxed) == 0
        {
            self.stuck_since_ns.store(now_ns, Relaxed);
            self.let_go.store(0, Relaxed);
            return true;
        }
        let since = self.stuck_since_ns.load(Relaxed);
        let largest = self.out().map(|(_, charged)| charged).max().unwrap_or(0);
        let patience = match self.let_go.load(Relaxed) {
            0 => largest.saturating_mul(PATIENCE),
            _ => largest,
        };
        if now_ns.saturating_sub(since) < patience.max(LET_GO_EVERY_NS)
            || self.stuck_since_ns.compare_exchange(since, now_ns, Relaxed, Relaxed).is_err()
        {
            return true;
        }
        self.let_go.fetch_add(1, Relaxed);
        false
    }

    /// Samples that wait for the card.
    pub fn armed(&self) -> usize {
        self.armed.load(Relaxed)
    }

    /// Estimated work that is not known to be done.
    pub fn in_flight_ns(&self) -> u64 {
        let submitted = self.submitted_ns.load(Relaxed);
        submitted.saturating_sub(self.finished_ns.load(Relaxed))
    }

    /// Whether enough was submitted since the last sample to take another.
    pub fn wants_sample(&self) -> bool {
        let since = self.sampled_at_ns.load(Relaxed);
        self.submitted_ns.load(Relaxed).saturating_sub(since) >= WORK_NS_PER_SAMPLE
    }

    /// A free place for a sample, if there is one; one that suits if there is one.
    pub fn take(&self, suits: impl Fn(Taken) -> bool) -> Option<Taken> {
        let take = |(index, place): (usize, &Place)| {
            let taken = place.state.compare_exchange(FREE, TAKEN, Acquire, Relaxed);
            taken.is_ok().then_some(Taken(index))
        };
        let mut all = self.places.iter().enumerate();
        let suiting = all.clone().filter(|(index, _)| suits(Taken(*index))).find_map(take);
        suiting.or_else(|| all.find_map(take))
    }

    /// Gives back a place whose marks could not be made.
    pub fn drop_taken(&self, taken: Taken) {
        if let Some(place) = self.places.get(taken.0) {
            place.state.store(FREE, Release);
        }
    }

    /// Says that both marks are on the stream.
    pub fn arm(&self, taken: Taken, sample: Sample) {
        let Some(place) = self.places.get(taken.0) else { return };
        let submitted = self.submitted_ns.load(Relaxed);
        place.shape.store(sample.shape.get(), Relaxed);
        place.charged_ns.store(sample.charged_ns, Relaxed);
        place.card.store(sample.card.get() as u64, Relaxed);
        place.submitted_ns.store(submitted, Relaxed);
        self.sampled_at_ns.store(submitted, Relaxed);
        self.armed.fetch_add(1, Relaxed);
        place.state.store(ARMED, Release);
    }

    /// Looks at every armed sample, and hands over what those took that are done.
    pub fn collect(
        &self,
        mut look: impl FnMut(Taken) -> Verdict,
        mut learn: impl FnMut(Sample, u64),
    ) {
        for (index, place) in self.places.iter().enumerate() {
            if place.state.compare_exchange(ARMED, COLLECTED, Acquire, Relaxed).is_err() {
                continue;
            }
            match look(Taken(index)) {
                Verdict::NotYet => {
                    place.state.store(ARMED, Release);
                    continue;
                }
                Verdict::Lost => self.note_collected(place),
                Verdict::Took(measured_ns) => {
                    self.note_collected(place);
                    if let Some(sample) = place.sample() {
                        learn(sample, measured_ns);
                    }
                }
            }
            self.armed.fetch_sub(1, Relaxed);
            place.state.store(FREE, Release);
        }
        self.finish();
    }

    /// Forgets everything: in a child process, which has submitted nothing.
    pub fn clear(&self) {
        for place in &self.places {
            place.state.store(FREE, Release);
        }
        self.armed.store(0, Relaxed);
        for word in [
            &self.submitted_ns,
            &self.finished_ns,
            &self.collected_ns,
            &self.sampled_at_ns,
            &self.stuck_at_ns,
            &self.stuck_since_ns,
            &self.let_go,
        ] {
            word.store(0, Relaxed);
        }
    }

    fn note_collected(&self, place: &Place) {
        self.collected_ns.fetch_max(place.submitted_ns.load(Relaxed), Relaxed);
    }

    /// What was submitted before the newest sample that is done is done too, but not what was
    /// submitted since the oldest that is not.
    fn finish(&self) {
        let collected = self.collected_ns.load(Relaxed);
        let oldest = self.out().map(|(begun, _)| begun).min();
        let finished = oldest.map_or(collected, |begun| collected.min(begun));
        self.finished_ns.fetch_max(finished, Relaxed);
    }

    /// Of each sample that is out, all that had been submitted before it, and what it was charged.
    fn out(&self) -> impl Iterator<Item = (u64, u64)> {
        let is_out = |place: &&Place| matches!(place.state.load(Acquire), ARMED | COLLECTED);
        self.places.iter().filter(is_out).map(|place| {
            let charged = place.charged_ns.load(Relaxed);
            (place.submitted_ns.load(Relaxed).saturating_sub(charged), charged)
        })
    }
}

impl Place {
    const fn empty() -> Self {
        Self {
            state: AtomicU8::new(FREE),
            shape: AtomicU64::new(0),
            charged_ns: AtomicU64::new(0),
            card: AtomicU64::new(0),
            submitted_ns: AtomicU64::new(0),
        }
    }

    fn sample(&self) -> Option<Sample> {
        Some(Sample {
            shape: Shape::from_number(self.shape.load(Relaxed))?,
            charged_ns: self.charged_ns.load(Relaxed),
            card: CardIndex::new(self.card.load(Relaxed) as usize)?,
        })
    }
}
