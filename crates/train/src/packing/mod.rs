//! Who is in a round (`fairness`) and how their pieces are run together (`chunks`).

mod chunks;
mod fairness;

pub(crate) use chunks::{ChunkShape, Part, PlanShape, pack};
pub(crate) use fairness::{Candidate, Fairness};
