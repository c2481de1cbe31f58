//! What a watched process does with its card, counted on the watcher's page as it happens.
//!
//! Time is cut at the beginning and the end of every call. Of each piece, what lies behind the
//! moment until which the card has work was idle, and goes to the call in which it fell or to the
//! gap between calls. So all idle time is counted once, whatever threads do at the same time.
//!
//! The moment until which the card has work is moved on by each submission's cost, and put right
//! when the program waits: then the card is known to have been at work, and to be done.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use cotenant_types::trace::{CallKind, GapLength, GapStart, TraceLayout, TraceWord};

/// A wait that is shorter found everything done.
const WAITED_NS: u64 = 20_000;

/// What a process that waits to be told more is taken to have submitted at most.
const AHEAD_NS_MAX: u64 = 10_000_000_000;

/// A process's slot.
#[derive(Clone, Copy, Debug)]
pub struct Slot<'a> {
    words: &'a [AtomicU64],
}

/// A call that was let through.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    kind: CallKind,
    at_ns: u64,
}

/// What a program waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// All that was submitted.
    All,
    /// What a stream was given.
    Stream(u64),
    /// What stands before an event, wherever that is.
    Event,
}

/// A submission that the driver took.
#[derive(Clone, Copy, Debug)]
pub struct Submitted {
    /// Blocks of a kernel; none of a graph, in which they are not known.
    pub blocks: Option<u64>,
    /// To which stream.
    pub stream: u64,
    /// What it takes of the card's time.
    pub cost_ns: u64,
}

impl<'a> Slot<'a> {
    /// A free slot of a page, for a process; the page counts those that found none.
    pub fn claim(page: &'a [AtomicU64], pid: u64) -> Option<Self> {
        let slots = page.get(TraceLayout::SLOT_FIRST..TraceLayout::COUNT)?;
        let free = slots
            .chunks_exact(TraceLayout::SLOT_STRIDE)
            .find(|slot| slot[TraceWord::PID].compare_exchange(0, pid, Relaxed, Relaxed).is_ok());
        if free.is_none() {
            page[TraceLayout::TURNED_AWAY].fetch_add(1, Relaxed);
        }
        free.map(|words| Self { words })
    }

    /// A slot by its words, as they were claimed before.
    pub fn of(words: &'a [AtomicU64]) -> Option<Self> {
        (words.len() == TraceLayout::SLOT_STRIDE).then_some(Self { words })
    }

