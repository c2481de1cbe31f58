//! A process that uses the cards: the side of the driver.

use std::io;

use thiserror::Error;

use crate::cards::Cards;
use crate::engine::{self, Reached};
use crate::process;
use crate::system::{self, Locked};
use crate::world::{CARDS_MAX, EVENTS_MAX, Op, STREAMS_MAX, Waiter, World, op, role, waiter};

/// How long a thread sleeps at most before it looks again whether somebody died.
const LOOK_NS: u64 = 5_000_000;
/// Below this, a thread that waits on a real clock gives its turn away instead of sleeping.
const SHORT_NS: u64 = 100_000;

/// A process on the cards, until it ends.
#[derive(Debug)]
pub struct Client {
    cards: Cards,
    slot: usize,
}

/// A stream of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId(u32);

/// An event of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventId(u32);

/// How a stream stands to the default stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamRole {
    /// It waits for the default stream and is waited for.
    Blocking,
    /// It does neither.
    NonBlocking,
    /// It is the default stream of all threads.
    Default,
}

/// What a kernel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// How long it runs.
    pub duration_ns: u64,
    /// How many multiprocessors it holds.
    pub sms: u32,
    /// How many kernels it stands for, as a graph stands for many.
    pub count: u64,
}

/// What can be put into a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submission {
    /// A kernel, or a graph of them.
    Kernel(Kernel),
    /// A copy of so many bytes.
    Copy(u64),
    /// The event shall have the time at which this is reached.
    Record(EventId),
    /// What follows waits for the event's last record.
    Await(EventId),
    /// This process shall call a function of this number.
    Host(u64),
}

/// The cards refuse.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refused {
    /// The card has not as much memory left.
    #[error("allocate: the card has not as much memory left")]
    NoRoom,
    /// The card fell off.
    #[error("reach the card: it fell off")]
    Lost,
    /// A table of the file is full.
    #[error("make another one: the file of the cards has no room for more")]
    Full,
}

impl Client {
    /// Makes this process a user of the cards.
    ///
    /// # Errors
    /// If too many processes use them, or the system refuses to mark this one.
    pub fn register(cards: &Cards) -> io::Result<Self> {
        let mut world = cards.shared.lock();
        let slot = process::register(&mut world, std::process::id(), |slot| cards.is_dead(slot));
        let slot = slot.ok_or_else(|| io::Error::other("too many processes use the cards"))?;
        // Under the lock, so that nobody finds the slot without its mark.
        cards.shared.mark_alive(slot)?;
        drop(world);
        let cards = Cards { own_slot: Some(slot), ..cards.clone() };
        Ok(Self { cards, slot })
    }

    /// The cards, as everybody sees them.
    #[must_use]
    pub fn cards(&self) -> &Cards {
        &self.cards
    }

