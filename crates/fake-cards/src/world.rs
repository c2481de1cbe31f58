//! What all processes share: plain numbers at fixed places, of which all zeros is a world too.
//!
//! Nothing here is a sum of what several processes did. What belongs to a process stands in its
//! slot or in streams that name it, so that a process that dies takes all of that with it by being
//! wiped, wherever it was stopped.

use crate::answers::Answers;

/// How many cards there can be.
pub const CARDS_MAX: usize = 8;
/// How many processes may use the cards at once.
pub const PROCESSES_MAX: usize = 64;
/// How many streams there can be, of all processes together.
pub const STREAMS_MAX: usize = 512;
/// How many submissions a stream holds before the next one waits, as a real driver's does.
pub const QUEUE_MAX: usize = 1024;
/// How many events there can be, of all processes together.
pub const EVENTS_MAX: usize = 16384;
/// How many threads of one process may wait at once.
pub(crate) const WAITERS_MAX: usize = 16;
/// Bytes of a card's name.
pub(crate) const NAME_BYTES: usize = 64;

/// Everything behind the lock.
#[repr(C)]
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) settings: Settings,
    pub(crate) card_count: u64,
    pub(crate) cards: [Card; CARDS_MAX],
    pub(crate) processes: [Process; PROCESSES_MAX],
    pub(crate) streams_high: u64,
    pub(crate) streams: [Stream; STREAMS_MAX],
    pub(crate) events_next: u64,
    pub(crate) events_high: u64,
    pub(crate) events: [Event; EVENTS_MAX],
    pub(crate) notices_written: u64,
    pub(crate) notices: [Notice; 64],
}

/// The time of the simulated cards.
#[repr(C)]
pub(crate) struct Clock {
    pub(crate) now_ns: u64,
    /// 1 if time is the machine's, 0 if it moves only as processes wait or a test says.
    pub(crate) is_real: u64,
    /// The machine's monotonic clock at 0.
    pub(crate) epoch_ns: u64,
    /// How many tests hold a virtual clock still.
    pub(crate) holds: u64,
    /// When dead processes were last looked for, on the machine's clock.
    pub(crate) reaped_ns: u64,
    /// Counts submissions, so that they have an order across streams.
    pub(crate) submissions: u64,
    /// 1 if somebody who sleeps should look again.
    pub(crate) is_changed: u64,
}

/// What a description fixes for all cards.
#[repr(C)]
pub(crate) struct Settings {
    pub(crate) driver_version: u64,
    pub(crate) slice_ns: u64,
    /// 1 if processes share a card in space, 0 if in time.
    pub(crate) is_spatial: u64,
    pub(crate) granularity_bytes: u64,
    pub(crate) context_bytes: u64,
    /// 0 if copies take no time.
    pub(crate) copy_bytes_per_us: u64,
}

/// A card and what it does now.
#[repr(C)]
pub(crate) struct Card {
    pub(crate) name: [u8; NAME_BYTES],
    pub(crate) uuid: [u8; 16],
    pub(crate) memory_bytes: u64,
    pub(crate) sms: u64,
    pub(crate) compute_major: u64,
    pub(crate) compute_minor: u64,
    pub(crate) can_mig: u64,
    pub(crate) is_lost: u64,
    pub(crate) temperature_c: u64,
    pub(crate) throttle_reasons: u64,
    /// The process whose turn it is, plus one.
    pub(crate) resident: u64,
    pub(crate) slice_used_ns: u64,
    pub(crate) busy_ns: u64,
    pub(crate) sampled: Sampled,
    pub(crate) answers: Answers,
}

/// Busy time up to the last sample, and what that sample said.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Sampled {
    pub(crate) busy_ns: u64,
    pub(crate) at_ns: u64,
    pub(crate) percent: u64,
}

/// A process that uses the cards, or did.
#[repr(C)]
pub(crate) struct Process {
    /// 0 if the slot is free, 1 if it lives, 2 if it ended and is kept for whoever asks.
    pub(crate) life: u64,
    pub(crate) pid: u64,
    /// Counts processes, so that the oldest that ended makes room.
    pub(crate) serial: u64,
    /// 1 while it waits for what is no card: the clock does not wait for it.
    pub(crate) is_idle: u64,
    pub(crate) waiters: [Waiter; WAITERS_MAX],
    pub(crate) cards: [Account; CARDS_MAX],
}

/// What one process has and had of one card.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Account {
    pub(crate) used_bytes: u64,
    pub(crate) peak_bytes: u64,
    /// Time in which at least one of its kernels ran.
    pub(crate) busy_ns: u64,
    /// The same weighted with the multiprocessors its kernels held.
    pub(crate) sm_ns: u64,
    pub(crate) launches: u64,
    pub(crate) kernels: u64,
    pub(crate) contexts: u64,
    pub(crate) sampled: Sampled,
}

/// A thread that waits in the driver.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Waiter {
    pub(crate) kind: u64,
    pub(crate) target: u64,
    pub(crate) value: u64,
}

/// A queue of submissions that run one after another.
#[repr(C)]
pub(crate) struct Stream {
    /// The process, plus one; 0 if the slot is free.
    pub(crate) owner: u64,
    pub(crate) card: u64,
    pub(crate) role: u64,
    /// Lower goes first, as the driver has it.
    pub(crate) priority: i64,
    /// Submissions that are done, since the stream was made.
    pub(crate) head: u64,
    /// Submissions that were made.
    pub(crate) tail: u64,
    pub(crate) queue: [Op; QUEUE_MAX],
}

