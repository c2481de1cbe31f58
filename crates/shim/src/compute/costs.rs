//! What submissions cost, learnt by their shape: function, grid and block; or a graph.
//!
//! A fixed table without locks: entries are found by hash, claimed by one compare-and-swap, and
//! read and written without order, since a lost update costs one sample of many.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Entries looked at for a shape.
const PROBES: usize = 8;

/// Samples after which a cost is no longer learnt with haste.
const SAMPLES_FEW: u32 = 4;

/// Times that a kind of which nothing is known could not be measured, until it is no longer tried
/// and what it is taken to cost stands as learnt: otherwise it would be held for good.
const UNMARKED_MAX: u32 = 8;

/// Of a learnt cost, each new sample moves it by one part in so many.
const INERTIA: i64 = 8;

/// What a submission of which nothing is known may be taken to cost because its like is still not
/// done: longer waits say more about the queue than about it.
const AGE_NS_MAX: u64 = 100_000_000;

/// Submissions of a kind of which nothing is known that may be out at once, and how long it takes
/// until there may be one more.
const BLIND_FEW: u64 = 4;
const BLIND_NS_PER_MORE: u64 = 5_000_000;

/// What two submissions have in common that are taken to cost the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape(NonZeroU64);

/// What a submission is taken to cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Compute time.
    pub cost_ns: u64,
    /// Whether it was ever measured, or is a default.
    pub is_learnt: bool,
    /// Whether it should be measured again soon.
    pub is_young: bool,
    /// Whether enough of its like went out for what is known of it: nothing.
    pub is_crowded: bool,
}

/// What a sample taught of submissions of its shape that were charged without knowledge and are
/// never measured: each is now known to have cost about as much as the sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lesson {
    /// How many there were.
    pub unmeasured: u64,
    /// What they were charged together.
    pub charged_ns: u64,
}

struct Entry {
    shape: AtomicU64,
    cost_ns: AtomicU64,
    samples: AtomicU32,
    /// When the first of the shape went out to be measured; 0 for never.
    first_at_ns: AtomicU64,
    /// Submissions while nothing was known, and when the first of them was.
    blind: AtomicU32,
    blind_since_ns: AtomicU64,
    /// Submissions charged while nothing was known, and what they were charged.
    unmeasured: AtomicU32,
    unmeasured_ns: AtomicU64,
    /// Times that marks could not be made while nothing was known.
    unmarked: AtomicU32,
}

/// Costs by shape, for `N` shapes; a power of two.
pub struct Costs<const N: usize> {
    entries: [Entry; N],
}

impl Shape {
    /// The shape of any list of numbers that tell submissions apart.
    pub fn of(parts: &[u64]) -> Self {
        let mut hash = 0x9e37_79b9_7f4a_7c15u64;
        for part in parts {
            hash = (hash ^ part).wrapping_mul(0xff51_afd7_ed55_8ccd);
            hash ^= hash >> 32;
        }
        Self(NonZeroU64::new(hash).unwrap_or(NonZeroU64::MIN))
    }

    /// The shape as a number; never 0.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    pub(super) fn from_number(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }
}

impl Entry {
    const fn empty() -> Self {
        Self {
            shape: AtomicU64::new(0),
            cost_ns: AtomicU64::new(0),
            samples: AtomicU32::new(0),
            first_at_ns: AtomicU64::new(0),
            blind: AtomicU32::new(0),
            blind_since_ns: AtomicU64::new(0),
            unmeasured: AtomicU32::new(0),
            unmeasured_ns: AtomicU64::new(0),
            unmarked: AtomicU32::new(0),
        }
    }

    /// Forgets what was learnt.
    fn reset(&self, cost_ns: u64) {
        self.samples.store(0, Relaxed);
        self.first_at_ns.store(0, Relaxed);
        self.blind.store(0, Relaxed);
        self.blind_since_ns.store(0, Relaxed);
        self.unmeasured.store(0, Relaxed);
        self.unmeasured_ns.store(0, Relaxed);
        self.unmarked.store(0, Relaxed);
        self.cost_ns.store(cost_ns, Relaxed);
    }

    /// Whether a few of the shape are out and the first was not heard of. With time there may be
    /// more, since one may wait for the next: kernels of several cards that speak to each other.
    fn is_crowded(&self, now_ns: u64) -> bool {
        let waited = now_ns.saturating_sub(self.blind_since_ns.load(Relaxed));
        let allowed = BLIND_FEW.saturating_add(waited / BLIND_NS_PER_MORE);
        u64::from(self.blind.load(Relaxed)) >= allowed
    }

    /// What the shape costs while nothing was measured: at least as much as the first of them has
    /// been under way.
    fn guess(&self, default_ns: u64, now_ns: u64) -> u64 {
        let suggested = self.cost_ns.load(Relaxed);
        let first_at = self.first_at_ns.load(Relaxed);
        let age = if first_at == 0 { 0 } else { now_ns.saturating_sub(first_at) };
        let plain = if suggested == 0 { default_ns } else { suggested };
        plain.max(age.min(AGE_NS_MAX))
    }
}