    fn world(&self) -> Locked<'_> {
        self.cards.now()
    }

    /// Takes memory of a card, rounded up; returns how much.
    ///
    /// # Errors
    /// If the card has not as much left, or fell off.
    pub fn charge(&self, card: usize, bytes: u64) -> Result<u64, Refused> {
        let mut world = self.world();
        check_card(&world, card)?;
        let granularity = world.settings.granularity_bytes.max(1);
        let bytes = bytes.checked_next_multiple_of(granularity).ok_or(Refused::NoRoom)?;
        if process::charge(&mut world, self.slot, card, bytes).is_ok() {
            return Ok(bytes);
        }
        drop(world);
        let mut world = self.cards.now_alive();
        process::charge(&mut world, self.slot, card, bytes).map_err(|_| Refused::NoRoom)?;
        Ok(bytes)
    }

    /// Gives memory back, as much as [`Client::charge`] said.
    pub fn credit(&self, card: usize, bytes: u64) {
        process::credit(&mut self.world(), self.slot, card % CARDS_MAX, bytes);
    }

    /// Notes a context on a card and takes what it needs; returns how much.
    ///
    /// # Errors
    /// As [`Client::charge`].
    pub fn open_context(&self, card: usize) -> Result<u64, Refused> {
        let bytes = self.world().settings.context_bytes;
        let bytes = self.charge(card, bytes)?;
        self.world().processes[self.slot].cards[card].contexts += 1;
        Ok(bytes)
    }

    /// Ends what [`Client::open_context`] began.
    pub fn close_context(&self, card: usize, bytes: u64) {
        self.credit(card, bytes);
        let mut world = self.world();
        let contexts = &mut world.processes[self.slot].cards[card % CARDS_MAX].contexts;
        *contexts = contexts.saturating_sub(1);
    }

    /// Makes a stream.
    ///
    /// # Errors
    /// If there are too many, or the card fell off.
    pub fn open_stream(
        &self,
        card: usize,
        kind: StreamRole,
        priority: i32,
    ) -> Result<StreamId, Refused> {
        let mut world = self.world();
        check_card(&world, card)?;
        let index = world.free_stream().ok_or(Refused::Full)?;
        let stream = &mut world.streams[index];
        stream.card = card as u64;
        stream.priority = i64::from(priority);
        stream.role = match kind {
            StreamRole::Blocking => role::BLOCKING,
            StreamRole::NonBlocking => role::NON_BLOCKING,
            StreamRole::Default => role::LEGACY,
        };
        stream.head = stream.tail;
        stream.owner = self.slot as u64 + 1;
        world.streams_high = world.streams_high.max(index as u64 + 1);
        Ok(StreamId(index as u32))
    }

    /// Ends a stream; what is in it is dropped, so that whoever calls waits before.
    pub fn close_stream(&self, stream: StreamId) {
        let mut world = self.world();
        let stream = &mut world.streams[stream.index()];
        stream.head = stream.tail;
        stream.owner = 0;
    }

    /// Puts something into a stream; waits while its queue is full.
    ///
    /// # Errors
    /// If the card fell off.
    pub fn submit(&self, stream: StreamId, submission: Submission) -> Result<(), Refused> {
        let mut world = self.world();
        check_card(&world, world.streams[stream.index()].card as usize)?;
        while !world.streams[stream.index()].has_room() {
            let room = Waiter { kind: waiter::ROOM, target: stream.index() as u64, value: 0 };
            world = self.wait(world, room)?;
        }
        let copy_bytes_per_us = world.settings.copy_bytes_per_us;
        let mut made = Op { order: world.clock.submissions, ..Op::default() };
        world.clock.submissions += 1;
        match submission {
            Submission::Kernel(kernel) => {
                (made.kind, made.remaining_ns) = (op::KERNEL, kernel.duration_ns);
                (made.sms, made.value) = (u64::from(kernel.sms.max(1)), kernel.count);
                let card = world.streams[stream.index()].card as usize % CARDS_MAX;
                world.processes[self.slot].cards[card].launches += 1;
            }
            Submission::Copy(bytes) => {
                made.kind = op::COPY;
                made.remaining_ns =
                    bytes.saturating_mul(1000).checked_div(copy_bytes_per_us).unwrap_or(0);
            }
            Submission::Record(event) => {
                let number = world.streams[stream.index()].tail + 1;
                let event_at = &mut world.events[event.index()];
                event_at.recorded += 1;
                (event_at.stream, event_at.number) = (stream.index() as u64, number);
                (made.kind, made.target) = (op::RECORD, event.index() as u64);
                made.value = event_at.recorded;
            }
            Submission::Await(event) => {
                (made.kind, made.target) = (op::AWAIT, event.index() as u64);
                made.value = world.events[event.index()].recorded;
            }
            Submission::Host(function) => (made.kind, made.target) = (op::HOST, function),
        }
        world.streams[stream.index()].push(made);
        engine::settle(&mut world);
        Ok(())
    }

    /// Whether a stream did all that was put into it.
    #[must_use]
    pub fn is_stream_done(&self, stream: StreamId) -> bool {
        self.world().streams[stream.index()].is_empty()
    }

    /// Waits until a stream did all that is in it now.
    ///
    /// # Errors
    /// If the card fell off.
    pub fn wait_for_stream(&self, stream: StreamId) -> Result<(), Refused> {
        let world = self.world();
        let card = world.streams[stream.index()].card as usize;
        let value = world.streams[stream.index()].tail;
        let done = Waiter { kind: waiter::STREAM, target: stream.index() as u64, value };
        let world = self.wait(world, done)?;
        check_card(&world, card)
    }

    /// Makes an event.
    ///
    /// # Errors
    /// If there are too many.
    pub fn open_event(&self) -> Result<EventId, Refused> {
        let mut world = self.world();
        let index = world.free_event().ok_or(Refused::Full)?;
        world.events_next = (index as u64 + 1) % EVENTS_MAX as u64;
        world.events_high = world.events_high.max(index as u64 + 1);
        let event = &mut world.events[index];
        // Never counts back, so that a record of an earlier owner is not mistaken for this one's.
        event.done = event.recorded;
        event.number = 0;
        event.owner = self.slot as u64 + 1;
        Ok(EventId(index as u32))
    }

    /// Ends an event.
    pub fn close_event(&self, event: EventId) {
        let mut world = self.world();
        let event = &mut world.events[event.index()];
        event.done = event.recorded;
        event.owner = 0;
    }

    /// Whether an event's last record was reached.
    #[must_use]
    pub fn is_event_done(&self, event: EventId) -> bool {
        let world = self.world();
        let event = &world.events[event.index()];
        event.done >= event.recorded
    }

    /// When an event's last record was reached; `None` if it was not, or was never recorded.
    #[must_use]
    pub fn event_ns(&self, event: EventId) -> Option<u64> {
        let world = self.world();
        let event = &world.events[event.index()];
        (event.number > 0 && event.done >= event.recorded).then_some(event.done_ns)
    }

    /// Waits until an event's last record is reached.
    ///
    /// # Errors
    /// If there are too many that wait.
    pub fn wait_for_event(&self, event: EventId) -> Result<(), Refused> {
        let world = self.world();
        let value = world.events[event.index()].recorded;
        let done = Waiter { kind: waiter::EVENT, target: event.index() as u64, value };
        self.wait(world, done).map(drop)
    }

    /// A function of the host whose turn has come: its stream, and its number.
    #[must_use]
    pub fn host_due(&self) -> Option<(StreamId, u64)> {
        let (stream, function) = engine::host_due(&self.world(), self.slot)?;
        Some((StreamId(stream as u32), function))
    }

    /// Sleeps until something changed, for a short while at most.
    pub fn sleep_until_changed(&self) {
        let world = self.world();
        let (seen, is_real) = (self.cards.shared.changes(), world.clock.is_real == 1);
        drop(world);
        match is_real {
            true => system::sleep(SHORT_NS),
            false => self.cards.shared.sleep_until_changed(seen, LOOK_NS),
        }
    }

    /// The function of the host that held up this stream was called.
    pub fn host_called(&self, stream: StreamId) {
        let mut world = self.world();
        let stream = &mut world.streams[stream.index()];
        if stream.first().is_some_and(|first| first.kind == op::HOST_DUE) {
            stream.head += 1;
        }
        world.clock.is_changed = 1;
        engine::settle(&mut world);
    }

    /// Says that this process waits for something that is no card, so that a virtual clock goes on
    /// without it.
    pub fn rest(&self) {
        let mut world = self.world();
        world.processes[self.slot].is_idle = 1;
        world.clock.is_changed = 1;
    }

    /// Says that this process goes on.
    pub fn resume(&self) {
        self.world().processes[self.slot].is_idle = 0;
    }

    /// The time of the cards.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.world().clock.now_ns
    }

    /// Waits for a time of the cards.
    ///
    /// # Errors
    /// If too many threads wait.
    pub fn wait_for_time(&self, ns: u64) -> Result<(), Refused> {
        self.wait(self.world(), Waiter { kind: waiter::TIME, target: 0, value: ns }).map(drop)
    }

    /// Waits for something, and returns the world in which it is so.
    fn wait<'a>(&'a self, mut world: Locked<'a>, waiting: Waiter) -> Result<Locked<'a>, Refused> {
        if world.is_met(&waiting) {
            return Ok(world);
        }
        let place = process::wait(&mut world, self.slot, waiting).ok_or(Refused::Full)?;
        while !world.is_met(&waiting) {
            if world.clock.is_real == 1 {
                let ns = least_ns(&world, &waiting);
                drop(world);
                pause(ns);
            } else {
                if process::all_wait(&world)
                    && engine::advance_to_waiter(&mut world) == Reached::Waiter
                {
                    world.clock.is_changed = 1;
                    continue;
                }
                let seen = self.cards.shared.changes();
                drop(world);
                self.cards.shared.sleep_until_changed(seen, LOOK_NS);
            }
            world = self.world();
        }
        world.processes[self.slot].waiters[place] = Waiter::default();
        Ok(world)
    }
}

