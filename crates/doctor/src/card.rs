//! What a process asked of its card, as the preload library counted it.

use cotenant_types::trace::{CallKind, GapLength, GapStart, TraceLayout, TraceWord};

/// A process's counts on the page. Whatever they hold, reading them never fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardCounts {
    words: Vec<u64>,
    until_ns: u64,
}

impl CardCounts {
    /// The words of a slot, as they were at a moment of the steady clock. None if the process never
    /// submitted anything.
    #[must_use]
    pub fn new(words: Vec<u64>, until_ns: u64) -> Option<Self> {
        let is_used = words.len() == TraceLayout::SLOT_STRIDE && words[TraceWord::FIRST_NS] != 0;
        is_used.then_some(Self { words, until_ns })
    }

    /// From the first submission to the last look.
    #[must_use]
    pub fn window_ns(&self) -> u64 {
        self.until_ns.saturating_sub(self.word(TraceWord::FIRST_NS))
    }

    /// Idle time in calls of a kind.
    #[must_use]
    pub fn idle_ns(&self, kind: CallKind) -> u64 {
        self.word(TraceWord::call_idle_ns(kind)).min(self.window_ns())
    }

    /// Calls of a kind.
    #[must_use]
    pub fn calls(&self, kind: CallKind) -> u64 {
        self.word(TraceWord::calls(kind))
    }

    /// Bytes that calls of a kind moved.
    #[must_use]
    pub fn bytes(&self, kind: CallKind) -> u64 {
        self.word(TraceWord::call_bytes(kind))
    }

    /// Idle time between calls; what passed since the last one is in none of them.
    #[must_use]
    pub fn gap_ns(&self, length: GapLength, start: GapStart) -> u64 {
        self.word(TraceWord::gap_ns(length, start)).min(self.window_ns())
    }

    /// How often the card was idle between calls for so long.
    #[must_use]
    pub fn gaps(&self, length: GapLength, start: GapStart) -> u64 {
        self.word(TraceWord::gaps(length, start))
    }

    /// Idle time since the last call, if none is under way.
    #[must_use]
    pub fn tail_ns(&self) -> u64 {
        let since = self.word(TraceWord::ACCOUNTED_NS).max(self.word(TraceWord::BUSY_UNTIL_NS));
        match self.word(TraceWord::ACTIVE) {
            0 => self.until_ns.saturating_sub(since).min(self.window_ns()),
            _ => 0,
        }
    }

    /// Kernels and graphs submitted.
    #[must_use]
    pub fn submissions(&self) -> u64 {
        self.word(TraceWord::KERNELS).saturating_add(self.word(TraceWord::GRAPHS))
    }

    /// What all submissions took of the card's time, by samples of them.
    #[must_use]
    pub fn work_ns(&self) -> u64 {
        self.word(TraceWord::CARD_NS)
    }

    /// What a submission takes on average.
    #[must_use]
    pub fn mean_ns(&self) -> u64 {
        self.work_ns() / self.submissions().max(1)
    }

    /// Blocks of a kernel on average, if there were kernels.
    #[must_use]
    pub fn mean_blocks(&self) -> Option<u64> {
        self.word(TraceWord::BLOCKS).checked_div(self.word(TraceWord::KERNELS))
    }

    /// Multiprocessors of the card, if that is known.
    #[must_use]
    pub fn multiprocessors(&self) -> Option<u64> {
        Some(self.word(TraceWord::MULTIPROCESSORS)).filter(|count| *count > 0)
    }

    /// Whether the card has nothing to do now, and no call is under way that might change that.
    #[must_use]
    pub fn is_waiting_for_program(&self) -> bool {
        self.word(TraceWord::ACTIVE) == 0 && self.word(TraceWord::BUSY_UNTIL_NS) <= self.until_ns
    }

    /// The process, in its own count.
    #[must_use]
    pub fn pid(&self) -> u64 {
        self.word(TraceWord::PID)
    }

    /// The thread that called last, in its own count.
    #[must_use]
    pub fn thread(&self) -> u64 {
        self.word(TraceWord::THREAD)
    }

    fn word(&self, word: usize) -> u64 {
        self.words[word]
    }
}