/// One submission.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Op {
    pub(crate) kind: u64,
    /// Multiprocessors that a kernel holds while it runs.
    pub(crate) sms: u64,
    pub(crate) remaining_ns: u64,
    /// An event, or a function of the host.
    pub(crate) target: u64,
    /// The event's record that is meant, or how many kernels this is.
    pub(crate) value: u64,
    pub(crate) order: u64,
    pub(crate) is_started: u64,
}

/// An event: how often it was recorded, and when the last record was reached.
#[repr(C)]
pub(crate) struct Event {
    /// The process, plus one; 0 if the slot is free.
    pub(crate) owner: u64,
    pub(crate) recorded: u64,
    pub(crate) done: u64,
    pub(crate) done_ns: u64,
    /// Where the last record was submitted: the stream, and its submissions up to there.
    pub(crate) stream: u64,
    pub(crate) number: u64,
}

/// Something that happened to a card, as NVML tells of it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Notice {
    pub(crate) card: u64,
    pub(crate) xid: u64,
    pub(crate) at_ns: u64,
}

/// Lives of a process's slot.
pub(crate) mod life {
    pub(crate) const FREE: u64 = 0;
    pub(crate) const LIVE: u64 = 1;
    pub(crate) const ENDED: u64 = 2;
}

/// Kinds of submissions. They are numbers because a file holds them.
pub(crate) mod op {
    pub(crate) const KERNEL: u64 = 1;
    pub(crate) const COPY: u64 = 2;
    pub(crate) const RECORD: u64 = 3;
    pub(crate) const AWAIT: u64 = 4;
    pub(crate) const HOST: u64 = 5;
    /// A function of the host whose turn has come.
    pub(crate) const HOST_DUE: u64 = 6;
}

/// What a thread may wait for.
pub(crate) mod waiter {
    pub(crate) const NONE: u64 = 0;
    /// The stream did as many submissions.
    pub(crate) const STREAM: u64 = 1;
    /// The event reached this record.
    pub(crate) const EVENT: u64 = 2;
    /// The clock shows this time.
    pub(crate) const TIME: u64 = 3;
    /// The stream's queue has room.
    pub(crate) const ROOM: u64 = 4;
}

/// How a stream stands to the default stream.
pub(crate) mod role {
    /// It waits for the default stream and is waited for.
    pub(crate) const BLOCKING: u64 = 0;
    pub(crate) const NON_BLOCKING: u64 = 1;
    /// The default stream of all threads.
    pub(crate) const LEGACY: u64 = 2;
}

impl Stream {
    pub(crate) fn is_empty(&self) -> bool {
        self.head >= self.tail
    }

    pub(crate) fn has_room(&self) -> bool {
        self.tail.wrapping_sub(self.head) < QUEUE_MAX as u64
    }

    /// The submission that is next, if there is one.
    pub(crate) fn first(&self) -> Option<&Op> {
        (!self.is_empty()).then(|| &self.queue[place(self.head)])
    }

    pub(crate) fn first_mut(&mut self) -> Option<&mut Op> {
        (!self.is_empty()).then(|| &mut self.queue[place(self.head)])
    }

    /// Submissions from the next one to the one of this number, exclusive.
    pub(crate) fn waiting_before(&self, number: u64) -> impl Iterator<Item = &Op> {
        let end = number.min(self.tail).min(self.head.saturating_add(QUEUE_MAX as u64));
        (self.head..end).map(|at| &self.queue[place(at)])
    }

    pub(crate) fn push(&mut self, op: Op) {
        self.queue[place(self.tail)] = op;
        self.tail += 1;
    }
}

/// Where in the ring a number stands; whatever a file holds, this is inside.
fn place(number: u64) -> usize {
    (number % QUEUE_MAX as u64) as usize
}

impl World {
    /// The cards that there are.
    pub(crate) fn real_cards(&self) -> &[Card] {
        &self.cards[..self.cards_len()]
    }

    pub(crate) fn cards_len(&self) -> usize {
        (self.card_count as usize).min(CARDS_MAX)
    }

    pub(crate) fn streams_len(&self) -> usize {
        (self.streams_high as usize).min(STREAMS_MAX)
    }

    /// A place for a stream.
    pub(crate) fn free_stream(&self) -> Option<usize> {
        let used = self.streams_len();
        let free = self.streams[..used].iter().position(|stream| stream.owner == 0);
        free.or_else(|| (used < STREAMS_MAX).then_some(used))
    }

    /// A place for an event; those that were given back last are taken last.
    pub(crate) fn free_event(&self) -> Option<usize> {
        let first = self.events_next as usize;
        let mut places = (first..first + EVENTS_MAX).map(|place| place % EVENTS_MAX);
        places.find(|place| self.events[*place].owner == 0)
    }

    /// What all live processes have of a card.
    pub(crate) fn used_bytes(&self, card: usize) -> u64 {
        let live = self.processes.iter().filter(|process| process.life == life::LIVE);
        live.map(|process| process.cards[card].used_bytes).sum()
    }

    /// Whether what a thread waits for has come.
    pub(crate) fn is_met(&self, waiting: &Waiter) -> bool {
        let target = waiting.target as usize;
        match waiting.kind {
            waiter::STREAM => self.streams[target % STREAMS_MAX].head >= waiting.value,
            waiter::EVENT => self.events[target % EVENTS_MAX].done >= waiting.value,
            waiter::TIME => self.clock.now_ns >= waiting.value,
            waiter::ROOM => self.streams[target % STREAMS_MAX].has_room(),
            _ => true,
        }
    }
}