    /// The slot's words.
    pub fn words(&self) -> &'a [AtomicU64] {
        self.words
    }

    /// Whether the card has nothing to do, as far as is known.
    pub fn is_idle(&self, now_ns: u64) -> bool {
        self.get(TraceWord::BUSY_UNTIL_NS) <= now_ns
    }

    /// A thread begins a call. Before the first submission nothing is counted: a program that
    /// makes itself ready keeps no card waiting.
    pub fn begin(&self, kind: CallKind, thread: u64, now_ns: u64) -> Option<Begun> {
        if self.get(TraceWord::FIRST_NS) == 0 {
            if kind != CallKind::Launch {
                return None;
            }
            self.set(TraceWord::BUSY_UNTIL_NS, now_ns);
            self.set(TraceWord::ACCOUNTED_NS, now_ns);
            self.set(TraceWord::FIRST_NS, now_ns);
        }
        self.set(TraceWord::THREAD, thread);
        let is_alone = self.add(TraceWord::ACTIVE, 1) == 0;
        let idle_ns = self.cut(now_ns);
        match self.current().filter(|_| !is_alone) {
            Some(other) => self.idle(other, idle_ns),
            None => self.gap(idle_ns),
        }
        self.set(TraceWord::CURRENT, kind as u64 + 1);
        self.add(TraceWord::calls(kind), 1);
        Some(Begun { kind, at_ns: now_ns })
    }

    /// A launch is over; without a submission if the driver refused it, or it went into a graph.
    pub fn launched(&self, begun: Begun, submitted: Option<Submitted>, now_ns: u64) {
        self.idle(begun.kind, self.cut(now_ns));
        if let Some(submitted) = submitted {
            self.submit(&submitted, now_ns);
        }
        self.end(begun, now_ns);
    }

    /// A copy of so many bytes is over.
    pub fn copied(&self, begun: Begun, bytes: u64, now_ns: u64) {
        self.add(TraceWord::call_bytes(begun.kind), bytes);
        match begun.kind {
            CallKind::ReadValue => self.wait_is_over(begun, now_ns),
            CallKind::Fetch => {
                self.idle(begun.kind, self.cut(now_ns));
                self.is_done(now_ns);
            }
            CallKind::CopyBehind => {
                self.idle(begun.kind, self.cut(now_ns));
                self.set(TraceWord::IS_COPYING, 1);
            }
            CallKind::CopyFromPageable | CallKind::CopyAndWait => {
                // It waited for the copies before it too.
                self.idle(begun.kind, self.cut(now_ns));
                self.set(TraceWord::IS_COPYING, 0);
            }
            CallKind::Launch
            | CallKind::FetchBehind
            | CallKind::Synchronize
            | CallKind::Allocate => self.idle(begun.kind, self.cut(now_ns)),
        }
        self.end(begun, now_ns);
    }

    /// A wait is over.
    pub fn waited(&self, begun: Begun, awaited: Awaited, now_ns: u64) {
        let is_for_last = match awaited {
            Awaited::All => true,
            Awaited::Stream(stream) => stream == self.get(TraceWord::STREAM),
            Awaited::Event => now_ns >= self.get(TraceWord::BUSY_UNTIL_NS),
        };
        if self.words[TraceWord::IS_COPYING].swap(0, Relaxed) == 1 {
            // What was waited for is the copy: the program might have gone on beside it.
            let idle_ns = self.cut(now_ns);
            let copies = CallKind::CopyAndWait;
            self.idle(copies, idle_ns);
            if idle_ns > 0 {
                self.add(TraceWord::calls(copies), 1);
            }
            self.set(TraceWord::IS_SYNCHRONIZED, 1);
        } else if is_for_last {
            self.wait_is_over(begun, now_ns);
        } else {
            self.cut_busy(now_ns);
        }
        self.end(begun, now_ns);
    }

    /// Memory was taken or freed.
    pub fn allocated(&self, begun: Begun, now_ns: u64) {
        self.idle(begun.kind, self.cut(now_ns));
        self.end(begun, now_ns);
    }

    /// Submissions of which nothing was known turn out to take the card so much longer.
    pub fn lengthen(&self, unmeasured: u64, measured_ns: u64, now_ns: u64) {
        let ahead_ns = unmeasured.saturating_mul(measured_ns).min(AHEAD_NS_MAX);
        self.words[TraceWord::BUSY_UNTIL_NS].fetch_max(now_ns + ahead_ns, Relaxed);
    }

    fn submit(&self, submitted: &Submitted, now_ns: u64) {
        match submitted.blocks {
            Some(blocks) => {
                self.add(TraceWord::KERNELS, 1);
                self.add(TraceWord::BLOCKS, blocks);
            }
            None => drop(self.add(TraceWord::GRAPHS, 1)),
        }
        self.add(TraceWord::CARD_NS, submitted.cost_ns);
        let _ = self.words[TraceWord::BUSY_UNTIL_NS].fetch_update(Relaxed, Relaxed, |until| {
            Some(until.max(now_ns).saturating_add(submitted.cost_ns))
        });
        self.set(TraceWord::STREAM, submitted.stream);
        self.set(TraceWord::IS_SYNCHRONIZED, 0);
        self.set(TraceWord::IS_COPYING, 0);
    }

    /// The program waited for what it submitted last. If that took a while, the card was at work.
    fn wait_is_over(&self, begun: Begun, now_ns: u64) {
        if now_ns.saturating_sub(begun.at_ns) >= WAITED_NS {
            self.cut_busy(now_ns);
        } else {
            self.idle(begun.kind, self.cut(now_ns));
        }
        self.is_done(now_ns);
    }

    fn is_done(&self, now_ns: u64) {
        self.set(TraceWord::BUSY_UNTIL_NS, now_ns);
        self.set(TraceWord::IS_SYNCHRONIZED, 1);
        self.set(TraceWord::IS_COPYING, 0);
    }

    fn end(&self, begun: Begun, now_ns: u64) {
        self.add(TraceWord::call_ns(begun.kind), now_ns.saturating_sub(begun.at_ns));
        self.words[TraceWord::ACTIVE].fetch_sub(1, Relaxed);
    }

    /// Counts up to now, and returns how much of it the card was idle.
    fn cut(&self, now_ns: u64) -> u64 {
        let from = self.words[TraceWord::ACCOUNTED_NS].fetch_max(now_ns, Relaxed);
        now_ns.saturating_sub(from.max(self.get(TraceWord::BUSY_UNTIL_NS)))
    }

    /// Counts up to now as time in which the card was at work.
    fn cut_busy(&self, now_ns: u64) {
        self.words[TraceWord::ACCOUNTED_NS].fetch_max(now_ns, Relaxed);
    }

    fn idle(&self, kind: CallKind, idle_ns: u64) {
        self.add(TraceWord::call_idle_ns(kind), idle_ns);
    }

    fn gap(&self, idle_ns: u64) {
        if idle_ns == 0 {
            return;
        }
        let start = match self.get(TraceWord::IS_SYNCHRONIZED) {
            0 => GapStart::RanDry,
            _ => GapStart::Synchronized,
        };
        let length = GapLength::of(idle_ns);
        self.add(TraceWord::gaps(length, start), 1);
        self.add(TraceWord::gap_ns(length, start), idle_ns);
    }

    fn current(&self) -> Option<CallKind> {
        let number = (self.get(TraceWord::CURRENT) as usize).checked_sub(1)?;
        CallKind::ALL.get(number).copied()
    }

    fn get(&self, word: usize) -> u64 {
        self.words[word].load(Relaxed)
    }

    fn set(&self, word: usize, value: u64) {
        self.words[word].store(value, Relaxed);
    }

    fn add(&self, word: usize, value: u64) -> u64 {
        self.words[word].fetch_add(value, Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn page() -> Vec<AtomicU64> {
        (0..TraceLayout::COUNT).map(|_| AtomicU64::new(0)).collect()
    }

    fn launch(slot: &Slot<'_>, now_ns: u64, cost_ns: u64) {
        let begun = slot.begin(CallKind::Launch, 1, now_ns).unwrap();
        let submitted = Submitted { blocks: Some(8), stream: 0, cost_ns };
        slot.launched(begun, Some(submitted), now_ns);
    }

    fn wait(slot: &Slot<'_>, from_ns: u64, until_ns: u64) {
        let begun = slot.begin(CallKind::Synchronize, 1, from_ns).unwrap();
        slot.waited(begun, Awaited::All, until_ns);
    }

    fn gap(slot: &Slot<'_>, length: GapLength, start: GapStart) -> u64 {
        slot.get(TraceWord::gap_ns(length, start))
    }

    #[test]
    fn a_card_that_runs_dry_is_told_from_one_that_was_waited_for() {
        let page = page();
        let slot = Slot::claim(&page, 7).unwrap();
        launch(&slot, 100 * MS, 2 * MS);
        // It is done at 102, and more comes at 105.
        launch(&slot, 105 * MS, 2 * MS);
        assert_eq!(gap(&slot, GapLength::Long, GapStart::RanDry), 3 * MS);
        // The wait shows that it took until 108; more comes at 109.
        wait(&slot, 105 * MS, 108 * MS);
        launch(&slot, 109 * MS, MS);
        assert_eq!(gap(&slot, GapLength::Long, GapStart::Synchronized), MS);
        assert_eq!(gap(&slot, GapLength::Long, GapStart::RanDry), 3 * MS);
        assert_eq!(slot.get(TraceWord::call_idle_ns(CallKind::Synchronize)), 0);
        assert_eq!(slot.get(TraceWord::call_ns(CallKind::Synchronize)), 3 * MS);
        assert_eq!((slot.get(TraceWord::KERNELS), slot.get(TraceWord::BLOCKS)), (3, 24));
    }

    #[test]
    fn a_program_that_runs_ahead_keeps_its_card_busy() {
        let page = page();
        let slot = Slot::claim(&page, 7).unwrap();
        for at in 0..50 {
            launch(&slot, 100 * MS + at * MS, 2 * MS);
        }
        let idle: u64 = GapLength::ALL
            .into_iter()
            .flat_map(|length| GapStart::ALL.map(|start| gap(&slot, length, start)))
            .sum();
        assert_eq!(idle, 0);
    }

    #[test]
    fn copies_idle_by_their_kind() {
        let page = page();
        let slot = Slot::claim(&page, 7).unwrap();
        assert!(slot.begin(CallKind::CopyFromPageable, 1, 1).is_none(), "it makes itself ready");
        launch(&slot, 100 * MS, 2 * MS);
        let begun = slot.begin(CallKind::CopyFromPageable, 1, 101 * MS).unwrap();
        slot.copied(begun, 64, 106 * MS);
        let pageable = CallKind::CopyFromPageable;
        assert_eq!(
            slot.get(TraceWord::call_idle_ns(pageable)),
            4 * MS,
            "one lay behind the kernel"
        );
        assert_eq!(slot.get(TraceWord::call_bytes(pageable)), 64);
        // From pinned memory, and then waited for.
        let begun = slot.begin(CallKind::CopyBehind, 1, 106 * MS).unwrap();
        slot.copied(begun, 64, 106 * MS);
        wait(&slot, 106 * MS, 109 * MS);
        assert_eq!(slot.get(TraceWord::call_idle_ns(CallKind::CopyAndWait)), 3 * MS);
        assert_eq!(slot.get(TraceWord::call_idle_ns(CallKind::CopyBehind)), 0);
        assert_eq!(slot.get(TraceWord::call_idle_ns(CallKind::Synchronize)), 0);
    }

    #[test]
    fn calls_of_two_threads_count_idle_time_once() {
        let page = page();
        let slot = Slot::claim(&page, 7).unwrap();
        launch(&slot, 100 * MS, MS);
        let first = slot.begin(CallKind::CopyFromPageable, 1, 101 * MS).unwrap();
        let second = slot.begin(CallKind::Allocate, 2, 103 * MS).unwrap();
        slot.allocated(second, 104 * MS);
        slot.copied(first, 1, 106 * MS);
        let idle = |kind| slot.get(TraceWord::call_idle_ns(kind));
        assert_eq!(idle(CallKind::CopyFromPageable) + idle(CallKind::Allocate), 5 * MS);
        assert_eq!(slot.get(TraceWord::ACTIVE), 0);
    }

    #[test]
    fn what_was_not_known_to_be_long_lengthens_the_work() {
        let page = page();
        let slot = Slot::claim(&page, 7).unwrap();
        launch(&slot, 100 * MS, 10_000);
        slot.lengthen(9, 5 * MS, 105 * MS);
        launch(&slot, 140 * MS, 5 * MS);
        assert_eq!(gap(&slot, GapLength::Long, GapStart::RanDry), 0);
        slot.lengthen(u64::MAX, u64::MAX, 0);
        assert!(slot.get(TraceWord::BUSY_UNTIL_NS) <= AHEAD_NS_MAX);
    }

    #[test]
    fn a_full_page_turns_processes_away_and_says_so() {
        let page = page();
        let slots: Vec<_> = std::iter::from_fn(|| Slot::claim(&page, 7)).collect();
        assert_eq!(slots.len(), cotenant_types::trace::TRACED_MAX);
        assert_eq!(page[TraceLayout::TURNED_AWAY].load(Relaxed), 1);
        assert!(Slot::claim(&page[..4], 7).is_none());
    }
}
