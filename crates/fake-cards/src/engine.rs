//! How the cards spend time.
//!
//! A stream does one submission after another. Of a process, the kernels that are first in their
//! streams run together as far as the card has multiprocessors for them: those that began first,
//! then by priority, then in the order of submission; one that needs more than the card has runs
//! alone. A kernel takes its duration whoever runs beside it. Between processes a card is shared in
//! time: the process whose turn it is keeps the card for a slice as long as it has kernels, then the
//! next one in the ring has it, and a kernel that was cut goes on when its turn comes again. Where
//! the card is shared in space, the kernels of all processes are admitted as those of one. Copies
//! have engines of their own and wait for nobody. A function of the host holds up its stream until
//! its process has called it.
//!
//! Time goes in steps to the next thing that changes anything, so that the result does not depend on
//! who computes it, nor on how often.

use crate::world::{
    CARDS_MAX, EVENTS_MAX, PROCESSES_MAX, STREAMS_MAX, Sampled, World, life, op, role, waiter,
};

/// How often the use of cards and processes is sampled, as NVML's samples are.
pub(crate) const SAMPLE_NS: u64 = 100_000_000;

/// How far a simulation went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// Somebody who waits has what he waits for.
    Waiter,
    /// Nothing runs and no time is waited for, so that no more time would change anything.
    Nothing,
}

/// Kernels that run now, by stream; at most one of each stream.
struct Running {
    streams: [u16; STREAMS_MAX],
    count: usize,
}

/// Brings the cards to a time. An earlier one than now changes nothing.
pub(crate) fn advance(world: &mut World, to_ns: u64) {
    while world.clock.now_ns < to_ns {
        step(world, to_ns);
    }
    settle(world);
}

/// Lets virtual time pass until somebody who waits need not wait any more.
pub(crate) fn advance_to_waiter(world: &mut World) -> Reached {
    settle(world);
    loop {
        if any_is_met(world) {
            return Reached::Waiter;
        }
        let limit = earliest_time_waited_for(world);
        if limit.is_none() && !has_running(world) {
            return Reached::Nothing;
        }
        let before = world.clock.now_ns;
        step(world, limit.unwrap_or(u64::MAX));
        settle(world);
        if world.clock.now_ns == before {
            return Reached::Nothing;
        }
    }
}

/// Whether a submission of this process waits for the process to call a function.
pub(crate) fn host_due(world: &World, process: usize) -> Option<(usize, u64)> {
    let owned = world.streams[..world.streams_len()].iter().enumerate();
    let mut owned = owned.filter(|(_, stream)| stream.owner == process as u64 + 1);
    owned.find_map(|(index, stream)| {
        let first = stream.first().filter(|first| first.kind == op::HOST_DUE)?;
        Some((index, first.target))
    })
}

/// The least time until a stream did as many submissions, if nobody else is in the way.
pub(crate) fn least_ns(world: &World, stream: usize, number: u64) -> u64 {
    let before = world.streams[stream % STREAMS_MAX].waiting_before(number);
    before.fold(0, |sum, op| sum.saturating_add(op.remaining_ns))
}

/// Does what takes no time and is first in its stream, until nothing more follows from it.
pub(crate) fn settle(world: &mut World) {
    let mut is_changed = true;
    while is_changed {
        is_changed = false;
        for index in 0..world.streams_len() {
            while world.streams[index].owner != 0 && settle_first(world, index) {
                is_changed = true;
            }
        }
    }
}

/// Whether the first submission of a stream took no time and is done.
fn settle_first(world: &mut World, index: usize) -> bool {
    let Some(&first) = world.streams[index].first() else { return false };
    if !is_in_order(world, index) {
        return false;
    }
    let target = first.target as usize % EVENTS_MAX;
    match first.kind {
        op::RECORD => {
            let now_ns = world.clock.now_ns;
            let event = &mut world.events[target];
            // An event that was destroyed meanwhile belongs to somebody else.
            if event.owner == world.streams[index].owner && first.value > event.done {
                event.done_ns = now_ns;
                event.done = first.value;
            }
        }
        op::AWAIT => {
            let event = &world.events[target];
            if event.owner != 0 && event.done < first.value {
                return false;
            }
        }
        op::HOST => {
            if let Some(first) = world.streams[index].first_mut() {
                first.kind = op::HOST_DUE;
            }
            world.clock.is_changed = 1;
            return false;
        }
        op::KERNEL | op::COPY if first.remaining_ns == 0 => complete(world, index),
        _ => return false,
    }
    world.streams[index].head += 1;
    true
}

