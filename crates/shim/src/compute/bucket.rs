//! The bucket of one slice on one card, in two words that all its processes share.
//!
//! Instead of an amount that somebody must refill, the bucket holds the moment at which the slice
//! is even. A submission moves it on by its cost over the grant; as long as it lies ahead, the
//! slice is in debt and waits for it. So nobody leads, nobody refills, there is nothing to lock,
//! and a process that is killed anywhere leaves a moment that passes.

use std::sync::atomic::Ordering::Relaxed;

use cotenant_types::limits::CardWord;

use super::grant::is_unbounded;
use crate::page::{CardIndex, Usage};

/// How far the even moment may lie behind: time for which a slice that was not ready, or woke late,
/// may catch up. What a slice does not use within it is lost.
pub const CREDIT_NS: u64 = 200_000_000;

/// Debts end after an hour, whatever was estimated or written there.
const DEBT_NS_MAX: u64 = 3_600_000_000_000;

/// Whether a submission may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may, and has been charged.
    Go,
    /// Not before this moment of the steady clock.
    WaitUntil(u64),
}

/// A slice's compute on a card.
#[derive(Clone, Copy, Debug)]
pub struct Bucket<'a> {
    usage: Usage<'a>,
    card: CardIndex,
}

impl<'a> Bucket<'a> {
    /// The bucket of a card.
    pub fn new(usage: Usage<'a>, card: CardIndex) -> Self {
        Self { usage, card }
    }

    /// Charges `cost_ns` of compute if the slice is even or in credit.
    pub fn admit(self, cost_ns: u64, grant_milli: u32, now_ns: u64) -> Admission {
        self.follow(grant_milli, now_ns);
        if is_unbounded(grant_milli) {
            return Admission::Go;
        }
        let due = self.usage.card(self.card, CardWord::DUE_NS);
        let mut seen = due.load(Relaxed);
        loop {
            let even =
                seen.clamp(now_ns.saturating_sub(CREDIT_NS), now_ns.saturating_add(DEBT_NS_MAX));
            if even > now_ns {
                return Admission::WaitUntil(even);
            }
            let next = even.saturating_add(stretched(cost_ns, grant_milli));
            match due.compare_exchange_weak(seen, next, Relaxed, Relaxed) {
                Ok(_) => return Admission::Go,
                Err(other) => seen = other,
            }
        }
    }

    /// Charges more, or gives back, when a cost that was charged has become known.
    pub fn settle(self, difference_ns: i64, grant_milli: u32) {
        if is_unbounded(grant_milli) || difference_ns == 0 {
            return;
        }
        let due = self.usage.card(self.card, CardWord::DUE_NS);
        let wall = stretched(difference_ns.unsigned_abs(), grant_milli).min(DEBT_NS_MAX);
        let _ = due.fetch_update(Relaxed, Relaxed, |even| {
            Some(match difference_ns > 0 {
                true => even.saturating_add(wall),
                false => even.saturating_sub(wall),
            })
        });
    }

    /// Counts a debt anew when the grant changes, so that a slice that gets more waits less at
    /// once. Only one process does it; if it is killed in between, the old debt stands.
    fn follow(self, grant_milli: u32, now_ns: u64) {
        let word = self.usage.card(self.card, CardWord::GRANT_MILLI);
        let before = word.load(Relaxed);
        if before == u64::from(grant_milli) {
            return;
        }
        if word.compare_exchange(before, u64::from(grant_milli), Relaxed, Relaxed).is_err() {
            return;
        }
        let due = self.usage.card(self.card, CardWord::DUE_NS);
        let _ = due.fetch_update(Relaxed, Relaxed, |even| {
            let debt = even.saturating_sub(now_ns).min(DEBT_NS_MAX);
            let debt = u128::from(debt) * u128::from(before) / u128::from(grant_milli.max(1));
            // Credit was of the old grant, so a change forgives debts in proportion but gives none.
            Some(now_ns.saturating_add(debt.min(u128::from(DEBT_NS_MAX)) as u64))
        });
    }
}

/// The time in which a slice with that grant earns that much compute.
fn stretched(cost_ns: u64, grant_milli: u32) -> u64 {
    let wall = u128::from(cost_ns) * 1000 / u128::from(grant_milli.max(1));
    u64::try_from(wall).unwrap_or(u64::MAX)
}
