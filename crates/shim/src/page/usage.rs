//! The usage page: what a slice's processes use, in words that several processes change at once.

use std::sync::atomic::{AtomicU64, Ordering};

use cotenant_types::limits::{CARDS_MAX, HeaderWord, UsageLayout};

/// A card's place on both pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CardIndex(u8);

/// A process's place on the usage page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlotIndex(u16);

/// A usage page of the right size and kind.
#[derive(Clone, Copy, Debug)]
pub struct Usage<'a> {
    words: &'a [AtomicU64],
}

impl CardIndex {
    /// The place, if a page has it.
    pub fn new(index: usize) -> Option<Self> {
        (index < CARDS_MAX).then_some(Self(index as u8))
    }

    /// The place as a number below [`CARDS_MAX`].
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

impl SlotIndex {
    /// The place, if a page has it.
    pub fn new(index: usize) -> Option<Self> {
        (index < UsageLayout::SLOTS_MAX).then_some(Self(index as u16))
    }

    /// The place as a number below [`UsageLayout::SLOTS_MAX`].
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

impl<'a> Usage<'a> {
    /// Takes words as a usage page, and marks them as one if they are new.
    ///
    /// `None` if they are too few or hold something else.
    pub fn adopt(words: &'a [AtomicU64]) -> Option<Self> {
        if words.len() < UsageLayout::COUNT {
            return None;
        }
        let magic = words[HeaderWord::MAGIC].compare_exchange(
            0,
            HeaderWord::MAGIC_VALUE,
            Ordering::SeqCst,
            Ordering::SeqCst,
        );
        matches!(magic, Ok(_) | Err(HeaderWord::MAGIC_VALUE)).then_some(Self { words })
    }

    /// Words that were adopted before; looking again would cost each call a write to a shared line.
    pub fn adopted(words: &'a [AtomicU64]) -> Option<Self> {
        (words.len() >= UsageLayout::COUNT).then_some(Self { words })
    }

    /// A word of the head.
    pub fn header(self, word: usize) -> &'a AtomicU64 {
        &self.words[word]
    }

    /// A word of a card.
    pub fn card(self, card: CardIndex, word: usize) -> &'a AtomicU64 {
        &self.words[UsageLayout::card(card.get(), word)]
    }

    /// A word of a slot.
    pub fn slot(self, slot: SlotIndex, word: usize) -> &'a AtomicU64 {
        &self.words[UsageLayout::slot(slot.get(), word)]
    }

    /// The slots that were ever taken.
    pub fn slots(self) -> impl Iterator<Item = SlotIndex> {
        let used = self.header(HeaderWord::SLOTS_USED).load(Ordering::SeqCst);
        let used = usize::try_from(used).unwrap_or(usize::MAX).min(UsageLayout::SLOTS_MAX);
        (0..used).filter_map(SlotIndex::new)
    }
}
