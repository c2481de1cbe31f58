//! The limits in force, card by card, as words that a launch reads in a few loads.

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};

use cotenant_types::limits::{CARDS_MAX, LimitPageError, OnFailure, ShownProcesses};

use super::account::SUCCESS;
use super::{driver, state, submit};
use crate::compute::Terms;
use crate::page::{CardIndex, Facts, LimitReader};

/// Devices of a process whose cards are remembered; those beyond are asked for each time.
const DEVICES: usize = 128;

/// A byte for "not asked yet", one for "no card of the slice", then the cards.
const UNASKED: u8 = 0;
const NO_CARD: u8 = 1;
const FIRST_CARD: u8 = 2;

/// What is known of a card of the slice.
struct Card {
    uuid: [AtomicU64; 2],
    has_memory_limit: AtomicBool,
    memory: AtomicU64,
    overhead: AtomicU64,
    /// The grant, and above it whether others share the card.
    grant: AtomicU64,
    hold_until_ns: AtomicU64,
}

const SHARED: u64 = 1 << 32;

static CARDS: [Card; CARDS_MAX] = [const {
    Card {
        uuid: [AtomicU64::new(0), AtomicU64::new(0)],
        has_memory_limit: AtomicBool::new(false),
        memory: AtomicU64::new(0),
        overhead: AtomicU64::new(0),
        grant: AtomicU64::new(1000),
        hold_until_ns: AtomicU64::new(0),
    }
}; CARDS_MAX];
static COUNT: AtomicU64 = AtomicU64::new(0);
static SEQUENCE: AtomicU64 = AtomicU64::new(0);
static IS_REFRESHING: AtomicBool = AtomicBool::new(false);
static ON_FAILURE: AtomicU8 = AtomicU8::new(0);
static SHOWN: AtomicU8 = AtomicU8::new(0);
static BY_DEVICE: [AtomicU8; DEVICES] = [const { AtomicU8::new(UNASKED) }; DEVICES];

thread_local! {
    /// The card of this thread's current context; every change of context resets it.
    static CURRENT: Cell<u8> = const { Cell::new(UNASKED) };
}

/// Takes in what the limit page says.
pub(super) fn take(facts: &Facts) {
    for (card, facts) in CARDS.iter().zip(&facts.cards) {
        let Some(facts) = facts else { continue };
        let (high, low) = facts.uuid.split_at(8);
        let word = |bytes: &[u8]| bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        card.uuid[0].store(word(high), Relaxed);
        card.uuid[1].store(word(low), Relaxed);
        card.has_memory_limit.store(facts.memory.is_some(), Relaxed);
        card.memory.store(facts.memory.map_or(u64::MAX, |memory| memory.0), Relaxed);
        card.overhead.store(facts.overhead.0, Relaxed);
        let terms = Terms::of(facts);
        let shared = if terms.is_shared { SHARED } else { 0 };
        card.grant.store(u64::from(terms.grant_milli) | shared, Relaxed);
        card.hold_until_ns.store(terms.hold_until_ns, Relaxed);
    }
    ON_FAILURE.store(u8::from(facts.on_failure == OnFailure::Refuse), Relaxed);
    SHOWN.store(u8::from(facts.shown == ShownProcesses::All), Relaxed);
    if COUNT.swap(facts.count as u64, SeqCst) != facts.count as u64 {
        BY_DEVICE.iter().for_each(|device| device.store(UNASKED, SeqCst));
    }
    SEQUENCE.store(facts.sequence, Release);
}

/// Looks whether the limit page says something new, and takes it in. While one thread does, the
/// others go on with what was known.
#[inline]
pub(super) fn refresh() {
    let Some(reader) = state::limits() else { return };
    let sequence = reader.sequence();
    // An odd one is being written: the next call will see what.
    if sequence != SEQUENCE.load(Acquire) && sequence.is_multiple_of(2) {
        take_anew(reader, sequence);
    }
}

#[cold]
fn take_anew(reader: LimitReader<'static>, sequence: u64) {
    if IS_REFRESHING.swap(true, Acquire) {
        return;
    }
    // A page that cannot be read now leaves the limits as they were.
    match reader.read() {
        Ok(facts) => {
            take(&facts);
            submit::observe(&facts);
        }
        Err(LimitPageError::Unfinished) => {}
        Err(_) => {
            state::count_failure();
            // It is not looked at again until it changes.
            SEQUENCE.store(sequence, Release);
        }
    }
    IS_REFRESHING.store(false, Release);
}

