//! What this process holds under which pointer or handle.
//!
//! A fixed table in three levels, each sixteen times as large as the one before, so that a program
//! with few allocations touches few pages. Nothing is ever locked: an entry is claimed by one
//! compare-and-swap of its key, and given up by one of its value, so a pointer that two threads
//! free at once is credited once.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

use crate::page::CardIndex;

const FREE: u64 = 0;
/// Claimed, but its value is not there yet.
const CLAIMED: u64 = u64::MAX;
/// Was in use: a search goes on past it, and it may be claimed again.
const LEFT: u64 = u64::MAX - 1;

/// Entries that a search looks at in a level before it goes to the next.
const PROBES: usize = 32;
const SMALL: usize = 1 << 12;
const MEDIUM: usize = 1 << 16;
/// The last level of a table for whatever a program may have.
const MANY: usize = 1 << 20;
/// The last level of a table for what programs have few of.
pub const FEW: usize = PROBES;

/// What is held under a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The card that it counts on.
    pub card: CardIndex,
    /// How much; below 2^56.
    pub bytes: u64,
    /// The context that it goes away with; 0 for none.
    pub context: u64,
}

/// There is no room for another pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableFull;

struct Entry {
    key: AtomicU64,
    /// Card and amount, with the top bit set while there is one.
    value: AtomicU64,
    context: AtomicU64,
}

/// A table from pointers to what is held under them.
pub struct PointerTable<const LARGE: usize = MANY> {
    small: [Entry; SMALL],
    medium: [Entry; MEDIUM],
    large: [Entry; LARGE],
    /// Keys that were ever put into each level, so that clearing touches no unused page.
    used: [AtomicUsize; 3],
}

impl Entry {
    const fn empty() -> Self {
        Self { key: AtomicU64::new(FREE), value: AtomicU64::new(0), context: AtomicU64::new(0) }
    }

    /// Gives the entry up; only one of several who try gets what was in it.
    fn take(&self) -> Option<Held> {
        let context = self.context.load(SeqCst);
        let held = Held::unpack(self.value.swap(0, SeqCst), context)?;
        self.context.store(0, SeqCst);
        self.key.store(LEFT, SeqCst);
        Some(held)
    }
}

impl<const LARGE: usize> Default for PointerTable<LARGE> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const LARGE: usize> PointerTable<LARGE> {
    /// An empty table; large, so make it a static.
    pub const fn new() -> Self {
        Self {
            small: [const { Entry::empty() }; SMALL],
            medium: [const { Entry::empty() }; MEDIUM],
            large: [const { Entry::empty() }; LARGE],
            used: [const { AtomicUsize::new(0) }; 3],
        }
    }

    /// Remembers what is held under `key`, and returns what was held under it before: memory that
    /// went away without a word.
    pub fn insert(&self, key: u64, held: Held) -> Result<Option<Held>, TableFull> {
        if matches!(key, FREE | CLAIMED | LEFT) {
            return Err(TableFull);
        }
        let before = self.remove(key);
        for (level, entries) in self.levels().into_iter().enumerate() {
            for entry in probes(entries, key) {
                let found = entry.key.load(SeqCst);
                if matches!(found, FREE | LEFT)
                    && entry.key.compare_exchange(found, CLAIMED, SeqCst, SeqCst).is_ok()
                {
                    entry.context.store(held.context, SeqCst);
                    entry.value.store(held.pack(), SeqCst);
                    entry.key.store(key, SeqCst);
                    self.used[level].fetch_add(1, SeqCst);
                    return Ok(before);
                }
            }
        }
        Err(TableFull)
    }

    /// Forgets what is held under `key` and returns it; only one of several who ask gets it.
    pub fn remove(&self, key: u64) -> Option<Held> {
        self.find(key)?.take()
    }

    /// What is held under `key`.
    pub fn get(&self, key: u64) -> Option<Held> {
        let entry = self.find(key)?;
        Held::unpack(entry.value.load(SeqCst), entry.context.load(SeqCst))
    }

    /// The first of what is held of which that is true, by key; looks at all of it.
    pub fn first(&self, is_it: impl Fn(u64, Held) -> bool) -> Option<Held> {
        let levels = self.levels().into_iter().zip(&self.used);
        let used = levels.filter(|(_, used)| used.load(SeqCst) > 0);
        used.flat_map(|(entries, _)| entries).find_map(|entry| {
            let held = Held::unpack(entry.value.load(SeqCst), entry.context.load(SeqCst))?;
            is_it(entry.key.load(SeqCst), held).then_some(held)
        })
    }

    /// Forgets what goes away with a context, and hands each to `credit`.
    pub fn remove_context(&self, context: u64, mut credit: impl FnMut(Held)) {
        for (level, entries) in self.levels().into_iter().enumerate() {
            if context == 0 || self.used[level].load(SeqCst) == 0 {
                continue;
            }
            for entry in entries.iter().filter(|entry| entry.context.load(SeqCst) == context) {
                if let Some(held) = entry.take() {
                    credit(held);
                }
            }
        }
    }

    /// Forgets everything: in a child process, which holds nothing.
    pub fn clear(&self) {
        for (level, entries) in self.levels().into_iter().enumerate() {
            if self.used[level].swap(0, SeqCst) == 0 {
                continue;
            }
            for entry in entries {
                entry.value.store(0, SeqCst);
                entry.key.store(FREE, SeqCst);
            }
        }
    }

    fn find(&self, key: u64) -> Option<&Entry> {
        if matches!(key, FREE | CLAIMED | LEFT) {
            return None;
        }
        for entries in self.levels() {
            for entry in probes(entries, key) {
                match entry.key.load(SeqCst) {
                    found if found == key => return Some(entry),
                    // Nothing was ever put behind a free entry of this level, or below it.
                    FREE => return None,
                    _ => {}
                }
            }
        }
        None
    }

    fn levels(&self) -> [&[Entry]; 3] {
        [&self.small, &self.medium, &self.large]
    }
}

impl Held {
    fn pack(self) -> u64 {
        1 << 63 | (self.card.get() as u64) << 56 | self.bytes.min((1 << 56) - 1)
    }

    fn unpack(word: u64, context: u64) -> Option<Self> {
        let card = CardIndex::new((word >> 56 & 0x7f) as usize)?;
        (word >> 63 == 1).then_some(Self { card, bytes: word & ((1 << 56) - 1), context })
    }
}

fn probes(entries: &[Entry], key: u64) -> impl Iterator<Item = &Entry> {
    let mixed = (key ^ key >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let first = (mixed ^ mixed >> 29) as usize;
    let mask = entries.len() - 1;
    (0..PROBES).map(move |step| &entries[(first + step) & mask])
}
