//! What looks at a whole index.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use cotenant_rag::index::EmbeddingStats;

use super::failed;
use super::write::{named, open};
use crate::args::index::PlaceArgs;
use crate::commands::Ended;
use crate::console::{Console, Reader};
use crate::table::table;

/// Shows each namespace.
pub(super) fn stats(folder: &Path, console: &Console) -> Ended {
    let index = open(folder)?;
    let (mut rows, mut objects) = (Vec::new(), Vec::new());
    for name in index.namespaces() {
        let what = format!("look at namespace {name:?}");
        let namespace = index.namespace(&name).map_err(failed(&what))?;
        let stats = namespace.stats().map_err(failed(what))?;
        let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
        let active = stats.embeddings.iter().find(|embedding| embedding.is_active);
        rows.push(vec![
            name.clone(),
            stats.documents.to_string(),
            stats.dead.to_string(),
            active.map_or_else(|| "–".to_owned(), |one| one.vectors.to_string()),
            active.map_or("–", |one| one.kind).to_owned(),
            mib(stats.disk_bytes),
            mib(stats.memory_bytes),
        ]);
        let embedding = |one: &EmbeddingStats| {
            serde_json::json!({
                "name": one.spec.name, "dimensions": one.spec.dimensions, "active": one.is_active,
                "vectors": one.vectors, "kind": one.kind, "memory_bytes": one.memory_bytes,
            })
        };
        let embeddings: Vec<_> = stats.embeddings.iter().map(embedding).collect();
        objects.push(serde_json::json!({
            "name": name, "documents": stats.documents, "dead": stats.dead,
            "segments": stats.segments, "disk_bytes": stats.disk_bytes,
            "unflushed_bytes": stats.memory_bytes, "embeddings": embeddings,
            "failure": stats.failure,
        }));
    }
    let header = ["namespace", "documents", "dead", "vectors", "kind", "disk MiB", "unflushed MiB"];
    console.data(&serde_json::json!({ "namespaces": objects }), || table(&header, &rows))?;
    Ok(ExitCode::SUCCESS)
}

/// Checks everything.
pub(super) fn verify(folder: &Path, console: &Console) -> Ended {
    let index = open(folder)?;
    let verified = index.verify().map_err(failed("read the index"))?;
    let damaged: Vec<String> = verified.damaged.iter().map(ToString::to_string).collect();
    let object = serde_json::json!({
        "files": verified.files, "bytes": verified.bytes, "documents": verified.documents,
        "damaged": damaged,
    });
    let (files, documents) = (verified.files, verified.documents);
    console.data(&object, || match damaged.is_empty() {
        true => format!("{files} files are whole, with {documents} documents"),
        false => damaged.join("\n"),
    })?;
    Ok(if damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints every document.
pub(super) fn export(place: &PlaceArgs, console: &Console) -> Ended {
    let index = open(&place.folder)?;
    let namespace = index.namespace(&place.namespace).map_err(failed(named(place)))?;
    let mut lines = io::BufWriter::new(Lines { console, is_gone: false });
    let exported = namespace.export(&mut lines);
    if !lines.get_ref().is_gone {
        exported.map_err(failed("export documents"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Standard output, as the console writes to it.
struct Lines<'a> {
    console: &'a Console,
    /// Whether its reader has gone away, as `head` does.
    is_gone: bool,
}

impl Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.console.raw(bytes).map_err(io::Error::other)? {
            Reader::Reads => Ok(bytes.len()),
            Reader::IsGone => {
                self.is_gone = true;
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
