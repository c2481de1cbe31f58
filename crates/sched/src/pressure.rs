//! Whether an online job suffers from its neighbours, as far as was heard lately.

use cotenant_types::{Load, Moment, Watermark};
use serde::{Deserialize, Serialize};

/// How long a bad report counts: a job that falls silent is not held to suffer for ever.
const COUNTS_MS: u64 = 60_000;
/// A bad report that only says the same again is kept once the last has lost this much of its time:
/// a job that reports often is not written down each time.
const REPEATS_MS: u64 = 10_000;
/// A mark is passed going up; below so many thousandths of it, it is passed going down. Between
/// the two nothing changes, so that a job at its mark does not make neighbours swing.
const CALM_PER_MILLE: u64 = 900;

/// What was last heard of a job against each of its marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pressure {
    /// Until when its latency counts as too high, if it does.
    latency_until: Option<Moment>,
    /// Until when its use counts as too high, if it does.
    usage_until: Option<Moment>,
}

impl Pressure {
    /// Whether the job suffers.
    pub fn is_high(&self) -> bool {
        self.latency_until.is_some() || self.usage_until.is_some()
    }

    /// When what was heard stops to count; never, if nothing does.
    pub(crate) fn ends(&self) -> Moment {
        let ends = [self.latency_until, self.usage_until].into_iter().flatten();
        ends.min().unwrap_or(Moment::NEVER)
    }

    /// The same after a report.
    pub(crate) fn after(self, mark: Watermark, load: Load, now: Moment) -> Self {
        let usage = load.usage.map(|usage| usage.per_mille());
        let usage_mark = mark.usage.map(|usage| usage.per_mille());
        Self {
            latency_until: heard(self.latency_until, (mark.latency_ms, load.latency_ms), now),
            usage_until: heard(self.usage_until, (usage_mark, usage), now),
        }
    }

    /// The same when time has gone by.
    pub(crate) fn at(self, now: Moment) -> Self {
        let still = |until: Option<Moment>| until.filter(|until| now < *until);
        Self { latency_until: still(self.latency_until), usage_until: still(self.usage_until) }
    }
}

/// Until when a value counts as too high, after a report that may name it.
fn heard(
    before: Option<Moment>,
    (mark, value): (Option<u32>, Option<u32>),
    now: Moment,
) -> Option<Moment> {
    let (Some(mark), Some(value)) = (mark, value) else { return before };
    let (mark, value) = (u64::from(mark), u64::from(value));
    let is_calm = value * 1000 < mark * CALM_PER_MILLE;
    let is_high = value > mark || before.is_some() && !is_calm;
    let until = now.after_ms(COUNTS_MS);
    is_high.then(|| before.filter(|before| until - *before < REPEATS_MS).unwrap_or(until))
}

#[cfg(test)]
mod tests {
    use cotenant_types::Share;

    use super::*;

    /// Reports latencies in milliseconds, one a second, and says after each whether it suffers.
    fn check(latencies: &[u32], expected: &str) {
        let mark = Watermark { latency_ms: Some(100), usage: None };
        let mut pressure = Pressure::default();
        let told = (0..).zip(latencies).map(|(second, &latency)| {
            let load = Load { latency_ms: Some(latency), usage: None };
            pressure = pressure.after(mark, load, Moment(second * 1000));
            if pressure.is_high() { '!' } else { '.' }
        });
        assert_eq!(told.collect::<String>(), expected, "{latencies:?}");
    }

    #[test]
    fn a_mark_is_passed_going_up_and_left_well_below() {
        check(&[50, 100, 101, 100, 90, 89, 95], "..!!!..");
        check(&[101, 0, u32::MAX], "!.!");
    }

    #[test]
    fn what_is_not_reported_is_as_before() {
        let mark = Watermark { latency_ms: Some(100), usage: Some(Share::WHOLE) };
        let bad = Load { latency_ms: Some(200), usage: None };
        let calm = Load { latency_ms: None, usage: Some(Share::ZERO) };
        let pressure = Pressure::default().after(mark, bad, Moment(0));
        assert!(pressure.after(mark, calm, Moment(0)).is_high());
        assert_eq!(pressure.ends(), Moment(COUNTS_MS));
        assert!(pressure.at(Moment(COUNTS_MS - 1)).is_high());
        assert!(!pressure.at(Moment(COUNTS_MS)).is_high(), "silence is not suffering");
    }
}
