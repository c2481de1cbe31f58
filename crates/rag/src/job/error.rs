//! Why a run cannot go on.

use std::path::PathBuf;

use cotenant_train::{CheckpointError, LimitsError, SettingsError, TextError};
use cotenant_transformer::{Fault, ModelError, SpecError, UnsupportedPrecision};
use thiserror::Error;

use crate::data::DataError;
use crate::models::StoreError;
use crate::retrieval::pipeline::RetrievalError;
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
    /// The card that is to train cannot, or has failed.
    #[error("train on the card")]
    Device {
        /// What it says.
        source: Fault,
    },
    /// A tenant's files cannot be read.
    #[error("read the data of tenant {tenant}")]
    Data {
        /// Whose.
        tenant: String,
        /// Why.
        source: DataError,
    },
    /// No tenant has anything to train on.
    #[error(
        "train {tenants}: there is no training example in the data\n\
         hint: add training queries (qrels/train.tsv of a BEIR folder), pairs, or pages with \
         headings; `cotenant eval DATA` measures the base model without training"
    )]
    NothingToTrain {
        /// All tenants, by name.
        tenants: String,
    },
    /// A tenant without an adapter.
    #[error(
        "export the adapter of {tenant}: it has none, since its data had no training example\n\
         hint: add training examples to its data and train again; searches use the base model"
    )]
    NotTrained {
        /// The tenant.
        tenant: String,
    },
    /// An adapter that scores, where one that embeds is needed.
    #[error(
        "embed with the adapter in {}: it is a reranker, which reads a query together with a document\n\
         hint: name it with --reranker of `cotenant eval DATA --stages`, or serve it and ask /rerank",
        path.display()
    )]
    NotEmbedding {
        /// The adapter's folder.
        path: PathBuf,
    },
    /// An adapter that embeds, where one that scores is needed.
    #[error(
        "rerank with the adapter in {}: it embeds, and has no head that scores\n\
         hint: train one with task = \"rerank\", or name this one with --adapter",
        path.display()
    )]
    NotReranker {
        /// The adapter's folder.
        path: PathBuf,
    },
    /// The run was asked to stop.
    #[error("go on: the run was asked to stop\nhint: run the same command again")]
    Stopped,
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
    #[error(
        "embed a text of tenant {tenant}\n\
         hint: remove or change that text in the tenant's data; the reason says what is wrong with it"
    )]
    Text {
        /// Whose.
        tenant: String,
        /// Why.
        source: TextError,
    },
    /// A tenant's vectors cannot be searched.
    #[error(
        "search the vectors of tenant {tenant}\n\
         hint: the model or adapter gives numbers that are not finite; use another one"
    )]
    Search {
        /// Whose.
        tenant: String,
        /// Why.
        source: RetrievalError,
    },
    /// The limits cannot be kept.
    #[error("set up the trainer")]
    Limits(#[from] LimitsError),
    /// The run would need more memory than it may have.
    #[error(
        "keep to limits.memory_mib = {limit_mib}: this workspace needs about {needed_mib} MiB, \
         most of it for {largest}\n\
         hint: {advice}, or raise the limit; `cotenant estimate` shows all parts"
    )]
    Memory {
        /// What the workspace allows.
        limit_mib: u64,
        /// What is predicted.
        needed_mib: u64,
        /// The largest parts, in words.
        largest: String,
        /// What makes the largest one smaller.
        advice: &'static str,
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
    #[error(
        "{doing} {}\nhint: check that the disk has room and that you may use the folder",
        path.display()
    )]
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

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::io;

    use super::*;
    use crate::workspace::Place;

    fn path() -> PathBuf {
        PathBuf::from("some/file")
    }

    fn text() -> String {
        "text".to_owned()
    }

    fn refused() -> io::Error {
        io::ErrorKind::PermissionDenied.into()
    }

    fn of_data() -> Vec<DataError> {
        let (path, hint, problem) = (path(), text(), text());
        vec![
            DataError::Missing { path: path.clone(), hint: text() },
            DataError::Stopped,
            DataError::Io { path: path.clone(), source: refused() },
            DataError::Malformed {
                path: path.clone(),
                line: 1,
                column: 1,
                problem: text(),
                hint: text(),
            },
            DataError::NotUtf8 { path: path.clone(), line: 1, offset: 0 },
            DataError::LineTooLong { path: path.clone(), line: 1, bytes_max: 1 },
            DataError::DuplicateId { path: path.clone(), line: 2, first_line: 1, id: text() },
            DataError::UnknownId {
                path: path.clone(),
                line: 1,
                kind: "query",
                id: text(),
                defined_in: path.clone(),
            },
            DataError::Header { path: path.clone(), found: text(), expected: "a" },
            DataError::Empty { path: path.clone(), what: "texts", hint: text() },
            DataError::Unrecognised { path: path.clone(), problem: text() },
            DataError::WrongLoss { path: path.clone(), line: None, problem, hint },
            DataError::TooMany { path, what: "lines", max: 1, hint: text() },
        ]
    }

    fn of_workspaces() -> Vec<WorkspaceError> {
        let place = || Place { path: path(), line: 1, column: 1 };
        let (key, table, problem) = (text(), text(), text());
        vec![
            WorkspaceError::Missing { path: path() },
            WorkspaceError::Io { path: path(), source: refused() },
            WorkspaceError::NotText { path: path(), problem: text() },
            WorkspaceError::Syntax { place: place(), problem: text() },
            WorkspaceError::UnknownKey { place: place(), key, table, hint: text() },
            WorkspaceError::Value { place: place(), key: text(), problem, hint: text() },
            WorkspaceError::Conflict { place: place(), first: "a", second: "b" },
            WorkspaceError::Incomplete { path: path(), problem: text(), hint: text() },
            WorkspaceError::NoData { place: place(), tenant: text(), target: path() },
        ]
    }

    fn of_the_store() -> Vec<StoreError> {
        let (base, problem) = (text(), text());
        vec![
            StoreError::NoCache,
            StoreError::NotAModel { path: path(), problem },
            StoreError::Unknown { base: text(), hint: text() },
            StoreError::NotInstalled { base: text() },
            StoreError::Unavailable { base, tried: vec![text()], hint: text() },
            StoreError::Io { action: "read", path: path(), source: refused() },
        ]
    }

    fn of_jobs() -> Vec<JobError> {
        let tenant = text;
        let missing = || ModelError::Missing { path: path(), hint: text() };
        let damaged = || CheckpointError::Damaged { path: path(), reason: text() };
        let largest = text();
        vec![
            JobError::Model(missing()),
            JobError::Precision(UnsupportedPrecision),
            JobError::Device { source: Fault::Refused("no card\nhint: get one".to_owned()) },
            JobError::NothingToTrain { tenants: text() },
            JobError::NotTrained { tenant: tenant() },
            JobError::NotEmbedding { path: path() },
            JobError::NotReranker { path: path() },
            JobError::Stopped,
            JobError::Spec { tenant: tenant(), source: SpecError::NoTargets },
            JobError::Settings { tenant: tenant(), source: SettingsError::NoExamples },
            JobError::Text { tenant: tenant(), source: TextError { reason: text() } },
            JobError::Search { tenant: tenant(), source: RetrievalError::Stopped },
            JobError::Limits(LimitsError::Zero { key: "threads" }),
            JobError::Memory { limit_mib: 1, needed_mib: 2, largest, advice: "lower it" },
            JobError::Resume { source: damaged() },
            JobError::Checkpoint { source: damaged() },
            JobError::FolderTaken { path: path() },
            JobError::ExportTaken { path: path() },
            JobError::NothingToResume { path: path(), hint: "start it" },
            JobError::NoRun { path: path(), hint: "start it" },
            JobError::NothingToMeasure { data: text() },
            JobError::File { doing: "read", path: path(), source: refused() },
            JobError::Damaged { path: path(), problem: text() },
            JobError::UnknownTenant { tenant: tenant(), known: text() },
        ]
    }

    /// The variant's name, as `Debug` begins.
    fn variant(error: &dyn std::fmt::Debug) -> String {
        format!("{error:?}").chars().take_while(|c| c.is_alphanumeric()).collect()
    }

    /// Does not compile with a new case until somebody looks here, and adds it above.
    fn cases(error: &JobError) -> usize {
        match error {
            JobError::Workspace(inner) => match inner {
                WorkspaceError::Missing { .. }
                | WorkspaceError::Io { .. }
                | WorkspaceError::NotText { .. }
                | WorkspaceError::Syntax { .. }
                | WorkspaceError::UnknownKey { .. }
                | WorkspaceError::Value { .. }
                | WorkspaceError::Conflict { .. }
                | WorkspaceError::Incomplete { .. }
                | WorkspaceError::NoData { .. } => 9,
            },
            JobError::Store(inner) => match inner {
                StoreError::NoCache
                | StoreError::NotAModel { .. }
                | StoreError::Unknown { .. }
                | StoreError::NotInstalled { .. }
                | StoreError::Unavailable { .. }
                | StoreError::Io { .. } => 6,
            },
            JobError::Data { source, .. } => match source {
                DataError::Missing { .. }
                | DataError::Stopped
                | DataError::Io { .. }
                | DataError::Malformed { .. }
                | DataError::NotUtf8 { .. }
                | DataError::LineTooLong { .. }
                | DataError::DuplicateId { .. }
                | DataError::UnknownId { .. }
                | DataError::Header { .. }
                | DataError::Empty { .. }
                | DataError::Unrecognised { .. }
                | DataError::WrongLoss { .. }
                | DataError::TooMany { .. } => 13,
            },
            JobError::Model(_)
            | JobError::Precision(_)
            | JobError::Device { .. }
            | JobError::NothingToTrain { .. }
            | JobError::NotTrained { .. }
            | JobError::NotEmbedding { .. }
            | JobError::NotReranker { .. }
            | JobError::Stopped
            | JobError::Spec { .. }
            | JobError::Settings { .. }
            | JobError::Text { .. }
            | JobError::Search { .. }
            | JobError::Limits(_)
            | JobError::Memory { .. }
            | JobError::Resume { .. }
            | JobError::Checkpoint { .. }
            | JobError::FolderTaken { .. }
            | JobError::ExportTaken { .. }
            | JobError::NothingToResume { .. }
            | JobError::NoRun { .. }
            | JobError::NothingToMeasure { .. }
            | JobError::File { .. }
            | JobError::Damaged { .. }
            | JobError::UnknownTenant { .. } => 24,
        }
    }

    /// One of each case, and each, or what caused it, says what to do.
    fn check(errors: Vec<JobError>, name: impl Fn(&JobError) -> String) {
        let names: std::collections::BTreeSet<String> = errors.iter().map(name).collect();
        assert_eq!(names.len(), cases(&errors[0]), "one of each: {names:?}");
        for error in &errors {
            let first: &dyn Error = error;
            let chain = std::iter::successors(Some(first), |&error| error.source());
            let messages: Vec<String> = chain.map(ToString::to_string).collect();
            let mut lines = messages.iter().flat_map(|message| message.lines());
            let is_hint =
                |line: &str| line.strip_prefix("hint: ").is_some_and(|hint| hint.len() > 3);
            assert!(lines.any(is_hint), "{messages:?}");
        }
    }

    #[test]
    fn every_error_ends_with_what_to_do() {
        check(of_jobs(), |error| variant(error));
        let inner = |error: &JobError| match error {
            JobError::Workspace(inner) => variant(inner),
            JobError::Store(inner) => variant(inner),
            JobError::Data { source, .. } => variant(source),
            other => variant(other),
        };
        check(of_workspaces().into_iter().map(JobError::Workspace).collect(), inner);
        check(of_the_store().into_iter().map(JobError::Store).collect(), inner);
        let of_data = of_data().into_iter();
        let of_data = of_data.map(|source| JobError::Data { tenant: text(), source });
        check(of_data.collect(), inner);
    }
}
