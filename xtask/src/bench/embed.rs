//! Embedding beside sentence-transformers and onnxruntime, on the same texts, run in turn.
//!
//! `golden/embed_peer.py` draws mixed-length texts and writes their token ids once, so that no
//! contender's clock holds tokenising. Each runs as it runs best: ours without padding in the order
//! of the file, the others sorted by length in batches of the size that was measured to be fastest.

use std::ffi::OsString;
use std::fmt;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bench::machine;
use crate::bench::options::Options;
use crate::bench::table::median;
use crate::bench::train::{default_data, target_folder};
use crate::command;
use crate::project::Project;
use crate::python;

const PEER: &str = "golden/embed_peer.py";

/// The encoder on given texts, an example of its crate.
const PROGRAM: &str = "embed_speed";

/// Sets in the data folder whose queries and documents are mixed.
const SETS: [&str; 5] = ["scifact", "cosqa", "medquad", "cranfield", "npl"];

/// Texts of each set, half of them queries.
const TEXTS: &str = "40";

/// CPU seconds after which a run ends with its pass.
const SECONDS: &str = "3";

/// The lead that is promised over the best of the others.
const LEAD: f64 = 1.2;

/// Who embeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    Cotenant,
    /// sentence-transformers.
    Torch,
    /// onnxruntime.
    Onnx,
}

/// An engine in one number format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct System {
    engine: Engine,
    format: &'static str,
    /// Texts in a batch of theirs.
    batch: usize,
}

/// All systems; torch in f32 comes first, since cosines are to its embeddings.
const SYSTEMS: [System; 7] = [
    System { engine: Engine::Torch, format: "f32", batch: 8 },
    System { engine: Engine::Onnx, format: "f32", batch: 4 },
    System { engine: Engine::Cotenant, format: "f32", batch: 0 },
    System { engine: Engine::Torch, format: "bf16", batch: 16 },
    System { engine: Engine::Cotenant, format: "bf16", batch: 0 },
    System { engine: Engine::Onnx, format: "int8", batch: 4 },
    System { engine: Engine::Cotenant, format: "int8", batch: 0 },
];

/// What a format must come to, by the least cosine of all texts; nothing is asked of int8, whose
/// measure is retrieval.
const COSINES: [(&str, f64); 3] = [("f32", 0.99999), ("bf16", 0.999), ("int8", 0.0)];

/// One run.
#[derive(Clone, Copy, Debug)]
struct Sample {
    tokens_per_s: f64,
    tokens_per_cpu_s: f64,
    peak_rss_mib: f64,
    cosine_min: f64,
    cosine_mean: f64,
}

/// All runs of one system; `None` where one failed.
struct Runs {
    system: System,
    rounds: Vec<Option<Sample>>,
}

struct Work {
    python: OsString,
    model: PathBuf,
    /// Token ids, embeddings and graphs.
    folder: PathBuf,
    program: PathBuf,
}

/// Prepares the work, runs every contender in every round, and prints what came of it.
pub(super) fn run(project: &Project, options: &Options) -> Result<(), String> {
    if options.makes_venv {
        python::make(project)?;
    }
    let work = prepare(project, options)?;
    println!("machine: {}", machine::describe());
    for &threads in &options.threads {
        let chosen = |system: &System| system.to_string().contains(&options.only);
        let systems = SYSTEMS.into_iter().filter(chosen);
        let mut all: Vec<Runs> =
            systems.map(|system| Runs { system, rounds: Vec::new() }).collect();
        for round in 1..=options.rounds {
            for runs in &mut all {
                let sample = sample(project, &work, runs.system, threads);
                match &sample {
                    Ok(sample) => eprintln!(
                        "round {round}: {} {:.0} tokens per CPU s",
                        runs.system, sample.tokens_per_cpu_s
                    ),
                    // A processor without bf16 still measures the others.
                    Err(reason) => eprintln!("round {round}: {} failed: {reason}", runs.system),
                }
                runs.rounds.push(sample.ok());
            }
        }
        println!("{}", report(threads, &all));
    }
    Ok(())
}

/// Builds the program and writes the token ids.
fn prepare(project: &Project, options: &Options) -> Result<Work, String> {
    let python = python::with_packages(project)
        .ok_or("torch and peft are not installed\nhint: --venv installs them in golden/venv")?;
    let sets = match &options.data {
        Some(folder) => vec![folder.clone()],
        None => SETS.map(|set| default_data(project).with_file_name(set)).to_vec(),
    };
    if let Some(set) = sets.iter().find(|set| !set.join("corpus.jsonl").is_file()) {
        let folder = set.display();
        return Err(format!("no BEIR data in {folder}\nhint: name a folder with --data FOLDER"));
    }
    let model = match &options.model {
        Some(model) => model.clone(),
        None => python::model_folder(project)?,
    };
    let build = ["build", "--quiet", "--release", "--package", "cotenant-transformer", "--example"];
    command::run(project.cargo().args(build).arg(PROGRAM))?;
    let target = target_folder()?;
    let folder = target.join("bench-embed");
    fs::create_dir_all(&folder).map_err(|error| format!("failed to make a folder: {error}"))?;
    let program = target.join("release/examples").join(PROGRAM);
    let work = Work { python: python.get_program().to_owned(), model, folder, program };
    let mut dump = project.program(&work.python);
    dump.args([PEER, "--model"]).arg(&work.model).arg("--data").args(&sets);
    command::run(dump.args(["--count", TEXTS, "--dump"]).arg(work.folder.join("texts.json")))?;
    Ok(work)
}

