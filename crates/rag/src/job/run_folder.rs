//! Where a run's files lie, and how they are written and read.
//!
//! ```text
//! RUN/run.json                        what was run and what came out
//! RUN/report.html                     the same for people
//! RUN/checkpoint                      while training
//! RUN/tenants/NAME/adapter/           a PEFT folder
//! RUN/tenants/NAME/passages.jsonl     what is searched
//! RUN/tenants/NAME/vectors.safetensors  its embeddings, under the adapter if that embeds
//! RUN/tenants/NAME/first_stage.json   how a reranker's candidates are found
//! ```

use std::fs;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize_to_file};
use serde::{Deserialize, Serialize};

use super::error::JobError;
use super::results::RunResults;
use crate::data::Document;
use crate::report::{RunReport, render};
use crate::retrieval::Vectors;
use crate::retrieval::pipeline::Tuned;
use crate::workspace::{PrecisionChoice, Task};

/// A run's folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
}

/// `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedRun {
    /// What the user called the base model.
    pub base: String,
    /// The base model's folder.
    pub base_folder: PathBuf,
    /// `f32` or `bf16`.
    pub precision: String,
    /// A hash of the base model's files, in hexadecimal.
    pub model: String,
    /// What each tenant needs to be searched.
    pub tenants: Vec<SavedTenant>,
    /// What came out.
    pub results: RunResults,
}

impl SavedRun {
    /// With what its adapters embed: what was made in bf16 is used as well by a machine without it.
    pub fn precision_choice(&self) -> PrecisionChoice {
        match self.precision.as_str() {
            "f32" => PrecisionChoice::F32,
            _ => PrecisionChoice::Auto,
        }
    }
}

/// What a tenant needs to be searched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedTenant {
    /// The tenant.
    pub name: String,
    /// What its adapter does, if it has one.
    #[serde(default)]
    pub task: Task,
    /// Written in front of each query.
    pub query_prefix: String,
    /// Written in front of each document; runs of old do not say.
    #[serde(default)]
    pub document_prefix: String,
    /// Most tokens of a query, and for a reranker of a query and a document together.
    pub tokens_max: usize,
    /// Whether it has an adapter; without one the base model answers.
    pub is_trained: bool,
}

/// One line of `passages.jsonl`.
#[derive(Serialize, Deserialize)]
struct Passage {
    #[serde(rename = "_id")]
    id: String,
    title: String,
    text: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    heading: String,
}

impl SavedRun {
    /// One of the run's tenants.
    pub fn tenant(&self, name: &str) -> Result<&SavedTenant, JobError> {
        let names: Vec<&str> = self.tenants.iter().map(|tenant| tenant.name.as_str()).collect();
        self.tenants.iter().find(|tenant| tenant.name == name).ok_or_else(|| {
            JobError::UnknownTenant { tenant: name.to_owned(), known: names.join(", ") }
        })
    }
}

impl RunFolder {
    /// The folder at a path, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The report for people.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// The checkpoint of a run that is not through.
    pub fn checkpoint(&self) -> PathBuf {
        self.path.join("checkpoint")
    }

    /// A tenant's adapter.
    pub fn adapter(&self, tenant: &str) -> PathBuf {
        self.tenant(tenant).join("adapter")
    }

    fn tenant(&self, tenant: &str) -> PathBuf {
        self.path.join("tenants").join(tenant)
    }

    fn passages(&self, tenant: &str) -> PathBuf {
        self.tenant(tenant).join("passages.jsonl")
    }

    fn vectors(&self, tenant: &str) -> PathBuf {
        self.tenant(tenant).join("vectors.safetensors")
    }

    fn first_stage(&self, tenant: &str) -> PathBuf {
        self.tenant(tenant).join("first_stage.json")
    }

    fn summary(&self) -> PathBuf {
        self.path.join("run.json")
    }

    /// Makes the folder for a new run, or finds the checkpoint of one to resume.
    pub(super) fn open(&self, resume: bool) -> Result<(), JobError> {
        let path = self.path.clone();
        if resume && !self.checkpoint().is_file() {
            let hint = match self.summary().is_file() {
                true => "the run is finished; search it, or train again with another --out",
                false => "start it without --resume",
            };
            return Err(JobError::NothingToResume { path, hint });
        }
        if !resume && fs::read_dir(&path).is_ok_and(|mut files| files.next().is_some()) {
            return Err(JobError::FolderTaken { path });
        }
        fs::create_dir_all(&path).map_err(failed("create", &path))
    }

