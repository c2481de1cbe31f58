//! PyTorch as the tenant: scripts that say a line of JSON for each thing that they find.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::super::bar::Bar;
use super::super::report::{Figure, Rows};
use super::super::slice::{Limits, Slice};
use super::super::stage::{GIB, Stage};

const MS: u64 = 1_000_000;

/// A script, and its text as this program carries it.
struct Script {
    name: &'static str,
    text: &'static str,
    /// What it tells the allocator of torch.
    allocator: &'static str,
}

const MEMORY: &str = include_str!("../torch/memory.py");

const SCRIPTS: [Script; 4] = [
    Script { name: "memory", text: MEMORY, allocator: "" },
    Script { name: "segments", text: MEMORY, allocator: "expandable_segments:True" },
    Script { name: "graphs", text: include_str!("../torch/graphs.py"), allocator: "" },
    Script { name: "compile", text: include_str!("../torch/compile.py"), allocator: "" },
];

const TRAIN: &str = include_str!("../torch/train.py");

pub(super) fn run(stage: &Stage<'_>, rows: &mut Rows) -> Result<(), String> {
    if let Some(why) = missing(stage) {
        SCRIPTS.iter().for_each(|script| rows.cannot("", script.name, &why));
        return Ok(());
    }
    // The driver's own part of a context is not what is limited here.
    let limit = stage.memory_limit();
    for script in SCRIPTS {
        let slice = stage.slice(Limits { memory: Some(limit), ..Limits::burst(500) })?;
        let mut command = python(stage, script.text, script.name)?;
        command.arg(limit.to_string()).env_remove("PYTORCH_CUDA_ALLOC_CONF");
        if !script.allocator.is_empty() {
            command.env("PYTORCH_CUDA_ALLOC_CONF", script.allocator);
        }
        stage.put(&mut command, Some(&slice));
        said(&command.output().map_err(|error| error.to_string())?, script.name, rows);
    }
    Ok(())
}

/// What a training loses to the library, and to a neighbour.
pub(super) fn train(stage: &Stage<'_>, rows: &mut Rows) -> Result<(), String> {
    if let Some(why) = missing(stage) {
        rows.cannot("OH-010", "a training alone", &why);
        rows.cannot("IS-009", "a training beside a neighbour", &why);
        return Ok(());
    }
    alone(stage, rows)?;
    beside(stage, rows)
}

/// Why torch cannot be had, in one line.
fn missing(stage: &Stage<'_>) -> Option<String> {
    let python = &stage.options.python;
    let mut command = Command::new(python);
    command.args(["-c", "import torch, sys; sys.exit(0 if torch.cuda.is_available() else 3)"]);
    stage.put(&mut command, None);
    match command.output() {
        Err(error) => Some(format!("{python} does not start: {error}")),
        Ok(output) if output.status.success() => None,
        Ok(output) if output.status.code() == Some(3) => {
            Some(format!("the torch of {python} sees no card"))
        }
        Ok(output) => Some(format!("{python} cannot import torch: {}", last_line(&output.stderr))),
    }
}

fn python(stage: &Stage<'_>, text: &str, name: &str) -> Result<Command, String> {
    let file: PathBuf = stage.options.out.join(format!("{name}.py"));
    fs::write(&file, text).map_err(|error| format!("write {}: {error}", file.display()))?;
    let mut command = Command::new(&stage.options.python);
    command.arg(file);
    Ok(command)
}

/// The lines of a script as rows.
fn said(output: &Output, name: &str, rows: &mut Rows) {
    let text = String::from_utf8_lossy(&output.stdout);
    for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let what = format!("{name}: {}", line["what"].as_str().unwrap_or_default());
        let detail = line["detail"].as_str().unwrap_or_default().to_owned();
        match line["ok"].as_bool() {
            Some(true) => rows.claim("", &what, Ok(())),
            Some(false) => rows.claim("", &what, Err(detail)),
            None => rows.cannot("", &what, &detail),
        }
    }
    if !output.status.success() {
        let why = format!("{}: {}", output.status, last_line(&output.stderr));
        rows.claim("", &format!("{name}: the script comes to its end"), Err(why));
    }
}

/// Steps a second of a training, in a slice or outside.
fn steps(stage: &Stage<'_>, slice: Option<&Slice>, seconds: u64) -> Result<f64, String> {
    let mut command = python(stage, TRAIN, "train")?;
    command.arg(seconds.to_string());
    stage.put(&mut command, slice);
    let output = command.output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| serde_json::from_str::<Value>(line).ok());
    let rate = line.and_then(|line| line["steps_per_second"].as_f64());
    rate.ok_or_else(|| format!("the training ended without a rate: {}", last_line(&output.stderr)))
}

/// A training on the bare card, and in a burst slice that has it to itself.
fn alone(stage: &Stage<'_>, rows: &mut Rows) -> Result<(), String> {
    let slice = stage.slice(Limits { memory: Some(GIB * 4), ..Limits::burst(500) })?;
    let seconds = stage.pick(5, 2);
    let mut slower = Vec::new();
    for _ in 0..stage.pick(3, 1) {
        let bare = steps(stage, None, seconds)?;
        slower.push((1.0 - steps(stage, Some(&slice), seconds)? / bare) * 100.0);
    }
    slower.sort_by(f64::total_cmp);
    rows.add(Figure {
        metric: "OH-010",
        what: "a training in a burst slice, slower than on the bare card".to_owned(),
        value: Some(slower[slower.len() / 2]),
        unit: "%",
        bar: Bar::AtMost(stage.pick(1.0, 25.0)),
        detail: format!("median of {slower:.1?}"),
    });
    Ok(())
}

/// A training with two fifths of the card, alone and beside one that takes what it gets.
fn beside(stage: &Stage<'_>, rows: &mut Rows) -> Result<(), String> {
    let fixed = Limits { memory: Some(GIB * 4), ..Limits::fixed(400).beside(500) };
    let (slice, seconds) = (stage.slice(fixed)?, stage.pick(12, 2));
    let alone = steps(stage, Some(&slice), seconds)?;
    let load = stage.load(5 * MS, None)?;
    let next_door = stage.slice(Limits::burst(500).beside(400))?;
    let mut loud = stage.tenant(&next_door)?;
    // It must outlast torch's start, which takes as long as it takes.
    loud.tell(&load.spend((seconds + 40) * 1000))?;
    thread::sleep(Duration::from_millis(500));
    let with = steps(stage, Some(&slice), seconds);
    loud.kill()?;
    let with = with?;
    rows.add(Figure {
        metric: "IS-009",
        what: "a training with 40 % is moved by full load".to_owned(),
        value: Some((alone - with).abs() * 100.0 / alone),
        unit: "%",
        bar: Bar::AtMost(stage.pick(5.0, 35.0)),
        detail: format!("{alone:.2} steps a second alone, {with:.2} beside it"),
    });
    Ok(())
}

fn last_line(talk: &[u8]) -> String {
    let talk = String::from_utf8_lossy(talk);
    talk.lines().last().unwrap_or("it said nothing").to_owned()
}
