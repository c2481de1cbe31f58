//! What the library knows in this process: the pages, its slot, the cards.
//!
//! ```text
//! new --> starting --> free       no page and no limits in the environment
//!                 '--> limited    a slice; back to starting in a child by fork
//!                 '--> refusing   a slice whose pages cannot be used, and a policy to refuse
//! ```
//! The word for this holds the process's number too, so that a child that was forked in the middle
//! of a start knows that nobody will finish it. Nothing here runs before a program calls the
//! driver, and nothing runs when it ends.

use std::ffi::{CStr, CString, c_int};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};
use std::time::Duration;

use cotenant_types::limits::{
    HeaderWord, LIMITS_FILE, LimitPageError, LimitWord, OnFailure, SLICE_FOLDER, SLICE_VARIABLE,
    SlotWord, USAGE_FILE, UsageLayout,
};

use super::mapping::{Access, MapError, map_family, map_file, map_mark, map_own_file};
use super::process::Processes;
use super::{account, cards, submit};
use crate::environment;
use crate::ledger::{self, Ledger, Liveness};
use crate::page::{Facts, LimitReader, SlotIndex, Usage};

const NEW: u64 = 0;
const STARTING: u64 = 1;
const FREE: u64 = 2;
const LIMITED: u64 = 3;
const REFUSING: u64 = 4;
const PHASE_BITS: u64 = 0xff;

/// A page that is being written is looked at again for about a second, when a program starts.
const START_LOOKS: u32 = 1000;
/// Others of its threads wait for one that starts for twice as long.
const START_TURNS: u32 = 2 * START_LOOKS;
const START_PAUSE: Duration = Duration::from_millis(1);

static PHASE: AtomicU64 = AtomicU64::new(NEW);
static MARK: AtomicPtr<AtomicU64> = AtomicPtr::new(std::ptr::null_mut());
static LIMITS: AtomicPtr<AtomicU64> = AtomicPtr::new(std::ptr::null_mut());
static USAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(std::ptr::null_mut());
/// The slot and one; 0 before this process has moved in.
static SLOT: AtomicU32 = AtomicU32::new(0);
/// What stands in the slot while it is this process's.
static OWNER: AtomicU64 = AtomicU64::new(0);
static UNKNOWN: AtomicU64 = AtomicU64::new(0);
static FAILURES: AtomicU64 = AtomicU64::new(0);

/// How this process stands with regard to limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// There are none.
    Free,
    /// There is a slice.
    Limited,
    /// There is one, but it cannot be used.
    Refusing,
}

/// How this process stands; the first call finds it out.
#[inline]
pub(super) fn phase() -> Phase {
    let word = PHASE.load(Acquire);
    match word & PHASE_BITS {
        FREE => Phase::Free,
        LIMITED if !is_child() => Phase::Limited,
        REFUSING => Phase::Refusing,
        _ => start(word),
    }
}

/// The slice's usage page.
pub(super) fn usage() -> Option<Usage<'static>> {
    Usage::adopted(words(&USAGE, UsageLayout::COUNT)?)
}

/// The slice's limit page; none if its limits come from the environment.
pub(super) fn limits() -> Option<LimitReader<'static>> {
    LimitReader::new(words(&LIMITS, LimitWord::COUNT)?)
}

/// This process's hand in the slice's memory; it moves in if it must.
pub(super) fn ledger() -> Option<Ledger<'static>> {
    let usage = usage()?;
    let slot = match SLOT.load(Acquire) {
        0 => move_in(usage)?,
        slot => SlotIndex::new(slot as usize - 1)?,
    };
    Some(Ledger::new(usage, slot))
}

/// Looks whether this process still has its slot, and moves in again if somebody took it for dead.
/// What it holds is counted still, unless another has moved in meanwhile.
pub(super) fn keep_slot() {
    let number = SLOT.load(Acquire);
    let slot = (number as usize).checked_sub(1).and_then(SlotIndex::new);
    let (Some(usage), Some(slot), Some(processes)) = (usage(), slot, Processes::find()) else {
        return;
    };
    if ledger::owns(usage, slot, processes.own()) {
        return;
    }
    count_failure();
    if !ledger::take_back(usage, slot, processes.own()) {
        let _ = SLOT.compare_exchange(number, 0, SeqCst, SeqCst);
    }
}

