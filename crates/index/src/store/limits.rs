//! How much of everything an index takes; each is checked where it enters.

/// Longest text of a document, in bytes.
pub const TEXT_BYTES_MAX: usize = 8 << 20;
/// Longest id of a document, in bytes.
pub const ID_BYTES_MAX: usize = 512;
/// Longest metadata of a document, in bytes of JSON without spaces.
pub const METADATA_BYTES_MAX: usize = 64 << 10;
/// Deepest metadata: an object of plain values has depth 1.
pub const METADATA_DEPTH_MAX: usize = 8;
/// Most documents, ids or vectors of one write.
pub const BATCH_ITEMS_MAX: usize = 10_000;
/// Most bytes of texts, ids, metadata and vectors of one write.
pub const BATCH_BYTES_MAX: usize = 64 << 20;
/// Most values of a vector.
pub const DIMENSIONS_MAX: usize = crate::dense::DIMENSIONS_MAX;
/// Most namespaces of an index.
pub const NAMESPACES_MAX: usize = 100_000;
/// Longest name of a namespace or an embedding, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Most embeddings of a namespace at a time: the active one, and those that are being filled.
pub const EMBEDDINGS_MAX: usize = 4;
/// Longest text that is kept beside the documents, in bytes.
pub const NOTE_BYTES_MAX: usize = 64 << 10;
/// Most such texts of a namespace.
pub const NOTES_MAX: usize = 16;
/// Most documents that a search gives.
pub const FOUND_MAX: usize = 10_000;

/// What is written since the last flush becomes files once it is larger than this, in bytes, unless
/// an index is opened with another number. A write waits once there is twice as much.
pub const FLUSH_BYTES: usize = 64 << 20;
/// Documents that go before a flush, since each costs time when the log is read.
pub(crate) const DEATHS_MAX: usize = 50_000;
/// Documents of a segment that go before what its full text no longer counts is saved again; until
/// then each is read and analysed when the segment is opened.
pub(crate) const REMOVALS_MIN: usize = if cfg!(test) { 1 } else { 32 };
/// Vectors that a search may have to compare beside, before a write waits.
pub(crate) const BEHIND_VECTORS_MAX: usize = 10_000;
/// Merged segments are no larger than this, in bytes of documents, so that a merge has a bound.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// Largest record of the log, in bytes: a batch, and for each of its items what is kept beside.
pub(crate) const RECORD_BYTES_MAX: usize = BATCH_BYTES_MAX * 2 + BATCH_ITEMS_MAX * 64;
/// Largest manifest, in bytes.
pub(crate) const MANIFEST_BYTES_MAX: usize = 64 << 20;
/// Memory that the kind of an embedding is chosen to stay within, in bytes.
pub(crate) const DENSE_MEMORY_BYTES_MAX: usize = 4 << 30;
