//! The page on which a watched program's calls to its cards are counted.
//!
//! Whoever watches makes a file of zeros and names it in the program's environment; the preload
//! library in each process of the program takes a slot of it and counts there. The watcher reads it
//! without trusting it. As with [`crate::limits`], this is the layout and nothing else.

/// The variable that names the file.
pub const TRACE_VARIABLE: &str = "COTENANT_TRACE";

/// Processes that a page has room for.
pub const TRACED_MAX: usize = 256;

/// What a call to the driver is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallKind {
    /// Submits kernels or a graph.
    Launch,
    /// Copies to a card from memory that the card cannot read by itself, so that the call waits.
    CopyFromPageable,
    /// Copies to a card from pinned memory, and waits until that is done.
    CopyAndWait,
    /// Copies to a card from pinned memory while the program goes on.
    CopyBehind,
    /// Fetches a little from a card, and waits for it: a value that the program wants to see.
    ReadValue,
    /// Fetches much from a card, and waits for it.
    Fetch,
    /// Fetches from a card while the program goes on.
    FetchBehind,
    /// Waits for a stream, an event or the whole card.
    Synchronize,
    /// Takes or frees memory of the card.
    Allocate,
}

/// How long the program kept the card waiting between two calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GapLength {
    /// Less than 100 microseconds: what submitting itself costs.
    Short,
    /// Less than a millisecond.
    Medium,
    /// Longer.
    Long,
}

/// Why the card had nothing left to do when a gap began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GapStart {
    /// It finished what was submitted before more came.
    RanDry,
    /// The program had waited for all of it.
    Synchronized,
}

/// Sizes of the page, in words of 64 bits.
pub struct TraceLayout;

/// Words of a slot, from the slot's first.
pub struct TraceWord;

impl CallKind {
    /// All of them, in the order of their words.
    pub const ALL: [Self; 9] = [
        Self::Launch,
        Self::CopyFromPageable,
        Self::CopyAndWait,
        Self::CopyBehind,
        Self::ReadValue,
        Self::Fetch,
        Self::FetchBehind,
        Self::Synchronize,
        Self::Allocate,
    ];
}

impl GapLength {
    /// All of them, in the order of their words.
    pub const ALL: [Self; 3] = [Self::Short, Self::Medium, Self::Long];

    /// The length that so much time is.
    pub fn of(ns: u64) -> Self {
        match ns {
            0..100_000 => Self::Short,
            100_000..1_000_000 => Self::Medium,
            _ => Self::Long,
        }
    }
}

impl GapStart {
    /// Both, in the order of their words.
    pub const ALL: [Self; 2] = [Self::RanDry, Self::Synchronized];
}

impl TraceLayout {
    /// Processes that came and found no slot.
    pub const TURNED_AWAY: usize = 0;
    /// Where the slots begin.
    pub const SLOT_FIRST: usize = 8;
    /// From one slot to the next.
    pub const SLOT_STRIDE: usize = 96;
    /// All words.
    pub const COUNT: usize = Self::SLOT_FIRST + TRACED_MAX * Self::SLOT_STRIDE;
    /// The size of the file.
    pub const BYTES: usize = Self::COUNT * 8;

    /// The first word of a slot.
    pub const fn slot(slot: usize) -> usize {
        Self::SLOT_FIRST + slot * Self::SLOT_STRIDE
    }
}

impl TraceWord {
    /// The process's number in its own count; 0 for a free slot. It stays when the process ends.
    pub const PID: usize = 0;
    /// When it first submitted anything, on the machine's steady clock in ns; 0 for never.
    /// Nothing is counted before.
    pub const FIRST_NS: usize = 1;
    /// The thread that called last, in its own count.
    pub const THREAD: usize = 2;
    /// Calls that are under way.
    pub const ACTIVE: usize = 3;
    /// The kind of the call that began last, and one; 0 for none yet.
    pub const CURRENT: usize = 4;
    /// Until when the card has work, as far as is known.
    pub const BUSY_UNTIL_NS: usize = 5;
    /// Up to when idle time was counted.
    pub const ACCOUNTED_NS: usize = 6;
    /// Kernels submitted.
    pub const KERNELS: usize = 7;
    /// Graphs submitted.
    pub const GRAPHS: usize = 8;
    /// What both took of the card's time, as estimated from samples.
    pub const CARD_NS: usize = 9;
    /// Blocks of all kernels.
    pub const BLOCKS: usize = 10;
    /// Multiprocessors of the card that was used first.
    pub const MULTIPROCESSORS: usize = 11;
    /// Whether the program has waited for the card since it last submitted.
    pub const IS_SYNCHRONIZED: usize = 12;
    /// Whether a copy went out since the program last submitted or waited.
    pub const IS_COPYING: usize = 13;
    /// The stream of the last submission.
    pub const STREAM: usize = 14;
    /// Where the kinds of calls begin: four words each.
    pub const KINDS: usize = 16;
    /// Where the gaps begin: two words each.
    pub const GAPS: usize = Self::KINDS + CallKind::ALL.len() * 4;

    /// Calls of a kind.
    pub const fn calls(kind: CallKind) -> usize {
        Self::KINDS + kind as usize * 4
    }

    /// Time spent in calls of a kind.
    pub const fn call_ns(kind: CallKind) -> usize {
        Self::calls(kind) + 1
    }

    /// Of that, time in which the card had nothing to do.
    pub const fn call_idle_ns(kind: CallKind) -> usize {
        Self::calls(kind) + 2
    }

    /// Bytes that calls of a kind moved.
    pub const fn call_bytes(kind: CallKind) -> usize {
        Self::calls(kind) + 3
    }

    /// Gaps between calls.
    pub const fn gaps(length: GapLength, start: GapStart) -> usize {
        Self::GAPS + (length as usize * GapStart::ALL.len() + start as usize) * 2
    }

    /// Time of gaps between calls.
    pub const fn gap_ns(length: GapLength, start: GapStart) -> usize {
        Self::gaps(length, start) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_counts_share_a_word() {
        let kinds = CallKind::ALL.into_iter().flat_map(|kind| {
            let first = TraceWord::calls(kind);
            assert_eq!(TraceWord::call_ns(kind), first + 1);
            first..=TraceWord::call_bytes(kind)
        });
        let gaps = GapLength::ALL.into_iter().flat_map(|length| {
            GapStart::ALL.into_iter().flat_map(move |start| {
                [TraceWord::gaps(length, start), TraceWord::gap_ns(length, start)]
            })
        });
        let mut words: Vec<usize> = (0..=TraceWord::STREAM).chain(kinds).chain(gaps).collect();
        let count = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), count);
        assert!(words.last() < Some(&TraceLayout::SLOT_STRIDE));
    }

    #[test]
    fn kinds_stand_in_the_order_of_their_numbers() {
        for (at, kind) in CallKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
        assert_eq!(GapLength::of(99_999), GapLength::Short);
        assert_eq!(GapLength::of(100_000), GapLength::Medium);
        assert_eq!(GapLength::of(1_000_000), GapLength::Long);
    }
}