/// The default stream waits for the others of its process, and they for it, by order.
fn is_in_order(world: &World, index: usize) -> bool {
    let stream = &world.streams[index];
    let Some(first) = stream.first() else { return false };
    if stream.role == role::NON_BLOCKING {
        return true;
    }
    let wants_others = stream.role == role::LEGACY;
    let others = world.streams[..world.streams_len()].iter();
    let mut in_the_way = others.filter(|other| {
        other.owner == stream.owner
            && other.card == stream.card
            && match wants_others {
                true => other.role == role::BLOCKING,
                false => other.role == role::LEGACY,
            }
    });
    !in_the_way.any(|other| other.first().is_some_and(|before| before.order < first.order))
}

/// One step of all cards, of at most `limit_ns` and to the next change.
fn step(world: &mut World, limit_ns: u64) {
    settle(world);
    let now_ns = world.clock.now_ns;
    let mut until_ns = limit_ns.min((now_ns / SAMPLE_NS + 1) * SAMPLE_NS);
    let mut running = Running { streams: [0; STREAMS_MAX], count: 0 };
    for card in 0..world.cards_len() {
        let more_wait = choose_turn(world, card);
        admit(world, card, &mut running);
        if more_wait {
            let left = world.settings.slice_ns.saturating_sub(world.cards[card].slice_used_ns);
            until_ns = until_ns.min(now_ns.saturating_add(left.max(1)));
        }
    }
    for index in 0..world.streams_len() {
        let is_running = running.contains(index) || first_kind(world, index) == Some(op::COPY);
        if let Some(first) = world.streams[index].first().filter(|_| is_running) {
            until_ns = until_ns.min(now_ns.saturating_add(first.remaining_ns));
        }
    }
    spend(world, &running, until_ns - now_ns);
    world.clock.now_ns = until_ns;
    if until_ns.is_multiple_of(SAMPLE_NS) {
        sample(world);
    }
}

/// Gives the card to a process that has kernels; says whether others wait for its turn to end.
fn choose_turn(world: &mut World, card: usize) -> bool {
    if world.settings.is_spatial == 1 {
        return false;
    }
    let ready = processes_ready(world, card);
    let current = world.cards[card].resident;
    let is_ready = |owner: u64| owner > 0 && ready & (1 << ((owner - 1) % 64)) != 0;
    let others = ready & !(if current > 0 { 1 << ((current - 1) % 64) } else { 0 });
    let card = &mut world.cards[card];
    if is_ready(current) && card.slice_used_ns >= world.settings.slice_ns && others == 0 {
        card.slice_used_ns = 0;
    }
    if !is_ready(current) || card.slice_used_ns >= world.settings.slice_ns {
        let ring =
            (0..PROCESSES_MAX as u64).map(|step| (current + step) % PROCESSES_MAX as u64 + 1);
        if let Some(next) = ring.into_iter().find(|owner| is_ready(*owner)) {
            card.resident = next;
            card.slice_used_ns = 0;
        }
    }
    (ready & !(1 << ((card.resident.max(1) - 1) % 64))) != 0
}

/// Processes that have a kernel first in a stream, as bits.
fn processes_ready(world: &World, card: usize) -> u64 {
    let mut ready = 0;
    for index in 0..world.streams_len() {
        if is_ready_kernel(world, card, index) {
            ready |= 1 << ((world.streams[index].owner - 1) % 64);
        }
    }
    ready
}

fn is_ready_kernel(world: &World, card: usize, index: usize) -> bool {
    let stream = &world.streams[index];
    stream.owner > 0
        && stream.card == card as u64
        && first_kind(world, index) == Some(op::KERNEL)
        && world.cards[card].is_lost == 0
        && is_in_order(world, index)
}

fn first_kind(world: &World, index: usize) -> Option<u64> {
    world.streams[index].first().map(|first| first.kind)
}