/// The words that run a system, the program first.
fn command(work: &Work, system: System, threads: usize) -> Vec<OsString> {
    let mut words: Vec<OsString> = match system.engine {
        Engine::Cotenant => vec![work.program.clone().into(), "--precision".into()],
        Engine::Torch | Engine::Onnx => {
            let engine = if system.engine == Engine::Torch { "torch" } else { "onnx" };
            let mut words = vec![work.python.clone(), PEER.into(), "--engine".into()];
            words.extend([engine.into(), "--graphs".into(), work.folder.clone().into()]);
            words.extend(["--batch".into(), system.batch.to_string().into(), "--dtype".into()]);
            words
        }
    };
    words.extend([system.format.into(), "--threads".into(), threads.to_string().into()]);
    words.extend(["--seconds", SECONDS, "--model"].map(OsString::from));
    words.push(work.model.clone().into());
    words.extend(["--texts".into(), work.folder.join("texts.json").into()]);
    words.extend(["--out".into(), work.embeddings(system).into()]);
    words
}

impl Work {
    /// Where a system writes its embeddings.
    fn embeddings(&self, system: System) -> PathBuf {
        self.folder.join(format!("{system}.f32").replace(' ', "-"))
    }
}

/// Runs a system once, and compares what it wrote with what torch wrote in f32.
fn sample(
    project: &Project,
    work: &Work,
    system: System,
    threads: usize,
) -> Result<Sample, String> {
    let words = command(work, system, threads);
    let mut command = project.program(&words[0]);
    let output = command::capture(command.args(&words[1..]))?;
    let line = output.lines().last().ok_or("it printed nothing")?;
    let value: Value =
        serde_json::from_str(line).map_err(|error| format!("'{line}' is no JSON: {error}"))?;
    let number = |key: &str| {
        value[key].as_f64().ok_or_else(|| format!("'{line}' has no number called '{key}'"))
    };
    let hidden = hidden(&work.model)?;
    let (found, expected) = (read(&work.embeddings(system))?, read(&work.embeddings(SYSTEMS[0]))?);
    let cosines: Vec<f64> = cosines(&found, &expected, hidden);
    Ok(Sample {
        tokens_per_s: number("tokens_per_s")?,
        tokens_per_cpu_s: number("tokens_per_cpu_s")?,
        peak_rss_mib: number("peak_rss_mib")?,
        cosine_min: cosines.iter().copied().fold(1.0, f64::min),
        cosine_mean: cosines.iter().sum::<f64>() / cosines.len() as f64,
    })
}

/// The width of the model's embeddings.
fn hidden(model: &Path) -> Result<usize, String> {
    let path = model.join("config.json");
    let text = fs::read_to_string(&path)
        .map_err(|error| format!("failed to read {}: {error}", path.display()))?;
    let config: Value = serde_json::from_str(&text)
        .map_err(|error| format!("{} is no JSON: {error}", path.display()))?;
    let hidden = config["hidden_size"].as_u64().filter(|hidden| *hidden > 0);
    hidden.map(|hidden| hidden as usize).ok_or(format!("{} has no hidden_size", path.display()))
}

/// Little-endian floats.
fn read(path: &Path) -> Result<Vec<f32>, String> {
    let bytes =
        fs::read(path).map_err(|error| format!("failed to read {}: {error}", path.display()))?;
    Ok(bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect())
}

/// The cosine of each row to its twin.
fn cosines(found: &[f32], expected: &[f32], hidden: usize) -> Vec<f64> {
    let product = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let rows = found.chunks_exact(hidden).zip(expected.chunks_exact(hidden));
    rows.map(|(a, b)| product(a, b) / (product(a, a) * product(b, b)).sqrt()).collect()
}

/// The table and the promises of one number of threads.
fn report(threads: usize, all: &[Runs]) -> String {
    let mut text = format!(
        "\nThreads: {threads}\n\n\
        | contender | tokens/s | tokens per CPU s, median (lowest to highest) \
        | cosine to torch f32, mean (least) | peak MiB |\n| --- | --- | --- | --- | --- |\n"
    );
    for runs in all {
        let row = runs.row().unwrap_or_else(|| "- | - | - | -".to_owned());
        writeln!(text, "| {} | {row} |", runs.system).expect("a string takes any text");
    }
    text.push('\n');
    for (format, cosine) in COSINES {
        writeln!(text, "- {format}: {}", kept(format, cosine, all))
            .expect("a string takes any text");
    }
    text
}

