//! The trainer beside sentence-transformers with peft, each in processes of their own.
//!
//! A contender says `ready` once it is warm, begins when a line comes, trains for a span, says what
//! it did, and holds its memory until another line comes; it ends when nobody is there any more.

use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use cotenant_transformer::Precision;
use serde_json::{Value, json};

use super::super::place::{Place, Stage};
use super::super::report::{Bar, Figure, Rows, say, short};
use super::super::scene::{self, Pairs};
use super::super::work::Speed;
use super::speed;

const SCRIPT: &str = include_str!("../peers.py");
const MODULES: &str = "import torch, sentence_transformers, peft, datasets, accelerate, sys; \
                       sys.exit(0 if torch.cuda.is_available() else 3)";
const SEED: u64 = 18;

/// How many tenants, and how many times the pairs a second at least.
const BARS: [(u64, f64); 3] = [(1, 1.5), (8, 4.0), (32, 4.0)];
/// Memory of fused tenants at most, as a part of that of as many processes.
const MEMORY_MAX: f64 = 0.25;

pub(super) fn run<P: Place>(stage: &Stage<'_, P>, rows: &mut Rows) -> Result<(), String> {
    if let Some(why) = missing(&stage.options.python) {
        for (tenants, _) in BARS {
            rows.cannot(&what(tenants), &why);
        }
        return Ok(());
    }
    let folder = prepare(stage)?;
    let seconds = stage.pick(15, 2);
    for (tenants, factor) in &BARS[..stage.pick(3, 2)] {
        let tenants = *tenants;
        let ours = race(stage, vec![ours(stage, tenants, seconds)?]);
        let theirs = (0..tenants).map(|_| theirs(stage, &folder, seconds)).collect();
        let (ours, theirs) = match (ours, race(stage, theirs)) {
            (Ok(ours), Ok(theirs)) => (ours, theirs),
            (Err(why), _) => return Err(why),
            (_, Err(why)) => {
                rows.cannot(&what(tenants), &format!("the processes did not run: {why}"));
                continue;
            }
        };
        rows.add(Figure {
            what: &what(tenants),
            value: ours.pairs_a_second / theirs.pairs_a_second,
            unit: "times the pairs/s",
            bar: stage.pick(Bar::AtLeast(*factor), Bar::Measured),
            detail: format!(
                "{} pairs/s against {}, {}",
                short(ours.pairs_a_second),
                short(theirs.pairs_a_second),
                sharing()
            ),
        });
        if tenants > 1 {
            let (mine, other) = (ours.memory_bytes as f64, theirs.memory_bytes as f64);
            rows.add(Figure {
                what: &what(tenants),
                value: mine / other,
                unit: "of the memory",
                bar: stage.pick(Bar::AtMost(MEMORY_MAX), Bar::Measured),
                detail: format!("{} MB against {}", short(mine / 1e6), short(other / 1e6)),
            });
        }
    }
    Ok(())
}

fn what(tenants: u64) -> String {
    match tenants {
        1 => "bf16, one tenant against sentence-transformers and peft".to_owned(),
        _ => format!("bf16, {tenants} tenants fused against as many processes"),
    }
}

/// How the driver shares the card between processes.
fn sharing() -> &'static str {
    let named = env::var_os("CUDA_MPS_PIPE_DIRECTORY").map(PathBuf::from);
    let pipes = named.unwrap_or_else(|| env::temp_dir().join("nvidia-mps"));
    if pipes.join("control").exists() { "under MPS" } else { "time-sliced" }
}

/// Why there is nothing to compare with, in one line.
fn missing(python: &str) -> Option<String> {
    match Command::new(python).args(["-c", MODULES]).output() {
        Err(error) => Some(format!("{python} does not start: {error}")),
        Ok(output) if output.status.success() => None,
        Ok(output) if output.status.code() == Some(3) => {
            Some(format!("the torch of {python} sees no card"))
        }
        Ok(output) => {
            let talk = String::from_utf8_lossy(&output.stderr).into_owned();
            let last = talk.lines().last().unwrap_or("it said nothing");
            Some(format!("{python} lacks a module: {last}"))
        }
    }
}

