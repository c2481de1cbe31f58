//! Why a server cannot start or go on.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use cotenant_transformer::{ModelError, UnsupportedPrecision};
use thiserror::Error;

use super::adapters::AdapterError;
use super::experiments::ExperimentError;

/// Why a server cannot start or go on.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The base model cannot be read.
    #[error("load the base model")]
    Model(#[from] ModelError),
    /// The processor lacks the precision.
    #[error(transparent)]
    Precision(#[from] UnsupportedPrecision),
    /// An adapter cannot be served.
    #[error("serve an adapter")]
    Adapter(#[from] AdapterError),
    /// A folder of adapters cannot be listed.
    #[error("list the adapters in {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A named folder holds no adapter.
    #[error(
        "serve the adapter {name:?}: {} holds no adapter_config.json\n\
         hint: name the folder that PEFT or cotenant train wrote",
        folder.display()
    )]
    NoAdapter {
        /// Its name.
        name: String,
        /// The folder.
        folder: PathBuf,
    },
    /// The index cannot be opened.
    #[error("open the index")]
    Index(#[from] cotenant_index::IndexError),
    /// The experiments cannot be read.
    #[error("read the experiments")]
    Experiments(#[from] ExperimentError),
    /// The file of tokens cannot be used.
    #[error("read the tokens of {}: {problem}\nhint: {hint}", file.display())]
    Tokens {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do.
        hint: &'static str,
    },
    /// Others could ask, and nobody would have to say who it is.
    #[error(
        "listen on {0}: other machines can reach it, and there are no tokens\n\
         hint: name a file of tokens with --tokens, or listen on 127.0.0.1"
    )]
    NoTokens(SocketAddr),
    /// The address cannot be had.
    #[error("listen on {address}\nhint: take another address with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A thread cannot be started, or the server broke off.
    #[error("serve")]
    Io(#[from] io::Error),
}
