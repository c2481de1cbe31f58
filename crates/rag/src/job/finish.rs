//! After training: quality with the adapters, everything written, results and report.

use std::time::Instant;

use cotenant_eval::{Metric, Resampling};
use cotenant_train::{Counters, Outcome};

use super::base::precision_name;
use super::costs::{self, Together};
use super::error::JobError;
use super::estimate::Estimate;
use super::observer::Stage;
use super::prepare::{Goal, Prepared};
use super::results::{RunResults, TenantResult, mean_of};
use super::run_folder::{SavedRun, SavedTenant};
use super::train::RunOptions;
use super::usage::Usage;
use super::workshop::{Workshop, all_documents};
use crate::report::{AdapterReport, Example, Interval, Point, RunReport, Scores, TenantReport};
use crate::retrieval::{Measurement, Quality};
use crate::workspace::Task;

/// What training left behind.
pub(super) struct Trained {
    /// One a tenant, in the workspace's order; `None` for those without examples.
    pub outcomes: Vec<Option<Outcome>>,
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

/// Why a tenant without examples has no adapter.
const ZERO_SHOT: &str =
    "not trained: its data has no training example, so the base model answers as it is";

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
    // Seconds of tenants that nobody would train alone either.
    let mut zero_shot_s = 0.0;
    for (tenant, outcome) in tenants.iter().zip(&trained.outcomes) {
        let begun = Instant::now();
        let found = match outcome {
            Some(outcome) => Some(save_tenant(workshop, tenant, outcome, options)?),
            None => {
                save_zero_shot(workshop, tenant, options)?;
                zero_shot_s += tenant.wall_s + begun.elapsed().as_secs_f64();
                None
            }
        };
        results.push(result(tenant, found.as_ref()));
        reports.push(report(tenant, found.as_ref()));
        saved.push(saved_tenant(workshop, tenant, found.as_ref()));
    }
    let base = workshop.base;
    let usage = Usage::now();
    let pairs: u64 = trained.counters.pairs;
    let results = RunResults {
        tenants: results,
        wall_s: base.load_s + trained.begun.elapsed().as_secs_f64(),
        cpu_s: usage.cpu_s,
        peak_rss_mib: usage.peak_rss_mib,
        tokens: trained.counters.tokens,
        pairs_per_s: pairs as f64 / trained.wall_s.max(1e-9),
        data_stall_pct: 100.0 * trained.counters.data_stall.as_secs_f64()
            / trained.wall_s.max(1e-9),
        train_wall_s: trained.wall_s,
        train_cpu_s: trained.cpu_s,
    };
    let together = Together {
        tenants: trained.outcomes.iter().flatten().count(),
        wall_s: results.wall_s - zero_shot_s,
        load_s: base.load_s,
    };
    let report = RunReport {
        title: title(&results),
        run: options.folder.path().display().to_string(),
        base: base.name.clone(),
        precision: precision_name(workshop.embedder.precision).into(),
        threads: workshop.embedder.threads,
        machine: machine(),
        date: options.date.clone(),
        tenants: reports,
        cost: costs::cost(&results, &trained, base.load_s),
        apart: costs::apart(&trained.predicted, together),
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

/// What searches must know of a tenant.
fn saved_tenant(
    workshop: &Workshop<'_>,
    tenant: &Prepared,
    found: Option<&Found<'_>>,
) -> SavedTenant {
    let task = task(tenant);
    SavedTenant {
        name: tenant.name.clone(),
        task,
        query_prefix: tenant.config.texts.query_prefix.clone(),
        document_prefix: tenant.config.texts.document_prefix.clone(),
        tokens_max: match task {
            Task::Embed => workshop.base.folder.tokens_max(),
            Task::Rerank => workshop.pair_tokens_max(&tenant.config),
        },
        is_trained: found.is_some(),
    }
}

/// What the tenant's adapter does.
fn task(tenant: &Prepared) -> Task {
    match tenant.goal {
        Goal::Embed(_) => Task::Embed,
        Goal::Rerank(_) => Task::Rerank,
    }
}

/// A tenant with its adapter.
struct Found<'a> {
    outcome: &'a Outcome,
    after: Measurement,
    /// The adapter's folder.
    folder: String,
}

/// Embeds a tenant's documents with its adapter, measures, and writes what searches need.
fn save_tenant<'a>(
    workshop: &Workshop<'_>,
    tenant: &Prepared,
    outcome: &'a Outcome,
    options: &RunOptions<'_>,
) -> Result<Found<'a>, JobError> {
    let Prepared { name, dataset, texts, .. } = tenant;
    let (after, vectors, first_stage) = match &tenant.goal {
        Goal::Embed(_) => {
            let (after, vectors) =
                workshop.measure(name, (dataset, &**texts), Some(&outcome.adapter))?;
            (after, vectors, None)
        }
        Goal::Rerank(reranking) => {
            let blend = workshop.blend_of(tenant, reranking, &outcome.adapter)?;
            let after = workshop.measure_reranker(tenant, reranking, (&outcome.adapter, blend))?;
            let vectors = workshop.embed_bare(name, &**texts, &all_documents(dataset))?;
            let first_stage = reranking.tuned.clone().with(blend);
            (after, vectors, Some(first_stage))
        }
    };
    options.folder.save_tenant(name, &dataset.documents, &vectors)?;
    if let Some(first_stage) = first_stage {
        options.folder.save_first_stage(name, &first_stage)?;
    }
    let folder = options.folder.adapter(name);
    outcome.adapter.save_peft(&folder, &workshop.base.name)?;
    Ok(Found { outcome, after, folder: folder.display().to_string() })
}

