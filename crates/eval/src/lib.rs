//! Metrics of rankings and texts, and what their differences mean, as pure functions.
//!
//! The crate says how good a ranking or an answer is, and whether a difference between two systems
//! is more than luck, offline or while they run. It never reads a file, a clock or a random device, and never knows a tenant, a model or
//! an index: rankings and judgments are arguments, and so are seeds.
//!
//! Begin with [`top`] (scores to a ranking), [`Judged`] (a ranking beside its judgments),
//! [`Evaluation`] (all queries of one system) and [`Evaluation::compare`] (two systems). Then
//! [`trec`] (rankings and judgments as text), [`text`] (generated answers), [`experiment`] (two
//! pipelines online) and [`Sample`] (many queries, few judgments).
//!
//! # Invariants
//! - The same arguments give the same bits, on every run and every number of threads.
//! - Every metric lies in `[0, 1]`, and only queries with at least one relevant document count.
//! - Ties break by score descending, then by document id: never by the order of arrival.

mod distribution;
mod evaluation;
pub mod experiment;
mod judged;
mod metrics;
mod paired;
mod random;
mod ranking;
mod sampled;
mod significance;
pub mod text;
pub mod trec;

pub use evaluation::{Evaluation, UnpairedEvaluations};
pub use judged::{Judged, MissingPositive};
pub use metrics::{Metric, Scores};
pub use paired::{PairedTest, corrected_interval, paired_t_test};
pub use ranking::{Ranked, Ties, by_score, rank, top};
pub use sampled::{Drawn, Estimate, Known, Sample, UnusableWeights};
pub use significance::{
    Comparison, Resampling, UnusableSample, bootstrap_interval, compare, permutation_p_value,
};
