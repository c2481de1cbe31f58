//! What a walk needs to remember, kept from one to the next.

use std::sync::Mutex;

use super::nested::NestedQuery;

/// Set in a candidate's node once its links were followed.
const FOLLOWED: u32 = 1 << 31;

/// A node and how well it fits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) score: f32,
    pub(super) node: u32,
}

/// The best nodes of a walk so far, in order, each followed or not yet.
///
/// A walk ends when the best `limit` have all been followed, which is the rule of the paper; one
/// sorted row does what its two heaps do, and the row of 64 fits in a few cache lines.
#[derive(Default)]
pub(super) struct Frontier {
    entries: Vec<Candidate>,
    limit: usize,
    /// All before it were followed.
    next: usize,
}

impl Frontier {
    pub(super) fn begin(&mut self, limit: usize) {
        self.entries.clear();
        self.entries.reserve(limit);
        self.limit = limit;
        self.next = 0;
    }

    /// Takes a node in if it is good enough, and says so.
    #[inline(always)]
    pub(super) fn offer(&mut self, score: f32, node: u32) -> bool {
        if !self.wants(score) {
            return false;
        }
        self.entries.truncate(self.limit - 1);
        let at = self.entries.partition_point(|entry| entry.score >= score);
        self.entries.insert(at, Candidate { score, node });
        self.next = self.next.min(at);
        true
    }

    /// Whether a node of this score would be taken in.
    #[inline(always)]
    pub(super) fn wants(&self, score: f32) -> bool {
        self.entries.len() < self.limit
            || self.entries.last().is_some_and(|last| score > last.score)
    }

    /// The best node that was not followed yet, which counts as followed from now on.
    #[inline(always)]
    pub(super) fn follow(&mut self) -> Option<u32> {
        while let Some(entry) = self.entries.get_mut(self.next) {
            self.next += 1;
            if entry.node & FOLLOWED == 0 {
                entry.node |= FOLLOWED;
                return Some(entry.node & !FOLLOWED);
            }
        }
        None
    }

    /// The node that would be followed next, as it looks now.
    #[inline(always)]
    pub(super) fn peek(&self) -> Option<u32> {
        self.entries.get(self.next).map(|entry| entry.node & !FOLLOWED)
    }

    /// The nodes, the best first.
    pub(super) fn found(&self) -> impl Iterator<Item = Candidate> + '_ {
        let plain = |entry: &Candidate| Candidate { node: entry.node & !FOLLOWED, ..*entry };
        self.entries.iter().map(plain)
    }
}

/// Which nodes a walk has seen. A walk has a number, so that nothing has to be wiped for the next
/// one, but once in 255.
#[derive(Default)]
pub(super) struct Seen {
    walks: Vec<u8>,
    walk: u8,
}

impl Seen {
    pub(super) fn begin(&mut self, nodes: usize) {
        self.walks.resize(nodes, 0);
        self.walk = self.walk.wrapping_add(1);
        if self.walk == 0 {
            self.walks.fill(0);
            self.walk = 1;
        }
    }

    /// Remembers a node, and says whether it was new.
    #[inline(always)]
    pub(super) fn insert(&mut self, node: u32) -> bool {
        std::mem::replace(&mut self.walks[node as usize], self.walk) != self.walk
    }
}

/// One walk's memory.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) query: NestedQuery,
    /// A node whose neighbours are chosen.
    pub(super) other: NestedQuery,
    pub(super) frontier: Frontier,
    pub(super) seen: Seen,
    pub(super) fresh: Vec<u32>,
    pub(super) candidates: Vec<Candidate>,
    pub(super) chosen: Vec<u32>,
    /// Comparisons of the walk with half-byte codes.
    pub(super) coarse: u64,
}

impl Scratch {
    /// The nodes among the candidates, in their order.
    pub(super) fn near(&self) -> impl Iterator<Item = u32> + '_ {
        self.candidates.iter().map(|candidate| candidate.node)
    }
}

/// Memory for as many walks as there were at a time.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Scratch>>);

impl Pool {
    pub(super) fn take(&self) -> Scratch {
        // A walk that panicked left its own memory behind and not the list half-changed.
        let mut free = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        free.pop().unwrap_or_default()
    }

    pub(super) fn give(&self, scratch: Scratch) {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(scratch);
    }
}
