//! Arguments of `serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use cotenant_rag::serve::ServePrecision;
use cotenant_rag::workspace::PrecisionChoice;

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// A workspace that was trained: its base model and the adapters of its last run are served
    #[arg(value_name = "WORKSPACE.toml", required_unless_present_any = ["model", "openapi"])]
    pub workspace: Option<PathBuf>,
    /// Folder of the run; runs/NAME-OF-THE-WORKSPACE if not given
    #[arg(long, value_name = "FOLDER", requires = "workspace")]
    pub run: Option<PathBuf>,
    /// Base model, instead of a workspace's: a name, a folder or a hub id
    #[arg(long, value_name = "MODEL", conflicts_with = "workspace")]
    pub model: Option<String>,
    /// An adapter and its PEFT folder; may be given several times
    #[arg(long, value_name = "NAME=FOLDER", value_parser = named_folder)]
    pub adapter: Vec<(String, PathBuf)>,
    /// A folder of adapters, each in a folder of its name; may be given several times
    #[arg(long, value_name = "FOLDER")]
    pub adapters: Vec<PathBuf>,
    /// An adapter that stays in memory once it was used; may be given several times
    #[arg(long, value_name = "NAME")]
    pub pin: Vec<String>,
    /// Folder of an index for tenants' documents; made if it is not there
    #[arg(long, value_name = "FOLDER")]
    pub index: Option<PathBuf>,
    /// Folder of online experiments between two ways to search; made if it is not there
    #[arg(long, value_name = "FOLDER", requires = "index")]
    pub experiments: Option<PathBuf>,
    /// Where to listen; an address that other machines can reach needs --tokens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// A file with a line TENANT = "TOKEN" for each tenant; admin = "TOKEN" may do everything
    #[arg(long, value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    /// Arithmetic of the matrix products; that of the training if not given
    #[arg(long, value_enum)]
    pub precision: Option<ServePrecisionArg>,
    /// Threads that compute; one a core if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Tokens of one forward of one thread
    #[arg(
        long,
        value_name = "N",
        default_value_t = 256,
        value_parser = clap::value_parser!(u32).range(16..=65_536)
    )]
    pub batch_tokens: u32,
    /// Tokens that may wait before requests are refused
    #[arg(
        long,
        value_name = "N",
        default_value_t = 524_288,
        value_parser = clap::value_parser!(u32).range(1024..)
    )]
    pub queue_tokens: u32,
    /// Most memory of adapters, in MiB; those unused for longest go first
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1024,
        value_parser = clap::value_parser!(u32).range(1..=1 << 24)
    )]
    pub adapter_memory_mib: u32,
    /// Seconds that a client may take to send a body, or to take more of an answer
    #[arg(
        long,
        value_name = "N",
        default_value_t = 30,
        value_parser = clap::value_parser!(u32).range(1..=3600)
    )]
    pub client_seconds: u32,
    /// Seconds for requests that are under way once the server is told to end
    #[arg(
        long,
        value_name = "N",
        default_value_t = 30,
        value_parser = clap::value_parser!(u32).range(..=3600)
    )]
    pub end_seconds: u32,
    /// Print the HTTP contract as OpenAPI and end
    #[arg(long)]
    pub openapi: bool,
}

/// Arithmetic of a server's matrix products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ServePrecisionArg {
    /// bf16 where the processor has instructions for it, f32 elsewhere
    Auto,
    /// f32
    F32,
    /// bf16 products with f32 sums
    Bf16,
    /// Products of 8-bit whole numbers: the fastest, and the least exact
    Int8,
}

impl ServePrecisionArg {
    /// What is chosen.
    pub(crate) fn choice(self) -> ServePrecision {
        match self {
            Self::Auto => ServePrecision::Trainable(PrecisionChoice::Auto),
            Self::F32 => ServePrecision::Trainable(PrecisionChoice::F32),
            Self::Bf16 => ServePrecision::Trainable(PrecisionChoice::Bf16),
            Self::Int8 => ServePrecision::Int8,
        }
    }
}

fn named_folder(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, folder)) if !name.is_empty() && !folder.is_empty() => {
            Ok((name.to_owned(), folder.into()))
        }
        _ => Err("it must be NAME=FOLDER".to_owned()),
    }
}
