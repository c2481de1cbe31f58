//! What a process has submitted and not seen finished, and the samples by which it finds out.
//!
//! A sample is a pair of marks on a stream, around one submission. It tells what that submission
//! took, and that everything submitted to that stream before it is done.
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
    sampled_at_ns: AtomicU64,
    armed: AtomicUsize,
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
            sampled_at_ns: AtomicU64::new(0),
            armed: AtomicUsize::new(0),
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

    /// Whether more than that is in flight, and a sample will tell when it no longer is.
    pub fn is_over(&self, limit_ns: u64) -> bool {
        self.in_flight_ns() > limit_ns && self.armed.load(Relaxed) > 0
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
                Verdict::Lost => self.finish(place.submitted_ns.load(Relaxed)),
                Verdict::Took(measured_ns) => {
                    self.finish(place.submitted_ns.load(Relaxed));
                    if let Some(sample) = place.sample() {
                        learn(sample, measured_ns);
                    }
                }
            }
            self.armed.fetch_sub(1, Relaxed);
            place.state.store(FREE, Release);
        }
    }

    /// Forgets everything: in a child process, which has submitted nothing.
    pub fn clear(&self) {
        for place in &self.places {
            place.state.store(FREE, Release);
        }
        self.armed.store(0, Relaxed);
        self.submitted_ns.store(0, Relaxed);
        self.finished_ns.store(0, Relaxed);
        self.sampled_at_ns.store(0, Relaxed);
    }

    fn finish(&self, submitted_ns: u64) {
        self.finished_ns.fetch_max(submitted_ns, Relaxed);
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
