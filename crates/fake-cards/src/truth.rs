//! What a test knows and may do: the truth behind what drivers say, the clock, and things that go
//! wrong.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use crate::cards::Cards;
use crate::description::Fault;
use crate::engine;
use crate::process;
use crate::world::{Account, Card, Notice, Sampled, World, life, op};

/// What is so at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// The time of the cards.
    pub now_ns: u64,
    /// Every card.
    pub cards: Vec<CardFacts>,
    /// Every process that uses the cards, and those that did as long as there was room, the oldest
    /// first.
    pub processes: Vec<ProcessTruth>,
}

/// A card as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardFacts {
    /// What it is called.
    pub name: String,
    /// Its identity.
    pub uuid: [u8; 16],
    /// All its memory.
    pub memory_bytes: u64,
    /// What live processes have of that.
    pub used_bytes: u64,
    /// Its multiprocessors.
    pub sms: u32,
    /// Its compute capability, major and minor.
    pub compute: (u32, u32),
    /// Whether it could be partitioned.
    pub can_mig: bool,
    /// Whether it fell off.
    pub is_lost: bool,
    /// How warm it is.
    pub temperature_c: u32,
    /// Why it is slowed down, in the bits of NVML.
    pub throttle_reasons: u64,
    /// Time in which a kernel ran on it.
    pub busy_ns: u64,
    /// The share of the last sampled period in which a kernel ran, in per cent.
    pub busy_percent: u32,
}

/// What a process really had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessTruth {
    /// Its number.
    pub pid: u32,
    /// Whether it still uses the cards.
    pub is_alive: bool,
    /// What it has and had of each card.
    pub cards: Vec<ProcessUse>,
}

/// What a process has and had of one card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessUse {
    /// Memory that it has.
    pub used_bytes: u64,
    /// The most memory that it had.
    pub peak_bytes: u64,
    /// Time in which at least one of its kernels ran.
    pub busy_ns: u64,
    /// Multiprocessors times the time for which its kernels held them.
    pub sm_ns: u64,
    /// Kernels and graphs that it submitted.
    pub launches: u64,
    /// Kernels that came to their end, those of graphs too.
    pub kernels: u64,
    /// Contexts that it has.
    pub contexts: u64,
    /// When its use was last sampled, and the share of that period that it was busy, in per cent.
    pub sampled: (u64, u32),
}

/// Holds a virtual clock still until it is dropped, whoever waits.
#[derive(Debug)]
pub struct Hold {
    cards: Cards,
}

impl Cards {
    /// What is so now; processes that died are found out first.
    #[must_use]
    pub fn truth(&self) -> Truth {
        let world = self.now_alive();
        let mut processes: Vec<&crate::world::Process> =
            world.processes.iter().filter(|process| process.life != life::FREE).collect();
        processes.sort_by_key(|process| process.serial);
        let cards = world.cards_len();
        Truth {
            now_ns: world.clock.now_ns,
            cards: (0..cards).map(|card| facts(&world, card)).collect(),
            processes: processes
                .into_iter()
                .map(|process| ProcessTruth {
                    pid: process.pid as u32,
                    is_alive: process.life == life::LIVE,
                    cards: process.cards[..cards].iter().map(ProcessUse::of).collect(),
                })
                .collect(),
        }
    }

    /// A card as it is; `None` if there is none of that index.
    #[must_use]
    pub fn card(&self, index: usize) -> Option<CardFacts> {
        let world = self.now_alive();
        (index < world.cards_len()).then(|| facts(&world, index))
    }

