//! A search's arguments and its answer.

use std::borrow::Cow;

use crate::hit::{Hit, Slot};

/// The vectors as they were given, in full precision; the store has them.
pub trait Originals {
    /// The vector of a slot, `None` where it has none.
    fn vector(&self, slot: Slot) -> Option<Cow<'_, [f32]>>;
}

/// Which slots may be found.
#[derive(Clone, Copy)]
pub struct Allowed<'a> {
    /// Whether this slot may be found.
    pub test: &'a dyn Fn(Slot) -> bool,
    /// About how many may be; estimated from a sample where it is not known.
    pub about: Option<usize>,
}

/// What to search for.
#[derive(Clone, Copy)]
pub struct SearchArgs<'a> {
    /// As many numbers as the structure has dimensions.
    pub query: &'a [f32],
    /// Hits that are wanted at most.
    pub k: usize,
    /// How much to spend: candidates that are kept (HNSW) or compared again (codes), clusters that
    /// are looked through (IVF-PQ). `None` takes what the kind's settings say.
    pub effort: Option<u32>,
    /// Which slots may be found; all of them where it is `None`.
    pub allowed: Option<Allowed<'a>>,
    /// With these the best are compared in full precision, so that scores are exact.
    pub originals: Option<&'a dyn Originals>,
}

/// How many vectors a search compared, by precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchCost {
    /// With the original.
    pub full: u64,
    /// With 8 or 16 bits a dimension.
    pub fine: u64,
    /// With 4 bits a dimension or less.
    pub coarse: u64,
}

/// A search's answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The best first, of equal ones the lower slot.
    pub hits: Vec<Hit>,
    /// What it took.
    pub cost: SearchCost,
}

/// How a structure stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stats {
    /// Vectors in it.
    pub vectors: usize,
    /// Memory that it holds, in bytes.
    pub memory_bytes: usize,
    /// Vectors that are gone from all answers, and whose memory is not free yet.
    pub unswept: usize,
    /// Whether codes are in use yet; IVF-PQ compares with all vectors before.
    pub is_trained: bool,
}

/// The best `k` of many, kept in order.
pub(super) struct Best {
    k: usize,
    hits: Vec<Hit>,
}

impl Best {
    pub(super) fn new(k: usize) -> Self {
        Self { k, hits: Vec::with_capacity(k.min(1024)) }
    }

    /// Whether a hit of this score could still come in.
    #[inline(always)]
    pub(super) fn wants(&self, score: f32) -> bool {
        self.hits.len() < self.k || self.hits.last().is_some_and(|last| score >= last.score)
    }

    pub(super) fn offer(&mut self, hit: Hit) {
        if !self.wants(hit.score) {
            return;
        }
        let at = self.hits.partition_point(|other| other.best_first(&hit).is_lt());
        if at < self.k {
            self.hits.truncate(self.k - 1);
            self.hits.insert(at, hit);
        }
    }

    /// Whether there are as many as were asked for.
    pub(super) fn is_full(&self) -> bool {
        self.hits.len() >= self.k
    }

    pub(super) fn into_hits(self) -> Vec<Hit> {
        self.hits
    }
}

/// Candidates that are compared with their originals, for each wanted hit, where 8 bits or more
/// have been compared before.
const ORIGINALS_PER_HIT: usize = 2;

impl SearchArgs<'_> {
    /// Hits that are kept until the last comparison, which is with originals if they are there.
    pub(super) fn kept(&self) -> usize {
        if self.originals.is_some() { ORIGINALS_PER_HIT * self.k } else { self.k }
    }

    /// Whether this slot may be found.
    #[inline(always)]
    pub(super) fn allows(&self, slot: Slot) -> bool {
        self.allowed.is_none_or(|allowed| (allowed.test)(slot))
    }
}
