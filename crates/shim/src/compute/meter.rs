//! The one place that decides over a submission, and that learns what it took.

use std::sync::atomic::Ordering::Relaxed;

use cotenant_types::limits::{CardLimit, CardWord};

use super::bucket::{Admission, Bucket};
use super::correction::{Seen, corrected, gap_ns, next_correction};
use super::costs::{Costs, Shape};
use super::flight::{Flight, IN_FLIGHT_NS_MAX, Sample, Taken};
use super::grant::{grant_milli, is_unbounded};
use crate::page::{CardIndex, Usage};

/// Submissions this long are always measured: two marks are nothing beside them.
pub const ALWAYS_SAMPLED_NS: u64 = 1_000_000;

/// While too much is in flight, the oldest of it is looked at this often.
const LOOK_AGAIN_NS: u64 = 100_000;

impl Terms {
    /// What a card's facts come to.
    pub fn of(facts: &CardLimit) -> Self {
        Self {
            grant_milli: grant_milli(facts),
            is_shared: facts.neighbours.count > 0,
            hold_until_ns: facts.hold_until_ns,
        }
    }
}

/// What was decided over a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticket {
    /// Submit it; it was charged this much, without any factor.
    Go {
        /// What it was charged.
        charged_ns: u64,
        /// Whether it is worth measuring.
        is_sampled: bool,
    },
    /// Ask again at this moment.
    WaitUntil(u64),
    /// Too much is in flight: see what is finished, and ask again by this moment.
    DrainUntil(u64),
}

/// A submission, as far as a decision over it must know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What it has in common with others of its cost.
    pub shape: Shape,
    /// Its cost if nothing is known of its like.
    pub default_ns: u64,
    /// Whether marks may be put beside it: otherwise nothing would be learnt from waiting.
    pub is_measurable: bool,
}

/// What the limit page says of a card, as far as a submission must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What the slice may use now, in thousandths of the card.
    pub grant_milli: u32,
    /// Whether others have slices of the card.
    pub is_shared: bool,
    /// Nothing goes before this moment of the steady clock.
    pub hold_until_ns: u64,
}

/// A process's view of a slice's compute on one card.
#[derive(Clone, Copy)]
pub struct Meter<'a, const SHAPES: usize, const SAMPLES: usize> {
    /// The slice's page.
    pub usage: Usage<'a>,
    /// The card.
    pub card: CardIndex,
    /// What the process knows of costs.
    pub costs: &'a Costs<SHAPES>,
    /// What the process has in flight.
    pub flight: &'a Flight<SAMPLES>,
}

