//! Why files of other programs cannot be measured.

use std::io;
use std::path::PathBuf;

use cotenant_eval::UnusableWeights;
use cotenant_eval::trec::TrecError;
use thiserror::Error;

use crate::data::DataError;

/// Why files cannot be measured; each message completes "failed to".
#[derive(Debug, Error)]
pub enum MeasureError {
    /// The operating system refused.
    #[error("read {}\nhint: check that the file is there and that you may read it", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// A file that is larger than is read.
    #[error("read {}: it has more than {bytes_max} bytes\nhint: keep the best documents of each query alone", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        bytes_max: u64,
    },
    /// Bytes that are not UTF-8.
    #[error(
        "read {}: byte {offset} is not UTF-8\n\
         hint: convert the file, for example with `iconv -f LATIN1 -t UTF-8`",
        path.display()
    )]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The first bad byte, from 0.
        offset: usize,
    },
    /// A run or judgments that TREC would not write.
    #[error("read {}", path.display())]
    Trec {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: TrecError,
    },
    /// A file of answers that cannot be read.
    #[error("read answers")]
    Answers(#[source] DataError),
    /// A line of a file of answers that lacks something, or has too much of it.
    #[error(
        "read {}:{line}: {problem}\nhint: each line is {{\"reference\": \"…\", \"answer\": \"…\"}}",
        path.display()
    )]
    Answer {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// No judged query has a relevant document.
    #[error(
        "measure by {}: no query has a relevant document\nhint: a grade above 0 says relevant",
        path.display()
    )]
    NothingRelevant {
        /// The judgments.
        path: PathBuf,
    },
    /// Two files of answers that do not answer the same questions.
    #[error(
        "compare answers: {problem}\n\
         hint: both files have the same references in the same order"
    )]
    Unpaired {
        /// What differs.
        problem: String,
    },
    /// No queries can be drawn.
    #[error("draw queries")]
    Weights(#[source] UnusableWeights),
    /// Drawn queries that nobody judged.
    #[error(
        "estimate by {}: {count} of the drawn queries have no judgments, the first is {first:?}\n\
         hint: judge what the same command lists without --qrels",
        path.display()
    )]
    NotJudged {
        /// The judgments.
        path: PathBuf,
        /// So many.
        count: usize,
        /// The first of them.
        first: String,
    },
}
