//! Memory of a slice, counted across its processes.
//!
//! Each process counts what it holds in a slot of its own, and what the slice holds is the sum of
//! the slots. There is no total that could drift from its parts: a process that dies is credited
//! back by freeing its slot, in one step.
//!
//! A reservation first adds to its own slot and then looks at the sum, so of any that race, the
//! last to add sees all others: the sum of what was granted never passes the limit. One that does
//! not fit is taken back. Two may then have stood in each other's way although one would fit; that
//! shows in the undecided amounts and the count of take-backs, and they try again.

mod pointers;
mod slots;
#[cfg(test)]
mod tests;

pub use pointers::{FEW, Held, PointerTable, TableFull};
pub use slots::{Identity, Liveness, join, leave, owns, reap, take_back};

use std::sync::atomic::Ordering::SeqCst;

use cotenant_types::limits::{CardWord, HeaderWord, SlotWord};

use crate::page::{CardIndex, SlotIndex, Usage};

/// How often a reservation that stood in another's way is tried again. A process that was stopped
/// in the middle of its own holds others up no longer than these.
const TRIES: u32 = 2000;

/// A process's hand in the slice's memory.
#[derive(Clone, Copy, Debug)]
pub struct Ledger<'a> {
    usage: Usage<'a>,
    slot: SlotIndex,
}

/// The reservation would pass the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// What one look at the sum says.
enum Look {
    Fits,
    Full,
    /// Others are undecided, so a refusal might be wrong.
    Unclear,
}

impl<'a> Ledger<'a> {
    /// The ledger of a process that has moved into a slot.
    pub fn new(usage: Usage<'a>, slot: SlotIndex) -> Self {
        Self { usage, slot }
    }

    /// Counts `bytes` as held, unless the slice would then hold more than `limit`.
    pub fn reserve(self, card: CardIndex, bytes: u64, limit: Option<u64>) -> Result<(), Refused> {
        let Some(limit) = limit else {
            self.add(card, bytes);
            self.note_peak(card);
            return Ok(());
        };
        if bytes > limit {
            return self.refuse(card);
        }
        for attempt in 0..TRIES {
            match self.attempt(card, bytes, limit) {
                Look::Fits => {
                    self.note_peak(card);
                    return Ok(());
                }
                Look::Full => return self.refuse(card),
                Look::Unclear => self.stand_back(attempt),
            }
        }
        self.refuse(card)
    }

    /// Counts `bytes` as held no longer; what was never held is not credited.
    pub fn release(self, card: CardIndex, bytes: u64) {
        let held = self.held(card);
        let _ = held.fetch_update(SeqCst, SeqCst, |now| Some(now.saturating_sub(bytes)));
    }

    /// What this process holds.
    pub fn own(self, card: CardIndex) -> u64 {
        self.held(card).load(SeqCst)
    }

    /// What all of the slice's processes hold.
    pub fn used(self, card: CardIndex) -> u64 {
        used(self.usage, card)
    }

    /// Whether the slice holds more than `limit`, by what is decided: others' reservations that may
    /// be taken back say nothing yet.
    pub fn is_over(self, card: CardIndex, limit: u64) -> bool {
        let rollbacks = self.usage.header(HeaderWord::ROLLBACKS);
        let mut least = u64::MAX;
        for attempt in 0..TRIES {
            let before = rollbacks.load(SeqCst);
            let decided = self.used(card).saturating_sub(undecided(self.usage, card));
            least = least.min(decided);
            // What was taken back between the two sums is in the first of them only.
            if decided <= limit || rollbacks.load(SeqCst) == before {
                return decided > limit;
            }
            self.stand_back(attempt);
        }
        least > limit
    }

    fn attempt(self, card: CardIndex, bytes: u64, limit: u64) -> Look {
        let pending = self.usage.slot(self.slot, SlotWord::PENDING + card.get());
        let rollbacks = self.usage.header(HeaderWord::ROLLBACKS);
        let before = rollbacks.load(SeqCst);
        pending.fetch_add(bytes, SeqCst);
        self.add(card, bytes);
        let look = if self.used(card) <= limit {
            Look::Fits
        } else {
            self.release(card, bytes);
            let others = undecided(self.usage, card).saturating_sub(bytes);
            let is_final = others == 0 && rollbacks.load(SeqCst) == before;
            rollbacks.fetch_add(1, SeqCst);
            if is_final { Look::Full } else { Look::Unclear }
        };
        pending.fetch_sub(bytes, SeqCst);
        look
    }

    /// Lets others decide first: those in earlier slots, mostly, so that somebody does.
    fn stand_back(self, attempt: u32) {
        let turns = (self.slot.get() as u32 * 7 + attempt) % 61;
        for _ in 0..turns {
            std::hint::spin_loop();
        }
        if attempt % 2 == 1 {
            std::thread::yield_now();
        }
    }

    /// Saturating, so that no word that was written by mistake makes room by overflow.
    fn add(self, card: CardIndex, bytes: u64) {
        let more = |now: u64| Some(now.saturating_add(bytes));
        let _ = self.held(card).fetch_update(SeqCst, SeqCst, more);
    }

    fn refuse(self, card: CardIndex) -> Result<(), Refused> {
        self.usage.card(card, CardWord::REFUSED).fetch_add(1, SeqCst);
        Err(Refused)
    }

    fn note_peak(self, card: CardIndex) {
        // While others are undecided the sum may hold what is taken back at once.
        let used = self.used(card).saturating_sub(undecided(self.usage, card));
        self.usage.card(card, CardWord::PEAK_BYTES).fetch_max(used, SeqCst);
    }

    fn held(self, card: CardIndex) -> &'a std::sync::atomic::AtomicU64 {
        self.usage.slot(self.slot, SlotWord::HELD + card.get())
    }
}

/// What all processes of a slice hold of a card.
pub fn used(usage: Usage<'_>, card: CardIndex) -> u64 {
    sum(usage, SlotWord::HELD + card.get())
}

fn undecided(usage: Usage<'_>, card: CardIndex) -> u64 {
    sum(usage, SlotWord::PENDING + card.get())
}

fn sum(usage: Usage<'_>, word: usize) -> u64 {
    let lived_in = usage.slots().filter(|slot| slots::is_lived_in(usage, *slot));
    lived_in.fold(0, |sum: u64, slot| sum.saturating_add(usage.slot(slot, word).load(SeqCst)))
}
