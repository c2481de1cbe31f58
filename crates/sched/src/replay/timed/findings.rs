//! What came of a replay in time.

use crate::replay::timed::tally::Tally;

/// Parts of the window in which use is measured one by one.
pub const SLICES: usize = 100;

/// Shorter jobs count as so long, when their slowdown is taken.
const SLOWDOWN_BOUND_S: u64 = 10;

/// What came of a replay in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedFindings {
    /// How long jobs waited, work that moves lost among it.
    pub waits: Waits,
    /// The mean of (wait + run) / run, with runs of 10 s at least, in thousandths.
    pub slowdown_milli: u64,
    /// Compute in use in the [window](super::Stream::window), in ten-thousandths of the cluster's.
    pub use_ten_thousandths: u64,
    /// The same for each of [`SLICES`] parts of the window.
    pub use_curve: Vec<u64>,
    /// Jobs that waited at once, at most.
    pub queue_peak: u64,
    /// Jobs that no empty node could run.
    pub unplaceable: u64,
    /// Jobs that were moved.
    pub moves: u64,
    /// Work that moves lost, in seconds of a card.
    pub lost_card_s: u64,
    /// When the last job ended.
    pub ended_s: u64,
}

/// How long jobs waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waits {
    /// Jobs that ran.
    pub jobs: u64,
    /// On average, in thousandths of a second.
    pub mean_ms: u64,
    /// What 0, 1, … 100 % of the jobs waited at most, in seconds.
    pub percentiles_s: Vec<u64>,
}

/// What is known of a job that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) waited_s: u64,
    pub(super) runs_s: u64,
}

impl TimedFindings {
    /// Sums up, for a cluster of so much compute.
    pub(super) fn new(ended: &[Ended], tally: &Tally, compute: u64) -> Self {
        let slowdown = |job: &Ended| {
            let runs_s = job.runs_s.max(SLOWDOWN_BOUND_S);
            ((job.waited_s + job.runs_s) * 1000 / runs_s).max(1000)
        };
        let slowdowns: u128 = ended.iter().map(|job| u128::from(slowdown(job))).sum();
        Self {
            waits: Waits::new(ended.iter().map(|job| job.waited_s).collect()),
            slowdown_milli: (slowdowns / ended.len().max(1) as u128) as u64,
            use_ten_thousandths: tally.in_use(compute),
            use_curve: tally.use_curve(compute),
            queue_peak: tally.queue_peak,
            unplaceable: 0,
            moves: tally.moves,
            lost_card_s: (tally.lost / 1000) as u64,
            ended_s: 0,
        }
    }
}

impl Waits {
    fn new(mut waits: Vec<u64>) -> Self {
        waits.sort_unstable();
        let sum: u128 = waits.iter().map(|&wait| u128::from(wait)).sum();
        // The least wait that so many per cent of the jobs did not pass.
        let rank = |percent: usize| (waits.len() * percent).div_ceil(100).saturating_sub(1);
        let percentile = |percent| waits.get(rank(percent)).copied().unwrap_or_default();
        Self {
            jobs: waits.len() as u64,
            mean_ms: (sum * 1000 / waits.len().max(1) as u128) as u64,
            percentiles_s: (0..=100).map(percentile).collect(),
        }
    }

    /// What so many per cent of the jobs waited at most, in seconds.
    pub fn percentile_s(&self, percent: usize) -> u64 {
        self.percentiles_s[percent.min(100)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_summed_up() {
        let check = |waits: &[u64], mean_ms, (median, p95): (u64, u64)| {
            let found = Waits::new(waits.to_vec());
            assert_eq!(found.mean_ms, mean_ms, "{waits:?}");
            assert_eq!((found.percentile_s(50), found.percentile_s(95)), (median, p95));
        };
        check(&[], 0, (0, 0));
        check(&[7], 7000, (7, 7));
        check(&[3, 0, 0], 1000, (0, 3));
        let hundred: Vec<u64> = (1..=100).collect();
        check(&hundred, 50_500, (50, 95));
    }

    #[test]
    fn slowdown_is_bounded_for_short_jobs() {
        let check = |jobs: &[(u64, u64)], expected| {
            let ended: Vec<Ended> =
                jobs.iter().map(|&(waited_s, runs_s)| Ended { waited_s, runs_s }).collect();
            let found = TimedFindings::new(&ended, &Tally::new((0, 0)), 1000);
            assert_eq!(found.slowdown_milli, expected, "{jobs:?}");
        };
        check(&[], 0);
        check(&[(0, 1)], 1000);
        check(&[(9, 1)], 1000);
        check(&[(19, 1)], 2000);
        check(&[(100, 100), (0, 100)], 1500);
    }
}
