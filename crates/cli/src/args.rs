//! Every command and flag, once: help and the reference in `docs/cli.md` come from here.

pub(crate) mod advise;
pub(crate) mod doctor;
pub(crate) mod eval;
pub(crate) mod index;
pub(crate) mod job;
pub(crate) mod pool;
pub(crate) mod serve;
pub(crate) mod simulate;
pub(crate) mod sizing;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use cotenant_rag::workspace::{DeviceChoice, PrecisionChoice};

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
    /// which --resume goes on with the same result; before training has begun, it keeps what it
    /// embedded, and the same command goes on.
    ///
    /// Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 a tenant's training failed while others
    /// finished, 130 stopped by a signal. A tenant without training examples is measured and stays
    /// zero-shot.
    #[command(verbatim_doc_comment)]
    Train(TrainArgs),
    /// Predict the memory and time of a workspace
    Estimate(EstimateArgs),
    /// Measure retrieval or answers, and say whether a difference is more than luck
    ///
    /// Given data, measures a base model, with or without an adapter.
    ///
    ///   cotenant eval data/scifact --adapter runs/demo/tenants/science/adapter
    ///
    /// With --stages, measures what each stage of retrieval buys: words, codes, vectors, both, and
    /// what is spent as needed while 99 % of full depth's quality is kept.
    ///
    ///   cotenant eval data/scifact --stages --html stages.html
    ///
    /// Given TREC runs of any program and judgments, measures those; the second of two is compared
    /// with the first query by query.
    ///
    ///   cotenant eval --run old.run --run new.run --qrels qrels.txt
    ///
    /// With --draw, lists the queries to judge if nobody has judged them: those on which the runs
    /// disagree are drawn more often. Once they are judged, the same command with --qrels estimates
    /// the difference over all queries from those, without bias.
    ///
    ///   cotenant eval --run old.run --run new.run --draw 100
    ///   cotenant eval --run old.run --run new.run --draw 100 --qrels judged.txt
    ///
    /// Given answers, one {"reference": "…", "answer": "…"} a line, measures ROUGE, BLEU and METEOR.
    ///
    ///   cotenant eval --answers old.jsonl --answers new.jsonl
    #[command(verbatim_doc_comment)]
    Eval(eval::EvalArgs),
    /// Search a tenant's passages with its adapter
    Search(SearchArgs),
    /// Serve a base model and the adapters of many tenants over HTTP
    ///
    ///   cotenant serve workspace.toml
    ///   cotenant serve --model all-MiniLM-L6-v2 --adapter law=runs/law/tenants/law/adapter
    ///
    /// One forward answers texts of many tenants. Speaks OpenAI's /v1/embeddings, whose model is the
    /// name of an adapter, /v1/models, the routes of text-embeddings-inference (/embed, /similarity,
    /// /rerank, /tokenize, /info, /health, /metrics), vLLM's loading and unloading of adapters, and,
    /// with --index, /v1/documents and /v1/search. GET /openapi.json says all of it.
    ///
    /// Adapters are read when they are asked for, and stay in memory while there is room. Without
    /// --tokens whoever is on this machine may ask for everything. On Ctrl-C or SIGTERM it takes no
    /// more requests, answers those under way and ends.
    #[command(verbatim_doc_comment)]
    Serve(serve::ServeArgs),
    /// Write a tenant's adapter, or the merged model, for other programs
    Export(ExportArgs),
    /// Keep documents in an index on disk, and search them by vectors and words
    ///
    /// An index is a folder; in it, each tenant has a namespace with its documents, their full text
    /// and, unless it is for texts alone, their vectors. What a command has written survives a crash.
    /// One process uses an index at a time.
    ///
    ///   cotenant index create docs.index --dimensions 384
    ///   cotenant index add docs.index corpus.jsonl --model all-MiniLM-L6-v2
    ///   cotenant index search docs.index "how do ships turn" --model all-MiniLM-L6-v2
    #[command(verbatim_doc_comment)]
    Index(index::IndexArgs),
    /// Fetch and list base models
    Model(ModelArgs),
    /// Say which way of sharing suits which job, and how many cards a set of jobs needs
    ///
    /// No pool has to be there. For each job of the file it says what each way to share these cards
    /// would keep for it, and which one suits it and why; for all of them together, how many cards
    /// are enough with and without sharing, and what runs with what.
    ///
    ///   cotenant advise jobs.toml --cards sim:8xH100
    ///
    /// The file has a table [[job]] for each, with the keys of a job file and some more, of which
    /// those of time are for `simulate`:
    ///
    ///   [[job]]
    ///   name = "search"        # what it runs need not be said
    ///   class = "online"
    ///   memory = "22GiB"
    ///   compute = "30%"
    ///   copies = 4             # so many like it run at a time
    ///   busy = "40%"           # how much of its time it computes
    ///   trusted = false        # it may try to reach what is not its own
    #[command(verbatim_doc_comment)]
    Advise(advise::AdviseArgs),
    /// Replay a trace of a cluster and compare policies, or find how many cards jobs need
    ///
    /// The jobs of a trace arrive one by one, in an order of each seed, until they want 130 % of the
    /// cluster's cards; a policy finds each a place, where it stays, or it is gone. What is compared
    /// is how much of the cards' compute is in use when so much has been asked for.
    ///
    ///   cotenant simulate --nodes nodes.csv --pods pods.csv --policy fgd,bid-price --html page.html
    ///
    /// Tables are those of the openb traces (Alibaba, 2023). With the published order of arrival, seeds
    /// 42..51 are those of the experiment that was published with them.
    ///
    /// With --jobs, jobs come and go by chance, the pool's own decisions are made in virtual time, and
    /// the fewest cards are found on which jobs wait no longer than wished, with sharing and without:
    ///
    ///   cotenant simulate --jobs jobs.toml --cards sim:8xH100 --target-wait 5m --price 2.49
    ///
    /// The file is that of `advise`, with keys that say when jobs come and how long they run:
    ///
    ///   [[job]]
    ///   name = "tune"
    ///   memory = "12GiB"
    ///   compute = "20%"
    ///   copies = 3             # so many send such jobs
    ///   every_s = 600          # the mean time between two of each; without it, one job each
    ///   runs_s = 3600          # how long a job runs on average; without it, for ever
    ///   runs_vary = false      # all run equally long
    ///   start_s = 7200         # when they begin
    #[command(verbatim_doc_comment)]
    Simulate(simulate::SimulateArgs),
    /// Run a program and say why its card idles
    ///
    ///   cotenant doctor -- python3 train.py
    ///
    /// Watches the program and all that it starts, from outside and through the preload library, and
    /// says at its end what kept the card from working: slow loaders, small files, storage, copies,
    /// tiny kernels, waits, checkpoints, logs, batches that are too small; each with its share of the
    /// time and what to change. A program without a card is told why it does not compute. One that is
    /// well is told nothing.
    ///
    /// The program does what it would do anyway, and this command ends with its exit code, or 128 and
    /// the signal that killed it. The report follows what it prints; with --json, that goes to stderr.
    #[command(verbatim_doc_comment)]
    Doctor(doctor::DoctorArgs),
    #[command(flatten)]
    Pool(pool::PoolCommand),
    /// What the daemon starts for a job
    #[command(subcommand, hide = true)]
    Internal(InternalCommand),
}

