//! After training: quality with the adapters, everything written, results and report.

use std::time::Instant;

use cotenant_eval::{Metric, Resampling};
use cotenant_train::{Counters, Outcome};

use super::error::JobError;
use super::estimate::Estimate;
use super::prepare::{Prepared, Workshop};
use super::results::{RunResults, TenantResult, mean_of};
use super::run_folder::{SavedRun, SavedTenant};
use super::train::RunOptions;
use super::usage::Usage;
use crate::report::{
    Apart, Cost, Example, Interval, Phase, Point, RunReport, Scores, Separate, TenantReport,
};
use crate::retrieval::{Measurement, Quality};

/// What training left behind.
pub(super) struct Trained {
    /// One a tenant, in the workspace's order.
    pub outcomes: Vec<Outcome>,
    /// nDCG@10 on the dev pool by step, one list a tenant.
    pub dev_scores: Vec<Vec<(u64, f64)>>,
    pub counters: Counters,
    /// Seconds of training.
    pub wall_s: f64,
    /// Seconds of processor time of training.
    pub cpu_s: f64,
    /// When the run began.
    pub begun: Instant,
    pub predicted: Estimate,
}

/// Steps that "first" and "last" losses are the mean of.
const LOSS_STEPS: usize = 10;

/// Queries a tenant's report shows, half of them helped and half hurt where there are such.
const EXAMPLES: usize = 6;

/// Measures each tenant with its adapter, saves it, and writes the report.
pub(super) fn finish(
    workshop: &Workshop<'_>,
    tenants: Vec<Prepared>,
    trained: Trained,
    options: &RunOptions<'_>,
) -> Result<(RunResults, RunReport), JobError> {
    let (mut results, mut reports, mut saved) = (Vec::new(), Vec::new(), Vec::new());
    for ((tenant, outcome), dev) in tenants.iter().zip(&trained.outcomes).zip(&trained.dev_scores) {
        let after = save_tenant(workshop, tenant, outcome, options)?;
        let adapter = options.folder.adapter(&tenant.name).display().to_string();
        results.push(result(tenant, outcome, &after, adapter.clone()));
        reports.push(report(tenant, outcome, &after, (dev, adapter)));
        saved.push(SavedTenant {
            name: tenant.name.clone(),
            query_prefix: tenant.config.texts.query_prefix.clone(),
            tokens_max: workshop.base.folder.tokens_max(),
        });
    }
    let usage = Usage::now();
    let pairs: u64 = trained.counters.pairs;
    let results = RunResults {
        tenants: results,
        wall_s: trained.begun.elapsed().as_secs_f64(),
        cpu_s: usage.cpu_s,
        peak_rss_mib: usage.peak_rss_mib,
        tokens: trained.counters.tokens,
        pairs_per_s: pairs as f64 / trained.wall_s.max(1e-9),
        data_stall_pct: 100.0 * trained.counters.data_stall.as_secs_f64()
            / trained.wall_s.max(1e-9),
        train_wall_s: trained.wall_s,
        train_cpu_s: trained.cpu_s,
    };
    let base = workshop.base;
    let report = RunReport {
        title: title(&results),
        run: options.folder.path().display().to_string(),
        base: base.name.clone(),
        precision: base.precision_name().into(),
        threads: workshop.embedder.threads,
        machine: machine(),
        date: options.date.clone(),
        tenants: reports,
        cost: cost(&results, &trained),
        apart: apart(&results, &trained),
    };
    let run = SavedRun {
        base: base.name.clone(),
        base_folder: base.folder.path().to_owned(),
        precision: base.precision_name().into(),
        model: base.digest.clone(),
        tenants: saved,
        results: results.clone(),
    };
    options.folder.save(&run, &report)?;
    Ok((results, report))
}

