//! Why a query has no answer.

use cotenant_index::IndexError;
use cotenant_index::dense::DenseError;
use thiserror::Error;

/// Why a query has no answer.
#[derive(Debug, Error)]
pub enum RetrievalError {
    /// The query's vector does not fit the documents' or is not finite.
    #[error("search the vectors")]
    Vectors(#[from] DenseError),
    /// The index cannot answer, as where a file is damaged.
    #[error("search the index")]
    Index(#[from] IndexError),
    /// The documents are searched by another embedding by now.
    #[error("search by vectors of {asked}: the documents have others by now")]
    Switched {
        /// The embedding that was asked for.
        asked: String,
    },
    /// Nobody waits for it any more.
    #[error("go on: nobody waits for it any more")]
    Stopped,
    /// The reranker has no scores.
    #[error("rerank: {0}")]
    Reranker(String),
}
