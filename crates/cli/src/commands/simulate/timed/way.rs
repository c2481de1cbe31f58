//! What came of a policy, with what was done beside it, over the seeds.

use cotenant_eval::{Comparison, Resampling, compare};
use cotenant_sched::policy::PolicyName;
use cotenant_sched::replay::timed::{Beyond, TimedFindings};

/// A policy, and what is done beside it.
pub(super) struct Way {
    pub(super) policy: PolicyName,
    pub(super) beyond: Beyond,
    pub(super) seeds: Vec<Outcome>,
}

/// What came of a seed.
pub(super) struct Outcome {
    pub(super) seed: u64,
    pub(super) findings: TimedFindings,
    /// Cards of the smallest cluster that keeps the wait, where it was asked for; none if the whole
    /// cluster does not.
    pub(super) fewest_cards: Option<u64>,
}

/// How a way's mean waits stand against another's, seed by seed.
pub(super) struct Against {
    /// In seconds, with an interval that covers 95 % by bootstrap over the seeds.
    pub(super) comparison: Comparison,
    /// Seeds in which the way waits less.
    pub(super) seeds_less: usize,
}

impl Way {
    /// Both parts of its name.
    pub(super) fn name(&self) -> String {
        match self.beyond == Beyond::default() {
            true => self.policy.as_str().to_owned(),
            false => format!("{}, {}", self.policy.as_str(), self.beyond),
        }
    }

    /// The mean over the seeds.
    pub(super) fn mean(&self, figure: impl Fn(&TimedFindings) -> u64) -> f64 {
        let sum: u64 = self.seeds.iter().map(|outcome| figure(&outcome.findings)).sum();
        sum as f64 / self.seeds.len().max(1) as f64
    }

    /// The mean wait in seconds, over the seeds.
    pub(super) fn wait_s(&self) -> f64 {
        self.mean(|it| it.waits.mean_ms) / 1000.0
    }

    /// The mean over the seeds of the fewest cards; none if they were not asked for, or a seed has
    /// none.
    pub(super) fn fewest_cards(&self) -> Option<f64> {
        let cards: Option<u64> = self.seeds.iter().map(|outcome| outcome.fewest_cards).sum();
        cards.map(|cards| cards as f64 / self.seeds.len().max(1) as f64)
    }

    /// How its waits stand against those of another way of the same seeds.
    pub(super) fn against(&self, other: &Way) -> Option<Against> {
        let waits_s = |way: &Way| -> Vec<f64> {
            way.seeds.iter().map(|it| it.findings.waits.mean_ms as f64 / 1000.0).collect()
        };
        let (theirs, ours) = (waits_s(other), waits_s(self));
        let comparison = compare(&theirs, &ours, Resampling::default()).ok()?;
        let seeds_less = theirs.iter().zip(&ours).filter(|(theirs, ours)| ours < theirs).count();
        Some(Against { comparison, seeds_less })
    }
}
