//! Arguments of `advise`.

use std::path::PathBuf;

use clap::Args;
use cotenant_device::CardsSpec;

/// Arguments of `advise`.
#[derive(Debug, Args)]
pub(crate) struct AdviseArgs {
    /// The file with the jobs
    #[arg(value_name = "JOBS.toml")]
    pub jobs: PathBuf,
    /// Cards like those that are thought of: auto, nvidia, cpu, sim:8xH100 (8 in a node) or sim:FILE
    #[arg(long, default_value = "auto")]
    pub cards: CardsSpec,
}
