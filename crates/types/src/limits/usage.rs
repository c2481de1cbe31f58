//! Where each word of the usage page stands.
//!
//! A page of zeros is a valid, empty one. Nothing on it is a lock: each word is changed by one
//! atomic step, and what a killed process leaves half done is either harmless or found by others.

use super::CARDS_MAX;

/// Sizes of the usage page, in words.
pub struct UsageLayout;

/// Words of the page's head.
pub struct HeaderWord;

/// Words of a card, from the card's first.
pub struct CardWord;

/// Words of a process's slot, from the slot's first.
pub struct SlotWord;

impl UsageLayout {
    /// Processes that a slice may have at one time.
    pub const SLOTS_MAX: usize = 1024;
    /// Where the cards begin.
    pub const CARD_FIRST: usize = 16;
    /// From one card to the next.
    pub const CARD_STRIDE: usize = 32;
    /// Where the slots begin.
    pub const SLOT_FIRST: usize = Self::CARD_FIRST + CARDS_MAX * Self::CARD_STRIDE;
    /// From one slot to the next.
    pub const SLOT_STRIDE: usize = SlotWord::PENDING + CARDS_MAX;
    /// All words.
    pub const COUNT: usize = Self::SLOT_FIRST + Self::SLOTS_MAX * Self::SLOT_STRIDE;
    /// The size of the file.
    pub const BYTES: usize = Self::COUNT * 8;

    /// A word of a card.
    pub const fn card(card: usize, word: usize) -> usize {
        Self::CARD_FIRST + card * Self::CARD_STRIDE + word
    }

    /// A word of a slot.
    pub const fn slot(slot: usize, word: usize) -> usize {
        Self::SLOT_FIRST + slot * Self::SLOT_STRIDE + word
    }
}

impl HeaderWord {
    /// Says what the file is; 0 until the first process comes.
    pub const MAGIC: usize = 0;
    /// No slot from this number on was ever taken.
    pub const SLOTS_USED: usize = 1;
    /// Reservations that were taken back because they did not fit; by it others know that what
    /// they saw was not final.
    pub const ROLLBACKS: usize = 2;
    /// Entry points that the library does not know and passed through.
    pub const UNKNOWN_SYMBOLS: usize = 3;
    /// Calls that passed through because the library could not do its work.
    pub const FAILURES: usize = 4;
    /// The value of [`Self::MAGIC`]; its last byte is the layout's version.
    pub const MAGIC_VALUE: u64 = u64::from_le_bytes(*b"COTUSE\0\x01");
}

impl CardWord {
    /// When the compute bucket is even, on the machine's steady clock in ns: before it there is
    /// debt, after it there is credit.
    pub const DUE_NS: usize = 0;
    /// The grant, in thousandths, that the debt was counted with.
    pub const GRANT_MILLI: usize = 1;
    /// Compute time charged, ever.
    pub const CHARGED_NS: usize = 2;
    /// Submissions, ever.
    pub const SUBMISSIONS: usize = 3;
    /// When a process last submitted or wished to, on the steady clock; who waits says so anew every
    /// few milliseconds.
    pub const WANTED_AT_NS: usize = 4;
    /// Time that processes were kept waiting, ever, summed over threads.
    pub const WAITED_NS: usize = 5;
    /// Factor on measured costs, in millionths; 0 means 1.
    pub const CORRECTION_PPM: usize = 6;
    /// [`CardWord::MEASURED_NS`] when the driver's figure last came in.
    pub const SEEN_MEASURED_NS: usize = 7;
    /// The driver's figure then.
    pub const SEEN_BUSY_NS: usize = 8;
    /// When that was.
    pub const SEEN_AT_NS: usize = 9;
    /// Compute time charged, ever, without the factor.
    pub const MEASURED_NS: usize = 10;
    /// The driver's figure, and [`CardWord::CHARGED_NS`], from which on both are compared.
    pub const BASE_BUSY_NS: usize = 11;
    /// See [`CardWord::BASE_BUSY_NS`].
    pub const BASE_CHARGED_NS: usize = 12;
    /// The most that a single submission took lately.
    pub const LARGEST_NS: usize = 13;
    /// Allocations that the limit refused.
    pub const REFUSED: usize = 16;
    /// The most memory that was ever held at once.
    pub const PEAK_BYTES: usize = 17;
    /// Submissions whose cost was taken from a default, ever.
    pub const UNMEASURED: usize = 18;
}

impl SlotWord {
    /// Process number and start, and whether it is still moving in; 0 for a free slot.
    pub const OWNER: usize = 0;
    /// Where the process's stack begins, which tells one program from the next that the process
    /// becomes; 0 if unknown.
    pub const IMAGE: usize = 1;
    /// The process-number namespace in which the owner's number counts; 0 if unknown.
    pub const NAMESPACE: usize = 2;
    /// Memory held, by card, reservations included.
    pub const HELD: usize = 16;
    /// Reservations that are not decided yet, by card.
    pub const PENDING: usize = Self::HELD + CARDS_MAX;
}
