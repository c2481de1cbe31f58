//! An index for the program: lines of JSON become documents, and texts vectors.
//!
//! What an index is and promises is said in the crate `index`; here stands what it must not know,
//! the files that documents come from and the models that make vectors.

mod embed;
mod lines;

pub use cotenant_index::dense::Metric;
pub use cotenant_index::filter::Filter;
pub use cotenant_index::fusion::Standing;
pub use cotenant_index::{
    Change, Document, EmbeddingSpec, EmbeddingStats, Found, Index, IndexError, KindName, Namespace,
    Query, Receipt, Storage,
};
pub use embed::TextEmbedder;
pub use lines::{IndexLine, IndexLines, LineError};
