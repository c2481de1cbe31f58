//! From counts to causes, by how much each costs.
//!
//! What costs is time in which the card had nothing to do; without a card, time in which the
//! program did not compute. Every piece of it goes to one cause, so that shares add up to at most
//! the whole. A cause is charged with what its remedy would win: a wait for the card costs no more
//! than the card was at work, since without it both would at best go on side by side.

mod card;
mod host;
mod remedies;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;

use crate::observed::{Note, Observed};

pub(crate) use words::time;

/// Causes that cost less, in thousandths of the time, are not spoken of.
pub const MIN_SHARE_MILLI: u32 = 50;

/// Why a card idles, or a program does not compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Loader workers compute too slowly, or are too few.
    SlowWorkers,
    /// Data lie in many small files.
    SmallFiles,
    /// The storage is slow.
    SlowStorage,
    /// Data come over a network.
    Network,
    /// The program prepares data itself, between two pieces of work for the card.
    InlinePreparation,
    /// Copies to the card from memory that is not pinned.
    UnpinnedCopies,
    /// Copies to the card that the program waits for.
    SynchronousCopies,
    /// Copies from the card that the program waits for.
    Fetches,
    /// Waits for the card, after which it has nothing to do.
    Synchronization,
    /// Kernels so short that submitting them takes longer.
    TinyKernels,
    /// Batches that do not fill the card.
    SmallBatch,
    /// Memory of the card that is taken and freed all the time.
    Allocations,
    /// Checkpoints.
    Checkpoints,
    /// Logs.
    Logging,
    /// Threads are ready to run and have no processor.
    NoProcessor,
    /// Whoever reads what the program prints.
    Output,
    /// Threads that could compute side by side wait for one of them.
    OneThread,
    /// Threads that hand over to each other more often than they compute.
    SmallPieces,
    /// The program sleeps.
    Sleep,
    /// It waits, and for what could not be seen.
    UnknownWait,
}

/// A cause with what it costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The cause.
    pub cause: Cause,
    /// Its share of the time, in thousandths.
    pub share_milli: u32,
    /// Its time.
    pub cost_ns: u64,
    /// What it was seen by, in numbers.
    pub seen: String,
}

/// What is to be said of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// How long the program was watched.
    pub wall_ns: u64,
    /// The time that shares are of: since the card first had work, or all of it.
    pub window_ns: u64,
    /// Whether it used a card.
    pub has_card: bool,
    /// How much of that time the card had work, or the program computed, in thousandths.
    pub busy_milli: u32,
    /// Causes, the costliest first.
    pub findings: Vec<Finding>,
    /// What a reader should know besides.
    pub notes: Vec<Note>,
}

/// What costs how much time.
#[derive(Debug, Default)]
struct Costs(BTreeMap<Cause, u64>);

impl Costs {
    fn add(&mut self, cause: Cause, ns: u64) {
        *self.0.entry(cause).or_default() += ns;
    }

    fn take(&mut self, cause: Cause) -> u64 {
        self.0.remove(&cause).unwrap_or(0)
    }
}

/// Names the causes that cost at least so many thousandths of the time.
#[must_use]
pub fn diagnose(observed: &Observed, min_share_milli: u32) -> Diagnosis {
    let (window_ns, busy_ns, costs) = match &observed.card {
        Some(card) => card::costs(observed, card),
        None => host::costs(observed),
    };
    let milli = |ns: u64| {
        let share = u128::from(ns) * 1000 / u128::from(window_ns.max(1));
        u32::try_from(share.min(1000)).expect("it is at most a thousand")
    };
    let mut findings: Vec<Finding> = costs
        .0
        .iter()
        .map(|(&cause, &cost_ns)| Finding {
            cause,
            share_milli: milli(cost_ns),
            cost_ns,
            seen: words::seen(cause, observed),
        })
        .filter(|finding| finding.share_milli >= min_share_milli.max(1))
        .collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.cost_ns));
    Diagnosis {
        wall_ns: observed.wall_ns,
        window_ns,
        has_card: observed.card.is_some(),
        busy_milli: milli(busy_ns),
        findings,
        notes: observed.notes.clone(),
    }
}
