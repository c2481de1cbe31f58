//! Arguments of `job`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use cotenant_types::{Bytes, ParseBytesError, TenantName};

use super::pool::PoolArgs;

/// Arguments of `job`.
#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    /// What to do
    #[command(subcommand)]
    pub command: JobCommand,
    #[command(flatten)]
    pub pool: PoolArgs,
}

/// The commands of `job`.
#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// Submit a job, from a file or from flags
    ///
    ///   cotenant job submit --memory 6GiB --compute 30% -- python train.py
    ///   cotenant job submit job.toml --priority 5 --wait
    ///
    /// A job file has the same keys as the flags, and flags go before what it says:
    ///
    ///   command = ["python", "train.py"]
    ///   tenant = "law"
    ///   memory = "6GiB"
    ///   compute = "30%"
    ///   models = ["H100"]
    ///   env = { HF_HUB_OFFLINE = "1" }
    ///   preempt = { signal = "SIGTERM", grace_s = 60 }
    ///   idle = { after_s = 600, notice_s = 60 }
    ///
    /// In place of a command it may have `train = "workspace.toml"`, whose tenants are trained fused.
    /// Its relative paths are meant from its own folder. Amounts are for each card and member; a job
    /// without any has whole cards.
    #[command(verbatim_doc_comment)]
    Submit(Box<SubmitArgs>),
    /// List jobs, the newest first
    List(JobListArgs),
    /// Show all that is known of a job
    Show {
        #[command(flatten)]
        job: OneJob,
    },
    /// Print what a job printed
    ///
    /// The bytes are the job's own and reach stdout as they are.
    ///
    ///   cotenant job logs -f 17
    #[command(verbatim_doc_comment)]
    Logs(LogsArgs),
    /// End jobs; one that has ended stays as it is
    Cancel {
        /// The jobs' numbers
        #[arg(value_name = "ID", required = true, value_parser = clap::value_parser!(u64).range(1..))]
        jobs: Vec<u64>,
    },
    /// Say what a job waits for, and what would help
    Explain {
        #[command(flatten)]
        job: OneJob,
    },
    /// Give a running job other amounts
    ///
    ///   cotenant job resize 17 --compute 50%
    #[command(verbatim_doc_comment)]
    Resize(ResizeArgs),
    /// Say how an online job fares, so that its neighbours give back what it lacks
    ///
    /// From inside a job its number need not be given. A report counts for a minute, or until the
    /// next one.
    ///
    ///   cotenant job report 17 --latency-ms 80
    #[command(verbatim_doc_comment)]
    Report(ReportArgs),
}

/// A job that is there already.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct OneJob {
    /// The job's number
    #[arg(value_name = "ID", value_parser = clap::value_parser!(u64).range(1..))]
    pub id: u64,
}

/// Arguments of `job submit`.
#[derive(Debug, Default, Args)]
pub(crate) struct SubmitArgs {
    /// A job file
    #[arg(value_name = "JOB.toml", required_unless_present = "program")]
    pub file: Option<PathBuf>,
    /// The program to run and its arguments, in place of the file's
    #[arg(last = true, value_name = "PROGRAM")]
    pub program: Vec<String>,
    /// Who pays for it; the token's tenant if not given
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<TenantName>,
    /// What people call it; the program's name if not given
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    #[command(flatten)]
    pub needs: NeedsArgs,
    #[command(flatten)]
    pub terms: TermsArgs,
    /// A variable of its environment; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub env: Vec<(String, String)>,
    /// Where the program starts; this folder, if the program is given here
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
    /// Wait until it has ended; the exit code is 0 only if it succeeded
    #[arg(long)]
    pub wait: bool,
    /// A key of your own: the same key gives the same job, however often it is submitted
    #[arg(long, value_name = "KEY", value_parser = key)]
    pub key: Option<String>,
}

