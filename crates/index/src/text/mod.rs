//! Full text: BM25 over parts of a namespace, whose statistics count live documents only.
//!
//! Documents come into a [`TextBuffer`], which is frozen to bytes; a [`TextSegment`] reads such
//! bytes where they lie. A [`TextSearch`] looks through any number of both as if they were one.
//! A removed document counts nowhere from then on: not in the number of documents, not in those that
//! hold a term, not in the mean length. Files are not known here: bytes go in and out.

mod analyzer;
mod buffer;
mod cursor;
mod dictionary;
mod exact;
mod list;
mod options;
mod packing;
mod search;
mod segment;
mod statistics;
mod writer;

pub(crate) use buffer::TextMoment;
pub use buffer::{TextBuffer, TextError};
pub use exact::{Exact, ExactFound, LITERAL_BYTES_MAX, LITERALS_MAX, Literal, LiteralKind};
pub use options::{BadBm25Options, Bm25Options};
pub use search::{QUERY_TERMS_MAX, QueryTerm, TextFound, TextPart, TextSearch};
pub use segment::{DamagedText, TextSegment};