/// Writes the script and what it trains on: a shape, and pairs of texts as token ids.
fn prepare<P: Place>(stage: &Stage<'_, P>) -> Result<PathBuf, String> {
    let folder = stage.options.out.join("peers");
    let (config, lora) = (stage.shape(), scene::lora(0));
    let pairs = Pairs::new(2048, config.vocab, SEED);
    let shape = json!({
        "hidden": config.hidden, "layers": config.layers, "heads": config.heads,
        "intermediate": config.intermediate, "vocab": config.vocab,
        "positions": config.positions, "rank": lora.rank, "batch": 32,
    });
    let lines = pairs.texts().chunks(2).map(|pair| json!([&pair[0][..], &pair[1][..]]).to_string());
    let lines = lines.collect::<Vec<_>>().join("\n") + "\n";
    let failed = |error: io::Error| format!("use {}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(failed)?;
    let shape = shape.to_string();
    let files = [("peers.py", SCRIPT), ("shape.json", &shape), ("pairs.jsonl", &lines)];
    for (name, content) in files {
        fs::write(folder.join(name), content).map_err(failed)?;
    }
    Ok(folder)
}

fn ours<P: Place>(stage: &Stage<'_, P>, tenants: u64, seconds: u64) -> Result<Command, String> {
    let mut command = Command::new(env::current_exe().map_err(|error| error.to_string())?);
    let arguments = ["contend".to_owned(), tenants.to_string(), seconds.to_string()];
    command.args(arguments).args(&stage.options.given);
    Ok(command)
}

fn theirs<P: Place>(stage: &Stage<'_, P>, folder: &Path, seconds: u64) -> Command {
    let mut command = Command::new(&stage.options.python);
    command.arg(folder.join("peers.py")).arg(folder).arg(seconds.to_string());
    command
}

/// What a group of contenders did together.
struct Done {
    pairs_a_second: f64,
    /// Of the card, contexts included.
    memory_bytes: u64,
}

/// Runs contenders at the same time.
fn race<P: Place>(stage: &Stage<'_, P>, commands: Vec<Command>) -> Result<Done, String> {
    let look = || stage.place.open(Precision::Bf16).map_err(|fault| fault.to_string());
    // It stays open, so that what it needs itself is in both figures.
    let (_open, before) = look()?;
    let started: Result<Vec<Contender>, String> =
        commands.into_iter().map(Contender::start).collect();
    let mut contenders = started?;
    contenders.iter_mut().try_for_each(Contender::wait_ready)?;
    contenders.iter_mut().try_for_each(Contender::go)?;
    let rates: Result<Vec<f64>, String> = contenders.iter_mut().map(Contender::result).collect();
    let memory_bytes = before.free_bytes.saturating_sub(look()?.1.free_bytes);
    contenders.iter_mut().try_for_each(Contender::go)?;
    Ok(Done { pairs_a_second: rates?.iter().sum(), memory_bytes })
}

/// A process that trains.
struct Contender {
    child: Child,
    told: ChildStdin,
    says: BufReader<ChildStdout>,
}

impl Contender {
    fn start(mut command: Command) -> Result<Self, String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let told = child.stdin.take().expect("it is piped");
        let says = BufReader::new(child.stdout.take().expect("it is piped"));
        Ok(Self { child, told, says })
    }

    /// Reads lines until one is as wanted.
    fn hear<T>(&mut self, wanted: impl Fn(&str) -> Option<T>) -> Result<T, String> {
        let mut line = String::new();
        while self.says.read_line(&mut line).map_err(|error| error.to_string())? > 0 {
            if let Some(found) = wanted(line.trim()) {
                return Ok(found);
            }
            line.clear();
        }
        Err("a process ended early; the check's .talk file has its words".to_owned())
    }

    fn wait_ready(&mut self) -> Result<(), String> {
        self.hear(|line| (line == "ready").then_some(()))
    }

    fn go(&mut self) -> Result<(), String> {
        writeln!(self.told).map_err(|error| format!("tell a process to go on: {error}"))
    }

    /// Pairs a second.
    fn result(&mut self) -> Result<f64, String> {
        self.hear(|line| serde_json::from_str::<Value>(line).ok()?["pairs_a_second"].as_f64())
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // One that has ended cannot be ended again, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The trainer as a contender.
pub(crate) fn contend<P: Place>(
    stage: &Stage<'_, P>,
    tenants: u64,
    seconds: u64,
) -> Result<(), String> {
    let wait = || match io::stdin().lock().read_line(&mut String::new()) {
        Ok(1..) => Ok(()),
        Ok(0) => Err("nobody waits for this any more".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    let go = || {
        println!("ready");
        wait()
    };
    let done = |speed: &Speed| {
        say(&json!({ "pairs_a_second": speed.rate(|now| now.pairs) }));
        wait()
    };
    speed::contend(stage, (tenants, Duration::from_secs(seconds)), go, done)
}
