//! The pools that a process has, where they are, and what is charged for each.
//!
//! ```text
//! free --add--> known --destroyed--> orphan --its last block is freed--> free
//! ```

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use super::super::account::{self, Account, SUCCESS};
use super::super::cards;
use super::super::driver::{self, Handle};
use super::super::virtual_memory::Location;
use crate::page::CardIndex;

/// CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT.
const RESERVED: c_int = 5;
/// CU_MEMPOOL_ATTR_USED_MEM_CURRENT.
const USED: c_int = 7;

/// Pools that a process may have at one time; blocks of those beyond are counted one by one.
const POOLS: usize = 64;

/// Devices of which the default pool is asked for.
const DEVICES: c_int = 64;

/// Stands where a handle was; no driver gives it.
const ORPHAN: u64 = 1;

/// Where a pool's memory is.
#[derive(Clone, Copy)]
pub(super) enum Home {
    /// On a card of the slice.
    Card(CardIndex),
    /// In the host's memory, or on a card that the slice does not have.
    Elsewhere,
}

pub(super) struct Pool {
    /// The driver's handle and, in the low byte, where it is; 0 for a free place. One word, so
    /// that whoever finds a pool knows where it is.
    key: AtomicU64,
    charged: AtomicU64,
    /// Blocks that are out.
    blocks: AtomicU64,
}

static ALL: [Pool; POOLS] = [const { Pool::free() }; POOLS];
static IS_ANY: AtomicBool = AtomicBool::new(false);

/// In a child, which has no pools.
pub(super) fn forget() {
    for pool in &ALL {
        pool.clear();
    }
    IS_ANY.store(false, SeqCst);
}

impl Home {
    pub(super) fn of_current() -> Self {
        cards::current().map_or(Self::Elsewhere, Self::Card)
    }

    pub(super) fn of_location(location: &Location) -> Self {
        let device = location.device();
        device.and_then(cards::of_device).map_or(Self::Elsewhere, Self::Card)
    }

    /// Where a pool is: as was said when it was made, or on the card whose default pool it is.
    pub(super) fn of_pool(pool: Handle) -> Self {
        if let Some(known) = Pool::all().find(|known| known.is_of(pool)) {
            return known.home();
        }
        let default_of = |device| {
            let mut default = std::ptr::null_mut();
            // SAFETY: the place is ours.
            let result = unsafe { driver::cuDeviceGetDefaultMemPool(&mut default, device) };
            (result == SUCCESS).then_some((device, default))
        };
        let found = (0..DEVICES).map_while(default_of).find(|(_, default)| *default == pool);
        match found {
            Some((device, _)) => cards::of_device(device).map_or(Self::Elsewhere, Self::Card),
            None => Self::of_current(),
        }
    }

    pub(super) fn card(self) -> Option<CardIndex> {
        match self {
            Self::Card(card) => Some(card),
            Self::Elsewhere => None,
        }
    }

    fn byte(self) -> u64 {
        self.card().map_or(0xff, |card| card.get() as u64)
    }
}

impl Pool {
    const fn free() -> Self {
        Self { key: AtomicU64::new(0), charged: AtomicU64::new(0), blocks: AtomicU64::new(0) }
    }

