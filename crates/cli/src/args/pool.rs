//! Arguments of the commands that ask a pool.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use cotenant_daemon::{CardsSpec, MetricNames, PoolPolicy};
use cotenant_types::TenantName;

use super::job::JobArgs;

/// The commands that ask a pool.
#[derive(Debug, Subcommand)]
pub(crate) enum PoolCommand {
    /// Start the pool of this machine's cards
    ///
    /// Finds the cards, takes jobs over HTTP and from `cotenant job submit`, places them on slices,
    /// runs them, and shows all that on a dashboard, whose address it prints. Everything is kept in
    /// one folder. On Ctrl-C the daemon ends; jobs that run go on, and the next one takes them over.
    #[command(verbatim_doc_comment)]
    Up(UpArgs),
    /// List the pool's cards, what is kept of them and what is used
    ///
    /// Memory is shown as used / kept for jobs / in all. A large pool is shown by machine; --all and
    /// --json show each card.
    #[command(verbatim_doc_comment)]
    Devices(DevicesArgs),
    /// Submit, watch and end jobs of the pool
    Job(JobArgs),
    /// List the pool's machines, and keep new jobs away from one or let them come
    Node(NodeArgs),
    /// Add tenants, change what they may have, make their tokens
    Tenant(TenantArgs),
    /// Watch the pool's cards, their slices and who uses them
    ///
    /// Below each card stand its slices: whose each is, what is used of the compute and memory that
    /// it has, and what holds the job to it.
    ///
    /// Draws the pool again and again until Ctrl-C. Where stdout is no terminal it prints one frame
    /// and ends, unless --interval-s asks for more. With --json each frame is an object on one line.
    #[command(verbatim_doc_comment)]
    Top(TopArgs),
    /// End the pool's daemon; jobs that run go on
    Down(DownArgs),
}

/// Where the pool is.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PoolArgs {
    /// Where the pool is, such as http://127.0.0.1:7777
    ///
    /// If not given: what COTENANT_POOL says; else the address that a pool on this machine left in
    /// its state folder (COTENANT_STATE, else cotenant in XDG_STATE_HOME or ~/.local/state); else
    /// http://127.0.0.1:7777. A token for the pool is taken from COTENANT_TOKEN.
    #[arg(long, global = true, value_name = "ADDRESS", verbatim_doc_comment)]
    pub pool: Option<String>,
}

/// Arguments of `up`.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Cards: auto, nvidia, cpu, sim:8xH100 (8 simulated cards), sim:4x8xH100 (on 4 nodes) or sim:FILE
    #[arg(long, default_value = "auto")]
    pub cards: CardsSpec,
    /// Where to listen; an address that other machines can reach needs an operator token first
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7777")]
    pub listen: SocketAddr,
    /// Where everything is kept
    ///
    /// If not given: COTENANT_STATE, else cotenant in XDG_STATE_HOME or ~/.local/state.
    #[arg(long, value_name = "FOLDER", verbatim_doc_comment)]
    pub state: Option<PathBuf>,
    /// Where jobs go among cards that have room: bid-price, fgd, best-fit or least-left
    ///
    /// bid-price takes what is worth least to jobs like those of the last 14 days; fgd leaves them the
    /// least that they cannot use; best-fit fills nodes, least-left cards. Without such jobs the first
    /// two do what least-left does. It holds until the daemon ends.
    #[arg(long, value_name = "POLICY", default_value = "bid-price", verbatim_doc_comment)]
    pub policy: PoolPolicy,
    /// Let the pool change settings of cards: their compute mode, and their partitions of MIG
    ///
    /// Without it they stay as they are: MPS serves cards in the mode they are in, and of a card in
    /// MIG mode those partitions are used that are there. With it partitions are made where jobs need
    /// them and destroyed when they have ended; what others made stays. Needs root. MIG mode itself is
    /// never switched.
    #[arg(long, verbatim_doc_comment)]
    pub change_card_settings: bool,
    /// Days after a job's end for which what it printed and left in its folder are kept
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub keep_runs_days: u32,
    /// What becomes of a program that the preload library is to hold and cannot: refuse or run
    ///
    /// Refused, its calls to the card fail; it runs without limits otherwise, and that is counted.
    /// It holds for jobs that start from now on.
    #[arg(long, value_name = "WHAT", default_value = "refuse", verbatim_doc_comment)]
    pub unheld: Unheld,
    /// Show figures under names of other programs too: dcgm (DCGM_FI_*), hami (hami_*), or both
    ///
    /// Dashboards made for dcgm-exporter or HAMi then show this pool. It holds until the daemon ends.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', verbatim_doc_comment)]
    pub metrics_names: Vec<MetricNames>,
}

/// What becomes of a program that cannot be held to its slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unheld {
    /// It does not run.
    Refuse,
    /// It runs without limits.
    Run,
}

