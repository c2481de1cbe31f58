//! Advises before anything runs: which way of sharing suits a job, and how many cards a set needs.
//!
//! Nothing here packs: [`smallest_pool`] grows a pool node by node and asks the production
//! placement whether the jobs have room, so that what is foretold is what the pool will do.

mod job;
mod rung;
mod set;
mod shape;
mod smallest;
#[cfg(test)]
pub(crate) mod testing;

pub use job::{JobAdvice, Kept, RungAdvice, Trust, Way, Why};
pub use rung::{Faults, Hold, Latency, RungFacts};
pub use set::{CardMode, Layout, LayoutKind, OnCard, Part, SetAdvice, SetJob, advise};
pub use shape::{CardChoice, NodeShape, ShapeError};
pub use smallest::{Fitting, Misfit, fewest_cards, smallest_pool};

pub(crate) use set::whole;
pub(crate) use smallest::first_misfit;
