//! `cotenant index`

mod read;
mod search;
mod write;

use std::error::Error;
use std::fmt;

use cotenant_rag::index::TextEmbedder;
use cotenant_rag::workspace::Limits;

use super::{Ended, base};
use crate::args::index::{EmbedArgs, IndexArgs, IndexCommand};
use crate::console::Console;

/// Makes, fills, searches and checks an index.
pub(crate) fn run(arguments: &IndexArgs, console: &Console) -> Ended {
    match &arguments.command {
        IndexCommand::Create(arguments) => write::create(arguments, console),
        IndexCommand::Add(arguments) => write::add(arguments, console),
        IndexCommand::Update(arguments) => write::update(arguments, console),
        IndexCommand::Embed { place, embed } => write::embed(place, embed, console),
        IndexCommand::Delete { place, ids } => write::delete(place, ids, console),
        IndexCommand::Drop { place } => write::drop_namespace(place, console),
        IndexCommand::Compact { place } => write::compact(place, console),
        IndexCommand::Search(arguments) => search::run(arguments, console),
        IndexCommand::Stats { folder } => read::stats(folder, console),
        IndexCommand::Verify { folder } => read::verify(folder, console),
        IndexCommand::Export { place } => read::export(place, console),
    }
}

/// What was being done when something failed.
#[derive(Debug)]
struct Failed {
    what: String,
    source: Box<dyn Error>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// Says what failed.
fn failed<E: Into<Box<dyn Error>>>(what: impl Into<String>) -> impl FnOnce(E) -> Failed {
    let what = what.into();
    move |source| Failed { what, source: source.into() }
}

/// What makes vectors, if a model was named.
fn embedder(
    arguments: &EmbedArgs,
    console: &Console,
) -> Result<Option<TextEmbedder>, Box<dyn Error>> {
    let Some(model) = &arguments.model else { return Ok(None) };
    let limits = base::limits(Limits::default(), &arguments.machine);
    let opened = base::open(model, &limits, console)?;
    let adapter = arguments.adapter.as_deref();
    Ok(Some(TextEmbedder::new(opened, adapter, limits, &arguments.prefix)?))
}
