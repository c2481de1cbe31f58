//! What made the vectors of a namespace, so that no others come among them.
//!
//! An embedding is called after what makes its vectors, `MODEL@HASH`, where a model was known when it
//! began; otherwise a note beside the documents says so from the first vectors of a model on.

use cotenant_index::dense::Metric;
use cotenant_index::{EmbeddingSpec, IndexError, Namespace, Storage};
use cotenant_transformer::Adapter;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::TextEmbedder;
use crate::job::JobError;

/// The base model's name in those of embeddings.
pub(crate) const BASE: &str = "base";
/// Texts that are embedded at a time.
const TEXTS_AT_A_TIME: usize = 256;

/// Why vectors of a model do not come into a namespace.
#[derive(Debug, Error)]
pub enum MakerError {
    /// It takes no vectors.
    #[error(
        "the namespace is for texts alone\n\
         hint: `cotenant index embed` gives its documents vectors, and those that come later too"
    )]
    NoEmbedding,
    /// Its vectors are another model's.
    #[error(
        "the documents' vectors were made by {made}, and these would be {asked}\n\
         hint: name the --model and --adapter that made them, or embed all documents anew with \
         `cotenant index embed`"
    )]
    Another {
        /// What made those that are there.
        made: String,
        /// What was to make more.
        asked: String,
    },
    /// The index cannot be read or written.
    #[error(transparent)]
    Index(Box<IndexError>),
    /// The model cannot embed a text.
    #[error(transparent)]
    Embed(Box<JobError>),
}

impl From<IndexError> for MakerError {
    fn from(error: IndexError) -> Self {
        Self::Index(Box::new(error))
    }
}

impl From<JobError> for MakerError {
    fn from(error: JobError) -> Self {
        Self::Embed(Box::new(error))
    }
}

/// The name of an embedding by a base model of this hash, or by an adapter of a name and a hash for
/// it: `MODEL@HASH`.
pub(crate) fn maker_name(base_digest: &str, adapter: Option<(&str, &str)>) -> String {
    let of_base = |letters| base_digest.get(..letters).unwrap_or(base_digest);
    match adapter {
        None => format!("{BASE}@{}", of_base(16)),
        Some((name, digest)) => format!("{name}@{digest}-{}", of_base(8)),
    }
}

/// A hash of all that an adapter does to a model, in hexadecimal.
pub(crate) fn adapter_digest(adapter: &Adapter) -> String {
    let mut hash = Sha256::new();
    for entry in adapter.layout.entries() {
        let place = [entry.site.layer, entry.site.module as usize, entry.rank];
        place.iter().for_each(|&number| hash.update((number as u64).to_le_bytes()));
        hash.update(entry.scale.to_le_bytes());
    }
    let mut bytes = Vec::with_capacity(1 << 16);
    for values in adapter.values.chunks(1 << 14) {
        bytes.clear();
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        hash.update(&bytes);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Insists that a model's vectors may be compared with those of a namespace.
pub fn check_maker(namespace: &Namespace, maker: &str) -> Result<(), MakerError> {
    let spec = namespace.embedding()?.ok_or(MakerError::NoEmbedding)?;
    match made_by(namespace, &spec.name)? {
        Some(made) if hash_of(&made) != hash_of(maker) => {
            Err(MakerError::Another { made, asked: maker.to_owned() })
        }
        Some(_) | None => Ok(()),
    }
}

/// The same, and from now on no other model's vectors come into it.
pub fn claim(namespace: &Namespace, maker: &str) -> Result<(), MakerError> {
    check_maker(namespace, maker)?;
    let spec = namespace.embedding()?.ok_or(MakerError::NoEmbedding)?;
    if made_by(namespace, &spec.name)?.is_none() {
        namespace.keep_note(&note_of(&spec.name), Some(maker))?;
    }
    Ok(())
}

/// Gives every document a vector of another model, and switches once all have one; searches go on
/// under the one before. What an earlier call has begun is gone on with. `on_embedded` is told how
/// many documents have one, of how many.
pub fn embed_anew(
    namespace: &Namespace,
    embedder: &TextEmbedder,
    on_embedded: &mut dyn FnMut(u64, u64),
) -> Result<u64, MakerError> {
    let spec = spec_of(embedder);
    match namespace.begin_embedding(&spec) {
        Ok(()) | Err(IndexError::EmbeddingExists { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let mut embedded = 0;
    loop {
        let missing = namespace.missing(&spec.name, TEXTS_AT_A_TIME)?;
        if missing.is_empty() {
            namespace.switch_embedding(&spec.name)?;
            return Ok(embedded);
        }
        let vectors = embedder.embed(namespace.name(), missing.iter().map(|(_, text)| &**text))?;
        let rows: Vec<_> = missing.iter().map(|(id, _)| id).zip(vectors).collect();
        embedded += namespace.put_vectors(&spec.name, &rows)?.vectors;
        let coverage = namespace.coverage(&spec.name)?;
        on_embedded(coverage.covered, coverage.documents);
    }
}

fn spec_of(embedder: &TextEmbedder) -> EmbeddingSpec {
    EmbeddingSpec {
        name: embedder.maker(),
        dimensions: embedder.dimensions(),
        metric: Metric::Cosine,
        storage: Storage::F32,
        kind: None,
    }
}

fn made_by(namespace: &Namespace, embedding: &str) -> Result<Option<String>, MakerError> {
    if embedding.contains('@') {
        return Ok(Some(embedding.to_owned()));
    }
    let note = namespace.view(None)?.note(&note_of(embedding));
    Ok(note.map(|note| note.to_string()))
}

fn note_of(embedding: &str) -> String {
    format!("maker of {embedding}")
}

/// What names the values of a model and an adapter, whatever they are called.
fn hash_of(maker: &str) -> &str {
    maker.rsplit_once('@').map_or(maker, |(_, hash)| hash)
}
