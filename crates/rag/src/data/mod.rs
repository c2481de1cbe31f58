//! Readers: from what people have on disk to one [`Dataset`].
//!
//! Three layouts are told apart by looking: a BEIR folder, a JSONL file of pairs, triplets or
//! scored pairs, and folders of Markdown, HTML or text. Each split is a function of the data alone,
//! so that two runs, and two machines, hold out the same queries.

mod beir;
mod error;
mod jsonl;
pub(crate) mod lines;
mod model;
mod pages;
mod split;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

pub use error::{DataError, Warning};
pub use lines::TEXT_BYTES_MAX;
pub use model::{Dataset, Document, Example, Judged, Judgements, Query};

/// How data is read.
#[derive(Clone, Debug)]
pub struct ReadOptions<'a> {
    /// The data set's name.
    pub name: String,
    /// Most passages made of folders of pages.
    pub passages_max: usize,
    /// Looked at with every line or page: once true, reading ends with [`DataError::Stopped`].
    pub stop: &'a AtomicBool,
}

/// What was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The data.
    pub dataset: Dataset,
    /// What it was read from.
    pub layout: Layout,
    /// Line of the first training example, from 1; `None` where the data is more than one file.
    pub first_line: Option<usize>,
    /// What a person should know.
    pub warnings: Vec<Warning>,
}

/// How data lies on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A folder with `corpus.jsonl`, `queries.jsonl` and `qrels`.
    Beir,
    /// One file with an example a line.
    Jsonl,
    /// Folders of Markdown, HTML or text.
    Pages,
}

/// Reads a tenant's data, telling its layout by looking; several paths must be folders of pages.
pub fn read(paths: &[PathBuf], options: &ReadOptions<'_>) -> Result<Loaded, DataError> {
    let mut warnings = Vec::new();
    let layout = layout(paths)?;
    let (dataset, first_line) = match layout {
        Layout::Beir => (beir::read(&paths[0], options, &mut warnings)?, None),
        Layout::Jsonl => {
            let (dataset, first_line) = jsonl::read(&paths[0], options, &mut warnings)?;
            (dataset, Some(first_line))
        }
        Layout::Pages => (pages::read(paths, options, &mut warnings)?, None),
    };
    Ok(Loaded { dataset, layout, first_line, warnings })
}

/// What the paths lead to.
fn layout(paths: &[PathBuf]) -> Result<Layout, DataError> {
    if let Some(path) = paths.iter().find(|path| !path.exists()) {
        let hint = "check the path; relative ones begin at the workspace file's folder".to_owned();
        return Err(DataError::Missing { path: path.clone(), hint });
    }
    let unrecognised = |path: &PathBuf, problem: &str| {
        Err(DataError::Unrecognised { path: path.clone(), problem: problem.to_owned() })
    };
    let is_beir =
        |path: &PathBuf| path.join("corpus.jsonl").exists() || path.join("qrels").exists();
    match paths {
        [] => unrecognised(&PathBuf::new(), "no path was given"),
        [path] if path.is_dir() && is_beir(path) => Ok(Layout::Beir),
        [path] if path.is_file() => match path.extension().and_then(|end| end.to_str()) {
            Some("jsonl" | "ndjson") => Ok(Layout::Jsonl),
            _ => unrecognised(path, "a single file must be .jsonl"),
        },
        many => match many.iter().find(|path| !path.is_dir() || is_beir(path)) {
            Some(path) => unrecognised(path, "only folders of pages can be read together"),
            None => Ok(Layout::Pages),
        },
    }
}

#[cfg(test)]
mod tests;
