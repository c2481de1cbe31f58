//! What a search finds.

use std::cmp::Ordering;

/// A document's number within its namespace: given in the order in which documents come, once, and
/// never again. A document that is written anew gets a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// A document that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Which.
    pub slot: Slot,
    /// How well it fits; more is better, and it is finite.
    pub score: f32,
}

impl Hit {
    /// The order of an answer: better scores first, and of equal ones the lower slot.
    pub fn best_first(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.slot.cmp(&other.slot))
    }
}
