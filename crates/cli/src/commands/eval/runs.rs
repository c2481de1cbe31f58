//! `cotenant eval --run`

use std::path::PathBuf;
use std::process::ExitCode;

use cotenant_eval::Ties;
use cotenant_rag::measures::{
    DrawnQuery, RunsQuestion, RunsReport, SampledQuestion, SampledReport, compare_runs,
    draw_queries, estimate_gain,
};

use super::gains::{gains_table, means_table};
use super::{one_or_two, track};
use crate::args::eval::{EvalArgs, RunArgs, TiesArg};
use crate::commands::Ended;
use crate::console::Console;
use crate::table::table;

/// Measures one run, compares two, or draws queries to compare two by.
pub(super) fn run(files: &[PathBuf], all: &EvalArgs, console: &Console) -> Ended {
    let arguments: &RunArgs = &all.runs;
    let (before, after) = one_or_two(files, "runs")?;
    let depth = arguments.depth as usize;
    let ties = match arguments.ties {
        TiesArg::Smaller => Ties::SmallerFirst,
        TiesArg::Larger => Ties::LargerFirst,
    };
    match (arguments.draw, &arguments.qrels) {
        (None, Some(qrels)) => {
            let qrels = qrels.clone();
            let report = compare_runs(&RunsQuestion { before, after, qrels, depth, ties })?;
            console.data(&report, || runs_text(&report))?;
            track(report.measured(), &all.tracking, console)?;
        }
        (None, None) => {
            return Err("measure runs without judgments\n\
                 hint: give --qrels, or --draw to see which queries to judge"
                .into());
        }
        (Some(draws), qrels) => {
            let after = after.ok_or(
                "draw queries for one run: there is nothing to compare it with\n\
                 hint: give --run twice",
            )?;
            let seed = arguments.seed;
            let question = SampledQuestion { before, after, depth, ties, draws, seed };
            match qrels {
                Some(qrels) => {
                    let report = estimate_gain(&question, qrels)?;
                    console.data(&report, || sampled_text(&report))?;
                    track(report.measured(&question), &all.tracking, console)?;
                }
                None if all.tracking.mlflow.is_some() => {
                    return Err("log queries that nobody judged yet: nothing was measured\n\
                         hint: give --qrels with their judgments, or leave --mlflow out"
                        .into());
                }
                None => {
                    let drawn = draw_queries(&question)?;
                    console.data(&serde_json::json!({ "drawn": drawn }), || drawn_text(&drawn))?;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn runs_text(report: &RunsReport) -> String {
    let means: Vec<_> =
        report.runs.iter().map(|run| (run.tag.clone(), run.means.as_slice())).collect();
    let mut parts = vec![
        format!("{} queries, the best {} documents of each", report.queries, report.depth),
        means_table("run", &means),
    ];
    let missing = report.runs.iter().filter(|run| run.missing > 0);
    parts.extend(missing.map(|run| {
        format!("{}: {} judged queries are missing and count as 0", run.file.display(), run.missing)
    }));
    parts.extend(report.gains.as_deref().map(gains_table));
    parts.join("\n\n")
}

fn drawn_text(drawn: &[DrawnQuery]) -> String {
    let row = |drawn: &DrawnQuery| {
        vec![drawn.query.clone(), drawn.times.to_string(), format!("{:.6}", drawn.chance)]
    };
    table(&["query", "times drawn", "chance"], &drawn.iter().map(row).collect::<Vec<_>>())
}

fn sampled_text(report: &SampledReport) -> String {
    let header = ["second less first", "difference", "95 % from", "to", "standard error"];
    let rows = report.gains.iter().map(|gain| {
        let signed = |value: f64| format!("{value:+.4}");
        let numbers = [gain.difference, gain.low, gain.high].map(signed);
        [vec![gain.metric.clone()], numbers.to_vec(), vec![format!("{:.4}", gain.error)]].concat()
    });
    format!(
        "estimated over {} queries from {} of them, the best {} documents of each\n\n{}",
        report.queries,
        report.judged,
        report.depth,
        table(&header, &rows.collect::<Vec<_>>())
    )
}
