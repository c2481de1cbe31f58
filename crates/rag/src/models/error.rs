//! Why a base model cannot be had.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a base model cannot be had; each says what to do.
#[derive(Debug, Error)]
pub enum StoreError {
    /// There is no place for models.
    #[error(
        "there is no cache folder: neither COTENANT_CACHE, XDG_CACHE_HOME nor HOME is set\n\
         hint: set COTENANT_CACHE to a folder"
    )]
    NoCache,
    /// A path that leads nowhere, or to something that is not a model.
    #[error(
        "{} is not a model folder: {problem}\n\
         hint: a model folder has config.json, tokenizer.json and model.safetensors",
        path.display()
    )]
    NotAModel {
        /// The path.
        path: PathBuf,
        /// What is absent.
        problem: String,
    },
    /// Neither a folder, a known name nor a hub id.
    #[error("there is no model {base:?}\nhint: {hint}")]
    Unknown {
        /// What was asked for.
        base: String,
        /// A guess and what is known.
        hint: String,
    },
    /// A model that could be had, but is not here yet.
    #[error("the model {base} is not installed\nhint: run `cotenant model pull {base}`")]
    NotInstalled {
        /// What was asked for.
        base: String,
    },
    /// Every source failed.
    #[error("cannot get the model {base}\n{}\nhint: {hint}", tried.join("\n"))]
    Unavailable {
        /// What was asked for.
        base: String,
        /// One line a source: what was tried and why it failed.
        tried: Vec<String>,
        /// What to do without a network.
        hint: String,
    },
    /// The file system refused.
    #[error(
        "cannot {action} {}\n\
         hint: check that the disk has room and that you may use the folder; COTENANT_CACHE names \
         another one",
        path.display()
    )]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
}