/// Whether the slot of this process is anybody's; a load, where [`keep_slot`] asks the system.
pub(super) fn has_slot() -> bool {
    let slot = (SLOT.load(Acquire) as usize).checked_sub(1).and_then(SlotIndex::new);
    let (Some(usage), Some(slot)) = (usage(), slot) else { return true };
    usage.slot(slot, SlotWord::OWNER).load(Relaxed) == OWNER.load(Relaxed)
}

/// Frees what dead processes of the slice held.
pub(super) fn reap() -> usize {
    match (usage(), Processes::find()) {
        (Some(usage), Some(processes)) => ledger::reap(usage, &processes),
        _ => 0,
    }
}

/// Counts an entry point that the library does not know.
pub(super) fn count_unknown() {
    count(HeaderWord::UNKNOWN_SYMBOLS, &UNKNOWN);
}

/// Counts a call that went its way because the library could not do its work.
pub(super) fn count_failure() {
    count(HeaderWord::FAILURES, &FAILURES);
}

/// What the pool wants of a call that cannot be counted: `None` lets it pass.
pub(super) fn on_failure(refused: c_int) -> Option<c_int> {
    count_failure();
    match cards::on_failure() {
        OnFailure::PassThrough => None,
        OnFailure::Refuse => Some(refused),
    }
}

fn count(word: usize, own: &AtomicU64) {
    match usage() {
        Some(usage) => usage.header(word).fetch_add(1, Relaxed),
        None => own.fetch_add(1, Relaxed),
    };
}

fn move_in(usage: Usage<'static>) -> Option<SlotIndex> {
    let processes = Processes::find()?;
    let slot = ledger::join(usage, &processes)?;
    match SLOT.compare_exchange(0, slot.get() as u32 + 1, SeqCst, SeqCst) {
        Ok(_) => {
            OWNER.store(usage.slot(slot, SlotWord::OWNER).load(SeqCst), Release);
            Some(slot)
        }
        Err(other) => {
            // Another thread was faster.
            ledger::leave(usage, slot, processes.own());
            SlotIndex::new(other as usize - 1)
        }
    }
}

fn words(pointer: &AtomicPtr<AtomicU64>, count: usize) -> Option<&'static [AtomicU64]> {
    let start = pointer.load(Acquire);
    // SAFETY: it is null, or the start of a mapping of `count` words that stays for good.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start, count) })
}

/// Whether this process was forked since it started to count.
fn is_child() -> bool {
    let mark = MARK.load(Acquire);
    // SAFETY: it is null, or a mapped word that stays for good.
    !mark.is_null() && unsafe { &*mark }.load(Relaxed) == 0
}

#[cold]
fn start(mut word: u64) -> Phase {
    // SAFETY: it only returns a number.
    let own = (unsafe { libc::getpid() } as u64) << 8;
    for _ in 0..START_TURNS {
        let is_ours = word & !PHASE_BITS == own;
        match word & PHASE_BITS {
            FREE => return Phase::Free,
            REFUSING => return Phase::Refusing,
            LIMITED if !is_child() => return Phase::Limited,
            STARTING if is_ours => std::thread::sleep(START_PAUSE),
            _ => match PHASE.compare_exchange(word, own | STARTING, SeqCst, SeqCst) {
                Ok(_) => return finish_start(word, own),
                Err(other) => {
                    word = other;
                    continue;
                }
            },
        }
        word = PHASE.load(Acquire);
    }
    // Whoever started is stuck, or this is a call from inside of the start.
    count_failure();
    Phase::Free
}

