//! What the figures are taken from: one look at the store, and what is true now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use cotenant_sched::{CardRecord, Job};
use cotenant_types::{Quota, Slice};

use crate::live::{Uses, Waits};
use crate::store::Reader;

/// One look.
pub(super) struct Figures {
    pub(super) cards: Vec<CardRecord>,
    pub(super) holders: Vec<Job>,
    pub(super) tenants: Vec<(String, Quota)>,
    /// Jobs by tenant and state.
    pub(super) counts: Vec<(String, String, u64)>,
    /// When the oldest job that waits was submitted, by tenant.
    pub(super) oldest: BTreeMap<String, u64>,
    /// Lines of the log, by kind.
    pub(super) events: BTreeMap<String, u64>,
    pub(super) waits: Arc<Waits>,
    pub(super) uses: Arc<Uses>,
    pub(super) now_ms: u64,
    pub(super) started_ms: u64,
}

/// A slice, whose it is, and the number of its member.
pub(super) struct Held<'a> {
    pub(super) job: &'a Job,
    pub(super) member: u32,
    pub(super) slice: &'a Slice,
}

impl Figures {
    /// Cards that their machines still name.
    pub(super) fn usable(&self) -> impl Iterator<Item = &CardRecord> {
        self.cards.iter().filter(|record| !record.is_lost)
    }

    /// Every slice that is held.
    pub(super) fn slices(&self) -> impl Iterator<Item = Held<'_>> {
        self.holders.iter().flat_map(|job| {
            let members = job.placement().into_iter().flat_map(|it| (0..).zip(&it.0));
            members.flat_map(move |(member, slices)| {
                slices.slices.iter().map(move |slice| Held { job, member, slice })
            })
        })
    }
}

/// How many lines of each kind the log has, up to one of them. Lines are never taken back, so that
/// each is counted once; what is counted is on the disk, so that it is the same after a restart.
#[derive(Default)]
pub(crate) struct EventCounts(Mutex<(u64, BTreeMap<String, u64>)>);

impl EventCounts {
    /// The counts up to now.
    pub(super) fn read(&self, reader: &Reader) -> Result<BTreeMap<String, u64>, rusqlite::Error> {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (seq, by_kind) = &mut *counted;
        for (kind, count, last) in reader.event_counts(*seq)? {
            *by_kind.entry(kind).or_default() += count;
            *seq = last.max(*seq);
        }
        Ok(by_kind.clone())
    }
}
