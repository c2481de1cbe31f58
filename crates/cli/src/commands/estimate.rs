//! `cotenant estimate`

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use cotenant_rag::job::{self, Estimate, JobError};
use cotenant_rag::workspace::Workspace;
use cotenant_types::Mebibytes;

use super::{Ended, base};
use crate::args::EstimateArgs;
use crate::console::Console;
use crate::progress::Bars;
use crate::table::table;

/// Predicts a workspace.
pub(crate) fn run(arguments: &EstimateArgs, console: &Console) -> Ended {
    let mut workspace = Workspace::read(&arguments.workspace).map_err(JobError::from)?;
    workspace.limits = base::limits(workspace.limits, &arguments.machine);
    let model = base::open(&workspace.base, &workspace.limits, console)?;
    let bars = Bars::new(console.quiet);
    let estimate = job::estimate(&workspace, &model, &bars)?;
    console.data(&json(&estimate), || text(&estimate))?;
    Ok(ExitCode::SUCCESS)
}

/// The memory that training a workspace takes at its peak, as it is foretold.
pub(super) fn foretell(path: &Path, console: &Console) -> Result<Mebibytes, Box<dyn Error>> {
    let workspace = Workspace::read(path).map_err(JobError::from)?;
    let model = base::open(&workspace.base, &workspace.limits, console)?;
    let estimate = job::estimate(&workspace, &model, &Bars::new(console.quiet))?;
    Ok(Mebibytes(estimate.peak_mib()))
}

fn json(estimate: &Estimate) -> serde_json::Value {
    serde_json::json!({
        "peak_mib": estimate.peak_mib(),
        "parts": estimate.parts,
        "wall_s": estimate.wall_s,
    })
}

fn text(estimate: &Estimate) -> String {
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    let rows = estimate.parts.iter().map(|part| vec![part.name.clone(), mib(part.bytes)]);
    let total = vec!["peak".to_owned(), format!("{}.0", estimate.peak_mib())];
    let rows: Vec<_> = rows.chain([total]).collect();
    let time = estimate.wall_s.map_or_else(String::new, |s| format!("\n\nabout {s:.0} s"));
    format!("{}{time}", table(&["memory", "MiB"], &rows))
}
