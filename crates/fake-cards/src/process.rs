//! Processes that use the cards: they come, wait, and are gone with all they had.

use crate::world::{CARDS_MAX, EVENTS_MAX, PROCESSES_MAX, Process, Waiter, World, life, waiter};

/// Takes a slot for a process, and wipes what an earlier one left there.
pub(crate) fn register(
    world: &mut World,
    pid: u32,
    is_dead: impl Fn(usize) -> bool,
) -> Option<usize> {
    reap(world, &is_dead);
    let free = world.processes.iter().position(|process| process.life == life::FREE);
    let slot = free.or_else(|| {
        let ended = world.processes.iter().enumerate();
        let ended = ended.filter(|(_, process)| process.life == life::ENDED);
        ended.min_by_key(|(_, process)| process.serial).map(|(slot, _)| slot)
    })?;
    let serial = world.processes.iter().map(|process| process.serial).max().unwrap_or(0) + 1;
    wipe(world, slot);
    let process = &mut world.processes[slot];
    process.cards = [crate::world::Account::default(); CARDS_MAX];
    process.pid = u64::from(pid);
    process.serial = serial;
    process.is_idle = 0;
    process.life = life::LIVE;
    Some(slot)
}

/// Ends every process that is dead; its memory and its queued work vanish, its accounts stay.
pub(crate) fn reap(world: &mut World, is_dead: impl Fn(usize) -> bool) {
    for slot in 0..PROCESSES_MAX {
        if world.processes[slot].life == life::LIVE && is_dead(slot) {
            wipe(world, slot);
            world.processes[slot].life = life::ENDED;
            world.clock.is_changed = 1;
        }
    }
}

/// Takes away what a slot's process has. Written so that a second time does no harm.
fn wipe(world: &mut World, slot: usize) {
    let owner = slot as u64 + 1;
    let streams = world.streams_len();
    for stream in world.streams[..streams].iter_mut().filter(|stream| stream.owner == owner) {
        stream.head = stream.tail;
        stream.owner = 0;
    }
    let events = (world.events_high as usize).min(EVENTS_MAX);
    for event in world.events[..events].iter_mut().filter(|event| event.owner == owner) {
        event.owner = 0;
    }
    let process = &mut world.processes[slot];
    process.waiters = [Waiter::default(); crate::world::WAITERS_MAX];
    for account in &mut process.cards {
        account.used_bytes = 0;
        account.contexts = 0;
    }
}

/// Whether every live process waits, so that only time can change anything.
pub(crate) fn all_wait(world: &World) -> bool {
    let mut live = world.processes.iter().enumerate();
    world.clock.holds == 0
        && live.all(|(slot, process)| process.life != life::LIVE || waits(world, slot, process))
}

fn waits(world: &World, slot: usize, process: &Process) -> bool {
    let waiting = || process.waiters.iter().filter(|one| one.kind != waiter::NONE);
    if crate::engine::host_due(world, slot).is_some() || waiting().any(|one| world.is_met(one)) {
        return false;
    }
    process.is_idle == 1 || waiting().next().is_some()
}

/// Notes that a thread waits; `None` if too many of its process do.
pub(crate) fn wait(world: &mut World, slot: usize, waiting: Waiter) -> Option<usize> {
    let waiters = &mut world.processes[slot].waiters;
    let place = waiters.iter().position(|one| one.kind == waiter::NONE)?;
    waiters[place] = waiting;
    Some(place)
}

/// A charge was refused: the card has no room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// Gives a process memory of a card.
pub(crate) fn charge(
    world: &mut World,
    slot: usize,
    card: usize,
    bytes: u64,
) -> Result<(), NoRoom> {
    let used = world.used_bytes(card);
    let is_fit = used.checked_add(bytes).is_some_and(|sum| sum <= world.cards[card].memory_bytes);
    if !is_fit {
        return Err(NoRoom);
    }
    let account = &mut world.processes[slot].cards[card];
    account.used_bytes += bytes;
    account.peak_bytes = account.peak_bytes.max(account.used_bytes);
    Ok(())
}

/// Takes memory back.
pub(crate) fn credit(world: &mut World, slot: usize, card: usize, bytes: u64) {
    let used = &mut world.processes[slot].cards[card].used_bytes;
    *used = used.saturating_sub(bytes);
}
