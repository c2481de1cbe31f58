//! How many cards jobs need that come and go: the fewest on which they wait no longer than wished.
//!
//! Jobs come in virtual time, in random numbers that are functions of a seed, and the production
//! [`step`](crate::step) and [`plan`](crate::plan()) decide who runs where; what is simulated is the
//! clock, the machines, which start and end what they are told at once, and programs that do nothing
//! but take their time. Nothing here places a job. Begin with [`Demand`], then [`smallest`] and
//! [`measure`].
//!
//! Waits need not shrink with every card that is added. What is promised of [`smallest`] is that its
//! pool does, and that the pool with one card fewer does not.

mod demand;
mod draw;
mod findings;
mod pool;
mod search;
#[cfg(test)]
mod tests;

pub use demand::{Demand, JOBS_MAX, Length, Stream, Target};
pub use findings::{Findings, Waits};
pub use pool::QUEUE_MAX;
pub use search::{measure, misfit, smallest};
