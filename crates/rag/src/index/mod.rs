//! An index for the program: lines of JSON become documents, and texts vectors.
//!
//! What an index is and promises is said in the crate `index`; here stands what it must not know,
//! the files that documents come from and the models that make vectors.

mod embed;
mod lines;
mod maker;

pub use cotenant_index::dense::Metric;
pub use cotenant_index::filter::Filter;
pub use cotenant_index::fusion::Standing;
pub use cotenant_index::{
    Change, Document, EmbeddingSpec, EmbeddingStats, Found, Index, IndexError, KindName, Namespace,
    Query, Receipt, Storage,
};
pub use embed::TextEmbedder;
pub(crate) use lines::with_title;
pub use lines::{IndexLine, IndexLines, LineError, NothingToFind};
pub(crate) use maker::{BASE, adapter_digest, maker_name};
pub use maker::{MakerError, check_maker, claim, embed_anew};
