//! `cotenant index search`

use std::process::ExitCode;

use cotenant_rag::index::{Filter, Found, Query, Standing, check_maker};
use serde_json::{Value, json};

use super::write::{named, open};
use super::{embedder, failed};
use crate::args::index::{IndexSearchArgs, ModeArg};
use crate::commands::Ended;
use crate::console::Console;

/// Characters of a text that are shown.
const SNIPPET_CHARACTERS: usize = 300;

/// Finds documents.
pub(super) fn run(arguments: &IndexSearchArgs, console: &Console) -> Ended {
    let IndexSearchArgs { place, words, vector, mode, top, filter, embed } = arguments;
    let filter = filter.as_deref().map(parse_filter).transpose()?;
    let index = open(&place.folder)?;
    let namespace = index.namespace(&place.namespace).map_err(failed(named(place)))?;
    let vector: Option<Vec<f32>> = match (vector, embedder(embed, console)?, words) {
        (Some(json), ..) => Some(
            serde_json::from_str(json)
                .map_err(failed("read --vector, which is a JSON array of numbers"))?,
        ),
        (None, Some(embedder), Some(words)) => {
            check_maker(&namespace, &embedder.maker()).map_err(failed(named(place)))?;
            embedder.embed(&place.namespace, [words.as_str()])?.pop()
        }
        (None, ..) => None,
    };
    let is_asked = |one| mode.is_none_or(|mode| [ModeArg::Hybrid, one].contains(&mode));
    let query = Query {
        vector: vector.as_deref().filter(|_| is_asked(ModeArg::Dense)),
        text: words.as_deref().filter(|_| is_asked(ModeArg::Text)),
        filter: filter.as_ref(),
        count: usize::from(*top),
        ..Query::default()
    };
    let what = format!("search namespace {:?}", place.namespace);
    match (mode, query.vector, query.text) {
        (Some(ModeArg::Hybrid | ModeArg::Dense), None, _) => {
            let hint = match namespace.embedding().map_err(failed(named(place)))? {
                Some(_) => "name a --model",
                None => {
                    "the namespace is for texts alone; `cotenant index embed` gives them vectors"
                }
            };
            return Err(format!("{what} by vectors: there is none\nhint: {hint}").into());
        }
        (Some(ModeArg::Hybrid | ModeArg::Text), _, None) => {
            return Err(format!("{what} by words: there are none\nhint: give some").into());
        }
        _ => {}
    }
    let answer = namespace.search(&query).map_err(failed(what))?;
    let documents: Vec<Value> = answer.found.iter().map(object).collect();
    console.data(&json!({ "documents": documents }), || match &answer.found[..] {
        [] => "nothing was found".to_owned(),
        found => found.iter().zip(1..).map(text).collect::<Vec<_>>().join("\n\n"),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn parse_filter(json: &str) -> Result<Filter, Box<dyn std::error::Error>> {
    let what = "understand --filter";
    let value: Value = serde_json::from_str(json).map_err(failed(what))?;
    Ok(Filter::parse(&value).map_err(failed(what))?)
}

fn object(found: &Found) -> Value {
    let standing =
        |standing: Option<Standing>| standing.map(|s| json!({ "rank": s.rank, "score": s.score }));
    json!({
        "id": found.document.id,
        "score": found.score,
        "dense": standing(found.dense),
        "text": standing(found.text),
        "phrases": standing(found.phrases),
        "codes": standing(found.codes),
        "content": found.document.text,
        "metadata": found.document.metadata,
    })
}

fn text((found, rank): (&Found, usize)) -> String {
    let words = found.document.text.split_whitespace().collect::<Vec<_>>().join(" ");
    let snippet = match words.char_indices().nth(SNIPPET_CHARACTERS) {
        Some((cut, _)) => format!("{}…", &words[..cut]),
        None => words,
    };
    let standing = |name: &str, standing: Option<Standing>| match standing {
        Some(Standing { rank, score }) => format!(", {name} {rank}. with {score:.3}"),
        None => String::new(),
    };
    let lists = [
        standing("vectors", found.dense),
        standing("words", found.text),
        standing("quoted phrases", found.phrases),
        standing("codes", found.codes),
    ];
    let (id, score, lists) = (&found.document.id, found.score, lists.concat());
    format!("{rank}. {id} ({score:.3}{lists})\n   {snippet}")
}
