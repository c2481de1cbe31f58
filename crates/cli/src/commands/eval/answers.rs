//! `cotenant eval --answers`

use std::path::PathBuf;
use std::process::ExitCode;

use cotenant_eval::text::{Language, Stemming};
use cotenant_rag::measures::{AnswersQuestion, AnswersReport, compare_answers};

use super::gains::{gains_table, means_table};
use super::{one_or_two, track};
use crate::args::eval::{EvalArgs, LanguageArg};
use crate::commands::Ended;
use crate::console::Console;

/// Measures one file of answers, or compares two.
pub(super) fn run(files: &[PathBuf], arguments: &EvalArgs, console: &Console) -> Ended {
    let (before, after) = one_or_two(files, "files of answers")?;
    let language = match arguments.answers.language {
        LanguageArg::En => Language::English,
        LanguageArg::Zh => Language::Chinese,
    };
    let stemming = if arguments.answers.stem { Stemming::Porter } else { Stemming::None };
    let report = compare_answers(&AnswersQuestion { before, after, language, stemming })?;
    console.data(&report, || text(&report))?;
    track(report.measured(), &arguments.tracking, console)?;
    Ok(ExitCode::SUCCESS)
}

fn text(report: &AnswersReport) -> String {
    let name = |file: &PathBuf| file.display().to_string();
    let means: Vec<_> =
        report.files.iter().map(|file| (name(&file.file), file.means.as_slice())).collect();
    let mut parts = vec![
        format!("{} answers; all numbers lie between 0 and 1", report.answers),
        means_table("file", &means),
    ];
    parts.extend(report.files.iter().map(|file| {
        format!("{}: BLEU of all answers together {:.4}", name(&file.file), file.corpus_bleu)
    }));
    parts.extend(report.gains.as_deref().map(gains_table));
    parts.join("\n\n")
}
