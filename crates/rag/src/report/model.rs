//! What a run has to tell: the report's input, and the content of its JSON twin.
//!
//! JSON has no word for "not a number": such values are written as null and read back as NaN, so
//! that the report of a tenant whose loss ran away can still be read.

use serde::{Deserialize, Deserializer, Serialize};

use crate::workspace::Task;

/// Everything a report says about one run. Nothing in it is trusted: names, paths and titles may
/// come from hostile data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// The page's title.
    pub title: String,
    /// Folder of the run, as the user would type it after `--run`.
    pub run: String,
    /// Base model, as the user named it.
    pub base: String,
    /// Precision of the products, such as `f32` or `bf16`.
    pub precision: String,
    /// Threads that trained.
    pub threads: usize,
    /// The machine in words: processor, cores, memory.
    pub machine: String,
    /// When the run ended, in words; the page shows it as it is.
    pub date: String,
    /// The tenants, in the order of the workspace.
    pub tenants: Vec<TenantReport>,
    /// What the run cost.
    pub cost: Cost,
    /// What the same tenants cost as separate processes.
    pub apart: Apart,
}

impl RunReport {
    /// The tenants that have an adapter.
    pub fn trained(&self) -> impl Iterator<Item = &TenantReport> {
        self.tenants.iter().filter(|tenant| tenant.adapter.is_some())
    }
}

/// One tenant's data, training and quality.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TenantReport {
    /// The tenant's name.
    pub name: String,
    /// What its adapter does. A reranker's quality "before" is that of what it puts in order.
    #[serde(default)]
    pub task: Task,
    /// Documents that were searched.
    pub documents: usize,
    /// Held-out queries that were scored.
    pub queries_test: usize,
    /// Training pairs.
    pub pairs: usize,
    /// Optimizer steps taken.
    pub steps: u64,
    /// Training loss over steps.
    pub loss: Vec<Point>,
    /// nDCG@10 on the development queries over steps.
    pub dev_ndcg10: Vec<Point>,
    /// Held-out quality of the base model.
    pub before: Scores,
    /// Held-out quality with the kept adapter; no numbers where there is none.
    pub after: Scores,
    /// Held-out nDCG@10 after less before: paired bootstrap interval of 95 %.
    pub difference: Interval,
    /// What was trained; `None` for a tenant without training examples, which stays zero-shot.
    pub adapter: Option<AdapterReport>,
    /// Step whose adapter was kept; `None` if nothing chose one.
    pub best_step: Option<u64>,
    /// Why training ended, or why there was none; the page makes a sentence of it.
    pub ended: String,
    /// Held-out queries whose relevant passage changed rank most, in both directions.
    pub examples: Vec<Example>,
}

/// A trained adapter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdapterReport {
    /// Path of its folder.
    pub folder: String,
    /// Its size on disk, in bytes.
    pub bytes: u64,
    /// Trained parameters.
    pub parameters: u64,
}

/// A value at a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Optimizer step, counted from 0.
    pub step: u64,
    /// The value there.
    #[serde(deserialize_with = "number_or_nan")]
    pub value: f64,
}

/// Means over held-out queries, each from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Normalised discounted cumulative gain of the first 10.
    #[serde(deserialize_with = "number_or_nan")]
    pub ndcg10: f64,
    /// Share of the relevant passages that are among the first 10.
    #[serde(deserialize_with = "number_or_nan")]
    pub recall10: f64,
    /// Reciprocal rank of the first relevant passage among the first 10.
    #[serde(deserialize_with = "number_or_nan")]
    pub mrr10: f64,
}

/// A mean difference and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The mean difference.
    #[serde(deserialize_with = "number_or_nan")]
    pub mean: f64,
    /// Lower end of the 95 % interval.
    #[serde(deserialize_with = "number_or_nan")]
    pub low: f64,
    /// Upper end of the 95 % interval.
    #[serde(deserialize_with = "number_or_nan")]
    pub high: f64,
    /// Two-sided p-value of no difference.
    #[serde(deserialize_with = "number_or_nan")]
    pub p_value: f64,
}

/// A held-out query before and after training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// The query.
    pub query: String,
    /// Title of the first hit before training.
    pub before_title: String,
    /// Title of the first hit after training.
    pub after_title: String,
    /// Title of the relevant passage.
    pub relevant_title: String,
    /// Rank of the relevant passage before training, from 1; `None` if it was not found.
    pub before_rank: Option<usize>,
    /// Rank of the relevant passage after training, from 1; `None` if it was not found.
    pub after_rank: Option<usize>,
}

/// What a run cost. All values are measured, but for those that are called predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Time from start to end, in seconds.
    #[serde(deserialize_with = "number_or_nan")]
    pub wall_s: f64,
    /// Processor time of all threads, in seconds.
    #[serde(deserialize_with = "number_or_nan")]
    pub cpu_s: f64,
    /// Largest resident memory of the process, in MiB.
    #[serde(deserialize_with = "number_or_nan")]
    pub peak_rss_mib: f64,
    /// Tokens that went through the encoder in training.
    pub tokens: u64,
    /// Training pairs per second of training.
    #[serde(deserialize_with = "number_or_nan")]
    pub pairs_per_s: f64,
    /// Share of training time spent waiting for data, in per cent.
    #[serde(deserialize_with = "number_or_nan")]
    pub data_stall_pct: f64,
    /// The run's phases in order.
    pub phases: Vec<Phase>,
    /// Parts of the predicted peak memory.
    pub memory: Vec<Part>,
    /// Predicted peak memory, in MiB.
    #[serde(deserialize_with = "number_or_nan")]
    pub predicted_peak_mib: f64,
}

/// A phase of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// What was done, such as `train`.
    pub name: String,
    /// How long it took, in seconds.
    #[serde(deserialize_with = "number_or_nan")]
    pub seconds: f64,
}

/// A part of the predicted peak memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// What holds the memory, such as `base model`.
    pub name: String,
    /// How much, in MiB.
    #[serde(deserialize_with = "number_or_nan")]
    pub mib: f64,
}

/// What the same tenants cost as separate processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Apart {
    /// As estimated from this run.
    pub estimated: Separate,
    /// As measured by running them; `None` if they were not run.
    pub measured: Option<Separate>,
}

/// One process for each tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Separate {
    /// Time until the last has ended, one after another on the same threads, in seconds, each with
    /// loading the base model.
    #[serde(deserialize_with = "number_or_nan")]
    pub wall_s: f64,
    /// Largest resident memory of each process, in MiB, in the order of the tenants.
    #[serde(deserialize_with = "numbers_or_nan")]
    pub peak_rss_mib_each: Vec<f64>,
    /// Memory of all of them if they run at the same time, in MiB.
    #[serde(deserialize_with = "number_or_nan")]
    pub peak_rss_mib_together: f64,
    /// Number of processes.
    pub tenants: usize,
}

fn number_or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

fn numbers_or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let numbers: Vec<Option<f64>> = Vec::deserialize(deserializer)?;
    Ok(numbers.into_iter().map(|number| number.unwrap_or(f64::NAN)).collect())
}