/// The processes of a job that are the pool's own.
#[derive(Debug, Subcommand)]
pub(crate) enum InternalCommand {
    /// Run the job of a folder until it has ended
    Supervise {
        /// The run's folder.
        folder: PathBuf,
    },
    /// Become the program of a member
    Member {
        /// The run's folder.
        folder: PathBuf,
        /// The member.
        number: u32,
        /// The supervisor's process id.
        supervisor: u32,
    },
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

impl PrecisionArg {
    /// What is chosen.
    pub(crate) fn choice(self) -> PrecisionChoice {
        match self {
            Self::Auto => PrecisionChoice::Auto,
            Self::F32 => PrecisionChoice::F32,
            Self::Bf16 => PrecisionChoice::Bf16,
        }
    }
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
    /// What adapters are trained on; as the workspace says if not given
    #[arg(long, value_enum)]
    pub device: Option<DeviceArg>,
    #[command(flatten)]
    pub machine: MachineArgs,
}

/// What adapters are trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeviceArg {
    /// the processor
    Cpu,
    /// the first NVIDIA card that the process sees
    Cuda,
}

impl DeviceArg {
    /// What is chosen.
    pub(crate) fn choice(self) -> DeviceChoice {
        match self {
            Self::Cpu => DeviceChoice::Cpu,
            Self::Cuda => DeviceChoice::Cuda,
        }
    }
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

#[cfg(test)]
mod tests {
    use std::process::Command as Process;

