//! When an adapter is likely used next, from when it was used before.
//!
//! Uses that follow each other closely are one *visit*. The time between visits is smoothed, and so
//! is how far each was off (V. Jacobson, "Congestion avoidance and control", SIGCOMM 1988, does the
//! same for round trips). Who comes at even times (a job by the hour, a page that asks every few
//! minutes) is off by little, and is expected; who comes at random is off by about three quarters of
//! the mean, and is never expected: guessing there would cost memory and gain nothing.
//!
//! No clock is in here: `now` is an argument, in milliseconds of any origin that never goes back.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Uses nearer to each other than this are one visit.
const VISIT_MS: u64 = 10_000;
/// Times between visits that must be known before one is expected.
const GAPS_MIN: u32 = 4;
/// How far off visits are at most, as a share of the time between them, for one to be expected.
const SPREAD_MAX: f64 = 0.25;
/// How many times as far as visits are usually off the expectation begins before the time.
const EARLY: f64 = 2.0;
/// The same after it, when nobody is expected any more.
const LATE: f64 = 4.0;
/// The least of both, since expectations are looked at about once a second.
const MARGIN_MS: f64 = 2000.0;

/// What is known of adapters' use.
#[derive(Debug, Default)]
pub(super) struct Foresight {
    habits: HashMap<Arc<str>, Habit>,
    /// When an expectation begins, and whose.
    begins: BTreeSet<(u64, Arc<str>)>,
}

#[derive(Debug)]
struct Habit {
    /// Bytes that it takes, once it was loaded.
    bytes: u64,
    /// When the last visit began, and when its last use was.
    visit: u64,
    used: u64,
    /// Times between visits so far, their smoothed mean and how far each was off.
    gaps: u32,
    gap: f64,
    spread: f64,
}

/// A time in which an adapter is expected to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) from: u64,
    pub(super) until: u64,
}

impl Foresight {
    /// Notes a use.
    pub(super) fn on_use(&mut self, name: &str, now: u64) {
        let Some(habit) = self.habits.get_mut(name) else {
            let habit = Habit { bytes: 0, visit: now, used: now, gaps: 0, gap: 0.0, spread: 0.0 };
            self.habits.insert(name.into(), habit);
            return;
        };
        let is_same_visit = now.saturating_sub(habit.used) < VISIT_MS;
        habit.used = now;
        if is_same_visit {
            return;
        }
        let before = habit.expected();
        habit.on_gap((now - habit.visit) as f64);
        habit.visit = now;
        let after = habit.expected();
        if let Some(before) = before {
            self.begins.remove(&(before.from, name.into()));
        }
        if let Some(after) = after {
            self.begins.insert((after.from, name.into()));
        }
    }

    /// Notes how large one is.
    pub(super) fn on_loaded(&mut self, name: &str, bytes: u64) {
        if let Some(habit) = self.habits.get_mut(name) {
            habit.bytes = bytes;
        }
    }

    /// Whose expectation has begun, and how many bytes it takes; each is told once.
    pub(super) fn next(&mut self, now: u64) -> Option<(Arc<str>, u64)> {
        while self.begins.first().is_some_and(|(from, _)| *from <= now) {
            let (_, name) = self.begins.pop_first()?;
            let habit = self.habits.get(&name);
            let Some(habit) = habit.filter(|it| it.expected().is_some_and(|it| now <= it.until))
            else {
                continue;
            };
            return Some((name, habit.bytes));
        }
        None
    }

    /// When it is expected next, if it is at all.
    pub(super) fn expected(&self, name: &str) -> Option<Expected> {
        self.habits.get(name)?.expected()
    }

    /// When it was used last.
    pub(super) fn used(&self, name: &str) -> Option<u64> {
        self.habits.get(name).map(|habit| habit.used)
    }

    /// Forgets an adapter.
    pub(super) fn forget(&mut self, name: &str) {
        if let Some(expected) = self.expected(name) {
            self.begins.remove(&(expected.from, name.into()));
        }
        self.habits.remove(name);
    }
}

impl Habit {
    fn on_gap(&mut self, gap: f64) {
        if self.gaps == 0 {
            (self.gap, self.spread) = (gap, gap / 2.0);
        } else {
            self.spread += ((gap - self.gap).abs() - self.spread) / 4.0;
            self.gap += (gap - self.gap) / 8.0;
        }
        self.gaps += 1;
    }

    fn expected(&self) -> Option<Expected> {
        if self.gaps < GAPS_MIN || self.spread > self.gap * SPREAD_MAX {
            return None;
        }
        let next = self.visit as f64 + self.gap;
        let from = (next - (EARLY * self.spread).max(MARGIN_MS)).max(self.visit as f64);
        let until = next + (LATE * self.spread).max(MARGIN_MS);
        Some(Expected { from: from as u64, until: until as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_visits_are_expected_and_uneven_ones_are_not() {
        let mut foresight = Foresight::default();
        let minute = 60_000;
        for visit in 0..6 {
            // Three uses a visit.
            for within in 0..3 {
                foresight.on_use("hourly", visit * 60 * minute + within * 1000);
            }
        }
        foresight.on_loaded("hourly", 7);
        let expected = foresight.expected("hourly").unwrap();
        let next = 6 * 60 * minute;
        assert!(expected.from < next && next < expected.until, "{expected:?}");
        assert!(expected.from > next - 40 * minute, "not from long before: {expected:?}");
        assert_eq!(foresight.next(expected.from - 1), None);
        assert_eq!(foresight.next(expected.from), Some(("hourly".into(), 7)));
        assert_eq!(foresight.next(expected.from), None, "each is told once");
        // One that did not come is not waited for, and one that comes is expected again.
        foresight.on_use("hourly", next);
        assert_eq!(foresight.next(next + 3 * 60 * minute), None);
        for visit in [1, 2, 40, 41, 90, 99, 200, 205] {
            foresight.on_use("rarely", visit * minute);
        }
        assert_eq!(foresight.expected("rarely"), None);
        foresight.forget("hourly");
        assert_eq!((foresight.expected("hourly"), foresight.begins.len()), (None, 0));
    }

    #[test]
    fn three_times_between_visits_are_too_few() {
        let mut foresight = Foresight::default();
        for (visit, is_expected) in [(0, false), (1, false), (2, false), (3, false), (4, true)] {
            foresight.on_use("a", visit * 100_000);
            assert_eq!(foresight.expected("a").is_some(), is_expected, "{visit}");
        }
    }
}