/// Embeds a tenant's documents with its adapter, measures, and writes what searches need.
fn save_tenant(
    workshop: &Workshop<'_>,
    tenant: &Prepared,
    outcome: &Outcome,
    options: &RunOptions<'_>,
) -> Result<Measurement, JobError> {
    let Prepared { name, dataset, texts, .. } = tenant;
    let (after, vectors) = workshop.measure(name, (dataset, &**texts), Some(&outcome.adapter))?;
    options.folder.save_tenant(name, &dataset.documents, &vectors)?;
    outcome.adapter.save_peft(&options.folder.adapter(name), &workshop.base.name)?;
    Ok(after)
}

fn result(
    tenant: &Prepared,
    outcome: &Outcome,
    after: &Measurement,
    adapter: String,
) -> TenantResult {
    let losses = &outcome.progress.losses;
    let first = &losses[..losses.len().min(LOSS_STEPS)];
    let last = &losses[losses.len().saturating_sub(LOSS_STEPS)..];
    let judged = !tenant.dataset.test.is_empty();
    let of = |quality: Quality, part: fn(&Quality) -> f64| judged.then(|| part(&quality));
    let (before, after) = (tenant.before.quality(), after.quality());
    TenantResult {
        name: tenant.name.clone(),
        pairs: outcome.progress.pairs,
        steps: outcome.progress.step,
        loss_first: mean_of(first),
        loss_last: mean_of(last),
        ndcg10_before: of(before, |q| q.ndcg10),
        ndcg10_after: of(after, |q| q.ndcg10),
        recall10_before: of(before, |q| q.recall10),
        recall10_after: of(after, |q| q.recall10),
        mrr10_before: of(before, |q| q.mrr10),
        mrr10_after: of(after, |q| q.mrr10),
        adapter,
        ended: outcome.reason.to_string(),
        failed: outcome.reason.is_failure(),
    }
}

fn report(
    tenant: &Prepared,
    outcome: &Outcome,
    after: &Measurement,
    (dev, adapter): (&[(u64, f64)], String),
) -> TenantReport {
    let losses = (1..).zip(&outcome.progress.losses);
    let difference = tenant
        .before
        .evaluation
        .compare(&after.evaluation, Metric::Ndcg, Resampling::default())
        .map(|found| Interval {
            mean: found.difference,
            low: found.low,
            high: found.high,
            p_value: found.p_value,
        });
    let nothing = Interval { mean: f64::NAN, low: f64::NAN, high: f64::NAN, p_value: f64::NAN };
    TenantReport {
        name: tenant.name.clone(),
        documents: tenant.dataset.documents.len(),
        queries_test: tenant.dataset.test.len(),
        pairs: outcome.progress.pairs as usize,
        steps: outcome.progress.step,
        loss: losses.map(|(step, &loss)| Point { step, value: loss.into() }).collect(),
        dev_ndcg10: dev.iter().map(|&(step, value)| Point { step, value }).collect(),
        before: scores(tenant.before.quality()),
        after: scores(after.quality()),
        difference: difference.unwrap_or(nothing),
        adapter,
        adapter_bytes: 4 * outcome.adapter.values.len() as u64,
        adapter_parameters: outcome.adapter.values.len() as u64,
        best_step: outcome.progress.best.map(|_| outcome.adapter_step),
        ended: outcome.reason.to_string(),
        examples: examples(tenant, after),
    }
}

fn scores(quality: Quality) -> Scores {
    let Quality { ndcg10, recall10, mrr10 } = quality;
    Scores { ndcg10, recall10, mrr10 }
}

/// The test queries whose score changed most, as many helped as hurt where there are such.
fn examples(tenant: &Prepared, after: &Measurement) -> Vec<Example> {
    let before = tenant.before.evaluation.column(Metric::Ndcg);
    let after_scores = after.evaluation.column(Metric::Ndcg);
    let changes = before.iter().zip(&after_scores).map(|(before, after)| after - before);
    let mut order: Vec<(f64, usize)> = changes.zip(0..).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let half = EXAMPLES / 2;
    let helped = order.iter().take_while(|(change, _)| *change > 0.0).take(half);
    let hurt = order.iter().rev().take_while(|(change, _)| *change < 0.0).take(half);
    helped.chain(hurt).map(|&(_, at)| example(tenant, after, at)).collect()
}