    /// Writes what a tenant's searches need.
    pub(super) fn save_tenant(
        &self,
        tenant: &str,
        documents: &[Document],
        vectors: &Vectors,
    ) -> Result<(), JobError> {
        let folder = self.tenant(tenant);
        fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
        let path = self.passages(tenant);
        write_passages(&path, documents).map_err(failed("write", &path))?;
        let path = self.vectors(tenant);
        let bytes: Vec<u8> = vectors.values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let shape = vec![vectors.len(), vectors.width];
        let view = TensorView::new(Dtype::F32, shape, &bytes).expect("as many bytes as the shape");
        serialize_to_file([("embeddings", view)], None, &path)
            .map_err(|error| failed("write", &path)(io::Error::other(error)))
    }

    /// Writes how a reranker's candidates are found.
    pub(super) fn save_first_stage(&self, tenant: &str, tuned: &Tuned) -> Result<(), JobError> {
        let path = self.first_stage(tenant);
        fs::write(&path, tuned.to_json()).map_err(failed("write", &path))
    }

    /// Reads how a reranker's candidates are found.
    pub(super) fn load_first_stage(&self, tenant: &str) -> Result<Tuned, JobError> {
        let path = self.first_stage(tenant);
        let bytes = fs::read(&path).map_err(failed("read", &path))?;
        Tuned::from_json(&bytes)
            .map_err(|error| JobError::Damaged { path, problem: error.to_string() })
    }

    /// Writes the report again, with what was found since.
    pub fn save_report(&self, report: &RunReport) -> Result<(), JobError> {
        let path = self.report();
        fs::write(&path, render(report)).map_err(failed("write", &path))
    }

    /// Writes the summary last, so that a folder with one is complete, and drops the checkpoint.
    pub(super) fn save(&self, run: &SavedRun, report: &RunReport) -> Result<(), JobError> {
        self.save_report(report)?;
        let path = self.summary();
        let draft = path.with_extension("json.new");
        let json = serde_json::to_string_pretty(run)
            .map_err(|error| failed("write", &path)(io::Error::other(error)))?;
        fs::write(&draft, json).map_err(failed("write", &draft))?;
        fs::rename(&draft, &path).map_err(failed("write", &path))?;
        match fs::remove_file(self.checkpoint()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &self.checkpoint())(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Reads the summary of a finished run.
    pub fn load(&self) -> Result<SavedRun, JobError> {
        let path = self.summary();
        if !path.exists() {
            let hint = match self.checkpoint().is_file() {
                true => "its training has not ended; go on with --resume",
                false => "name the folder of a finished run with --run, or train one first",
            };
            return Err(JobError::NoRun { path: self.path.clone(), hint });
        }
        let json = fs::read_to_string(&path).map_err(failed("read", &path))?;
        serde_json::from_str(&json)
            .map_err(|error| JobError::Damaged { path, problem: error.to_string() })
    }

    /// Reads what a tenant's searches need.
    pub(super) fn load_tenant(&self, tenant: &str) -> Result<(Vec<Document>, Vectors), JobError> {
        let path = self.passages(tenant);
        let documents = read_passages(&path)?;
        let path = self.vectors(tenant);
        let bytes = fs::read(&path).map_err(failed("read", &path))?;
        let damaged = |problem: String| JobError::Damaged { path: path.clone(), problem };
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| damaged(e.to_string()))?;
        let tensor = tensors.tensor("embeddings").map_err(|e| damaged(e.to_string()))?;
        let &[rows, width] = tensor.shape() else {
            return Err(damaged("embeddings are not a matrix".into()));
        };
        if tensor.dtype() != Dtype::F32 || rows != documents.len() {
            let problem = format!("{rows} embeddings stand against {} passages", documents.len());
            return Err(damaged(problem));
        }
        let words = tensor.data().chunks_exact(4);
        let values = words.map(|b| f32::from_le_bytes(b.try_into().expect("4 bytes"))).collect();
        Ok((documents, Vectors { values, width }))
    }
}

fn failed<'a>(doing: &'static str, path: &'a Path) -> impl Fn(io::Error) -> JobError + 'a {
    move |source| JobError::File { doing, path: path.to_owned(), source }
}

fn write_passages(path: &Path, documents: &[Document]) -> io::Result<()> {
    let mut file = BufWriter::new(fs::File::create(path)?);
    for document in documents {
        let Document { id, title, text, heading } = document.clone();
        serde_json::to_writer(&mut file, &Passage { id, title, text, heading })?;
        file.write_all(b"\n")?;
    }
    file.flush()
}

fn read_passages(path: &Path) -> Result<Vec<Document>, JobError> {
    let file = fs::File::open(path).map_err(failed("read", path))?;
    let mut documents = Vec::new();
    for (line, at) in BufReader::new(file).lines().zip(1..) {
        let line = line.map_err(failed("read", path))?;
        let Passage { id, title, text, heading } =
            serde_json::from_str(&line).map_err(|error| JobError::Damaged {
                path: path.to_owned(),
                problem: format!("line {at}: {error}"),
            })?;
        documents.push(Document { id, title, text, heading });
    }
    Ok(documents)
}