/// Whether a format of ours leads every other whose embeddings are as near, in the median round.
fn kept(format: &str, cosine: f64, all: &[Runs]) -> String {
    let is_ours = |runs: &&Runs| runs.system.engine == Engine::Cotenant;
    let Some(ours) = all.iter().filter(is_ours).find(|runs| runs.system.format == format) else {
        return "not measured".to_owned();
    };
    let is_near = |sample: &Sample| sample.cosine_min >= cosine;
    let lead = |round: usize| {
        let best = all.iter().filter(|runs| !is_ours(runs)).filter_map(|runs| runs.rounds[round]);
        let best = best.filter(is_near).map(|sample| sample.tokens_per_cpu_s).reduce(f64::max)?;
        Some(ours.rounds[round]?.tokens_per_cpu_s / best)
    };
    let Some(lead) = median((0..ours.rounds.len()).filter_map(lead).collect()) else {
        return "not measured".to_owned();
    };
    let near = ours.rounds.iter().flatten().all(is_near);
    let verdict = if near && lead >= LEAD { "kept" } else { "not kept" };
    format!(
        "{lead:.2} times the best of the others whose least cosine is {cosine} or more, promised at \
        least {LEAD}: {verdict}"
    )
}

impl Runs {
    fn row(&self) -> Option<String> {
        let column = |of: fn(&Sample) -> f64| self.rounds.iter().flatten().map(of).collect();
        let speeds: Vec<f64> = column(|sample| sample.tokens_per_cpu_s);
        let low = speeds.iter().copied().reduce(f64::min)?;
        let high = speeds.iter().copied().reduce(f64::max)?;
        Some(format!(
            "{:.0} | {:.0} ({low:.0} to {high:.0}) | {:.6} ({:.6}) | {:.0}",
            median(column(|sample| sample.tokens_per_s))?,
            median(speeds)?,
            median(column(|sample| sample.cosine_mean))?,
            median(column(|sample| sample.cosine_min))?,
            median(column(|sample| sample.peak_rss_mib))?,
        ))
    }
}

impl fmt::Display for System {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engine = match self.engine {
            Engine::Cotenant => "cotenant",
            Engine::Torch => "torch",
            Engine::Onnx => "onnxruntime",
        };
        formatter.pad(&format!("{engine} {}", self.format))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(at: usize, speeds: &[f64], cosine: f64) -> Runs {
        let sample = |speed: &f64| {
            Some(Sample {
                tokens_per_s: 2.0 * speed,
                tokens_per_cpu_s: *speed,
                peak_rss_mib: 100.0,
                cosine_min: cosine,
                cosine_mean: 1.0,
            })
        };
        Runs { system: SYSTEMS[at], rounds: speeds.iter().map(sample).collect() }
    }

    #[test]
    fn a_format_is_held_against_all_that_are_as_near() {
        // The second round ran on a machine half as fast.
        let all = [
            runs(0, &[100.0, 50.0], 1.0),
            runs(2, &[150.0, 75.0], 1.0),
            runs(3, &[200.0, 100.0], 0.9999),
            runs(4, &[220.0, 110.0], 0.99),
            runs(5, &[300.0, 150.0], 0.97),
        ];
        let report = report(1, &all);
        assert!(report.contains("- f32: 1.50 times the best"), "{report}");
        assert!(report.contains("0.99999 or more, promised at least 1.2: kept"), "{report}");
        // Slower than promised, and too far off.
        assert!(report.contains("- bf16: 1.10 times the best"), "{report}");
        assert!(report.contains("0.999 or more, promised at least 1.2: not kept"), "{report}");
        assert!(report.contains("- int8: not measured"), "{report}");
        assert!(report.contains("| cotenant f32 | 225 | 112 (75 to 150) |"), "{report}");
    }

    #[test]
    fn cosines_are_of_rows_and_know_no_length() {
        let found = cosines(&[1.0, 0.0, 3.0, 4.0], &[2.0, 0.0, 4.0, -3.0], 2);
        assert_eq!(found, [1.0, 0.0]);
    }

    #[test]
    fn contenders_are_told_what_to_do() {
        let work = Work {
            python: "python3".into(),
            model: "model".into(),
            folder: "folder".into(),
            program: "embed_speed".into(),
        };
        let words = |at: usize| {
            let words = command(&work, SYSTEMS[at], 2);
            let words: Vec<_> =
                words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
            words.join(" ")
        };
        assert_eq!(
            words(1),
            "python3 golden/embed_peer.py --engine onnx --graphs folder --batch 4 --dtype f32 \
            --threads 2 --seconds 3 --model model --texts folder/texts.json \
            --out folder/onnxruntime-f32.f32"
        );
        assert_eq!(
            words(6),
            "embed_speed --precision int8 --threads 2 --seconds 3 --model model \
            --texts folder/texts.json --out folder/cotenant-int8.f32"
        );
    }
}
