//! How fast the trainer is, for `cargo xtask bench train`: one JSON line.
//!
//! Reads the batches that `golden/bench_peer.py --dump-batches` wrote, so that every contender
//! embeds the same texts, and trains `--tenants` adapters of rank 8 on query and value with them.
//! The clock begins after the batches' warm-up steps. `--top-layers` adapts only the last layers
//! (and, with `--epochs`, shows what their cache saves), `--tape-mib 0` computes every chunk twice.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use cotenant_train::{
    Base, Event, Example, Length, Limits, PrefixLimits, Settings, TenantSpec, TextError, Texts,
    Trainer,
};
use cotenant_transformer::{Cpu, Encoder, LayerChoice, ModelFolder, Precision, random};
use serde::Deserialize;

#[derive(Deserialize)]
struct Batches {
    warmup: usize,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    anchors: Vec<Vec<u32>>,
    positives: Vec<Vec<u32>>,
}

/// Equal texts share a number, as the trainer wants it.
#[derive(Default)]
struct Table {
    numbers: HashMap<Arc<[u32]>, u32>,
    texts: Vec<Arc<[u32]>>,
}

impl Table {
    fn add(&mut self, tokens: &[u32]) -> u32 {
        let tokens: Arc<[u32]> = tokens.into();
        *self.numbers.entry(Arc::clone(&tokens)).or_insert_with(|| {
            self.texts.push(tokens);
            self.texts.len() as u32 - 1
        })
    }
}

impl Texts for Table {
    fn tokens(&self, text: u32) -> Result<Arc<[u32]>, TextError> {
        Ok(Arc::clone(&self.texts[text as usize]))
    }

    fn key(&self, text: u32) -> u64 {
        self.texts[text as usize].iter().fold(0, |key, &token| random::mix(&[key, token.into()]))
    }
}

struct Arguments(HashMap<String, String>);

