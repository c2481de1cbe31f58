//! A program's memory on a card: reserved before the driver is asked, remembered by pointer.

use std::ffi::c_int;

use super::{cards, driver, graph_memory, pools, state, virtual_memory};
use crate::ledger::{Held, Ledger, PointerTable};
use crate::page::CardIndex;

/// The driver's word for a call that did what it should.
pub(super) const SUCCESS: c_int = 0;
/// CUDA_ERROR_OUT_OF_MEMORY: what a program knows how to take.
pub(super) const OUT_OF_MEMORY: c_int = 2;
/// CUDA_ERROR_NOT_PERMITTED.
pub(super) const NOT_PERMITTED: c_int = 800;

static POINTERS: PointerTable = PointerTable::new();

/// How a call that takes memory stands.
pub(super) enum Standing {
    /// It is nobody's business.
    Free,
    /// It counts here.
    Counted(Account),
    /// It cannot be counted, and then it is not to be done.
    Refused,
}

/// This process's account on a card.
#[derive(Clone, Copy)]
pub(super) struct Account {
    ledger: Ledger<'static>,
    card: CardIndex,
}

/// How a call stands that takes memory of the current context's card.
pub(super) fn current() -> Standing {
    standing(cards::current)
}

/// How a call stands that takes memory of a device.
pub(super) fn of_device(device: c_int) -> Standing {
    standing(|| cards::of_device(device))
}

/// How a call stands that takes memory of a card; of none of the slice's if there is none.
pub(super) fn on_card(card: Option<CardIndex>) -> Standing {
    standing(|| card)
}

/// The account of a card that memory was taken from before.
pub(super) fn of_card(card: CardIndex) -> Option<Account> {
    Some(Account { ledger: state::ledger()?, card })
}

fn standing(card: impl Fn() -> Option<CardIndex>) -> Standing {
    match state::phase() {
        state::Phase::Free => return Standing::Free,
        state::Phase::Refusing => return Standing::Refused,
        state::Phase::Limited => cards::refresh(),
    }
    let Some(card) = card() else { return Standing::Free };
    if !state::has_slot() {
        state::keep_slot();
    }
    match of_card(card) {
        Some(account) => Standing::Counted(account),
        None => match state::on_failure(NOT_PERMITTED) {
            None => Standing::Free,
            Some(_) => Standing::Refused,
        },
    }
}

impl Account {
    pub(super) fn card(self) -> CardIndex {
        self.card
    }

    /// Reserves memory, or says what the program is to be told. What dead processes held and what
    /// pools keep for nothing is given up before anything is refused.
    pub(super) fn reserve(self, bytes: u64) -> Result<(), c_int> {
        // What takes nothing is refused to nobody, not even to a slice that is over its limit.
        if bytes == 0 || self.try_reserve(bytes) {
            return Ok(());
        }
        let freed = state::reap() > 0;
        if freed && self.try_reserve(bytes) {
            return Ok(());
        }
        if pools::trim(self) && self.try_reserve(bytes) {
            return Ok(());
        }
        Err(OUT_OF_MEMORY)
    }

    fn try_reserve(self, bytes: u64) -> bool {
        let (limit, overhead) = cards::memory(self.card);
        let limit = limit.map(|limit| limit.saturating_sub(overhead));
        self.ledger.reserve(self.card, bytes, limit).is_ok()
    }

    /// Counts memory that is taken already, whatever the limit.
    pub(super) fn count(self, bytes: u64) {
        // Without a limit nothing is refused.
        let _ = self.ledger.reserve(self.card, bytes, None);
    }

    /// Counts one amount in place of another, in one step, whatever the limit.
    pub(super) fn replace(self, before: u64, after: u64) {
        if after > before {
            self.count(after - before);
        } else {
            self.release(before - after);
        }
    }

    pub(super) fn release(self, bytes: u64) {
        self.ledger.release(self.card, bytes);
    }

    /// Whether the slice holds more than it may, even after what dead processes held and pools
    /// keep for nothing was given up.
    pub(super) fn is_over(self) -> bool {
        if !self.seems_over() || state::reap() > 0 && !self.seems_over() {
            return false;
        }
        !pools::trim(self) || self.seems_over()
    }

    fn seems_over(self) -> bool {
        let (limit, overhead) = cards::memory(self.card);
        let limit = limit.map(|limit| limit.saturating_sub(overhead));
        limit.is_some_and(|limit| self.ledger.is_over(self.card, limit))
    }

    /// Remembers what was reserved under what the driver gave for it. If there is no room, it
    /// stays counted until the process ends, and that is noted.
    pub(super) fn remember(self, key: u64, bytes: u64) {
        let held = Held { card: self.card, bytes, context: current_context() };
        match POINTERS.insert(key, held) {
            Ok(None) => {}
            Ok(Some(gone)) => credit(gone),
            Err(_) => state::count_failure(),
        }
    }
}

/// Gives back what is held under a key, unless the driver then does not free it.
pub(super) fn free(call: impl Fn() -> c_int, key: u64) -> c_int {
    if state::phase() != state::Phase::Limited {
        return call();
    }
    // It goes first: once the driver has freed it, another thread may get the same address.
    let Some(held) = POINTERS.remove(key) else { return call() };
    let result = call();
    if result == SUCCESS {
        credit(held);
    } else if POINTERS.insert(key, held).is_err() {
        state::count_failure();
    }
    result
}

/// Credits all that went away with a context.
pub(super) fn forget_context(context: u64) {
    POINTERS.remove_context(context, credit);
    pools::forget_context(context);
}

/// In a child, which holds nothing.
pub(super) fn forget() {
    POINTERS.clear();
    pools::forget();
    graph_memory::forget();
    virtual_memory::forget();
}

pub(super) fn credit(held: Held) {
    if let Some(account) = of_card(held.card) {
        account.release(held.bytes);
    }
}

/// The calling thread's current context as a number; 0 for none.
pub(super) fn current_context() -> u64 {
    let mut context = std::ptr::null_mut();
    // SAFETY: the place is ours.
    match unsafe { driver::cuCtxGetCurrent(&mut context) } {
        SUCCESS => context as u64,
        _ => 0,
    }
}