fn finish_start(before: u64, own: u64) -> Phase {
    // It would print, and printing is the program's.
    std::panic::set_hook(Box::new(|_| {}));
    if before != NEW {
        forget();
    }
    let (phase, found) = match find_slice() {
        Ok(Some(facts)) => {
            cards::take(&facts);
            (LIMITED, Phase::Limited)
        }
        Ok(None) => (FREE, Phase::Free),
        Err(OnFailure::PassThrough) => (FREE, Phase::Free),
        Err(OnFailure::Refuse) => (REFUSING, Phase::Refusing),
    };
    set_mark();
    PHASE.store(own | phase, Release);
    found
}

/// In a child, the mark of its parent is there too, and zero.
fn set_mark() {
    let known = MARK.load(Acquire);
    if !known.is_null() {
        // SAFETY: it is a mapped word that stays for good.
        unsafe { &*known }.store(1, Relaxed);
    } else if let Some(mark) = map_mark() {
        mark.store(1, Relaxed);
        MARK.store(std::ptr::from_ref(mark).cast_mut(), Release);
    }
}

/// A child holds nothing of what its parent did, and has none of its threads.
fn forget() {
    SLOT.store(0, SeqCst);
    cards::forget();
    account::forget();
    submit::forget();
}

/// The slice's pages and what they say, or what the environment says where there are none.
fn find_slice() -> Result<Option<Facts>, OnFailure> {
    let folder = folder();
    let Some(folder) = folder else { return Ok(environment_slice()) };
    let limits = match open(&folder, LIMITS_FILE, LimitWord::COUNT, Access::Read) {
        Ok(limits) => limits,
        Err(MapError::Absent) => return Ok(environment_slice()),
        Err(MapError::Denied | MapError::Short) => return Err(OnFailure::Refuse),
    };
    // A pool wanted limits; which, and what to do without, cannot be known.
    let facts = LimitReader::new(limits).and_then(read_patiently).ok_or(OnFailure::Refuse)?;
    LIMITS.store(limits.as_ptr().cast_mut(), Release);
    let usage = open(&folder, USAGE_FILE, UsageLayout::COUNT, Access::Write);
    let usage = usage.map_err(|_| facts.on_failure)?;
    Usage::adopt(usage).ok_or(facts.on_failure)?;
    USAGE.store(usage.as_ptr().cast_mut(), Release);
    Ok(Some(facts))
}

/// What the page says, though a pool that is short of processors may be writing it: a refusal would
/// be for good.
fn read_patiently(reader: LimitReader<'_>) -> Option<Facts> {
    for _ in 0..START_LOOKS {
        match reader.read() {
            Ok(facts) => return Some(facts),
            Err(LimitPageError::Unfinished | LimitPageError::Checksum) => {
                std::thread::sleep(START_PAUSE);
            }
            Err(_) => return None,
        }
    }
    None
}

/// The fixed folder counts before the variable, which a program could set for itself.
fn folder() -> Option<String> {
    let fixed = format!("{SLICE_FOLDER}/{LIMITS_FILE}");
    if std::path::Path::new(&fixed).exists() {
        return Some(SLICE_FOLDER.to_owned());
    }
    std::env::var(SLICE_VARIABLE).ok().filter(|folder| !folder.is_empty())
}

fn open(
    folder: &str,
    file: &str,
    count: usize,
    access: Access,
) -> Result<&'static [AtomicU64], MapError> {
    let path = CString::new(format!("{folder}/{file}")).map_err(|_| MapError::Absent)?;
    map_file(&path, count, access)
}

/// Limits by the names of the environment. Processes share a file if one is named, and otherwise
/// what a parent has mapped before it forks.
fn environment_slice() -> Option<Facts> {
    let facts = environment::facts(|name| std::env::var(name).ok())?;
    if USAGE.load(Acquire).is_null() {
        let named = std::env::var(environment::name::SHARED_FILE).ok();
        let named = named.and_then(|path| CString::new(path).ok());
        let own = |path: &CStr| {
            map_own_file(path, UsageLayout::COUNT).filter(|words| Usage::adopt(words).is_some())
        };
        let words = named.as_deref().and_then(own);
        let words = words.or_else(|| map_family(UsageLayout::COUNT))?;
        Usage::adopt(words)?;
        USAGE.store(words.as_ptr().cast_mut(), Release);
    }
    Some(facts)
}