/// What a job needs of cards.
#[derive(Debug, Default, Args)]
pub(crate) struct NeedsArgs {
    /// Different cards for each member; 1 if not given
    #[arg(long, value_name = "N")]
    pub cards: Option<u32>,
    /// Processes that start together or not at all; 1 if not given
    #[arg(long, value_name = "N")]
    pub members: Option<u32>,
    /// Memory kept for it on each card: 6GiB, 512MiB, 25% of the card, or auto
    ///
    /// auto is what earlier runs of this name took, else what --estimate says, with a tenth to spare.
    /// A job that trains a workspace is estimated here if nothing is given.
    #[arg(long, value_name = "AMOUNT", verbatim_doc_comment)]
    pub memory: Option<String>,
    /// Memory that it is foretold to take on each card, as `cotenant estimate` says
    #[arg(long, value_name = "SIZE")]
    pub estimate: Option<String>,
    /// The most memory it may reach on each card; what is kept, if not given
    #[arg(long, value_name = "AMOUNT")]
    pub memory_limit: Option<String>,
    /// Memory kept for it over all cards of a member, split evenly
    #[arg(long, value_name = "AMOUNT", conflicts_with = "memory")]
    pub memory_total: Option<String>,
    /// Compute kept for it on each card: 30% or 12.5%
    #[arg(long, value_name = "SHARE")]
    pub compute: Option<String>,
    /// The most compute it may reach on each card; by policy, if not given
    #[arg(long, value_name = "SHARE")]
    pub compute_limit: Option<String>,
    /// Compute kept for it over all cards of a member, split evenly: 240% over three is 80%
    #[arg(long, value_name = "SHARE", conflicts_with = "compute")]
    pub compute_total: Option<String>,
    /// What limits mean: fixed, burst or contend; fixed if not given
    #[arg(long, value_name = "POLICY")]
    pub policy: Option<String>,
    /// Which of the cards that fit: binpack (the fullest) or spread; binpack if not given
    #[arg(long, value_name = "PLACE")]
    pub place: Option<String>,
    /// What its cards must share: nvlink, numa or rack
    #[arg(long, value_name = "NEAR")]
    pub same: Option<String>,
    /// What its cards share where there is room for that: nvlink, numa or rack
    #[arg(long, value_name = "NEAR")]
    pub prefer: Option<String>,
    /// A part of the name of a card that will do, such as H100; may be given several times
    #[arg(long, value_name = "MODEL")]
    pub model: Vec<String>,
    /// The weakest enforcement that will do, such as mps
    #[arg(long, value_name = "RUNG")]
    pub enforced_by: Option<String>,
}

/// When a job runs, and when it ends or makes room.
#[derive(Debug, Default, Args)]
pub(crate) struct TermsArgs {
    /// online if somebody waits for its answers, else offline; offline if not given
    #[arg(long, value_name = "CLASS")]
    pub class: Option<String>,
    /// Higher goes first among a tenant's jobs of a class, -1000 to 1000; 0 if not given
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub priority: Option<i32>,
    /// Longest time in seconds that it may run at a stretch
    #[arg(long, value_name = "N")]
    pub time_limit_s: Option<u32>,
    /// Seconds after submission by which it must have ended
    #[arg(long, value_name = "N")]
    pub deadline_s: Option<u32>,
    /// How often it is started again after it failed; 0 if not given
    #[arg(long, value_name = "N")]
    pub retries: Option<u32>,
    /// Let it make room for others: it gets SIGTERM and 30 s, unless the file says otherwise
    #[arg(long)]
    pub preemptible: bool,
    /// Milliseconds that an online job's answers may take before its neighbours give back
    #[arg(long, value_name = "MS")]
    pub latency_mark_ms: Option<u32>,
    /// Use of its compute, such as 90%, above which an online job's neighbours give back
    #[arg(long, value_name = "SHARE")]
    pub usage_mark: Option<String>,
    /// Seconds without work until it is told to go, with 60 s of notice unless the file has its own
    #[arg(long, value_name = "N")]
    pub idle_after_s: Option<u32>,
}

/// Arguments of `job list`.
#[derive(Debug, Args)]
pub(crate) struct JobListArgs {
    /// Jobs of this tenant alone
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<TenantName>,
    /// Jobs in this state alone
    #[arg(
        long,
        value_name = "STATE",
        value_parser = ["queued", "starting", "running", "stopping", "ended"]
    )]
    pub state: Option<String>,
    /// Most jobs to list
    #[arg(
        long,
        value_name = "N",
        default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub limit: u32,
    /// List every job
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
}

/// Arguments of `job logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    pub job: OneJob,
    /// Go on until the job will print no more
    #[arg(long, short)]
    pub follow: bool,
    /// What it wrote to stderr, in place of stdout
    #[arg(long)]
    pub stderr: bool,
    /// Which member of a gang, from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub member: u32,
    /// Begin so many bytes before the end, such as 64KiB
    #[arg(long, value_name = "BYTES", value_parser = tail)]
    pub tail: Option<Bytes>,
}