/// In a child, nobody is refreshing and no context is current.
pub(super) fn forget() {
    IS_REFRESHING.store(false, Release);
    forget_current();
}

/// What the pool wants of a call that cannot be counted.
pub(super) fn on_failure() -> OnFailure {
    match ON_FAILURE.load(Relaxed) {
        0 => OnFailure::PassThrough,
        _ => OnFailure::Refuse,
    }
}

/// Which processes a program may see.
pub(super) fn shown() -> ShownProcesses {
    match SHOWN.load(Relaxed) {
        0 => ShownProcesses::Own,
        _ => ShownProcesses::All,
    }
}

/// The memory limit of a card, if it has one, and what of it the driver has taken already.
pub(super) fn memory(card: CardIndex) -> (Option<u64>, u64) {
    let card = &CARDS[card.get()];
    let limit = card.has_memory_limit.load(Relaxed).then(|| card.memory.load(Relaxed));
    (limit, card.overhead.load(Relaxed))
}

/// The compute terms of a card.
#[inline]
pub(super) fn terms(card: CardIndex) -> Terms {
    let card = &CARDS[card.get()];
    let grant = card.grant.load(Relaxed);
    Terms {
        grant_milli: grant as u32,
        is_shared: grant & SHARED != 0,
        hold_until_ns: card.hold_until_ns.load(Relaxed),
    }
}

/// The card of the calling thread's current context, if the slice has it.
#[inline]
pub(super) fn current() -> Option<CardIndex> {
    match CURRENT.with(Cell::get) {
        UNASKED => ask_current(),
        NO_CARD => None,
        card => CardIndex::new(usize::from(card - FIRST_CARD)),
    }
}

/// Says that this thread's context may be another now.
pub(super) fn forget_current() {
    CURRENT.with(|current| current.set(UNASKED));
}

/// The device of the calling thread's current context.
pub(super) fn current_device() -> Option<c_int> {
    let mut device = -1;
    // SAFETY: the place is ours.
    let result = unsafe { driver::cuCtxGetDevice(&mut device) };
    (result == SUCCESS && device >= 0).then_some(device)
}

#[cold]
fn ask_current() -> Option<CardIndex> {
    let card = of_device(current_device()?);
    let byte = card.map_or(NO_CARD, |card| FIRST_CARD + card.get() as u8);
    CURRENT.with(|current| current.set(byte));
    card
}

/// The card that a device of this process is, if the slice has it. Whatever number a program
/// gives, only the driver says which card it is.
pub(super) fn of_device(device: c_int) -> Option<CardIndex> {
    let place = usize::try_from(device).ok().and_then(|device| BY_DEVICE.get(device));
    match place.map_or(UNASKED, |place| place.load(Relaxed)) {
        NO_CARD => return None,
        UNASKED => {}
        card => return CardIndex::new(usize::from(card - FIRST_CARD)),
    }
    let uuid = uuid_of(device)?;
    let card = if state::limits().is_some() {
        of_uuid(&uuid)
    } else {
        // Limits of the environment are by the process's own numbers.
        usize::try_from(device).ok().and_then(CardIndex::new)
    };
    if let Some(place) = place {
        place.store(card.map_or(NO_CARD, |card| FIRST_CARD + card.get() as u8), Relaxed);
    }
    card
}

/// The card with that number of its own, if the slice has it.
pub(super) fn of_uuid(uuid: &[u8; 16]) -> Option<CardIndex> {
    let count = (COUNT.load(Relaxed) as usize).min(CARDS_MAX);
    let is_it = |card: &Card| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&card.uuid[0].load(Relaxed).to_be_bytes());
        bytes[8..].copy_from_slice(&card.uuid[1].load(Relaxed).to_be_bytes());
        bytes == *uuid
    };
    CARDS[..count].iter().position(is_it).and_then(CardIndex::new)
}

/// A device's own number; that of a partition where the device is one.
fn uuid_of(device: c_int) -> Option<[u8; 16]> {
    let mut uuid = [0; 16];
    // SAFETY: the place is ours and as large as a CUuuid.
    let by_partition = unsafe { driver::cuDeviceGetUuid_v2(&mut uuid, device) };
    if by_partition == SUCCESS {
        return Some(uuid);
    }
    // SAFETY: as above; drivers before 11.4 have only this one.
    let result = unsafe { driver::cuDeviceGetUuid(&mut uuid, device) };
    (result == SUCCESS).then_some(uuid)
}
