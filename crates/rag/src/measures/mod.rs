//! Quality of what other programs wrote: TREC runs beside judgments, answers beside references.
//!
//! Begin with [`compare_runs`] and [`compare_answers`]. With one file there are means and their
//! intervals; with two, what the second gains over the first, and how sure that is.

mod answers;
mod columns;
mod error;
mod runs;
mod sampled;

pub use answers::{AnswersQuestion, AnswersReport, compare_answers};
pub use columns::{Gain, Mean};
pub use error::MeasureError;
pub use runs::{RunsQuestion, RunsReport, compare_runs};
pub use sampled::{
    DrawnQuery, SampledGain, SampledQuestion, SampledReport, draw_queries, estimate_gain,
};
