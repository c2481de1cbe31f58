//! What `demo` and `train` share: the run, its table, its comparison.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cotenant_rag::job::{
    self, BaseModel, Ending, JobError, Kept, RunFolder, RunOptions, RunResults,
};
use cotenant_rag::models::Store;
use cotenant_rag::workspace::Workspace;
use cotenant_types::Moment;

use super::{Ended, apart, base};
use crate::console::Console;
use crate::progress::Bars;
use crate::table::{score, table};
use crate::words;

/// Exit code of a run that a signal stopped.
const STOPPED: u8 = 130;

/// Exit code where a tenant's training failed while others finished.
const SOME_FAILED: u8 = 3;

/// A run as the user asked for it.
pub(super) struct Order<'a> {
    pub workspace: &'a Workspace,
    pub out: &'a Path,
    pub resume: bool,
    pub compare: bool,
}

/// Runs a workspace, prints what came out, and says where it lies.
pub(super) fn run(order: &Order<'_>, console: &Console) -> Ended {
    let Workspace { base: name, limits, .. } = order.workspace;
    // A download can be broken off at any byte; from here on a signal is answered.
    let found = base::find(name, console)?;
    let stop = Arc::new(AtomicBool::new(false));
    stop_on_signal(Arc::clone(&stop))?;
    let base = BaseModel::open(&found, name, limits.precision)?;
    let bars = Bars::new(console.quiet);
    let cache = Store::open().map_err(JobError::from)?.cache_folder("texts");
    let folder = RunFolder::new(order.out);
    let options = RunOptions {
        folder: folder.clone(),
        resume: order.resume,
        cache: Some(cache.clone()),
        date: Moment(words::now_ms()).to_utc_day(),
        stop: &stop,
        observer: &bars,
    };
    let (results, mut report) = match job::run(order.workspace, base, &options)? {
        Ending::Finished(found) => *found,
        Ending::Stopped { folder, kept } => {
            if console.json {
                console.data(&serde_json::json!({ "stopped": folder }), String::new)?;
            }
            console.say(&match kept {
                Kept::Checkpoint => {
                    format!("stopped; go on with --resume --out {}", folder.display())
                }
                Kept::Caches => format!(
                    "stopped before training began; what was tokenised and embedded so far is kept \
                     in {}, and the same command goes on from there",
                    cache.display()
                ),
            });
            return Ok(ExitCode::from(STOPPED));
        }
    };
    if order.compare {
        let trained: Vec<&str> = report.trained().map(|tenant| tenant.name.as_str()).collect();
        report.apart.measured = Some(apart::measure(&trained, order.out, console)?);
        folder.save_report(&report)?;
    }
    console.data(&results, || text(&results))?;
    console.say(&format!("\nreport: {}", folder.report().display()));
    let first = results.tenants.first().map_or("NAME", |tenant| tenant.name.as_str());
    let run = order.out.display();
    console.say(&format!("search: cotenant search --run {run} --tenant {first} \"...\""));
    let trained = results.tenants.iter().filter(|tenant| tenant.adapter.is_some()).count();
    let failed = results.tenants.iter().filter(|tenant| tenant.failed).count();
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        failed if failed == trained => ExitCode::FAILURE,
        _ => ExitCode::from(SOME_FAILED),
    })
}

/// On the first signal the run ends soon, with a checkpoint once training has begun; on the second
/// it ends at once.
fn stop_on_signal(stop: Arc<AtomicBool>) -> Result<(), String> {
    let stop = move || {
        if stop.swap(true, Ordering::Relaxed) {
            std::process::exit(STOPPED.into());
        }
    };
    ctrlc::set_handler(stop).map_err(|error| {
        format!("listen for signals: {error}\nhint: run it where processes may handle signals")
    })
}

/// Drops the tenants that are not named; names none, keeps all.
pub(super) fn keep(workspace: &mut Workspace, only: &[String]) -> Result<(), String> {
    if only.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = workspace.tenants.iter().map(|t| t.name.to_string()).collect();
    if let Some(unknown) = only.iter().find(|name| !names.contains(name)) {
        let known = names.join(", ");
        return Err(format!("find tenant {unknown} in the workspace\nhint: it has {known}"));
    }
    workspace.tenants.retain(|tenant| only.contains(&tenant.name.to_string()));
    Ok(())
}

fn text(results: &RunResults) -> String {
    let header = ["tenant", "pairs", "steps", "loss", "nDCG@10", "recall@10", "MRR@10"];
    let pair =
        |before: Option<f64>, after: Option<f64>| format!("{} → {}", score(before), score(after));
    let row = |tenant: &job::TenantResult| {
        vec![
            tenant.name.clone(),
            tenant.pairs.to_string(),
            tenant.steps.to_string(),
            pair(tenant.loss_first, tenant.loss_last),
            pair(tenant.ndcg10_before, tenant.ndcg10_after),
            pair(tenant.recall10_before, tenant.recall10_after),
            pair(tenant.mrr10_before, tenant.mrr10_after),
        ]
    };
    let rows: Vec<_> = results.tenants.iter().map(row).collect();
    let untrained = results.tenants.iter().filter(|tenant| tenant.adapter.is_none());
    let untrained: String =
        untrained.map(|tenant| format!("\n{}: {}", tenant.name, tenant.ended)).collect();
    format!(
        "{}{untrained}\n\n{:.1} s, {:.1} s of processor time, {} MiB at the peak, {:.1} pairs/s in training, \
         {:.1} % of it waiting for data",
        table(&header, &rows),
        results.wall_s,
        results.cpu_s,
        results.peak_rss_mib,
        results.pairs_per_s,
        results.data_stall_pct,
    )
}
