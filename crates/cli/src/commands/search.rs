//! `cotenant search`

use std::process::ExitCode;

use cotenant_rag::job::{Found, RunFolder, Searcher};

use super::Ended;
use crate::args::SearchArgs;
use crate::console::Console;

/// Characters of a passage that are shown.
const SNIPPET_CHARACTERS: usize = 300;

/// Answers from a tenant's adapter.
pub(crate) fn run(arguments: &SearchArgs, console: &Console) -> Ended {
    let searcher = Searcher::open(&RunFolder::new(&arguments.run), &arguments.tenant)?;
    let found = searcher.search(&arguments.query, arguments.top.into())?;
    let passages: Vec<_> = found.iter().map(json).collect();
    console.data(&serde_json::json!({ "passages": passages }), || {
        found.iter().zip(1..).map(text).collect::<Vec<_>>().join("\n\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

fn json(found: &Found) -> serde_json::Value {
    let document = &found.document;
    serde_json::json!({
        "id": document.id,
        "heading": document.label(),
        "score": found.score,
        "text": document.search_text(),
    })
}

fn text((found, rank): (&Found, usize)) -> String {
    let document = &found.document;
    let words = document.text.split_whitespace().collect::<Vec<_>>().join(" ");
    let snippet = match words.char_indices().nth(SNIPPET_CHARACTERS) {
        Some((cut, _)) => format!("{}…", &words[..cut]),
        None => words,
    };
    format!("{rank}. {} ({}, {:.3})\n   {snippet}", document.label(), document.id, found.score)
}
