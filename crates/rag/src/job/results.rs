//! What a run found, as its last line of `--json` says it.

use serde::{Deserialize, Serialize};

use crate::workspace::Task;

/// One tenant's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TenantResult {
    /// The tenant.
    pub name: String,
    /// What its adapter does. A reranker's quality "before" is that of what it puts in order.
    #[serde(default)]
    pub task: Task,
    /// Training examples seen, once an epoch.
    pub pairs: u64,
    /// Optimizer steps taken.
    pub steps: u64,
    /// Mean loss of the first ten steps; `None` if no step was taken.
    pub loss_first: Option<f64>,
    /// Mean loss of the last ten steps.
    pub loss_last: Option<f64>,
    /// nDCG@10 on the test queries with the base model; `None` without test queries.
    pub ndcg10_before: Option<f64>,
    /// nDCG@10 with the adapter; `None` too if there is none.
    pub ndcg10_after: Option<f64>,
    /// Recall@10 with the base model.
    pub recall10_before: Option<f64>,
    /// Recall@10 with the adapter.
    pub recall10_after: Option<f64>,
    /// MRR@10 with the base model.
    pub mrr10_before: Option<f64>,
    /// MRR@10 with the adapter.
    pub mrr10_after: Option<f64>,
    /// Folder of the adapter, as PEFT reads it; `None` for a tenant without training examples.
    pub adapter: Option<String>,
    /// Why training ended, or why there was none.
    pub ended: String,
    /// Whether training ended because something was wrong.
    pub failed: bool,
}

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResults {
    /// One entry a tenant, in the workspace's order.
    pub tenants: Vec<TenantResult>,
    /// Seconds from start to end, loading the base model included.
    pub wall_s: f64,
    /// Seconds of processor time.
    pub cpu_s: f64,
    /// Most resident memory, in MiB.
    pub peak_rss_mib: u64,
    /// Tokens trained on, each text once a batch.
    pub tokens: u64,
    /// Examples trained per second of training.
    pub pairs_per_s: f64,
    /// Part of the training time that waited for texts, in per cent.
    pub data_stall_pct: f64,
    /// Seconds of training alone.
    pub train_wall_s: f64,
    /// Seconds of processor time in training alone.
    pub train_cpu_s: f64,
}

/// The mean of up to ten values at one end.
pub(super) fn mean_of(losses: &[f32]) -> Option<f64> {
    let sum: f64 = losses.iter().map(|&loss| f64::from(loss)).sum();
    (!losses.is_empty()).then(|| sum / losses.len() as f64)
}