    /// How many cards there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.lock().cards_len()
    }

    /// Whether there are no cards, which no description allows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The version that the driver names.
    #[must_use]
    pub fn driver_version(&self) -> u32 {
        self.shared.lock().settings.driver_version as u32
    }

    /// What an allocation's size is rounded up to.
    #[must_use]
    pub fn granularity_bytes(&self) -> u64 {
        self.shared.lock().settings.granularity_bytes.max(1)
    }

    /// The last process of a number that used the cards.
    #[must_use]
    pub fn process(&self, pid: u32) -> Option<ProcessTruth> {
        self.truth().processes.into_iter().rfind(|process| process.pid == pid)
    }

    /// How often each function of the driver was called, by all processes.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<String, u64> {
        let counted = self.shared.functions().iter();
        let counted = counted.map(|slot| (slot.name(), slot.calls.load(Ordering::Relaxed)));
        counted.filter(|(_, calls)| *calls > 0).collect()
    }

    /// Makes something go wrong with a function. Calls are counted from now on.
    pub fn set_fault(&self, function: &str, fault: &Fault) {
        let slot = self.shared.function(function);
        match *fault {
            Fault::Fails { call, times, code } => {
                let calls = slot.calls.load(Ordering::Relaxed);
                slot.fails_from.store(0, Ordering::Release);
                slot.fails_times.store(times, Ordering::Release);
                slot.fails_code.store(u64::from(code), Ordering::Release);
                slot.fails_from.store(calls.saturating_add(call.max(1)), Ordering::Release);
            }
            Fault::Slow { delay_ns } => slot.delay_ns.store(delay_ns, Ordering::Release),
            Fault::Missing => slot.is_missing.store(1, Ordering::Release),
        }
    }

    /// Nothing is wrong with a function any more.
    pub fn clear_faults(&self, function: &str) {
        let slot = self.shared.function(function);
        for place in [&slot.fails_from, &slot.delay_ns, &slot.is_missing] {
            place.store(0, Ordering::Release);
        }
    }

    /// A card falls off: its queued work is dropped, and calls that need it fail. NVML tells of it
    /// as an Xid error of this number.
    pub fn lose_card(&self, card: usize, xid: u32) {
        let mut world = self.now();
        let now_ns = world.clock.now_ns;
        if card >= world.cards_len() {
            return;
        }
        world.cards[card].is_lost = 1;
        for index in 0..world.streams_len() {
            while world.streams[index].owner != 0 && world.streams[index].card == card as u64 {
                let Some(&first) = world.streams[index].first() else { break };
                if first.kind == op::RECORD {
                    let event = &mut world.events[first.target as usize];
                    (event.done, event.done_ns) = (event.done.max(first.value), now_ns);
                }
                world.streams[index].head += 1;
            }
        }
        notify(&mut world, Notice { card: card as u64, xid: u64::from(xid), at_ns: now_ns });
        world.clock.is_changed = 1;
    }

    /// NVML tells of an Xid error on a card that goes on working.
    pub fn report_xid(&self, card: usize, xid: u32) {
        let mut world = self.now();
        let at_ns = world.clock.now_ns;
        notify(&mut world, Notice { card: card as u64, xid: u64::from(xid), at_ns });
    }

    /// Xid errors after the first `seen` of all that were: card and number.
    #[must_use]
    pub fn xids_after(&self, seen: u64) -> Vec<(usize, u32)> {
        let world = self.now();
        let written = world.notices_written;
        let kept = world.notices.len() as u64;
        let first = seen.max(written.saturating_sub(kept));
        let all = (first..written).map(|at| world.notices[(at % kept) as usize]);
        all.map(|notice| (notice.card as usize, notice.xid as u32)).collect()
    }

    /// How many Xid errors there were.
    #[must_use]
    pub fn xids_len(&self) -> u64 {
        self.shared.lock().notices_written
    }

    /// Sets how warm a card is, and why it is slowed down in the bits of NVML.
    pub fn set_heat(&self, card: usize, temperature_c: u32, throttle_reasons: u64) {
        let mut world = self.now();
        if let Some(card) = world.cards.get_mut(card) {
            card.temperature_c = u64::from(temperature_c);
            card.throttle_reasons = throttle_reasons;
        }
    }

    /// Moves a virtual clock.
    pub fn advance(&self, ns: u64) {
        let mut world = self.now();
        if world.clock.is_real == 0 {
            let to_ns = world.clock.now_ns.saturating_add(ns);
            engine::advance(&mut world, to_ns);
            world.clock.is_changed = 1;
        }
    }

    /// The time of the cards.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.now().clock.now_ns
    }

    /// Keeps a virtual clock from moving while processes wait, so that several can be told what to
    /// do before any of it happens.
    #[must_use]
    pub fn hold(&self) -> Hold {
        self.shared.lock().clock.holds += 1;
        Hold { cards: self.clone() }
    }

    /// Whether every process waits, apart from tests that hold the clock. One that rests counts as
    /// waiting, as a tenant does until it has read what it is to do.
    #[must_use]
    pub fn all_wait(&self) -> bool {
        let mut world = self.now_alive();
        let holds = std::mem::take(&mut world.clock.holds);
        let all_wait = process::all_wait(&world);
        world.clock.holds = holds;
        all_wait
    }

    /// Whether `cuGetProcAddress` shall not know a function.
    #[must_use]
    pub fn is_missing(&self, function: &str) -> bool {
        self.shared.function(function).is_missing.load(Ordering::Acquire) != 0
    }

    /// Counts a call of a function, by a slot that [`Cards::function_slot`] gave; returns the code
    /// with which it shall fail.
    #[must_use]
    pub fn count_call(&self, slot: usize) -> Option<u32> {
        let slot = &self.shared.functions()[slot];
        let call = slot.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let delay_ns = slot.delay_ns.load(Ordering::Relaxed);
        if delay_ns > 0 {
            crate::system::sleep(delay_ns);
        }
        let from = slot.fails_from.load(Ordering::Acquire);
        let is_failing =
            from > 0 && call >= from && call - from < slot.fails_times.load(Ordering::Relaxed);
        is_failing.then(|| slot.fails_code.load(Ordering::Relaxed) as u32)
    }

    /// Where a function's calls are counted.
    #[must_use]
    pub fn function_slot(&self, function: &str) -> usize {
        let slot = self.shared.function(function);
        let all = self.shared.functions();
        all.iter().position(|other| std::ptr::eq(slot, other)).expect("the slot is one of them")
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut world = self.cards.shared.lock();
        world.clock.holds = world.clock.holds.saturating_sub(1);
        world.clock.is_changed = 1;
    }
}

