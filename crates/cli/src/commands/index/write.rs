//! What changes an index.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use cotenant_rag::index::{
    Change, Document, EmbeddingSpec, Index, IndexError, IndexLine, IndexLines, KindName, Metric,
    Namespace, Receipt, Storage, TextEmbedder,
};

use super::{embedder, failed};
use crate::args::index::{CreateArgs, KindArg, MetricArg, PlaceArgs, StorageArg, WriteArgs};
use crate::commands::Ended;
use crate::console::Console;
use crate::words::plain;

/// Lines that are added at a time, unless their texts are long.
const BATCH_LINES: usize = 1000;
/// Bytes of texts after which a batch is full.
const BATCH_BYTES: usize = 8 << 20;

/// Makes a namespace.
pub(super) fn create(arguments: &CreateArgs, console: &Console) -> Ended {
    let CreateArgs { place, dimensions, embedding, metric, storage, kind } = arguments;
    let index = match Index::open(&place.folder) {
        Err(IndexError::NoIndex { .. }) => Index::create(&place.folder),
        index => index,
    };
    let what = format!("make namespace {:?} in {}", place.namespace, place.folder.display());
    let index = index.map_err(failed(&what))?;
    let spec = dimensions.map(|dimensions| EmbeddingSpec {
        name: embedding.clone(),
        dimensions,
        metric: match metric {
            MetricArg::Cosine => Metric::Cosine,
            MetricArg::Dot => Metric::Dot,
        },
        storage: match storage {
            StorageArg::F32 => Storage::F32,
            StorageArg::Bf16 => Storage::Bf16,
        },
        kind: kind.map(kind_name),
    });
    index.create_namespace(&place.namespace, spec.as_ref()).map_err(failed(&what))?;
    let object = serde_json::json!({ "index": place.folder, "namespace": place.namespace });
    console.data(&object, || format!("namespace {} is there", plain(&place.namespace)))?;
    Ok(ExitCode::SUCCESS)
}

fn kind_name(kind: KindArg) -> KindName {
    match kind {
        KindArg::ExactF32 => KindName::ExactF32,
        KindArg::ExactBf16 => KindName::ExactBf16,
        KindArg::ExactInt8 => KindName::ExactInt8,
        KindArg::Codes => KindName::Codes,
        KindArg::IvfPq => KindName::IvfPq,
        KindArg::Hnsw => KindName::Hnsw,
    }
}

/// Adds documents.
pub(super) fn add(arguments: &WriteArgs, console: &Console) -> Ended {
    write(arguments, console, |namespace, lines| {
        let documents: Vec<Document> = lines.into_iter().map(IndexLine::into_document).collect();
        namespace.add(&documents)
    })
}

/// Changes documents.
pub(super) fn update(arguments: &WriteArgs, console: &Console) -> Ended {
    write(arguments, console, |namespace, lines| {
        let changes: Vec<Change> = lines.into_iter().map(IndexLine::into_change).collect();
        namespace.update(&changes)
    })
}

type Put = fn(&Namespace, Vec<IndexLine>) -> Result<Receipt, IndexError>;

fn write(arguments: &WriteArgs, console: &Console, put: Put) -> Ended {
    let WriteArgs { place, files, embed } = arguments;
    let index = open(&place.folder)?;
    let namespace = index.namespace(&place.namespace).map_err(failed(named(place)))?;
    let embedder = embedder(embed, console)?;
    let mut sum = Receipt::default();
    for file in files {
        let mut lines = IndexLines::open(file)?.peekable();
        while lines.peek().is_some() {
            let mut batch = Vec::new();
            let mut bytes = 0;
            while batch.len() < BATCH_LINES && bytes < BATCH_BYTES {
                let Some(line) = lines.next().transpose()? else { break };
                bytes += line.text.as_ref().map_or(0, String::len);
                batch.push(line);
            }
            embed_lines(embedder.as_ref(), &place.namespace, &mut batch)?;
            let what = format!("write documents of {}", file.display());
            add_up(&mut sum, put(&namespace, batch).map_err(failed(what))?);
        }
    }
    told(sum, console)
}

/// Gives lines that have a text and no vector one.
fn embed_lines(
    embedder: Option<&TextEmbedder>,
    tenant: &str,
    lines: &mut [IndexLine],
) -> Result<(), Box<dyn Error>> {
    let Some(embedder) = embedder else { return Ok(()) };
    let bare = |line: &&mut IndexLine| line.vector.is_none() && line.text.is_some();
    let bare: Vec<&mut IndexLine> = lines.iter_mut().filter(bare).collect();
    let texts = bare.iter().filter_map(|line| line.text.as_deref());
    let vectors = embedder.embed(tenant, texts)?;
    for (line, vector) in bare.into_iter().zip(vectors) {
        line.vector = Some(vector);
    }
    Ok(())
}

/// Deletes documents.
pub(super) fn delete(place: &PlaceArgs, ids: &[String], console: &Console) -> Ended {
    let index = open(&place.folder)?;
    let namespace = index.namespace(&place.namespace).map_err(failed(named(place)))?;
    told(namespace.delete(ids).map_err(failed("delete documents"))?, console)
}

/// Drops a namespace.
pub(super) fn drop_namespace(place: &PlaceArgs, console: &Console) -> Ended {
    let index = open(&place.folder)?;
    let what = format!("drop namespace {:?}", place.namespace);
    index.drop_namespace(&place.namespace).map_err(failed(what))?;
    let object = serde_json::json!({ "dropped": place.namespace });
    console.data(&object, || format!("namespace {} is gone", plain(&place.namespace)))?;
    Ok(ExitCode::SUCCESS)
}

/// Compacts a namespace.
pub(super) fn compact(place: &PlaceArgs, console: &Console) -> Ended {
    let index = open(&place.folder)?;
    let namespace = index.namespace(&place.namespace).map_err(failed(named(place)))?;
    let bytes = || namespace.stats().map(|stats| stats.disk_bytes + stats.memory_bytes);
    let failure = format!("compact namespace {:?}", place.namespace);
    let before = bytes().map_err(failed(&failure))?;
    namespace.compact().map_err(failed(&failure))?;
    let after = bytes().map_err(failed(&failure))?;
    let object = serde_json::json!({ "bytes_before": before, "bytes_after": after });
    console.data(&object, || format!("{before} bytes became {after}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Opens an index that is there.
pub(super) fn open(folder: &Path) -> Result<Index, Box<dyn Error>> {
    Ok(Index::open(folder).map_err(failed(format!("open the index {}", folder.display())))?)
}

pub(super) fn named(place: &PlaceArgs) -> String {
    format!("open namespace {:?} of {}", place.namespace, place.folder.display())
}

fn add_up(sum: &mut Receipt, more: Receipt) {
    sum.added += more.added;
    sum.replaced += more.replaced;
    sum.deleted += more.deleted;
    sum.vectors += more.vectors;
    sum.unchanged += more.unchanged;
}

fn told(receipt: Receipt, console: &Console) -> Ended {
    let Receipt { added, replaced, deleted, unchanged, .. } = receipt;
    let object = serde_json::json!({
        "added": added, "replaced": replaced, "deleted": deleted, "unchanged": unchanged,
    });
    console.data(&object, || {
        format!("{added} added, {replaced} replaced, {deleted} deleted, {unchanged} unchanged")
    })?;
    Ok(ExitCode::SUCCESS)
}