/// Arguments of `job resize`.
#[derive(Debug, Args)]
pub(crate) struct ResizeArgs {
    #[command(flatten)]
    pub job: OneJob,
    #[command(flatten)]
    pub amounts: ResizeAmounts,
}

/// Arguments of `job report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The job's number
    #[arg(value_name = "ID", env = "COTENANT_JOB", hide_env_values = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub id: u64,
    #[command(flatten)]
    pub load: LoadArgs,
}

/// How a job fares, of which at least one thing is said.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct LoadArgs {
    /// Milliseconds that its answers take
    #[arg(long, value_name = "MS")]
    pub latency_ms: Option<u32>,
    /// The part of the compute kept for it that it uses, such as 85%
    #[arg(long, value_name = "SHARE")]
    pub usage: Option<String>,
}

/// New amounts, of which there is at least one.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct ResizeAmounts {
    /// Memory kept for it on each card
    #[arg(long, value_name = "AMOUNT")]
    pub memory: Option<String>,
    /// The most memory it may reach on each card
    #[arg(long, value_name = "AMOUNT")]
    pub memory_limit: Option<String>,
    /// Compute kept for it on each card
    #[arg(long, value_name = "SHARE")]
    pub compute: Option<String>,
    /// The most compute it may reach on each card
    #[arg(long, value_name = "SHARE")]
    pub compute_limit: Option<String>,
}

/// Reads `NAME=VALUE`.
fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("write it as NAME=VALUE".to_owned()),
    }
}

/// Reads an amount of bytes that is not 0, since what is 0 before the end is nothing.
fn tail(text: &str) -> Result<Bytes, String> {
    let bytes: Bytes = text.parse().map_err(|error: ParseBytesError| error.to_string())?;
    match bytes {
        Bytes(0) => Err("write 1 or more, such as 64KiB".to_owned()),
        Bytes(_) => Ok(bytes),
    }
}

/// Reads a key that HTTP can carry.
fn key(text: &str) -> Result<String, String> {
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if (1..=128).contains(&text.len()) && is_visible {
        return Ok(text.to_owned());
    }
    Err("write 1 to 128 visible ASCII characters".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use crate::args::pool::PoolCommand;
    use crate::args::{Arguments, Command};

    #[test]
    fn the_job_file_of_the_help_is_one() {
        let mut root = Arguments::command();
        let job = root.find_subcommand_mut("job").unwrap();
        let submit = job.find_subcommand_mut("submit").unwrap();
        let help = submit.get_long_about().unwrap().to_string();
        let lines = help.lines().filter_map(|line| line.strip_prefix("  "));
        let file: Vec<&str> = lines.filter(|line| !line.starts_with("cotenant ")).collect();
        assert!(file.len() > 5, "{help}");
        let request = cotenant_api::parse_job(&file.join("\n")).unwrap();
        assert_eq!(request.memory.as_deref(), Some("6GiB"));
        let now = cotenant_types::Moment(0);
        assert!(request.resolve(None, now).is_ok(), "the pool would take it");
    }

    #[test]
    fn the_pool_may_be_named_anywhere() {
        for line in [
            "cotenant job --pool p list",
            "cotenant job list --pool p",
            "cotenant job list --pool=p --all",
        ] {
            let parsed = Arguments::try_parse_from(line.split(' ')).unwrap();
            let Command::Pool(PoolCommand::Job(job)) = parsed.command else { panic!("{line}") };
            assert_eq!(job.pool.pool.as_deref(), Some("p"), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for line in [
            "cotenant job submit",
            "cotenant job submit --env A -- x",
            "cotenant job submit --env =a -- x",
            "cotenant job submit --memory 1GiB --memory-total 2GiB -- x",
            "cotenant job submit --tenant ../law -- x",
            "cotenant job submit --key é -- x",
            "cotenant job show 0",
            "cotenant job logs 17 --tail 0",
            "cotenant job cancel",
            "cotenant job report 17",
            "cotenant job resize 17",
            "cotenant job list --state idle",
            "cotenant job list --limit 3 --all",
            "cotenant tenant token law.",
            "cotenant top --interval-s 0",
        ] {
            let parsed = Arguments::try_parse_from(line.split(' '));
            assert_eq!(parsed.unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