impl<const SHAPES: usize, const SAMPLES: usize> Meter<'_, SHAPES, SAMPLES> {
    /// Decides over a submission.
    pub fn admit(&self, terms: Terms, asked: Asked, now_ns: u64) -> Ticket {
        let Asked { shape, default_ns, is_measurable } = asked;
        self.word(CardWord::WANTED_AT_NS).store(now_ns, Relaxed);
        if terms.hold_until_ns > now_ns {
            return Ticket::WaitUntil(terms.hold_until_ns);
        }
        if terms.is_shared && self.flight.is_over(IN_FLIGHT_NS_MAX, now_ns) {
            return Ticket::DrainUntil(now_ns.saturating_add(LOOK_AGAIN_NS));
        }
        let estimate = self.costs.estimate(shape, default_ns, now_ns);
        let is_bounded = terms.is_shared || !is_unbounded(terms.grant_milli);
        if estimate.is_crowded && is_bounded && is_measurable {
            return Ticket::DrainUntil(now_ns.saturating_add(LOOK_AGAIN_NS));
        }
        let factor = self.word(CardWord::CORRECTION_PPM).load(Relaxed);
        let cost = corrected(estimate.cost_ns, factor);
        let bucket = Bucket::new(self.usage, self.card);
        match bucket.admit(cost, terms.grant_milli, now_ns) {
            Admission::WaitUntil(moment) => return Ticket::WaitUntil(moment),
            Admission::Go => {}
        }
        self.flight.submit(estimate.cost_ns);
        if !estimate.is_learnt {
            self.costs.note_blind(shape, now_ns);
        }
        self.word(CardWord::CHARGED_NS).fetch_add(cost, Relaxed);
        self.word(CardWord::MEASURED_NS).fetch_add(estimate.cost_ns, Relaxed);
        self.word(CardWord::SUBMISSIONS).fetch_add(1, Relaxed);
        Ticket::Go {
            charged_ns: estimate.cost_ns,
            is_sampled: estimate.is_young
                || estimate.cost_ns >= ALWAYS_SAMPLED_NS
                || self.flight.wants_sample(),
        }
    }

    /// Takes back what a submission was charged that the driver then refused.
    pub fn refund(&self, terms: Terms, charged_ns: u64) {
        let factor = self.word(CardWord::CORRECTION_PPM).load(Relaxed);
        let cost = signed(corrected(charged_ns, factor));
        Bucket::new(self.usage, self.card).settle(-cost, terms.grant_milli);
        self.flight.submit_no_longer(charged_ns);
        self.add(CardWord::MEASURED_NS, -signed(charged_ns));
        self.add(CardWord::CHARGED_NS, -cost);
    }

    /// Says that a submission went unmeasured, for want of room or because marks are forbidden.
    pub fn note_unmeasured(&self, shape: Shape, charged_ns: u64) {
        if !self.costs.estimate(shape, 0, 0).is_learnt {
            self.costs.note_unmeasured(shape, charged_ns);
            self.word(CardWord::UNMEASURED).fetch_add(1, Relaxed);
        }
    }

    /// Says that a submission's marks could not be made.
    pub fn note_unmarked(&self, shape: Shape, charged_ns: u64) {
        if !self.costs.estimate(shape, 0, 0).is_learnt {
            self.costs.note_unmarked(shape, charged_ns);
            self.word(CardWord::UNMEASURED).fetch_add(1, Relaxed);
        }
    }

    /// Says that both marks of a sample are on the stream.
    pub fn arm(&self, taken: Taken, sample: Sample, now_ns: u64) {
        if !self.costs.estimate(sample.shape, 0, 0).is_learnt {
            self.costs.note_measured(sample.shape, now_ns);
        }
        self.flight.arm(taken, sample);
    }

    /// Learns what a sample took, and settles the difference: its own, and that of those of its
    /// shape that went before it unmeasured.
    pub fn learn(&self, terms: Terms, sample: Sample, measured_ns: u64) {
        let lesson = self.costs.learn(sample.shape, measured_ns);
        self.note_largest(measured_ns);
        if lesson.unmeasured > 0 {
            // What comes now in one step will take the card a while: looks begin anew after it.
            self.word(CardWord::SEEN_AT_NS).store(0, Relaxed);
        }
        let took = measured_ns.saturating_mul(lesson.unmeasured.saturating_add(1));
        let charged = sample.charged_ns.saturating_add(lesson.charged_ns);
        let difference = signed(took).saturating_sub(signed(charged));
        let factor = self.word(CardWord::CORRECTION_PPM).load(Relaxed);
        let cost = signed(corrected(difference.unsigned_abs(), factor)) * difference.signum();
        Bucket::new(self.usage, self.card).settle(cost, terms.grant_milli);
        self.add(CardWord::MEASURED_NS, difference);
        self.add(CardWord::CHARGED_NS, cost);
    }

    /// Takes in the driver's figure, if it is new; only one of a slice's processes does.
    pub fn observe(&self, facts: &CardLimit) {
        let seen_at = self.word(CardWord::SEEN_AT_NS);
        let before = seen_at.load(Relaxed);
        if facts.seen_at_ns <= before {
            return;
        }
        let word = |word: usize| self.word(word).load(Relaxed);
        // A pool that comes back begins to count anew.
        let is_first = before == 0 || facts.seen_busy_ns < word(CardWord::SEEN_BUSY_NS);
        let measured = word(CardWord::MEASURED_NS);
        let seen = Seen {
            span_ns: facts.seen_at_ns - before,
            busy_ns: facts.seen_busy_ns.saturating_sub(word(CardWord::SEEN_BUSY_NS)),
            measured_ns: measured.saturating_sub(word(CardWord::SEEN_MEASURED_NS)),
            largest_ns: word(CardWord::LARGEST_NS),
        };
        if !is_first && !seen.is_telling()
            || seen_at.compare_exchange(before, facts.seen_at_ns, Relaxed, Relaxed).is_err()
        {
            return;
        }
        self.word(CardWord::SEEN_MEASURED_NS).store(measured, Relaxed);
        self.word(CardWord::SEEN_BUSY_NS).store(facts.seen_busy_ns, Relaxed);
        if is_first || is_unbounded(grant_milli(facts)) {
            self.begin_comparison(facts);
        }
        if is_first {
            return;
        }
        let factor = self.word(CardWord::CORRECTION_PPM);
        factor.store(next_correction(factor.load(Relaxed), seen), Relaxed);
        // The largest is that of late: it is forgotten by halves.
        self.word(CardWord::LARGEST_NS).store(seen.largest_ns / 2, Relaxed);
        self.settle_gap(facts, corrected(seen.largest_ns, factor.load(Relaxed)));
    }

    /// While nothing is held back, charges hold nobody to anything, and are not compared.
    fn begin_comparison(&self, facts: &CardLimit) {
        let charged = self.word(CardWord::CHARGED_NS).load(Relaxed);
        self.word(CardWord::BASE_BUSY_NS).store(facts.seen_busy_ns, Relaxed);
        self.word(CardWord::BASE_CHARGED_NS).store(charged, Relaxed);
    }

    /// Settles what was charged beside the truth, by half at a time.
    fn settle_gap(&self, facts: &CardLimit, largest_ns: u64) {
        let since = |now: u64, base: usize| now.saturating_sub(self.word(base).load(Relaxed));
        let busy = since(facts.seen_busy_ns, CardWord::BASE_BUSY_NS);
        let charged = self.word(CardWord::CHARGED_NS).load(Relaxed);
        let charged = since(charged, CardWord::BASE_CHARGED_NS);
        let gap = gap_ns(busy, charged, largest_ns) / 2;
        Bucket::new(self.usage, self.card).settle(gap, grant_milli(facts));
        self.add(CardWord::CHARGED_NS, gap);
    }

    fn note_largest(&self, measured_ns: u64) {
        // Most are smaller than the largest: a load is cheaper than a change.
        if measured_ns > self.word(CardWord::LARGEST_NS).load(Relaxed) {
            self.word(CardWord::LARGEST_NS).fetch_max(measured_ns, Relaxed);
        }
    }

    fn add(&self, word: usize, difference: i64) {
        let add = |now: u64| Some(now.saturating_add_signed(difference));
        let _ = self.word(word).fetch_update(Relaxed, Relaxed, add);
    }

    fn word(&self, word: usize) -> &std::sync::atomic::AtomicU64 {
        self.usage.card(self.card, word)
    }
}

fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}
