//! The watcher's page in this process, if somebody watches.
//!
//! Whoever watches names a file in the environment before the program starts. The process takes a
//! slot there with its first call; a child by fork takes one of its own. Nobody is held or refused
//! because of it, and if the file is not there, nobody watches.

use std::cell::Cell;
use std::ffi::{CString, c_int};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64};

use cotenant_types::trace::{CallKind, TRACE_VARIABLE, TRACED_MAX, TraceLayout, TraceWord};

use super::account::SUCCESS;
use super::mapping::{Access, map_file, map_mark};
use super::{driver, submit, time};
use crate::trace::{Awaited, Begun, Slot, Submitted};

const UNASKED: u8 = 0;
const NOBODY: u8 = 1;
const SOMEBODY: u8 = 2;

/// CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT.
const MULTIPROCESSOR_COUNT: c_int = 16;

static STATE: AtomicU8 = AtomicU8::new(UNASKED);
static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(std::ptr::null_mut());
/// A word with the number of this process's slot and one, which a child finds to be zero.
static OWN: AtomicPtr<AtomicU64> = AtomicPtr::new(std::ptr::null_mut());

thread_local! {
    /// This thread's number, once it was asked for.
    static THREAD: Cell<u64> = const { Cell::new(0) };
}

/// A call that is under way and watched.
pub(super) struct Watched {
    slot: Slot<'static>,
    begun: Begun,
}

impl Watched {
    /// It was a launch; nothing came of it if the driver refused.
    pub(super) fn launched(self, submitted: Option<Submitted>, now_ns: u64) {
        self.slot.launched(self.begun, submitted, now_ns);
    }

    /// It was a copy.
    pub(super) fn copied(self, bytes: u64) {
        self.slot.copied(self.begun, bytes, time::now_ns());
    }

    /// It was a wait.
    pub(super) fn waited(self, awaited: Awaited) {
        self.slot.waited(self.begun, awaited, time::now_ns());
    }
}

/// This process's slot, if somebody watches.
#[inline]
pub(super) fn slot() -> Option<Slot<'static>> {
    match STATE.load(Acquire) {
        NOBODY => None,
        _ => find(),
    }
}

/// Begins a call, if somebody watches and the program has begun to use its card.
#[inline]
pub(super) fn begin(kind: CallKind) -> Option<Watched> {
    let slot = slot()?;
    let begun = slot.begin(kind, thread(), time::now_ns())?;
    Some(Watched { slot, begun })
}

/// A call that takes or frees memory.
#[inline]
pub(super) fn allocation(call: impl FnOnce() -> c_int) -> c_int {
    let watched = begin(CallKind::Allocate);
    let result = call();
    if let Some(Watched { slot, begun }) = watched {
        slot.allocated(begun, time::now_ns());
    }
    result
}

/// Says once how large the card is.
pub(super) fn note_card(slot: &Slot<'static>) {
    let word = &slot.words()[TraceWord::MULTIPROCESSORS];
    if word.load(Relaxed) != 0 {
        return;
    }
    let (mut device, mut count) = (0, 0);
    // SAFETY: the places are ours.
    let is_known = unsafe {
        driver::cuCtxGetDevice(&mut device) == SUCCESS
            && driver::cuDeviceGetAttribute(&mut count, MULTIPROCESSOR_COUNT, device) == SUCCESS
    };
    if is_known {
        word.store(u64::try_from(count).unwrap_or(0), Relaxed);
    }
}

#[cold]
fn find() -> Option<Slot<'static>> {
    if STATE.load(Acquire) == UNASKED && !ask() {
        STATE.store(NOBODY, Release);
    }
    let own = OWN.load(Acquire);
    if STATE.load(Acquire) != SOMEBODY || own.is_null() {
        return None;
    }
    // SAFETY: it is a mapped word that stays for good.
    let own = unsafe { &*own };
    let number = match own.load(Acquire) {
        0 => move_in(own)?,
        number => number,
    };
    let first = TraceLayout::slot(usize::try_from(number).ok()?.checked_sub(1)?);
    Slot::of(page()?.get(first..first + TraceLayout::SLOT_STRIDE)?)
}

/// Maps the page that the environment names.
fn ask() -> bool {
    let path = std::env::var(TRACE_VARIABLE).ok().filter(|path| !path.is_empty());
    let Some(path) = path.and_then(|path| CString::new(path).ok()) else { return false };
    let Ok(words) = map_file(&path, TraceLayout::COUNT, Access::Write) else { return false };
    let Some(own) = map_mark() else { return false };
    PAGE.store(words.as_ptr().cast_mut(), Release);
    OWN.store(std::ptr::from_ref(own).cast_mut(), Release);
    STATE.store(SOMEBODY, Release);
    true
}

fn page() -> Option<&'static [AtomicU64]> {
    let start = PAGE.load(Acquire);
    // SAFETY: it is null, or the start of a mapping of that many words that stays for good.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start, TraceLayout::COUNT) })
}

/// Takes a slot. Of two threads that do so at once, one leaves a slot behind in which nothing is
/// ever counted.
#[cold]
fn move_in(own: &AtomicU64) -> Option<u64> {
    // The thread that forked has its parent's number still, and what its parent submitted.
    THREAD.with(|thread| thread.set(0));
    submit::forget();
    let page = page()?;
    // SAFETY: it only returns a number.
    let pid = unsafe { libc::getpid() } as u64;
    let Some(slot) = Slot::claim(page, pid) else {
        // The page stays full.
        STATE.store(NOBODY, Release);
        return None;
    };
    let at = slot.words().as_ptr() as usize - page.as_ptr() as usize;
    let number = (at / 8 - TraceLayout::SLOT_FIRST) / TraceLayout::SLOT_STRIDE;
    debug_assert!(number < TRACED_MAX);
    match own.compare_exchange(0, number as u64 + 1, SeqCst, SeqCst) {
        Ok(_) => Some(number as u64 + 1),
        Err(other) => Some(other),
    }
}

fn thread() -> u64 {
    THREAD.with(|thread| {
        if thread.get() == 0 {
            // SAFETY: it only returns a number.
            thread.set(unsafe { libc::syscall(libc::SYS_gettid) } as u64);
        }
        thread.get()
    })
}
