//! What can go wrong.

use crate::hit::Slot;

/// Why a vector or a query was refused; nothing was changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DenseError {
    /// A vector of another length than the structure's.
    #[error("vector has {found} dimensions instead of {expected}")]
    Dimensions {
        /// What the structure is made for.
        expected: usize,
        /// What came.
        found: usize,
    },
    /// Infinite, or not a number, or so large that its length is infinite.
    #[error("vector is not finite at dimension {at}")]
    NotFinite {
        /// The first dimension where that is so, or the last one if only the sum is too large.
        at: usize,
    },
    /// The slot has a vector already.
    #[error("slot {} has a vector already", slot.0)]
    Duplicate {
        /// Which.
        slot: Slot,
    },
    /// As many vectors as there is room for.
    #[error("structure holds {len} vectors, the most it can")]
    Full {
        /// How many it holds.
        len: usize,
    },
    /// A setting that cannot be worked with.
    #[error("{setting} is {found}, which is not {allowed}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What it was set to.
        found: usize,
        /// What it may be.
        allowed: &'static str,
    },
    /// The kind compares with originals, and none were given.
    #[error("kind {kind} compares with the original vectors, which were not given")]
    NoOriginals {
        /// Which kind.
        kind: &'static str,
    },
}

/// Saved bytes that are not what was saved, or not by this version; the structure has to be built
/// again from the original vectors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("saved dense structure is damaged: {reason}")]
pub struct DamagedError {
    /// What was found.
    pub reason: &'static str,
}
