//! Why a run cannot go on.

use std::path::PathBuf;

use cotenant_train::{CheckpointError, LimitsError, SettingsError, TextError};
use cotenant_transformer::{ModelError, SpecError, UnsupportedPrecision};
use thiserror::Error;

use crate::data::DataError;
use crate::models::StoreError;
use crate::workspace::WorkspaceError;

/// Why a run cannot go on.
#[derive(Debug, Error)]
pub enum JobError {
    /// The workspace cannot be used.
    #[error("read the workspace")]
    Workspace(#[from] WorkspaceError),
    /// The base model cannot be had.
    #[error("get the base model")]
    Store(#[from] StoreError),
    /// A model or adapter cannot be read or written.
    #[error("use a model or an adapter")]
    Model(#[from] ModelError),
    /// The processor lacks the precision.
    #[error(transparent)]
    Precision(#[from] UnsupportedPrecision),
    /// A tenant's files cannot be read.
    #[error("read the data of tenant {tenant}")]
    Data {
        /// Whose.
        tenant: String,
        /// Why.
        source: DataError,
    },
    /// A tenant has nothing to train on.
    #[error("train tenant {tenant}: its data has no training example\nhint: {hint}")]
    NothingToTrain {
        /// Whose.
        tenant: String,
        /// What to do.
        hint: &'static str,
    },
    /// A tenant's adapter does not fit the model.
    #[error("give tenant {tenant} an adapter")]
    Spec {
        /// Whose.
        tenant: String,
        /// Why.
        source: SpecError,
    },
    /// A tenant's settings or examples cannot be trained.
    #[error("train tenant {tenant}")]
    Settings {
        /// Whose.
        tenant: String,
        /// Why.
        source: SettingsError,
    },
    /// A text cannot be embedded.
    #[error("embed a text of tenant {tenant}")]
    Text {
        /// Whose.
        tenant: String,
        /// Why.
        source: TextError,
    },
    /// The limits cannot be kept.
    #[error("set up the trainer")]
    Limits(#[from] LimitsError),
    /// The run would need more memory than it may have.
    #[error(
        "keep to limits.memory_mib = {limit_mib}: this workspace needs about {needed_mib} MiB\n\
         hint: run `cotenant estimate` to see the parts; lower batch, document_tokens_max or threads"
    )]
    Memory {
        /// What the workspace allows.
        limit_mib: u64,
        /// What is predicted.
        needed_mib: u64,
    },
    /// There is no going on from the checkpoint.
    #[error("go on from the checkpoint of the run")]
    Resume {
        /// Why.
        source: CheckpointError,
    },
    /// A checkpoint cannot be written; the one before is as it was.
    #[error(
        "keep a checkpoint of the run\n\
         hint: make room on the disk and go on with --resume; the checkpoint before is as it was"
    )]
    Checkpoint {
        /// Why.
        source: CheckpointError,
    },
    /// The run's folder holds another run.
    #[error(
        "start a new run in {}: the folder is not empty\n\
         hint: go on with --resume, or name another folder with --out", path.display()
    )]
    FolderTaken {
        /// The folder.
        path: PathBuf,
    },
    /// An export would overwrite something.
    #[error("export to {}: it exists\nhint: name a folder that does not exist yet", path.display())]
    ExportTaken {
        /// The folder.
        path: PathBuf,
    },
    /// Nothing to resume.
    #[error("resume the run in {}: it has no checkpoint\nhint: {hint}", path.display())]
    NothingToResume {
        /// The folder.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
    },
    /// Not the folder of a finished run.
    #[error("read the run in {}: it has no run.json\nhint: {hint}", path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
    },
    /// There is nothing to measure with.
    #[error(
        "measure on {data}: it has no test queries\n\
         hint: a BEIR folder names them in qrels/test.tsv; other data needs more examples, so that \
         a part can be held out"
    )]
    NothingToMeasure {
        /// The data set.
        data: String,
    },
    /// A file of a run cannot be written or read.
    #[error("{doing} {}", path.display())]
    File {
        /// `write`, `read`...
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of a run is not what it should be.
    #[error("read {}: {problem}\nhint: the run is damaged; train again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A run has no such tenant.
    #[error("find tenant {tenant} in this run\nhint: it has {known}")]
    UnknownTenant {
        /// The name asked for.
        tenant: String,
        /// The names there are.
        known: String,
    },
}