    /// All that there are, orphans too.
    pub(super) fn all() -> impl Iterator<Item = &'static Pool> {
        let count = if IS_ANY.load(SeqCst) { POOLS } else { 0 };
        ALL[..count].iter().filter(|pool| pool.key.load(SeqCst) != 0)
    }

    /// The pool in a place.
    pub(super) fn at(place: usize) -> Option<&'static Self> {
        ALL.get(place)
    }

    /// The pool with that handle, which is put into the first free place if it is new: of two
    /// threads that do so at once, both find the same.
    pub(super) fn find_or_add(handle: Handle, home: Home) -> Option<&'static Self> {
        if let Some(known) = Self::all().find(|known| known.is_of(handle)) {
            return Some(known);
        }
        let key = (handle as u64) << 8 | home.byte();
        let found =
            ALL.iter().find(|pool| match pool.key.compare_exchange(0, key, SeqCst, SeqCst) {
                Ok(_) => true,
                Err(seen) => seen >> 8 == handle as u64,
            });
        IS_ANY.store(true, SeqCst);
        found
    }

    pub(super) fn place(&self) -> usize {
        (std::ptr::from_ref(self) as usize - ALL.as_ptr() as usize) / size_of::<Self>()
    }

    pub(super) fn is_of(&self, handle: Handle) -> bool {
        self.key.load(SeqCst) >> 8 == handle as u64
    }

    pub(super) fn is_on(&self, card: CardIndex) -> bool {
        self.home().card() == Some(card)
    }

    pub(super) fn home(&self) -> Home {
        let card = CardIndex::new((self.key.load(SeqCst) & 0xff) as usize);
        card.map_or(Home::Elsewhere, Home::Card)
    }

    pub(super) fn note_block(&self) {
        self.blocks.fetch_add(1, SeqCst);
    }

    pub(super) fn forget_block(&self) {
        let _ = self.blocks.fetch_update(SeqCst, SeqCst, |now| now.checked_sub(1));
    }

    /// What the pool has reserved and nobody uses.
    pub(super) fn spare(&self) -> Option<u64> {
        Some(self.attribute(RESERVED)?.saturating_sub(self.attribute(USED)?))
    }

    /// Charges what the pool has reserved now, in place of a reservation and of what was charged
    /// before: at no time does a block count twice. False if the driver does not say.
    pub(super) fn settle(&self, account: Account, reservation: u64) -> bool {
        let Some(mut reserved) = self.attribute(RESERVED) else { return false };
        let before = self.charged.swap(reserved, SeqCst);
        account.replace(before.saturating_add(reservation), reserved);
        // Another thread may have changed it meanwhile, and charged its own figure before ours.
        for _ in 0..4 {
            match self.attribute(RESERVED) {
                Some(again) if again != reserved => reserved = again,
                _ => break,
            }
            account.replace(self.charged.swap(reserved, SeqCst), reserved);
        }
        true
    }

    /// Charges what the pool has reserved now; an orphan's last block may be gone.
    pub(super) fn follow(&self) {
        let Some(account) = self.home().card().and_then(account::of_card) else { return };
        if !self.is_orphan() {
            self.settle(account, 0);
        } else if self.blocks.load(SeqCst) == 0 {
            account.release(self.charged.swap(0, SeqCst));
            self.key.store(0, SeqCst);
        }
    }

    pub(super) fn trim(&self, account: Account) -> bool {
        if self.is_orphan() {
            return false;
        }
        let before = self.charged.load(SeqCst);
        // SAFETY: the pool was given by the driver or the program.
        unsafe { driver::cuMemPoolTrimTo(self.handle(), 0) };
        self.settle(account, 0) && self.charged.load(SeqCst) < before
    }

    /// Gives up what it keeps for nothing, wherever it is.
    pub(super) fn give_up(&self) {
        if let Some(account) = self.home().card().and_then(account::of_card) {
            self.trim(account);
        }
    }

    /// The driver knows the pool no longer. A block that was freed in a stream's order may not be
    /// free yet, so what is charged still goes with the next wait.
    pub(super) fn orphan(&'static self) {
        self.key.store(ORPHAN << 8 | self.home().byte(), SeqCst);
        if self.charged.load(SeqCst) == 0 && self.blocks.load(SeqCst) == 0 {
            self.key.store(0, SeqCst);
        }
    }

    fn is_orphan(&self) -> bool {
        self.key.load(SeqCst) >> 8 == ORPHAN
    }

    fn handle(&self) -> Handle {
        (self.key.load(SeqCst) >> 8) as Handle
    }

    fn attribute(&self, attribute: c_int) -> Option<u64> {
        let mut value = 0;
        // SAFETY: the pool was given by the driver or the program, and the place is ours.
        let result = unsafe { driver::cuMemPoolGetAttribute(self.handle(), attribute, &mut value) };
        (result == SUCCESS).then_some(value)
    }

    fn clear(&self) {
        for word in [&self.key, &self.charged, &self.blocks] {
            word.store(0, SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Barrier;

    use super::*;

    /// Threads that use a pool for the first time at once find one place, not one each.
    #[test]
    fn a_pool_has_one_place_whoever_adds_it() {
        const THREADS: usize = 8;
        let start = Barrier::new(THREADS);
        for round in 1..=POOLS {
            let handle = (0x7f00_0000_0000 + round * 16) as u64;
            let places: BTreeSet<Option<usize>> = std::thread::scope(|scope| {
                let add = || {
                    start.wait();
                    Pool::find_or_add(handle as Handle, Home::Elsewhere).map(Pool::place)
                };
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(add)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(places, BTreeSet::from([Some(round - 1)]));
        }
        assert!(Pool::find_or_add(16 as Handle, Home::Elsewhere).is_none(), "there is no room");
        forget();
        assert_eq!(Pool::all().count(), 0);
    }
}
