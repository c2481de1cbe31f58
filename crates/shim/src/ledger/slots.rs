//! Who lives in which slot of the usage page.
//!
//! ```text
//! free --join--> moving in --(words cleared)--> lived in --leave, or found dead--> free
//! ```
//! Each arrow is one compare-and-swap of the owner word. A slot that is moved into counts as empty,
//! and so does a free one, so that stale words of a former owner never count.

use std::sync::atomic::Ordering::SeqCst;

use cotenant_types::limits::{CARDS_MAX, HeaderWord, SlotWord, UsageLayout};

use crate::page::{SlotIndex, Usage};

/// Set in the owner word while its owner is still moving in.
const MOVING_IN: u64 = 1 << 63;

/// A process, so that it is never taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its number, as it sees it itself; below 2^31.
    pub pid: u32,
    /// When it was started, in the kernel's ticks; the low half will do.
    pub start: u32,
    /// Where its stack begins: another number for each program that the process becomes. 0 if it
    /// cannot be seen.
    pub image: u64,
    /// The namespace in which `pid` is its number; 0 if unknown.
    pub namespace: u64,
}

/// Tells whether processes still live.
pub trait Liveness {
    /// The process that asks.
    fn own(&self) -> Identity;

    /// Whether that process lives and still runs the same program. True if that cannot be seen.
    fn lives(&self, process: Identity) -> bool;
}

/// Moves into a free slot, after freeing those of the dead. `None` if there is none.
///
/// A slot of the same process from before it became another program is freed on the way.
pub fn join(usage: Usage<'_>, liveness: &impl Liveness) -> Option<SlotIndex> {
    reap(usage, liveness);
    let own = liveness.own();
    let owner = own.owner_word();
    for index in 0..UsageLayout::SLOTS_MAX {
        let slot = SlotIndex::new(index)?;
        let word = usage.slot(slot, SlotWord::OWNER);
        if word.load(SeqCst) != 0
            || word.compare_exchange(0, owner | MOVING_IN, SeqCst, SeqCst).is_err()
        {
            continue;
        }
        usage.header(HeaderWord::SLOTS_USED).fetch_max(index as u64 + 1, SeqCst);
        usage.slot(slot, SlotWord::IMAGE).store(own.image, SeqCst);
        usage.slot(slot, SlotWord::NAMESPACE).store(own.namespace, SeqCst);
        for word in SlotWord::HELD..SlotWord::PENDING + CARDS_MAX {
            usage.slot(slot, word).store(0, SeqCst);
        }
        // Lost only if somebody in another namespace took us for dead meanwhile.
        if word.compare_exchange(owner | MOVING_IN, owner, SeqCst, SeqCst).is_ok() {
            return Some(slot);
        }
    }
    None
}

/// Frees a slot and all that is counted in it.
pub fn leave(usage: Usage<'_>, slot: SlotIndex, own: Identity) {
    let word = usage.slot(slot, SlotWord::OWNER);
    // A slot that is no longer ours was freed already.
    let _ = word.compare_exchange(own.owner_word(), 0, SeqCst, SeqCst);
}

/// Whether a slot is that process's.
pub fn owns(usage: Usage<'_>, slot: SlotIndex, process: Identity) -> bool {
    usage.slot(slot, SlotWord::OWNER).load(SeqCst) == process.owner_word()
}

/// Takes back a slot that somebody freed who took this process for dead, with all that is counted in
/// it. False if another has moved in meanwhile.
pub fn take_back(usage: Usage<'_>, slot: SlotIndex, own: Identity) -> bool {
    let word = usage.slot(slot, SlotWord::OWNER);
    word.compare_exchange(0, own.owner_word(), SeqCst, SeqCst).is_ok()
}

/// Frees the slots of processes that died or became another program; says how many.
pub fn reap(usage: Usage<'_>, liveness: &impl Liveness) -> usize {
    let own = liveness.own();
    let mut freed = 0;
    for slot in usage.slots() {
        let word = usage.slot(slot, SlotWord::OWNER);
        let owner = word.load(SeqCst);
        if owner == 0 {
            continue;
        }
        let process = Identity {
            pid: (owner >> 32) as u32 & 0x7fff_ffff,
            start: owner as u32,
            image: match owner & MOVING_IN {
                0 => usage.slot(slot, SlotWord::IMAGE).load(SeqCst),
                // It may still be a former owner's.
                _ => 0,
            },
            namespace: usage.slot(slot, SlotWord::NAMESPACE).load(SeqCst),
        };
        // Another namespace's numbers mean other processes here; its own members will look.
        let is_known = process.namespace == own.namespace || process.namespace == 0;
        if is_known
            && !liveness.lives(process)
            && word.compare_exchange(owner, 0, SeqCst, SeqCst).is_ok()
        {
            freed += 1;
        }
    }
    freed
}

pub(super) fn is_lived_in(usage: Usage<'_>, slot: SlotIndex) -> bool {
    let owner = usage.slot(slot, SlotWord::OWNER).load(SeqCst);
    owner != 0 && owner & MOVING_IN == 0
}

impl Identity {
    fn owner_word(self) -> u64 {
        u64::from(self.pid & 0x7fff_ffff) << 32 | u64::from(self.start)
    }
}