impl Arguments {
    fn read() -> Self {
        let words: Vec<String> = std::env::args().skip(1).collect();
        Self(words.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
    }

    fn number(&self, name: &str, default: usize) -> usize {
        self.0.get(name).map_or(default, |value| value.parse().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(self.0.get(name).unwrap_or_else(|| panic!("{name} is missing")))
    }
}

fn main() {
    cotenant_transformer::keep_memory_flat();
    let arguments = Arguments::read();
    let batches: Batches =
        serde_json::from_slice(&std::fs::read(arguments.path("--batches")).unwrap()).unwrap();
    let precision = match arguments.0.get("--precision").map(String::as_str) {
        Some("bf16") => Precision::Bf16,
        Some("f32") | None => Precision::F32,
        Some(other) => panic!("--precision {other}: f32 or bf16"),
    };
    let folder = ModelFolder::open(&arguments.path("--model")).unwrap();
    let encoder = Encoder::new(
        Cpu::new(precision).unwrap(),
        folder.config().clone(),
        folder.weights().unwrap(),
        folder.pooling(),
        folder.normalize(),
    );
    let encoder = Arc::new(encoder);
    let mut table = Table::default();
    let mut step = |step: &Step| -> Vec<Example> {
        let pairs = step.anchors.iter().zip(&step.positives);
        pairs.map(|(anchor, positive)| pair(&mut table, anchor, positive)).collect()
    };
    let first = step(&batches.steps[0]);
    let examples: Vec<Example> = batches.steps.iter().flat_map(&mut step).collect();
    let texts: Arc<dyn Texts> = Arc::new(table);

    let loss_first = first_loss(&arguments, &encoder, &texts, first);
    let mut trainer = trainer(&arguments, &encoder);
    for tenant in 0..arguments.number("--tenants", 1) {
        let settings = settings(&arguments, tenant as u64);
        let name = format!("tenant-{tenant}");
        let (examples, texts) = (examples.clone(), Arc::clone(&texts));
        trainer.add(TenantSpec { name, examples, texts, settings, adapter: None }).unwrap();
    }
    let warmup = arguments.number("--warmup", batches.warmup);
    measure(&arguments, &mut trainer, warmup, loss_first);
}

fn pair(table: &mut Table, anchor: &[u32], positive: &[u32]) -> Example {
    Example::Pair {
        anchor: table.add(anchor),
        positive: table.add(positive),
        negatives: Vec::new(),
    }
}

fn settings(arguments: &Arguments, seed: u64) -> Settings {
    let mut settings = Settings {
        batch: arguments.number("--batch", 32),
        tokens_chunk: arguments.number("--chunk-tokens", 256),
        length: Length::Epochs(arguments.number("--epochs", 1) as u32),
        learning_rate: 5e-4,
        weight_decay: 0.01,
        seed: 7 + seed,
        ..Settings::default()
    };
    if let top @ 1.. = arguments.number("--top-layers", 0) {
        settings.lora.layers = LayerChoice::Top(top);
    }
    settings
}

fn trainer(arguments: &Arguments, encoder: &Arc<Encoder<Cpu>>) -> Trainer<Cpu> {
    let limits = Limits {
        threads: arguments.number("--threads", 1),
        tokens_chunk: arguments.number("--chunk-tokens", 256),
        tape_bytes_max: arguments.number("--tape-mib", 320) << 20,
        prefix: PrefixLimits { memory_bytes_max: 1 << 30, ..PrefixLimits::default() },
        ..Limits::default()
    };
    Trainer::new(Base { encoder: Arc::clone(encoder), fingerprint: 0 }, limits).unwrap()
}

/// The loss of exactly the first batch, on the untouched model: what shows that all contenders do
/// the same work.
fn first_loss(
    arguments: &Arguments,
    encoder: &Arc<Encoder<Cpu>>,
    texts: &Arc<dyn Texts>,
    examples: Vec<Example>,
) -> f32 {
    let mut trainer = trainer(arguments, encoder);
    let settings = Settings { batch: examples.len(), ..settings(arguments, 0) };
    let (name, texts) = ("first".to_owned(), Arc::clone(texts));
    trainer.add(TenantSpec { name, examples, texts, settings, adapter: None }).unwrap();
    let events = trainer.run_round();
    let loss = events.iter().find_map(|event| match event {
        Event::StepFinished { loss, .. } => Some(*loss),
        _ => None,
    });
    loss.unwrap()
}

/// Runs the trainer dry and reports what came after the warm-up steps of each tenant.
fn measure(arguments: &Arguments, trainer: &mut Trainer<Cpu>, warmup: usize, loss_first: f32) {
    let tenants = trainer.tenants();
    let epochs = arguments.number("--epochs", 1) as u32;
    let mut loss_last = 0.0;
    while tenants.iter().any(|id| trainer.progress(*id).unwrap().step < warmup as u64) {
        trainer.run_round();
    }
    let mut epochs_timed = Vec::new();
    let (mut begun, mut cpu, mut before) = (Instant::now(), cpu_s(), trainer.counters());
    let mut pairs_tokens_wall_cpu = (0, 0, 0.0, 0.0);
    let mut epoch = 0;
    while !trainer.is_done() {
        for event in trainer.run_round() {
            if let Event::StepFinished { loss, .. } = event {
                loss_last = loss;
            }
        }
        let ended = tenants.iter().all(|id| {
            let progress = trainer.progress(*id).unwrap();
            progress.epoch > epoch || progress.finished.is_some()
        });
        if ended {
            let (wall, used, now) =
                (begun.elapsed().as_secs_f64(), cpu_s() - cpu, trainer.counters());
            let pairs = now.pairs - before.pairs;
            epochs_timed.push(pairs as f64 / used);
            pairs_tokens_wall_cpu.0 += pairs;
            pairs_tokens_wall_cpu.1 += now.tokens - before.tokens;
            pairs_tokens_wall_cpu.2 += wall;
            pairs_tokens_wall_cpu.3 += used;
            (begun, cpu, before, epoch) = (Instant::now(), cpu_s(), now, epoch + 1);
            if epoch == epochs {
                break;
            }
        }
    }
    let (pairs, tokens, wall_s, cpu_s) = pairs_tokens_wall_cpu;
    let counters = trainer.counters();
    let phase = |time: std::time::Duration| time.as_secs_f64();
    let line = serde_json::json!({
        "name": "cotenant",
        "tenants": tenants.len(),
        "pairs": pairs,
        "tokens": tokens,
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "pairs_per_s": pairs as f64 / wall_s,
        "pairs_per_cpu_s": pairs as f64 / cpu_s,
        "tokens_per_cpu_s": tokens as f64 / cpu_s,
        "epochs_pairs_per_cpu_s": epochs_timed,
        "peak_rss_mib": status_mib("VmHWM:"),
        "shared_mib": status_mib("RssFile:"),
        "loss_first": loss_first,
        "loss_last": loss_last,
        "chunks": counters.chunks,
        "chunks_recomputed": counters.chunks_recomputed,
        "planning_s": phase(counters.planning),
        "forward_s": phase(counters.forward),
        "loss_s": phase(counters.loss),
        "backward_s": phase(counters.backward),
        "optimizer_s": phase(counters.optimizer),
    });
    println!("{line}");
}

/// Seconds of processor time so far, all threads.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// A line of what the kernel counts of this process.
fn status_mib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() / 1024
}