/// Chooses the kernels that run on a card now.
fn admit(world: &mut World, card: usize, running: &mut Running) {
    let resident = world.cards[card].resident;
    let is_spatial = world.settings.is_spatial == 1;
    let mut free = world.cards[card].sms;
    let mut is_first = true;
    // The candidates are few; each round takes the best of those that are left.
    let mut taken_to: Option<(bool, i64, u64)> = None;
    loop {
        let mut best: Option<((bool, i64, u64), usize)> = None;
        for index in 0..world.streams_len() {
            let stream = &world.streams[index];
            if !(is_spatial || stream.owner == resident) || !is_ready_kernel(world, card, index) {
                continue;
            }
            let Some(first) = stream.first() else { continue };
            let rank = (first.is_started == 0, stream.priority, first.order);
            let is_left = taken_to.is_none_or(|taken| rank > taken);
            if is_left && best.is_none_or(|(best, _)| rank < best) {
                best = Some((rank, index));
            }
        }
        let Some((rank, index)) = best else { return };
        taken_to = Some(rank);
        let Some(first) = world.streams[index].first_mut() else { return };
        if first.sms <= free || is_first {
            free = free.saturating_sub(first.sms);
            first.is_started = 1;
            is_first = false;
            running.push(index);
        }
        if free == 0 {
            return;
        }
    }
}

/// Lets the chosen kernels and all copies run for a while, and writes down who had the card.
fn spend(world: &mut World, running: &Running, ns: u64) {
    let mut is_busy = [0u64; CARDS_MAX];
    for &index in running.all() {
        let stream = &mut world.streams[usize::from(index)];
        let (card, owner) = (stream.card as usize % CARDS_MAX, stream.owner);
        let Some(first) = stream.first_mut() else { continue };
        first.remaining_ns = first.remaining_ns.saturating_sub(ns);
        let sms = first.sms.min(world.cards[card].sms);
        let process = (owner - 1) as usize % PROCESSES_MAX;
        let account = &mut world.processes[process].cards[card];
        account.sm_ns = account.sm_ns.saturating_add(sms.saturating_mul(ns));
        is_busy[card] |= 1 << (process % 64);
    }
    for (card, processes) in is_busy.iter().enumerate().filter(|(_, processes)| **processes != 0) {
        world.cards[card].busy_ns += ns;
        world.cards[card].slice_used_ns += ns;
        for process in (0..PROCESSES_MAX).filter(|process| processes & (1 << process) != 0) {
            world.processes[process].cards[card].busy_ns += ns;
        }
    }
    for index in 0..world.streams_len() {
        if first_kind(world, index) == Some(op::COPY)
            && let Some(first) = world.streams[index].first_mut()
        {
            first.remaining_ns = first.remaining_ns.saturating_sub(ns);
        }
    }
}

/// Counts the kernels of a submission that is done.
fn complete(world: &mut World, index: usize) {
    let stream = &world.streams[index];
    let Some(first) = stream.first().filter(|first| first.kind == op::KERNEL) else { return };
    let process = (stream.owner - 1) as usize % PROCESSES_MAX;
    let account = &mut world.processes[process].cards[stream.card as usize % CARDS_MAX];
    account.kernels += first.value;
}

fn sample(world: &mut World) {
    let now_ns = world.clock.now_ns;
    let take = |sampled: &mut Sampled, busy_ns: u64| {
        let percent = (busy_ns - sampled.busy_ns.min(busy_ns)) * 100 / SAMPLE_NS;
        *sampled = Sampled { busy_ns, at_ns: now_ns, percent };
    };
    let cards = world.cards_len();
    for card in &mut world.cards[..cards] {
        take(&mut card.sampled, card.busy_ns);
    }
    for process in world.processes.iter_mut().filter(|process| process.life == life::LIVE) {
        for account in &mut process.cards[..cards] {
            take(&mut account.sampled, account.busy_ns);
        }
    }
}

fn any_is_met(world: &World) -> bool {
    waiting(world).any(|waiting| world.is_met(waiting))
}

fn earliest_time_waited_for(world: &World) -> Option<u64> {
    waiting(world).filter(|one| one.kind == waiter::TIME).map(|one| one.value).min()
}

fn waiting(world: &World) -> impl Iterator<Item = &crate::world::Waiter> {
    let live = world.processes.iter().filter(|process| process.life == life::LIVE);
    live.flat_map(|process| &process.waiters).filter(|one| one.kind != waiter::NONE)
}

fn has_running(world: &World) -> bool {
    (0..world.streams_len()).any(|index| {
        let card = world.streams[index].card as usize % CARDS_MAX;
        first_kind(world, index) == Some(op::COPY) || is_ready_kernel(world, card, index)
    })
}

impl Running {
    fn push(&mut self, stream: usize) {
        self.streams[self.count] = stream as u16;
        self.count += 1;
    }

    fn all(&self) -> &[u16] {
        &self.streams[..self.count]
    }

    fn contains(&self, stream: usize) -> bool {
        self.all().contains(&(stream as u16))
    }
}

#[cfg(test)]
mod tests;
