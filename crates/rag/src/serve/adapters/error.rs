//! Why an adapter cannot be had.

use std::sync::Arc;

use cotenant_transformer::ModelError;
use thiserror::Error;

/// Why an adapter cannot be had.
#[derive(Clone, Debug, Error)]
pub enum AdapterError {
    /// Nobody has told the server of it, or it is another tenant's.
    #[error("there is no model {name:?}\nhint: GET /v1/models lists those that there are")]
    Unknown {
        /// The name.
        name: String,
    },
    /// One of that name is known.
    #[error("there is an adapter {name:?} already\nhint: set load_inplace to true to replace it")]
    Taken {
        /// The name.
        name: String,
    },
    /// The name is no name.
    #[error(
        "{name:?} is no name of an adapter\nhint: take TENANT or TENANT/WORD without blanks, at \
         most {bytes_max} bytes"
    )]
    Name {
        /// The name.
        name: String,
        /// Longest name.
        bytes_max: usize,
    },
    /// The name is the base model's.
    #[error("{name:?} is the base model's name\nhint: call the adapter something else")]
    OfBase {
        /// The name.
        name: String,
    },
    /// Too many are known.
    #[error("there are {max} adapters already\nhint: unload some")]
    TooMany {
        /// Most adapters.
        max: usize,
    },
    /// Its files cannot be used.
    #[error("the adapter {name:?} cannot be loaded")]
    Load {
        /// The name.
        name: String,
        /// Why.
        source: Arc<ModelError>,
    },
    /// Somebody writes its files.
    #[error(
        "the adapter {name:?} cannot be loaded while its files change\n\
         hint: ask again once they are written"
    )]
    Changing {
        /// The name.
        name: String,
    },
    /// A file that must be a plain one is something else.
    #[error("the adapter {name:?} cannot be loaded: {file} is no plain file")]
    NotAFile {
        /// The name.
        name: String,
        /// The file's name.
        file: &'static str,
    },
    /// It is larger than all that adapters may use.
    #[error(
        "the adapter {name:?} has {bytes} bytes, more than the {bytes_max} that adapters may use\n\
         hint: start the server with more --adapter-memory-mib"
    )]
    TooLarge {
        /// The name.
        name: String,
        /// Its bytes.
        bytes: u64,
        /// Bytes that all may use.
        bytes_max: u64,
    },
    /// Those that are pinned leave no room for it.
    #[error(
        "there is no room for the adapter {name:?} beside those that are pinned\n\
         hint: unload some, or start the server with more --adapter-memory-mib"
    )]
    NoRoom {
        /// The name.
        name: String,
    },
    /// Its files have not been read in time; they may still be.
    #[error(
        "the adapter {name:?} was not read from disk within {seconds} s\n\
         hint: ask again later; if that goes on, look at the disk that holds its folder"
    )]
    Slow {
        /// The name.
        name: String,
        /// How long was waited, in seconds.
        seconds: u64,
    },
    /// Reading its files panicked.
    #[error(
        "the adapter {name:?} cannot be loaded: the server failed while it read its files\n\
         hint: write them anew; what failed stands in the server's log, and is a fault of ours"
    )]
    Broken {
        /// The name.
        name: String,
    },
    /// The server ends.
    #[error("the server is ending")]
    Ending,
}
