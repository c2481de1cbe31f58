//! What came of a simulation: how long jobs waited, and how much of the cards was kept for them.

use cotenant_types::Class;

use super::demand::{Arrival, Demand};

/// What came of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Waits of each stream's jobs, in the order of the streams.
    pub waits: Vec<Waits>,
    /// Compute that was kept for jobs, in thousandths of the pool's, between the warm-up and the
    /// last job that counts.
    pub kept_per_mille: u64,
    /// Whether so many jobs waited that the simulation was given up; what is said is of the time
    /// until then.
    pub is_overrun: bool,
    /// Whether every stream's jobs waited no longer than they may.
    pub is_enough: bool,
}

/// How long jobs waited, from their submission to their start; a job that was pushed aside, until it
/// ran again, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// Waits in milliseconds, the shortest first; of jobs that still wait, until now.
    sorted: Vec<u64>,
    /// Jobs among them that still waited at the end.
    pub waiting: u64,
}

/// What is counted while simulations go on.
pub(super) struct Tally {
    pub(super) waits: Vec<Waits>,
    late: Vec<u64>,
    late_max: Vec<u64>,
    pub(super) is_overrun: bool,
    /// Compute kept, in thousandths of a card times milliseconds.
    pub(super) kept: u128,
}

impl Waits {
    /// Jobs.
    pub fn count(&self) -> u64 {
        self.sorted.len() as u64
    }

    /// The mean in milliseconds, if there is any job.
    pub fn mean_ms(&self) -> Option<u64> {
        let sum: u128 = self.sorted.iter().map(|&wait| u128::from(wait)).sum();
        sum.checked_div(self.sorted.len() as u128).map(|mean| mean as u64)
    }

    /// The shortest time in milliseconds that 95 of 100 jobs did not wait longer than: the nearest
    /// rank.
    pub fn p95_ms(&self) -> Option<u64> {
        let above = self.sorted.len() / 20;
        self.sorted.get(self.sorted.len().checked_sub(above + 1)?).copied()
    }

    /// The longest in milliseconds.
    pub fn longest_ms(&self) -> Option<u64> {
        self.sorted.last().copied()
    }

    pub(super) fn add(&mut self, wait_ms: u64) {
        self.sorted.push(wait_ms);
    }

    pub(super) fn sort(&mut self) {
        self.sorted.sort_unstable();
    }
}

impl Findings {
    /// Waits of all jobs of a class.
    pub fn of_class(&self, demand: &Demand, class: Class) -> Waits {
        let mut all = Waits::default();
        let streams = demand.streams.iter().zip(&self.waits);
        for (_, waits) in streams.filter(|(stream, _)| stream.terms.class == class) {
            all.sorted.extend(&waits.sorted);
            all.waiting += waits.waiting;
        }
        all.sort();
        all
    }
}

impl Tally {
    /// Nothing yet, of what will come in.
    pub(super) fn new(demand: &Demand, courses: &[Vec<Arrival>]) -> Self {
        let streams = demand.streams.len();
        let mut came = vec![0u64; streams];
        let counted = courses.iter().flatten().filter(|arrival| demand.counts(arrival));
        counted.for_each(|arrival| came[arrival.stream] += 1);
        let late_max = came.iter().enumerate();
        Self {
            waits: vec![Waits::default(); streams],
            late: vec![0; streams],
            late_max: late_max.map(|(stream, &came)| demand.late_max(stream, came)).collect(),
            is_overrun: false,
            kept: 0,
        }
    }

    /// One more job has waited longer than it may.
    pub(super) fn add_late(&mut self, stream: usize) {
        self.late[stream] += 1;
    }

    /// Whether the pool is not enough, whatever still comes.
    pub(super) fn is_missed(&self) -> bool {
        self.is_overrun || self.late.iter().zip(&self.late_max).any(|(late, max)| late > max)
    }
}
