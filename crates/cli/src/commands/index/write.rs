//! What changes an index.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use cotenant_rag::index::{
    Change, Document, EmbeddingSpec, Index, IndexError, IndexLine, IndexLines, KindName, LineError,
    Metric, Namespace, Receipt, Storage, TextEmbedder, claim, embed_anew,
};

use super::{embedder, failed};
use crate::args::index::{
    CreateArgs, EmbedArgs, KindArg, MetricArg, PlaceArgs, StorageArg, WriteArgs,
};
use crate::commands::Ended;
use crate::console::Console;
use crate::progress::Counting;
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
    let sum = write(arguments, console, |namespace, lines| {
        let documents = lines.into_iter().map(IndexLine::into_document);
        Ok(namespace.add(&documents.collect::<Result<Vec<Document>, _>>()?)?)
    })?;
    told(sum.receipt, console)?;
    if sum.bare > 0 {
        console.say(&format!(
            "warning: {} of these documents have no vector, and are found by words alone\n\
             hint: --model embeds them; `cotenant index embed` embeds those that are there",
            sum.bare
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Changes documents.
pub(super) fn update(arguments: &WriteArgs, console: &Console) -> Ended {
    let sum = write(arguments, console, |namespace, lines| {
        let changes: Vec<Change> = lines.into_iter().map(IndexLine::into_change).collect();
        Ok(namespace.update(&changes)?)
    })?;
    told(sum.receipt, console)?;
    Ok(ExitCode::SUCCESS)
}

type Put = fn(&Namespace, Vec<IndexLine>) -> Result<Receipt, Box<dyn Error>>;

/// What became of the lines of all files.
#[derive(Default)]
struct Sum {
    receipt: Receipt,
    /// Those without a vector, where the namespace takes vectors.
    bare: u64,
}

/// Puts the lines of files, batch by batch. What comes before a line that is wrong is put too.
fn write(arguments: &WriteArgs, console: &Console, put: Put) -> Result<Sum, Box<dyn Error>> {
    let WriteArgs { place, files, embed } = arguments;
    let index = open(&place.folder)?;
    let namespace = index.namespace(&place.namespace).map_err(failed(named(place)))?;
    let embedder = embedder(embed, console)?;
    if let Some(embedder) = &embedder {
        claim(&namespace, &embedder.maker()).map_err(failed(named(place)))?;
    }
    let takes_vectors = namespace.embedding().map_err(failed(named(place)))?.is_some();
    let mut sum = Sum::default();
    for file in files {
        let mut lines = IndexLines::open(file)?;
        loop {
            let (mut batch, wrong) = next_batch(&mut lines);
            if batch.is_empty() && wrong.is_none() {
                break;
            }
            embed_lines(embedder.as_ref(), &place.namespace, &mut batch)?;
            let bare = batch.iter().filter(|line| line.vector.is_none()).count() as u64;
            let what = format!("write documents of {}", file.display());
            add_up(&mut sum.receipt, put(&namespace, batch).map_err(failed(what))?);
            sum.bare += if takes_vectors { bare } else { 0 };
            if let Some(wrong) = wrong {
                let lines = sum.receipt.added + sum.receipt.replaced;
                let what = format!("write all lines: the {lines} documents before are there");
                return Err(failed(what)(wrong).into());
            }
        }
    }
    Ok(sum)
}

/// As many lines as are put together, and why there are no more if one is wrong.
fn next_batch(lines: &mut IndexLines) -> (Vec<IndexLine>, Option<LineError>) {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while batch.len() < BATCH_LINES && bytes < BATCH_BYTES {
        match lines.next() {
            Some(Ok(line)) => {
                bytes += line.text.as_ref().map_or(0, String::len);
                batch.push(line);
            }
            Some(Err(wrong)) => return (batch, Some(wrong)),
            None => break,
        }
    }
    (batch, None)
}

/// Embeds all documents anew, beside the vectors that searches use until all are done.
pub(super) fn embed(place: &PlaceArgs, arguments: &EmbedArgs, console: &Console) -> Ended {
    let index = open(&place.folder)?;
    let namespace = index.namespace(&place.namespace).map_err(failed(named(place)))?;
    let embedder = embedder(arguments, console)?.ok_or("embed documents: no --model is named")?;
    let bar = Counting::new("embedding", console.quiet);
    let embedded = embed_anew(&namespace, &embedder, &mut |done, all| bar.show(done, all));
    let what = format!("embed the documents of namespace {:?}", place.namespace);
    let embedded = embedded.map_err(failed(what))?;
    bar.end();
    let object = serde_json::json!({ "embedded": embedded, "embedding": embedder.maker() });
    console.data(&object, || {
        format!("{embedded} documents have a vector now; searches use {}", embedder.maker())
    })?;
    Ok(ExitCode::SUCCESS)
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
    told(namespace.delete(ids).map_err(failed("delete documents"))?, console)?;
    Ok(ExitCode::SUCCESS)
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

fn told(receipt: Receipt, console: &Console) -> Result<(), String> {
    let Receipt { added, replaced, deleted, unchanged, .. } = receipt;
    let object = serde_json::json!({
        "added": added, "replaced": replaced, "deleted": deleted, "unchanged": unchanged,
    });
    console.data(&object, || {
        format!("{added} added, {replaced} replaced, {deleted} deleted, {unchanged} unchanged")
    })
}
