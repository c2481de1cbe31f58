//! Ranking metrics and significance tests, as pure functions of numbers.
//!
//! The crate says how good a ranking is, and whether a difference between two systems is more than
//! luck. It never reads a file, a clock or a random device, and never knows a tenant, a model or
//! an index: rankings and judgments are arguments, and so are seeds.
//!
//! Begin with [`top`] (scores to a ranking), [`Judged`] (a ranking beside its judgments),
//! [`Evaluation`] (all queries of one system) and [`Evaluation::compare`] (two systems).
//!
//! # Invariants
//! - The same arguments give the same bits, on every run and every number of threads.
//! - Every metric lies in `[0, 1]`, and only queries with at least one relevant document count.
//! - Ties break by score descending, then document id ascending: never by the order of arrival.

mod evaluation;
mod judged;
mod metrics;
mod random;
mod ranking;
mod significance;

pub use evaluation::{Evaluation, UnpairedEvaluations};
pub use judged::{Judged, MissingPositive};
pub use metrics::{Metric, Scores};
pub use ranking::{Ranked, by_score, top};
pub use significance::{
    Comparison, Resampling, UnusableSample, bootstrap_interval, compare, permutation_p_value,
};