impl ProcessUse {
    pub(crate) fn of(account: &Account) -> Self {
        let Sampled { at_ns, percent, .. } = account.sampled;
        Self {
            used_bytes: account.used_bytes,
            peak_bytes: account.peak_bytes,
            busy_ns: account.busy_ns,
            sm_ns: account.sm_ns,
            launches: account.launches,
            kernels: account.kernels,
            contexts: account.contexts,
            sampled: (at_ns, percent as u32),
        }
    }
}

fn facts(world: &World, index: usize) -> CardFacts {
    let card: &Card = &world.cards[index];
    let name = card.name.split(|byte| *byte == 0).next().unwrap_or_default();
    CardFacts {
        name: String::from_utf8_lossy(name).into_owned(),
        uuid: card.uuid,
        memory_bytes: card.memory_bytes,
        used_bytes: world.used_bytes(index),
        sms: card.sms as u32,
        compute: (card.compute_major as u32, card.compute_minor as u32),
        can_mig: card.can_mig == 1,
        is_lost: card.is_lost == 1,
        temperature_c: card.temperature_c as u32,
        throttle_reasons: card.throttle_reasons,
        busy_ns: card.busy_ns,
        busy_percent: card.sampled.percent as u32,
    }
}

fn notify(world: &mut World, notice: Notice) {
    let place = (world.notices_written % world.notices.len() as u64) as usize;
    world.notices[place] = notice;
    world.notices_written += 1;
}
