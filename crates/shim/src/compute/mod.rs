//! Compute of a slice: how much of it each submission costs, and when it may go.
//!
//! A submission costs the time that its like took on the card before. The cost is charged when it
//! is submitted; what it took in truth is learnt from a sample and settled. The bucket is one word
//! for a slice and card, shared by all its processes: the moment at which the slice is even.

mod bucket;
mod correction;
mod costs;
mod flight;
mod grant;
mod meter;
#[cfg(test)]
mod tests;

pub use bucket::{Admission, Bucket, CREDIT_NS};
pub use correction::{Seen, corrected, gap_ns, next_correction};
pub use costs::{Costs, Estimate, Lesson, Shape};
pub use flight::{Flight, IN_FLIGHT_NS_MAX, LET_GO_EVERY_NS, Sample, Taken, Verdict};
pub use grant::{grant_milli, is_unbounded};
pub use meter::{ALWAYS_SAMPLED_NS, Asked, Meter, Terms, Ticket};