/// Writes what searches with the base model need.
fn save_zero_shot(
    workshop: &Workshop<'_>,
    tenant: &Prepared,
    options: &RunOptions<'_>,
) -> Result<(), JobError> {
    let Prepared { name, dataset, texts, .. } = tenant;
    let documents = all_documents(dataset);
    workshop.start(name, Stage::EmbedBefore, documents.len() as u64);
    let vectors = workshop.embed_bare(name, &**texts, &documents)?;
    workshop.finish(name, Stage::EmbedBefore);
    options.folder.save_tenant(name, &dataset.documents, &vectors)
}

fn result(tenant: &Prepared, found: Option<&Found<'_>>) -> TenantResult {
    let progress = found.map(|found| &found.outcome.progress);
    let losses = progress.map_or(&[][..], |progress| &progress.losses);
    let first = &losses[..losses.len().min(LOSS_STEPS)];
    let last = &losses[losses.len().saturating_sub(LOSS_STEPS)..];
    let judged = !tenant.dataset.test.is_empty();
    let before = judged.then(|| tenant.before.quality());
    let after = found.filter(|_| judged).map(|found| found.after.quality());
    let reason = found.map(|found| &found.outcome.reason);
    TenantResult {
        name: tenant.name.clone(),
        task: task(tenant),
        pairs: progress.map_or(0, |progress| progress.pairs),
        steps: progress.map_or(0, |progress| progress.step),
        loss_first: mean_of(first),
        loss_last: mean_of(last),
        ndcg10_before: before.map(|quality| quality.ndcg10),
        ndcg10_after: after.map(|quality| quality.ndcg10),
        recall10_before: before.map(|quality| quality.recall10),
        recall10_after: after.map(|quality| quality.recall10),
        mrr10_before: before.map(|quality| quality.mrr10),
        mrr10_after: after.map(|quality| quality.mrr10),
        adapter: found.map(|found| found.folder.clone()),
        ended: reason.map_or_else(|| ZERO_SHOT.to_owned(), ToString::to_string),
        failed: reason.is_some_and(|reason| reason.is_failure()),
    }
}

fn report(tenant: &Prepared, found: Option<&Found<'_>>) -> TenantReport {
    let progress = found.map(|found| &found.outcome.progress);
    let points = |(step, value)| Point { step, value };
    let losses = progress.map_or(&[][..], |progress| &progress.losses);
    let losses = (1..).zip(losses.iter().map(|&loss| f64::from(loss)));
    let scored = progress.map_or(&[][..], |progress| &progress.scores);
    let no_scores = Scores { ndcg10: f64::NAN, recall10: f64::NAN, mrr10: f64::NAN };
    TenantReport {
        name: tenant.name.clone(),
        task: task(tenant),
        documents: tenant.dataset.documents.len(),
        queries_test: tenant.dataset.test.len(),
        pairs: progress.map_or(0, |progress| progress.pairs as usize),
        steps: progress.map_or(0, |progress| progress.step),
        loss: losses.map(points).collect(),
        dev_ndcg10: scored.iter().copied().map(points).collect(),
        before: scores(tenant.before.quality()),
        after: found.map_or(no_scores, |found| scores(found.after.quality())),
        difference: difference(tenant, found),
        adapter: found.map(|found| AdapterReport {
            folder: found.folder.clone(),
            bytes: 4 * found.outcome.adapter.values.len() as u64,
            parameters: found.outcome.adapter.values.len() as u64,
        }),
        best_step: found
            .and_then(|found| found.outcome.progress.best.map(|_| found.outcome.adapter_step)),
        ended: found.map_or_else(|| ZERO_SHOT.to_owned(), |found| found.outcome.reason.to_string()),
        examples: found.map_or_else(Vec::new, |found| examples(tenant, &found.after)),
    }
}

/// The change in nDCG@10; no numbers where nothing was trained or nothing is measured.
fn difference(tenant: &Prepared, found: Option<&Found<'_>>) -> Interval {
    let compared = found.and_then(|found| {
        let (before, after) = (&tenant.before.evaluation, &found.after.evaluation);
        before.compare(after, Metric::Ndcg, Resampling::default()).ok()
    });
    let nothing = Interval { mean: f64::NAN, low: f64::NAN, high: f64::NAN, p_value: f64::NAN };
    compared.map_or(nothing, |compared| Interval {
        mean: compared.difference,
        low: compared.low,
        high: compared.high,
        p_value: compared.p_value,
    })
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