impl<const N: usize> Default for Costs<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Costs<N> {
    /// Nothing known.
    pub const fn new() -> Self {
        assert!(N.is_power_of_two() && N >= PROBES);
        Self { entries: [const { Entry::empty() }; N] }
    }

    /// What a submission of that shape costs; if none was measured, `default_ns` or more.
    pub fn estimate(&self, shape: Shape, default_ns: u64, now_ns: u64) -> Estimate {
        let unknown = |cost_ns, is_crowded| Estimate {
            cost_ns,
            is_learnt: false,
            is_young: true,
            is_crowded,
        };
        let Some(entry) = self.find(shape) else { return unknown(default_ns, false) };
        match entry.samples.load(Relaxed) {
            0 => unknown(entry.guess(default_ns, now_ns), entry.is_crowded(now_ns)),
            samples => Estimate {
                cost_ns: entry.cost_ns.load(Relaxed),
                is_learnt: true,
                is_young: samples < SAMPLES_FEW,
                is_crowded: false,
            },
        }
    }

    /// Counts a submission of which nothing is known.
    pub fn note_blind(&self, shape: Shape, now_ns: u64) {
        if let Some(entry) = self.find_or_claim(shape)
            && entry.blind.fetch_add(1, Relaxed) == 0
        {
            entry.blind_since_ns.store(now_ns, Relaxed);
        }
    }

    /// Remembers that a submission of which nothing is known went out to be measured.
    pub fn note_measured(&self, shape: Shape, now_ns: u64) {
        if let Some(entry) = self.find_or_claim(shape)
            && entry.first_at_ns.load(Relaxed) == 0
        {
            entry.first_at_ns.store(now_ns, Relaxed);
        }
    }

    /// Forgets what a shape cost, and takes it to cost this much until one is measured.
    pub fn suggest(&self, shape: Shape, cost_ns: u64) {
        if let Some(entry) = self.find_or_claim(shape) {
            entry.reset(cost_ns);
        }
    }

    /// Remembers that a submission was charged without knowledge and is not measured.
    pub fn note_unmeasured(&self, shape: Shape, charged_ns: u64) {
        if let Some(entry) = self.find_or_claim(shape) {
            entry.unmeasured.fetch_add(1, Relaxed);
            entry.unmeasured_ns.fetch_add(charged_ns, Relaxed);
        }
    }

    /// Remembers that a submission was charged without knowledge and could not be measured, as its
    /// like may never be.
    pub fn note_unmarked(&self, shape: Shape, charged_ns: u64) {
        self.note_unmeasured(shape, charged_ns);
        if let Some(entry) = self.find_or_claim(shape)
            && entry.unmarked.fetch_add(1, Relaxed) + 1 >= UNMARKED_MAX
            && entry.samples.load(Relaxed) == 0
        {
            entry.unmeasured.store(0, Relaxed);
            entry.unmeasured_ns.store(0, Relaxed);
            entry.cost_ns.store(charged_ns, Relaxed);
            entry.samples.store(SAMPLES_FEW, Relaxed);
        }
    }

    /// Learns from a submission that was measured.
    pub fn learn(&self, shape: Shape, measured_ns: u64) -> Lesson {
        let Some(entry) = self.find_or_claim(shape) else { return Lesson::default() };
        let samples = entry.samples.load(Relaxed);
        let cost = entry.cost_ns.load(Relaxed);
        let inertia = i64::from(samples).saturating_add(1).min(INERTIA);
        let step = (measured_ns.min(i64::MAX as u64) as i64).saturating_sub(cost as i64) / inertia;
        entry.cost_ns.store(cost.saturating_add_signed(step), Relaxed);
        entry.samples.store(samples.saturating_add(1), Relaxed);
        Lesson {
            unmeasured: u64::from(entry.unmeasured.swap(0, Relaxed)),
            charged_ns: entry.unmeasured_ns.swap(0, Relaxed),
        }
    }

    fn find(&self, shape: Shape) -> Option<&Entry> {
        self.probes(shape).find(|entry| entry.shape.load(Relaxed) == shape.0.get())
    }

    /// An entry for the shape; where all its places are taken, the one that is worth least goes.
    fn find_or_claim(&self, shape: Shape) -> Option<&Entry> {
        for entry in self.probes(shape) {
            let found = entry.shape.load(Relaxed);
            let is_free = found == 0;
            if found == shape.0.get()
                || is_free
                    && entry.shape.compare_exchange(0, shape.0.get(), Relaxed, Relaxed).is_ok()
            {
                return Some(entry);
            }
        }
        let victim = self.probes(shape).min_by_key(|entry| entry.samples.load(Relaxed))?;
        victim.reset(0);
        victim.shape.store(shape.0.get(), Relaxed);
        Some(victim)
    }

    fn probes(&self, shape: Shape) -> impl Iterator<Item = &Entry> {
        let first = (shape.0.get() >> 7) as usize;
        (0..PROBES).map(move |step| &self.entries[(first + step) & (N - 1)])
    }
}
