//! The prediction of peak memory against what the system counts while training. Each case runs in a
//! process of its own, because memory that an earlier case freed would be counted as well.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::fs;
use std::process::Command;
use std::sync::Arc;

use common::{TestTexts, encoder_of, join, round, trainer};
use cotenant_train::{Demand, Evaluation, Example, Length, Limits, Settings, TenantSpec, estimate};
use cotenant_transformer::{AdapterLayout, EncoderConfig};

/// A line of `/proc/self/status` in bytes.
fn status(key: &str) -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kib = line.trim_start_matches(':').trim().strip_suffix(" kB")?;
    Some(kib.parse::<usize>().ok()? * 1024)
}

fn tenant(name: &str, batch: usize, rank: usize) -> TenantSpec {
    let pair = |i| Example::Pair { anchor: i, positive: 256 + i, negatives: Vec::new() };
    let mut settings =
        Settings { batch, length: Length::Epochs(1), seed: batch as u64, ..Settings::default() };
    settings.lora.rank = rank;
    TenantSpec {
        name: name.into(),
        examples: (0..256).map(pair).collect(),
        texts: Arc::new(TestTexts::random(512, batch as u64)),
        settings,
        adapter: None,
    }
}

/// Names the case that a child process is to run.
const CASE: &str = "COTENANT_TRAIN_MEMORY_CASE";

struct Case {
    tenants: Vec<TenantSpec>,
    limits: Limits,
}

fn cases() -> Vec<Case> {
    let limits = |threads, tape_mib: usize| Limits {
        threads,
        tape_bytes_max: tape_mib << 20,
        ..Limits::default()
    };
    let mut best_kept = tenant("evaluated", 48, 32);
    best_kept.settings.evaluation = Some(Evaluation { every_steps: 1, patience: None });
    vec![
        Case { tenants: vec![tenant("a", 96, 8), tenant("b", 48, 16)], limits: limits(1, 8) },
        Case { tenants: vec![tenant("a", 64, 8), best_kept], limits: limits(2, 1024) },
    ]
}

/// Predicted and measured bytes.
fn run(case: Case) -> (usize, usize) {
    let config = EncoderConfig { hidden: 128, layers: 3, intermediate: 512, ..common::config() };
    let encoder = encoder_of(config.clone());
    let Case { tenants, limits } = case;
    let demand = |spec: &TenantSpec| {
        let layout = AdapterLayout::from_spec(&spec.settings.lora, &config).unwrap();
        let tokens_of = |text| spec.texts.tokens(text).unwrap().len();
        Demand::new(&spec.examples, &spec.settings, &layout, &tokens_of).unwrap()
    };
    let demands: Vec<Demand> = tenants.iter().map(demand).collect();
    let parts = estimate(&encoder, &limits, &demands);
    let mut trainer = trainer(&encoder, limits);
    let before = status("VmRSS").unwrap();
    join(&mut trainer, tenants);
    while !trainer.is_done() {
        round(&mut trainer);
    }
    eprintln!("{parts:?}");
    (parts.total(), status("VmHWM").unwrap() - before)
}

#[test]
fn the_predicted_peak_is_the_measured_one() {
    if status("VmHWM").is_none() {
        eprintln!("skipped: this system has no /proc/self/status to read peak memory from");
        return;
    }
    if let Ok(case) = std::env::var(CASE) {
        let (predicted, measured) = run(cases().swap_remove(case.parse().unwrap()));
        eprintln!("predicted {predicted} measured {measured}");
        return;
    }
    for case in 0..cases().len() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_predicted_peak_is_the_measured_one", "--nocapture"])
            .env(CASE, case.to_string())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let numbers: Vec<f64> = said
            .lines()
            .find(|line| line.starts_with("predicted "))
            .unwrap_or_else(|| panic!("{said}"))
            .split(' ')
            .filter_map(|word| word.parse().ok())
            .collect();
        // The allocator and the threads' stacks take a little that does not grow with the work.
        let fixed = 2.0 * 1024.0 * 1024.0;
        let [predicted, measured] = numbers[..] else { panic!("{said}") };
        assert!((predicted + fixed / 2.0 - measured).abs() < 0.1 * measured + fixed, "{said}");
        eprintln!("case {case}: {said}");
    }
}
