//! Training one LoRA tenant: Cotenant beside torch and peft, on the same batches, run in turn.
//!
//! Every contender embeds the same texts, computes the same loss and takes the same steps: rank 8
//! on query and value, 32 pairs of at most 128 tokens, AdamW, dropout off. `golden/bench_peer.py`
//! writes the batches as token ids once, so that no contender's clock holds tokenising.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::bench::contender::{Contender, Precision, System};
use crate::bench::fused;
use crate::bench::machine;
use crate::bench::options::Options;
use crate::bench::table::{self, Runs};
use crate::command;
use crate::project::Project;
use crate::python;

const PEER: &str = "golden/bench_peer.py";

/// The trainer on given batches, an example of its crate.
const PROGRAM: &str = "train_speed";

/// What every contender is given.
struct Work {
    data: PathBuf,
    model: PathBuf,
    /// Token ids of every step, from the Python side.
    batches: PathBuf,
    /// The release build of our program.
    program: PathBuf,
    /// An interpreter with torch and peft.
    python: OsString,
    steps: usize,
}

/// Prepares the work, runs every contender in every round, and prints what came of it.
pub(super) fn run(project: &Project, options: &Options) -> Result<(), String> {
    if options.makes_venv {
        python::make(project)?;
    }
    let work = prepare(project, options)?;
    println!("machine: {}", machine::describe());
    for threads in &options.threads {
        let contenders = contenders(&work, &options.only, *threads);
        println!("{}", table::report(*threads, &measure(project, &contenders, options.rounds)));
    }
    if options.only.is_empty() {
        let precisions = [Precision::F32, Precision::Bf16];
        for precision in precisions {
            let commands = fused::Commands {
                ours: ours(&work, precision, 1),
                torch: theirs(&work, "padded", precision, 1),
            };
            println!("{}", fused::report(project, &commands, precision.name(), options.rounds)?);
        }
    }
    Ok(())
}

/// Builds the program and writes the batches.
fn prepare(project: &Project, options: &Options) -> Result<Work, String> {
    let python = python::with_packages(project)
        .ok_or("torch and peft are not installed\nhint: --venv installs them in golden/venv")?;
    let data = options.data.clone().unwrap_or_else(|| default_data(project));
    if !data.join("corpus.jsonl").is_file() {
        let folder = data.display();
        return Err(format!("no BEIR data in {folder}\nhint: name a folder with --data FOLDER"));
    }
    let model = match &options.model {
        Some(model) => model.clone(),
        None => python::model_folder(project)?,
    };
    // Someone who only wants the other side's numbers need not wait for our build.
    if chosen(&options.only).any(|system| matches!(system, System::Cotenant(_))) {
        let build = ["build", "--quiet", "--release", "--package", "cotenant-train", "--example"];
        command::run(project.cargo().args(build).arg(PROGRAM))?;
    }
    let target = target_folder()?;
    let work = Work {
        data,
        model,
        batches: target.join("bench-batches.json"),
        program: target.join("release/examples").join(PROGRAM),
        python: python.get_program().to_owned(),
        steps: options.steps,
    };
    let peer = peer(&work);
    let mut dump = project.program(&peer[0]);
    dump.args(&peer[1..]).args(["--dump-only", "--dump-batches"]).arg(&work.batches);
    command::run(&mut dump)?;
    Ok(work)
}

/// The systems that take part, in the order in which they run.
fn contenders(work: &Work, only: &str, threads: usize) -> Vec<Contender> {
    let command = |system| match system {
        System::Cotenant(precision) => ours(work, precision, threads),
        System::Padded(precision) => theirs(work, "padded", precision, threads),
        System::Bucketed(precision) => theirs(work, "bucketed", precision, threads),
    };
    chosen(only).map(|system| Contender { system, command: command(system) }).collect()
}

fn chosen(only: &str) -> impl Iterator<Item = System> {
    System::ALL.into_iter().filter(move |system| system.to_string().contains(only))
}

/// Our program on the batches that the other side wrote.
fn ours(work: &Work, precision: Precision, threads: usize) -> Vec<OsString> {
    let mut command = vec![work.program.clone().into()];
    command.extend(["--model".into(), work.model.clone().into()]);
    command.extend(["--batches".into(), work.batches.clone().into()]);
    command.extend(["--precision", precision.name(), "--threads"].map(OsString::from));
    command.push(threads.to_string().into());
    command
}

fn theirs(work: &Work, mode: &str, precision: Precision, threads: usize) -> Vec<OsString> {
    let mut command = peer(work);
    command.extend(["--mode", mode, "--dtype", precision.name(), "--threads"].map(OsString::from));
    command.push(threads.to_string().into());
    command
}

/// The Python side on its data, before it is told how to run.
fn peer(work: &Work) -> Vec<OsString> {
    let mut command = vec![work.python.clone(), PEER.into()];
    command.extend(["--data".into(), work.data.clone().into()]);
    command.extend(["--model".into(), work.model.clone().into()]);
    command.extend(["--steps".into(), work.steps.to_string().into()]);
    command
}

/// Runs every contender once a round, so that a slow minute of the machine meets all of them.
fn measure(project: &Project, contenders: &[Contender], rounds: usize) -> Vec<Runs> {
    let empty = |contender: &Contender| Runs { system: contender.system, rounds: Vec::new() };
    let mut all: Vec<Runs> = contenders.iter().map(empty).collect();
    for round in 1..=rounds {
        for (contender, runs) in contenders.iter().zip(&mut all) {
            let sample = contender.run(project);
            match &sample {
                Ok(sample) => eprintln!(
                    "round {round}: {} {:.1} pairs per CPU s",
                    contender.system, sample.pairs_per_cpu_s
                ),
                // A processor without bf16 still measures f32.
                Err(reason) => eprintln!("round {round}: {} failed: {reason}", contender.system),
            }
            runs.rounds.push(sample.ok());
        }
    }
    all
}

/// The folder that cargo builds into: ours is its `debug` or `release`.
pub(super) fn target_folder() -> Result<PathBuf, String> {
    let program =
        env::current_exe().map_err(|error| format!("no path to this program: {error}"))?;
    let target = program.parent().and_then(Path::parent).map(Path::to_owned);
    target.ok_or_else(|| format!("{} is in no folder of cargo's", program.display()))
}

/// The folder of scifact, unless a person says otherwise.
pub(super) fn default_data(project: &Project) -> PathBuf {
    let shared = env::var_os("COTENANT_DATA").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| project.at("../shared/data"));
    shared.join("retrieval").join("scifact")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contenders_are_told_what_to_do() {
        let work = Work {
            data: "data".into(),
            model: "model".into(),
            batches: "batches.json".into(),
            program: "train_speed".into(),
            python: "python3".into(),
            steps: 5,
        };
        let words = |contender: &Contender| {
            let words = contender.command.iter().map(|word| word.to_string_lossy().into_owned());
            words.collect::<Vec<_>>().join(" ")
        };
        let found: Vec<String> = contenders(&work, "bf16", 2).iter().map(words).collect();
        let peer = "python3 golden/bench_peer.py --data data --model model --steps 5";
        let expected = [
            format!("{peer} --mode padded --dtype bf16 --threads 2"),
            format!("{peer} --mode bucketed --dtype bf16 --threads 2"),
            "train_speed --model model --batches batches.json --precision bf16 --threads 2"
                .to_owned(),
        ];
        assert_eq!(found, expected);
        assert_eq!(contenders(&work, "", 1).len(), 6);
    }
}
