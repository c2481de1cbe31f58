//! The two pages of a slice, seen as atomic words; where they come from is not known here.

mod limits;
mod usage;

pub use limits::{Facts, LimitReader};
pub use usage::{CardIndex, SlotIndex, Usage};
