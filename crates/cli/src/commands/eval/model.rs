//! `cotenant eval DATA`

use std::path::Path;
use std::process::ExitCode;

use cotenant_rag::job::{self, DataQuality};
use cotenant_rag::workspace::{Limits, TenantConfig};

use super::track;
use crate::args::eval::EvalArgs;
use crate::commands::{Ended, base, tenant_named_after};
use crate::console::Console;
use crate::progress::Bars;
use crate::table::{score, table};

/// Measures a base model, and an adapter beside it.
pub(super) fn run(arguments: &EvalArgs, console: &Console) -> Ended {
    let limits = base::limits(Limits::default(), &arguments.machine);
    let model = base::open(&arguments.base, &limits, console)?;
    let adapter = match &arguments.adapter {
        Some(folder) => Some(model.adapter(folder)?),
        None => None,
    };
    let bars = Bars::new(console.quiet);
    let mut found = Vec::new();
    for data in &arguments.data {
        let config = config(arguments, data);
        found.push(job::evaluate(&model, adapter.as_ref(), &config, &limits, &bars)?);
    }
    console.data(&serde_json::json!({ "data": found }), || text(&found))?;
    for data in &found {
        track(data.measured(), &arguments.tracking, console)?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn config(arguments: &EvalArgs, data: &Path) -> TenantConfig {
    let mut config = tenant_named_after(data, "data");
    config.texts.query_prefix.clone_from(&arguments.query_prefix);
    config.texts.document_prefix.clone_from(&arguments.document_prefix);
    config
}

fn text(found: &[DataQuality]) -> String {
    let header = ["data", "queries", "documents", "model", "nDCG@10", "recall@10", "MRR@10"];
    let mut rows = Vec::new();
    for data in found {
        let mut row = |model: &str, quality: job::Quality| {
            rows.push(vec![
                data.name.clone(),
                data.queries.to_string(),
                data.documents.to_string(),
                model.to_owned(),
                score(Some(quality.ndcg10)),
                score(Some(quality.recall10)),
                score(Some(quality.mrr10)),
            ]);
        };
        row("base", data.base);
        if let Some(adapter) = data.adapter {
            row("adapter", adapter);
        }
    }
    let differences = found.iter().filter_map(|data| {
        let by = data.difference?;
        Some(format!(
            "{}: nDCG@10 {:+.4}, 95 % interval {:+.4} to {:+.4}, p = {:.3}",
            data.name, by.ndcg10, by.low, by.high, by.p_value
        ))
    });
    [table(&header, &rows)].into_iter().chain(differences).collect::<Vec<_>>().join("\n")
}