/// Arguments of `devices`.
#[derive(Debug, Args)]
pub(crate) struct DevicesArgs {
    /// Show each card, however many there are
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub pool: PoolArgs,
}

/// Arguments of `top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Print one frame and end
    #[arg(long)]
    pub once: bool,
    /// Seconds between frames; 1 if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub interval_s: Option<u32>,
    #[command(flatten)]
    pub pool: PoolArgs,
}

/// Arguments of `down`.
#[derive(Debug, Args)]
pub(crate) struct DownArgs {
    #[command(flatten)]
    pub pool: PoolArgs,
}

/// Arguments of `node`.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// What to do
    #[command(subcommand)]
    pub command: NodeCommand,
    #[command(flatten)]
    pub pool: PoolArgs,
}

/// The commands of `node`.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List machines, their cards and their jobs
    List,
    /// Keep new jobs away from a machine; those that run there go on
    ///
    ///   cotenant node drain gpu-7
    #[command(verbatim_doc_comment)]
    Drain {
        /// The machine
        #[arg(value_name = "NODE")]
        name: String,
    },
    /// Let new jobs come to a machine again
    Resume {
        /// The machine
        #[arg(value_name = "NODE")]
        name: String,
    },
}

/// Arguments of `tenant`.
#[derive(Debug, Args)]
pub(crate) struct TenantArgs {
    /// What to do
    #[command(subcommand)]
    pub command: TenantCommand,
    #[command(flatten)]
    pub pool: PoolArgs,
}

/// The commands of `tenant`.
#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// Add a tenant
    ///
    ///   cotenant tenant add law --weight 2 --guaranteed-compute 250% --guaranteed-memory 40GiB
    #[command(verbatim_doc_comment)]
    Add {
        /// Its name: a-z, 0-9, '-' and '_'
        #[arg(value_name = "NAME")]
        name: TenantName,
        #[command(flatten)]
        quota: QuotaArgs,
    },
    /// List tenants, what they may have and what they have
    List,
    /// Change what a tenant may have, or show it
    ///
    /// What is not given stays as it is; without any flag the quota is only shown.
    ///
    ///   cotenant tenant quota law --limit-compute 400% --limit-memory none
    #[command(verbatim_doc_comment)]
    Quota {
        /// Whose quota
        #[arg(value_name = "NAME")]
        name: TenantName,
        #[command(flatten)]
        changes: ChangeArgs,
    },
    /// Make a token for a tenant; those it had stop working
    ///
    /// Prints the token alone, so that it can be kept in a variable:
    ///
    ///   cotenant tenant token law
    #[command(verbatim_doc_comment)]
    Token {
        /// Whose token
        #[arg(value_name = "NAME")]
        name: TenantName,
    },
}

/// What a tenant may have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct QuotaArgs {
    /// The tenant whose share it lives on
    #[arg(long, value_name = "TENANT")]
    pub parent: Option<TenantName>,
    /// Its part among those with the same parent; 1 for a new tenant
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub weight: Option<u32>,
    /// Compute that it has first, in cards: 250% is two and a half
    #[arg(long, value_name = "SHARE")]
    pub guaranteed_compute: Option<String>,
    /// Memory of cards that it has first, such as 40GiB
    #[arg(long, value_name = "SIZE")]
    pub guaranteed_memory: Option<String>,
    /// The most compute it may hold at a time, or none for no limit
    #[arg(long, value_name = "SHARE")]
    pub limit_compute: Option<String>,
    /// The most memory of cards it may hold at a time, or none for no limit
    #[arg(long, value_name = "SIZE")]
    pub limit_memory: Option<String>,
}

/// What changes of a tenant that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct ChangeArgs {
    #[command(flatten)]
    pub quota: QuotaArgs,
    /// Let it live on a share of its own, below no other tenant
    #[arg(long, conflicts_with = "parent")]
    pub no_parent: bool,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use crate::args::Arguments;

    /// The lines of every help text that are examples of a command.
    fn examples(command: &clap::Command) -> Vec<String> {
        let help = command.get_long_about().map(ToString::to_string).unwrap_or_default();
        let lines = help.lines().filter_map(|line| line.strip_prefix("  "));
        let mut found: Vec<String> =
            lines.filter(|line| line.starts_with("cotenant ")).map(str::to_owned).collect();
        found.extend(command.get_subcommands().flat_map(examples));
        found
    }

    #[test]
    fn every_example_of_the_help_is_a_command() {
        let examples = examples(&Arguments::command());
        assert!(examples.len() >= 5, "{examples:?}");
        for example in examples {
            // What stands in quotes is one word.
            let words = example.split('"').enumerate().flat_map(|(at, part)| match at % 2 {
                0 => part.split_whitespace().collect::<Vec<_>>(),
                _ => vec![part],
            });
            let parsed = Arguments::try_parse_from(words);
            assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn the_commands_hang_together() {
        Arguments::command().debug_assert();
    }
}