impl StreamId {
    fn index(self) -> usize {
        self.0 as usize % STREAMS_MAX
    }
}

impl EventId {
    fn index(self) -> usize {
        self.0 as usize % EVENTS_MAX
    }
}

fn check_card(world: &World, card: usize) -> Result<(), Refused> {
    match world.real_cards().get(card) {
        Some(card) if card.is_lost == 0 => Ok(()),
        Some(_) | None => Err(Refused::Lost),
    }
}

/// How long what is waited for takes at least.
fn least_ns(world: &World, waiting: &Waiter) -> u64 {
    match waiting.kind {
        waiter::STREAM => engine::least_ns(world, waiting.target as usize, waiting.value),
        waiter::EVENT => {
            let event = &world.events[waiting.target as usize % EVENTS_MAX];
            engine::least_ns(world, event.stream as usize, event.number)
        }
        waiter::ROOM => {
            let stream = &world.streams[waiting.target as usize % STREAMS_MAX];
            stream.first().map_or(0, |first| first.remaining_ns)
        }
        waiter::TIME => waiting.value.saturating_sub(world.clock.now_ns),
        _ => 0,
    }
}

/// Lets real time pass; timers are late by tens of microseconds, so that the last bit is not slept.
fn pause(ns: u64) {
    match ns {
        0 => system::sleep(SHORT_NS / 2),
        1..=SHORT_NS => std::thread::yield_now(),
        _ => system::sleep((ns - SHORT_NS / 2).min(LOOK_NS)),
    }
}
