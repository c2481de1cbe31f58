//! Arguments of `eval`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::MachineArgs;

/// Arguments of `eval`.
#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// Data to measure on: BEIR folders, JSONL files or folders of pages
    #[arg(value_name = "DATA", required_unless_present_any = ["run", "answers"])]
    pub data: Vec<PathBuf>,
    /// Base model: a name, a folder or a hub id
    #[arg(long, value_name = "MODEL", default_value = "all-MiniLM-L6-v2")]
    pub base: String,
    /// PEFT folder of an adapter to measure beside the base model
    #[arg(long, value_name = "FOLDER")]
    pub adapter: Option<PathBuf>,
    /// Written in front of each query (`query: ` for E5)
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub query_prefix: String,
    /// Written in front of each document (`passage: ` for E5)
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub document_prefix: String,
    #[command(flatten)]
    pub machine: MachineArgs,
    #[command(flatten)]
    pub stages: StageArgs,
    #[command(flatten)]
    pub runs: RunArgs,
    #[command(flatten)]
    pub answers: AnswerArgs,
    #[command(flatten)]
    pub tracking: TrackingArgs,
}

/// What `eval` is told of the stages of retrieval.
#[derive(Debug, Args)]
#[command(next_help_heading = "Stages of retrieval")]
pub(crate) struct StageArgs {
    /// Measure quality against cost of each stage: words, codes, rescoring, fusion, as needed
    #[arg(long, conflicts_with_all = ["run", "answers"])]
    pub stages: bool,
    /// Part of full depth's nDCG@10 that retrieval as needed is to keep
    #[arg(long, value_name = "PART", default_value_t = 0.99, value_parser = part, requires = "stages")]
    pub floor: f64,
    /// PEFT folder of a reranker, which reads the best documents of three stages again
    #[arg(long, value_name = "FOLDER", requires = "stages")]
    pub reranker: Option<PathBuf>,
    /// Also write a page with plots
    #[arg(long, value_name = "FILE", requires = "stages")]
    pub html: Option<PathBuf>,
    /// Also write what was learnt for each data set, as NAME.json in this folder
    #[arg(long, value_name = "FOLDER", requires = "stages")]
    pub tuned: Option<PathBuf>,
}

/// A number from 0 to 1.
fn part(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(part) if (0.0..=1.0).contains(&part) => Ok(part),
        Ok(_) | Err(_) => Err("it is a number from 0 to 1".to_owned()),
    }
}

/// What `eval` is told of TREC runs.
#[derive(Debug, Args)]
#[command(next_help_heading = "TREC runs")]
pub(crate) struct RunArgs {
    /// A TREC run to measure; a second one is compared with the first
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "adapter", "answers"])]
    pub run: Vec<PathBuf>,
    /// Judgments of TREC or BEIR
    #[arg(long, value_name = "FILE", requires = "run")]
    pub qrels: Option<PathBuf>,
    /// Documents of each ranking that count
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10,
        requires = "run",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub depth: u32,
    /// Of documents with the same score, which comes first
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = TiesArg::Smaller, requires = "run")]
    pub ties: TiesArg,
    /// How often to draw a query that is to be judged
    #[arg(
        long,
        value_name = "N",
        requires = "run",
        value_parser = clap::value_parser!(u32).range(2..=10_000_000)
    )]
    pub draw: Option<u32>,
    /// The same seed draws the same queries
    #[arg(long, value_name = "N", default_value_t = 0, requires = "draw")]
    pub seed: u64,
}

/// What `eval` is told of answers.
#[derive(Debug, Args)]
#[command(next_help_heading = "Answers")]
pub(crate) struct AnswerArgs {
    /// A JSONL file of answers to measure; a second one is compared with the first
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["data", "adapter"])]
    pub answers: Vec<PathBuf>,
    /// What the answers are written in, which says what a word is
    #[arg(long, value_enum, default_value_t = LanguageArg::En, requires = "answers")]
    pub language: LanguageArg,
    /// Compare the stems of words in ROUGE
    #[arg(long, requires = "answers")]
    pub stem: bool,
}

/// Where `eval` keeps what it found.
#[derive(Debug, Args)]
#[command(next_help_heading = "MLflow")]
pub(crate) struct TrackingArgs {
    /// MLflow server to log the measurement to; MLFLOW_TRACKING_TOKEN is sent along if it is set
    #[arg(long, value_name = "URL")]
    pub mlflow: Option<String>,
    /// Experiment of MLflow's, made if it is not there
    #[arg(long, value_name = "NAME", default_value = "cotenant", requires = "mlflow")]
    pub mlflow_experiment: String,
    /// File that keeps every measurement, and sends again what the server did not get
    #[arg(long, value_name = "FILE", default_value = "mlflow.jsonl", requires = "mlflow")]
    pub mlflow_log: PathBuf,
}

/// Which of two documents with the same score comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TiesArg {
    /// The one with the smaller id
    Smaller,
    /// The one with the larger id, as trec_eval does it
    Larger,
}

/// What answers are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LanguageArg {
    /// English, and others with spaces between words
    En,
    /// Chinese: every character is a word
    Zh,
}