    use cotenant_rag::report::{RunReport, render};
    use serde_json::{Value, json};

    use super::*;

    /// A report of one tenant, with names that a shell would take apart.
    fn report(run: &str, base: &str) -> RunReport {
        let scores = json!({ "ndcg10": 0.5, "recall10": 0.5, "mrr10": 0.5 });
        let apart = json!({
            "wall_s": 1.0, "peak_rss_mib_each": [1.0], "peak_rss_mib_together": 1.0, "tenants": 1,
        });
        let tenant = json!({
            "name": "science", "documents": 9, "queries_test": 9, "pairs": 9, "steps": 9,
            "loss": [], "dev_ndcg10": [], "before": scores, "after": scores,
            "difference": { "mean": 0.0, "low": 0.0, "high": 0.0, "p_value": 1.0 },
            "adapter": { "folder": format!("{run}/a"), "bytes": 4, "parameters": 1 },
            "best_step": Value::Null, "ended": "every step was taken",
            "examples": [{
                "query": "what's `it` for?", "before_title": "", "after_title": "",
                "relevant_title": "", "before_rank": 1, "after_rank": 2,
            }],
        });
        let cost = json!({
            "wall_s": 1.0, "cpu_s": 1.0, "peak_rss_mib": 1.0, "tokens": 1, "pairs_per_s": 1.0,
            "data_stall_pct": 0.0, "phases": [], "memory": [], "predicted_peak_mib": 1.0,
        });
        serde_json::from_value(json!({
            "title": "a run", "run": run, "base": base, "precision": "f32", "threads": 1,
            "machine": "one", "date": "today", "tenants": [tenant], "cost": cost,
            "apart": { "estimated": apart, "measured": Value::Null },
        }))
        .unwrap()
    }

    /// The command lines of a page, as a person would copy them.
    fn commands(page: &str) -> Vec<String> {
        let blocks = page.split("<code>").skip(1).filter_map(|rest| rest.split_once("</code>"));
        let text = blocks.flat_map(|(block, _)| block.lines()).map(|line| {
            let line = line.replace("&quot;", "\"").replace("&#39;", "'");
            line.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        });
        text.filter(|line| line.starts_with("cotenant ")).collect()
    }

    /// What a shell hands to the program.
    fn words(command: &str) -> Vec<String> {
        let script = format!("printf '%s\\0' {command}");
        let output = Process::new("sh").args(["-c", &script]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    #[test]
    fn every_command_that_a_report_suggests_is_one() {
        for run in ["runs/demo", "my runs/it's; $HOME"] {
            let page = render(&report(run, "all-MiniLM-L6-v2"));
            let commands = commands(&page);
            let mut kinds = Vec::new();
            for command in &commands {
                let parsed = Arguments::try_parse_from(words(command));
                let parsed = parsed.unwrap_or_else(|error| panic!("{command}: {error}"));
                kinds.push(match parsed.command {
                    Command::Search(search) => {
                        assert_eq!((search.run, &*search.tenant), (run.into(), "science"));
                        assert_eq!(search.query, "what's `it` for?");
                        "search"
                    }
                    Command::Eval(eval) => {
                        assert_eq!(eval.adapter, Some(PathBuf::from(run).join("a")));
                        "eval"
                    }
                    Command::Export(export) => {
                        assert_eq!(export.run, PathBuf::from(run));
                        "export"
                    }
                    Command::Demo(_) | Command::Train(_) | Command::Estimate(_) => "other",
                    Command::Model(_)
                    | Command::Advise(_)
                    | Command::Doctor(_)
                    | Command::Index(_)
                    | Command::Serve(_)
                    | Command::Simulate(_)
                    | Command::Pool(_)
                    | Command::Internal(_) => "neither of them",
                });
            }
            assert_eq!(kinds, ["search", "eval", "export", "export"], "{commands:?}");
        }
    }
}
