//! Every command and flag, once: help and the reference in `docs/cli.md` come from here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Train, measure and search many tenants' embedding adapters on one shared encoder
///
/// A tenant is a business domain, a team or an experiment that wants its own embedding model. All
/// tenants share one frozen base model; each has a small LoRA adapter of its own.
///
/// Data goes to stdout, talk to stderr.
#[derive(Debug, Parser)]
#[command(name = "cotenant", version, verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Print data as JSON: one object, on one line of stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Print no progress
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train three tenants on documentation that stands on this machine
    ///
    /// Fetches the base model if it is not there, makes training pairs from three corpora (the HTML
    /// books of the Rust toolchain, or what --docs and --data name), trains three adapters together,
    /// measures them on held-out queries and writes adapters, indexes and report.html.
    #[command(verbatim_doc_comment)]
    Demo(DemoArgs),
    /// Train the tenants of a workspace file
    ///
    /// A workspace names a base model and, for each tenant, its data:
    ///
    ///   base = "all-MiniLM-L6-v2"
    ///   [tenant.science]
    ///   data = "data/scifact"
    ///
    /// Trains one adapter a tenant, all together, measures each on held-out queries before and after,
    /// and writes adapters, indexes, run.json and report.html. On Ctrl-C it leaves a checkpoint, from
    /// which --resume goes on with the same result.
    ///
    /// Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 a tenant's training failed while others
    /// finished, 130 stopped by a signal.
    #[command(verbatim_doc_comment)]
    Train(TrainArgs),
    /// Predict the memory and time of a workspace
    Estimate(EstimateArgs),
    /// Measure retrieval quality of a base model, with or without an adapter
    Eval(EvalArgs),
    /// Search a tenant's passages with its adapter
    Search(SearchArgs),
    /// Write a tenant's adapter, or the merged model, for other programs
    Export(ExportArgs),
    /// Fetch and list base models
    Model(ModelArgs),
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Folders of Markdown, HTML or text, one tenant each, in place of the Rust books
    #[arg(long, value_name = "FOLDER", num_args = 1..)]
    pub docs: Vec<PathBuf>,
    /// BEIR folders, one tenant each, in place of the Rust books
    #[arg(long, value_name = "FOLDER", num_args = 1..)]
    pub data: Vec<PathBuf>,
    /// Passages of each tenant, at most
    #[arg(
        long,
        value_name = "N",
        default_value_t = 800,
        value_parser = clap::value_parser!(u32).range(10..=10_000_000)
    )]
    pub passages_max: u32,
    /// Train only this tenant; may be given several times
    #[arg(long, value_name = "TENANT")]
    pub only: Vec<String>,
    /// Also train each tenant alone, in a process of its own, and report what that costs
    #[arg(long)]
    pub compare: bool,
    /// Where to write the run
    #[arg(long, value_name = "FOLDER", default_value = "runs/demo")]
    pub out: PathBuf,
    /// Go on from the checkpoint in the run's folder
    #[arg(long)]
    pub resume: bool,
    #[command(flatten)]
    pub machine: MachineArgs,
}

/// What of the machine a run uses.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct MachineArgs {
    /// Arithmetic of the matrix products
    #[arg(long, value_enum)]
    pub precision: Option<PrecisionArg>,
    /// Threads that compute; one a core if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// Arithmetic of the matrix products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrecisionArg {
    /// bf16 where the processor has instructions for it, f32 elsewhere
    Auto,
    /// f32
    F32,
    /// bf16 products with f32 sums
    Bf16,
}

/// Arguments of `train`.
#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// The workspace file
    #[arg(value_name = "WORKSPACE.toml")]
    pub workspace: PathBuf,
    /// Train only this tenant; may be given several times
    #[arg(long, value_name = "TENANT")]
    pub only: Vec<String>,
    /// Where to write the run; runs/NAME-OF-THE-WORKSPACE if not given
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Go on from the checkpoint in the run's folder
    #[arg(long)]
    pub resume: bool,
    /// Also train each tenant alone, in a process of its own, and report what that costs
    #[arg(long)]
    pub compare: bool,
    #[command(flatten)]
    pub machine: MachineArgs,
}

/// Arguments of `estimate`.
#[derive(Debug, Args)]
pub(crate) struct EstimateArgs {
    /// The workspace file
    #[arg(value_name = "WORKSPACE.toml")]
    pub workspace: PathBuf,
    #[command(flatten)]
    pub machine: MachineArgs,
}

/// Arguments of `eval`.
#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// Data to measure on: BEIR folders, JSONL files or folders of pages
    #[arg(value_name = "DATA", required = true)]
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
}

/// Arguments of `search`.
#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// What to look for
    #[arg(value_name = "QUERY")]
    pub query: String,
    /// Folder of a finished run
    #[arg(long, value_name = "FOLDER", default_value = "runs/demo")]
    pub run: PathBuf,
    /// Whose passages and adapter
    #[arg(long, value_name = "TENANT")]
    pub tenant: String,
    /// Passages to show
    #[arg(
        long,
        short = 'k',
        value_name = "N",
        default_value_t = 3,
        value_parser = clap::value_parser!(u16).range(1..=1000)
    )]
    pub top: u16,
}

/// Arguments of `export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Folder of a finished run
    #[arg(long, value_name = "FOLDER", default_value = "runs/demo")]
    pub run: PathBuf,
    /// Whose adapter
    #[arg(long, value_name = "TENANT")]
    pub tenant: String,
    /// The folder to write, which must not exist
    #[arg(long, value_name = "FOLDER")]
    pub to: PathBuf,
    /// What to write
    #[arg(long, value_enum, default_value_t = ExportFormat::Peft)]
    pub format: ExportFormat,
}

/// What `export` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// The adapter alone, as PEFT reads it
    Peft,
    /// Base and adapter merged into one model, as sentence-transformers reads it
    SentenceTransformers,
}

/// Arguments of `model`.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// What to do
    #[command(subcommand)]
    pub command: ModelCommand,
}

/// The commands of `model`.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// Fetch a base model into the cache
    Pull {
        /// A name or a hub id
        #[arg(value_name = "MODEL", default_value = "all-MiniLM-L6-v2")]
        model: String,
    },
    /// List the models of the cache, and those that can be fetched by name
    List,
    /// Show a model's shape
    Show {
        /// A name, a folder or a hub id
        #[arg(value_name = "MODEL", default_value = "all-MiniLM-L6-v2")]
        model: String,
    },
}