fn example(tenant: &Prepared, after: &Measurement, at: usize) -> Example {
    let dataset = &tenant.dataset;
    let judged = &dataset.test.queries[at];
    let relevant: Vec<u32> = judged.gains.iter().map(|&(document, _)| document).collect();
    let title = |document: Option<&u32>| {
        document.map_or_else(String::new, |&d| dataset.documents[d as usize].label())
    };
    let rank = |ranking: &[u32]| {
        ranking.iter().position(|document| relevant.contains(document)).map(|rank| rank + 1)
    };
    let (old, new) = (&tenant.before.rankings[at], &after.rankings[at]);
    Example {
        query: dataset.queries[judged.query as usize].text.clone(),
        before_title: title(old.first()),
        after_title: title(new.first()),
        relevant_title: title(relevant.first()),
        before_rank: rank(old),
        after_rank: rank(new),
    }
}

fn title(results: &RunResults) -> String {
    let names: Vec<&str> = results.tenants.iter().map(|tenant| tenant.name.as_str()).collect();
    names.join(", ")
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or(std::env::consts::ARCH, |(_, name)| name.trim());
    format!("{model}, {cores} cores")
}

fn cost(results: &RunResults, trained: &Trained) -> Cost {
    let counters = &trained.counters;
    let training = [
        ("planning", counters.planning),
        ("forward", counters.forward),
        ("loss", counters.loss),
        ("backward", counters.backward),
        ("optimizer", counters.optimizer),
    ];
    let mut phases: Vec<Phase> = training
        .into_iter()
        .map(|(name, time)| Phase { name: name.into(), seconds: time.as_secs_f64() })
        .collect();
    let busy: f64 = phases.iter().map(|phase| phase.seconds).sum();
    let dev = (trained.wall_s - busy).max(0.0);
    phases.push(Phase { name: "judging on dev queries".into(), seconds: dev });
    let around = (results.wall_s - trained.wall_s).max(0.0);
    phases.push(Phase { name: "reading, embedding, mining, saving".into(), seconds: around });
    let parts = trained.predicted.parts.iter();
    Cost {
        wall_s: results.wall_s,
        cpu_s: results.cpu_s,
        peak_rss_mib: results.peak_rss_mib as f64,
        tokens: results.tokens,
        pairs_per_s: results.pairs_per_s,
        data_stall_pct: results.data_stall_pct,
        phases,
        memory: parts
            .map(|part| crate::report::Part {
                name: part.name.clone(),
                mib: part.bytes as f64 / f64::from(1 << 20),
            })
            .collect(),
        predicted_peak_mib: trained.predicted.peak_mib() as f64,
    }
}

/// What as many processes of one tenant each would have cost: each would hold the base model, its
/// activations and the process itself again, and spend the same arithmetic.
fn apart(results: &RunResults, trained: &Trained) -> Apart {
    let tenants = results.tenants.len();
    let mib = |name: &str| {
        let parts = trained.predicted.parts.iter().filter(|part| part.name == name);
        parts.map(|part| part.bytes as f64 / f64::from(1 << 20)).sum::<f64>()
    };
    let own: f64 = ["texts", "adapters", "optimizers"].iter().map(|name| mib(name)).sum();
    let shared = trained.predicted.peak_mib() as f64 - own;
    let each = shared + own / tenants.max(1) as f64;
    let estimated = Separate {
        wall_s: results.wall_s,
        peak_rss_mib_each: vec![each; tenants],
        peak_rss_mib_together: each * tenants as f64,
        tenants,
    };
    Apart { estimated, measured: None }
}
