//! `cotenant eval DATA --stages`

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use cotenant_rag::job::{JobError, StageQuality, StagesQuality, StagesQuestion, measure_stages};
use cotenant_rag::models::Store;
use cotenant_rag::report::stages;
use cotenant_rag::workspace::Limits;

use super::model::config;
use super::track;
use crate::args::eval::EvalArgs;
use crate::commands::{Ended, base};
use crate::console::Console;
use crate::progress::Bars;
use crate::table::{score, table};

/// Measures what each stage of retrieval buys.
pub(super) fn run(arguments: &EvalArgs, console: &Console) -> Ended {
    let limits = base::limits(Limits::default(), &arguments.machine);
    let model = base::open(&arguments.base, &limits, console)?;
    let adapter = match &arguments.adapter {
        Some(folder) => Some(model.adapter(folder)?),
        None => None,
    };
    let reranker = match &arguments.stages.reranker {
        Some(folder) => Some(model.reranker(folder)?),
        None => None,
    };
    let cache = Store::open().map_err(JobError::from)?.cache_folder("texts");
    let bars = Bars::new(console.quiet);
    let mut found = Vec::new();
    for data in &arguments.data {
        let question = StagesQuestion {
            base: &model,
            adapter: adapter.as_ref(),
            reranker: reranker.as_ref(),
            config: &config(arguments, data),
            limits: &limits,
            cache: Some(cache.clone()),
            floor: arguments.stages.floor,
        };
        found.push(measure_stages(&question, &bars)?);
    }
    console.data(&serde_json::json!({ "data": found }), || text(&found))?;
    if let Some(file) = &arguments.stages.html {
        write(file, &stages::render(&found))?;
    }
    if let Some(folder) = &arguments.stages.tuned {
        fs::create_dir_all(folder)
            .map_err(|error| format!("make the folder {}: {error}", folder.display()))?;
        for set in &found {
            write(&folder.join(format!("{}.json", set.name)), &set.tuned.to_json())?;
        }
    }
    for set in &found {
        track(set.measured(), &arguments.tracking, console)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|error| {
        format!(
            "write {}: {error}\nhint: name a file in a folder that exists and may be written",
            file.display()
        )
    })
}

fn text(found: &[StagesQuality]) -> String {
    let set = |set: &StagesQuality| {
        let header = [
            "way",
            "nDCG@10",
            "kept",
            "recall@10",
            "search µs",
            "search",
            "with embedding",
            "embedded",
        ];
        let percent = |part: f64| format!("{:.1} %", 100.0 * part);
        let row = |stage: &StageQuality| {
            vec![
                stage.name.to_owned(),
                score(Some(stage.quality.ndcg10)),
                percent(stage.kept),
                score(Some(stage.quality.recall10)),
                format!("{:.0}", stage.search_us),
                percent(stage.search_share),
                percent(stage.total_share),
                percent(stage.work.get("encoded").copied().unwrap_or_default()),
            ]
        };
        let rows: Vec<_> = set.stages.iter().map(row).collect();
        format!(
            "{}: {} test queries, {} documents; chosen on {} other queries\n\
             words count {:.2} and vectors {:.2}, by {:?}; costs are priced work, in parts of full depth\n\n{}",
            set.name,
            set.queries,
            set.documents,
            set.dev_queries,
            set.mix.words,
            set.mix.vectors,
            set.mix.way,
            table(&header, &rows)
        )
    };
    found.iter().map(set).collect::<Vec<_>>().join("\n\n")
}
