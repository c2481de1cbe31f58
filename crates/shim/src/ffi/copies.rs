//! Copies between a card and the host, which are only looked at, and only if somebody watches.
//!
//! What a copy costs the program depends on the host's memory: a card reads pinned memory by itself,
//! while from other memory the driver copies it piece by piece, and the call lasts as long.

use std::ffi::c_int;

use cotenant_types::trace::CallKind;

use super::account::SUCCESS;
use super::driver::{self, Handle};
use super::{capture, watch};

/// Up to this much is a value that the program wants to see, not data.
const VALUE_BYTES_MAX: u64 = 64 << 10;

/// CU_POINTER_ATTRIBUTE_MEMORY_TYPE.
const MEMORY_TYPE: c_int = 2;
/// CU_MEMORYTYPE_HOST.
const HOST: u32 = 1;

/// What is copied.
#[derive(Clone, Copy)]
pub(super) struct Copied {
    /// Where it lies on the host, or where it comes from.
    address: u64,
    bytes: u64,
    /// The stream of a call that need not wait.
    stream: Option<Handle>,
}

/// Whose memory an address is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Card,
    Pinned,
    Pageable,
}

impl Copied {
    pub(super) fn of(address: u64, bytes: usize, stream: Option<Handle>) -> Self {
        Self { address, bytes: bytes as u64, stream }
    }
}

/// A copy to a card from an address of the host.
#[inline]
pub(super) fn to_card(call: impl Fn() -> c_int, copied: Copied) -> c_int {
    match watch::slot() {
        None => call(),
        Some(_) => counted(call, copied, |copied| Some(to_kind(owner(copied.address), copied))),
    }
}

/// A copy from a card to an address of the host.
#[inline]
pub(super) fn from_card(call: impl Fn() -> c_int, copied: Copied) -> c_int {
    match watch::slot() {
        None => call(),
        Some(_) => counted(call, copied, |copied| Some(from_kind(owner(copied.address), copied))),
    }
}

/// A copy from where the driver finds out itself to where it does.
#[inline]
pub(super) fn between(call: impl Fn() -> c_int, to: u64, copied: Copied) -> c_int {
    match watch::slot() {
        None => call(),
        Some(_) => counted(call, copied, |copied| match (owner(to), owner(copied.address)) {
            (Owner::Card, Owner::Card) => None,
            (Owner::Card, from) => Some(to_kind(from, copied)),
            (to, Owner::Card) => Some(from_kind(to, copied)),
            (Owner::Pinned | Owner::Pageable, Owner::Pinned | Owner::Pageable) => None,
        }),
    }
}

#[cold]
fn counted(
    call: impl Fn() -> c_int,
    copied: Copied,
    kind: impl Fn(&Copied) -> Option<CallKind>,
) -> c_int {
    // While a stream is captured, nothing is copied, and the driver may not be asked.
    let is_free = !capture::is_any();
    let watched = if is_free { kind(&copied).and_then(watch::begin) } else { None };
    let result = call();
    if let Some(watched) = watched {
        watched.copied(copied.bytes);
    }
    result
}

fn to_kind(from: Owner, copied: &Copied) -> CallKind {
    match (from, copied.stream) {
        (Owner::Pageable, _) => CallKind::CopyFromPageable,
        (Owner::Pinned | Owner::Card, None) => CallKind::CopyAndWait,
        (Owner::Pinned | Owner::Card, Some(_)) => CallKind::CopyBehind,
    }
}

fn from_kind(to: Owner, copied: &Copied) -> CallKind {
    match (to, copied.stream) {
        (Owner::Pinned | Owner::Card, Some(_)) => CallKind::FetchBehind,
        (Owner::Pageable, _) | (Owner::Pinned | Owner::Card, None) => {
            if copied.bytes <= VALUE_BYTES_MAX { CallKind::ReadValue } else { CallKind::Fetch }
        }
    }
}

/// Memory that the driver does not know is the program's own.
fn owner(address: u64) -> Owner {
    let mut kind = 0u32;
    let place = std::ptr::from_mut(&mut kind).cast();
    // SAFETY: the place is ours, and as large as this attribute is.
    match unsafe { driver::cuPointerGetAttribute(place, MEMORY_TYPE, address) } {
        SUCCESS if kind == HOST => Owner::Pinned,
        SUCCESS if kind != 0 => Owner::Card,
        _ => Owner::Pageable,
    }
}
