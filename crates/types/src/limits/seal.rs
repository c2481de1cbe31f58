//! Where each word of the limit page stands, and the checksum that seals it.

use super::CARDS_MAX;

/// Words of the limit page by number.
pub struct LimitWord;

impl LimitWord {
    /// Says what the file is.
    pub const MAGIC: usize = 0;
    /// The layout's version.
    pub const VERSION: usize = 1;
    /// Odd while the page is being written; another number after each write. Its low half is what
    /// processes wait on.
    pub const SEQUENCE: usize = 2;
    /// Over every word of the body in use.
    pub const CHECKSUM: usize = 3;
    /// Number of cards.
    pub const CARDS: usize = 4;
    /// What happens when the library cannot do its work.
    pub const ON_FAILURE: usize = 5;
    /// Which processes a program may see on its cards.
    pub const SHOWN: usize = 6;
    /// Where the cards begin.
    pub const CARD_FIRST: usize = 16;
    /// From one card to the next.
    pub const CARD_STRIDE: usize = 16;
    /// All words of a page.
    pub const COUNT: usize = Self::CARD_FIRST + CARDS_MAX * Self::CARD_STRIDE;

    /// The value of [`Self::MAGIC`].
    pub const MAGIC_VALUE: u64 = u64::from_le_bytes(*b"COTLIMIT");
    /// The value of [`Self::VERSION`] that this code writes and reads.
    pub const VERSION_VALUE: u64 = 1;

    /// Words in use on a page of so many cards.
    pub const fn used(cards: usize) -> usize {
        Self::CARD_FIRST + cards * Self::CARD_STRIDE
    }
}

/// FNV-1a over whole words, with a final mix, so that a torn or damaged page is noticed.
pub(super) fn checksum(body: &[u64]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for word in body {
        hash = (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }
    hash ^ (hash >> 32)
}
