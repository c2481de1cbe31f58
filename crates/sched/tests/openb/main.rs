//! Replays the openb traces: arrival orders and allocation are those that were published, and the
//! bid-price policy keeps its lead.
//!
//! Needs the traces: `COTENANT_DATA`, or `../shared/data` beside the checkout. What was published of
//! the default trace stands in `published_default.csv`, from the artefact of Weng et al. (USENIX
//! ATC 2023, Apache-2.0): allocation in hundredths of a per cent, by policy, seed and per cent.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "the helpers are tests too")]

mod data;

use cotenant_sched::policy::PolicyName;
use cotenant_sched::replay::timed::{Setting, Stream, replay};
use cotenant_sched::replay::{Arrivals, Cluster, Findings, Order, PERCENT_MAX, Replay, Workload};

use data::{Data, TRACES};

const SEEDS: std::ops::RangeInclusive<u64> = 42..=51;

/// A trace, and the jobs that policies learn from.
struct Trace {
    cluster: Cluster,
    workload: Workload,
    mix: Workload,
}

impl Trace {
    fn new(data: &Data, trace: &str, mix: &str) -> Self {
        let cluster = data.cluster();
        let workload = data.workload(&cluster, trace);
        let mix = data.workload(&cluster, mix);
        Self { cluster, workload, mix }
    }

    fn run(&self, name: PolicyName, seed: u64) -> Findings {
        let arrivals = Arrivals::new(&self.cluster, &self.workload, (Order::Published, seed));
        let policy = name.build(self.cluster.fleet(), self.mix.mix(), seed);
        let mut replay = Replay::new(&self.cluster, &self.workload, (&arrivals, &*policy));
        for &pod in arrivals.pods() {
            replay.arrive(pod);
        }
        replay.findings()
    }

    fn run_all(&self, name: PolicyName) -> Vec<Findings> {
        SEEDS.map(|seed| self.run(name, seed)).collect()
    }
}

fn mean_at(outcomes: &[Findings], percent: usize) -> f64 {
    let values = outcomes.iter().map(|findings| findings.allocation_percent[percent]);
    values.sum::<f64>() / outcomes.len() as f64
}

/// CRC-32 as zip and PNG have it.
fn crc32(words: &[u32]) -> u32 {
    let bytes = words.iter().flat_map(|word| word.to_le_bytes());
    !bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ ((crc & 1) * 0xEDB8_8320))
    })
}

#[test]
fn arrivals_come_in_the_published_order() {
    let Some(data) = Data::find() else { return };
    let cluster = data.cluster();
    let table = data.text("arrival_check.csv");
    let mut read: Option<(&str, Workload)> = None;
    let mut checked = 0;
    for row in table.lines().skip(1) {
        let cells: Vec<&str> = row.split(',').collect();
        let [trace, seed, count, _, _, arrivals_crc, _, ranks_crc] = cells[..] else {
            panic!("{row}")
        };
        if read.as_ref().is_none_or(|(known, _)| *known != trace) {
            read = Some((trace, data.workload(&cluster, trace)));
        }
        let workload = &read.as_ref().unwrap().1;
        let order = (Order::Published, seed.parse().unwrap());
        let arrivals = Arrivals::new(&cluster, workload, order);
        assert_eq!(arrivals.pods().len().to_string(), count, "{trace} {seed}");
        let found =
            [arrivals.pods(), arrivals.ranks()].map(|words| format!("{:08x}", crc32(words)));
        assert_eq!(found, [arrivals_crc, ranks_crc], "{trace} {seed}");
        checked += 1;
    }
    assert_eq!(checked, 300);
}

#[test]
fn five_policies_draw_the_published_curves() {
    let Some(data) = Data::find() else { return };
    let trace = Trace::new(&data, "default", "default");
    let published = include_str!("published_default.csv");
    let mut checked = 0;
    for row in published.lines().filter(|row| !row.starts_with('#')) {
        let mut cells = row.split(',');
        let name = cells.next().unwrap();
        let policy = PolicyName::ALL.into_iter().find(|policy| policy.as_str() == name).unwrap();
        let seed = cells.next().unwrap().parse().unwrap();
        let expected: Vec<f64> = cells.map(|cell| cell.parse::<f64>().unwrap() / 100.0).collect();
        let findings = trace.run(policy, seed);
        assert_eq!(findings.allocation_percent.len(), expected.len());
        for (at, (found, expected)) in findings.allocation_percent.iter().zip(&expected).enumerate()
        {
            let off = (found - expected).abs();
            assert!(off < 0.0051, "{name} {seed} at {at} %: {found} is not {expected}");
        }
        checked += 1;
    }
    assert_eq!(checked, 50);
}

#[test]
fn published_curves_of_every_trace_are_drawn() {
    let Some(data) = Data::find() else { return };
    for name in TRACES {
        let trace = Trace::new(&data, name, name);
        for policy in PolicyName::ALL {
            let published = data.published(name, policy);
            // Nobody else's generator draws what ours does.
            if policy == PolicyName::Random || published.is_empty() {
                continue;
            }
            // One seed of each keeps this within seconds; the sweep example does all.
            let (seed, expected) = published.first_key_value().unwrap();
            let findings = trace.run(policy, *seed);
            for (at, (found, expected)) in
                findings.allocation_percent.iter().zip(expected).enumerate()
            {
                let off = (found - expected).abs();
                assert!(off < 0.0051, "{name} {policy:?} at {at} %: {found} is not {expected}");
            }
        }
    }
}

#[test]
fn bid_price_allocates_more_than_fgd_and_never_much_less() {
    let Some(data) = Data::find() else { return };
    let least = |name: &str| match name {
        "default" => 96.1,
        "gpuspec33" => 95.0,
        "gpushare100" => 88.0,
        "cpu250" => 94.0,
        "multigpu50" => 97.6,
        _ => 0.0,
    };
    for name in TRACES {
        let trace = Trace::new(&data, name, name);
        let [ours, fgd] = [PolicyName::BidPrice, PolicyName::Fgd].map(|it| trace.run_all(it));
        let mean = mean_at(&ours, 100);
        assert!(mean >= least(name), "{name}: {mean:.2} at 100 %");
        for percent in [100, PERCENT_MAX] {
            let (ours, fgd) = (mean_at(&ours, percent), mean_at(&fgd, percent));
            assert!(ours > fgd, "{name}: {ours:.2} is not more than {fgd:.2} at {percent} %");
        }
        for ((ours, fgd), seed) in ours.iter().zip(&fgd).zip(SEEDS) {
            for at in 1..=PERCENT_MAX {
                let by = ours.allocation_percent[at] - fgd.allocation_percent[at];
                assert!(by >= -0.15, "{name} {seed} at {at} %: {by:+.2}");
            }
        }
        let (found, seeds) = (mean - mean_at(&fgd, 100), ours.len());
        eprintln!("{name}: {mean:.2} % at 100 %, {found:+.2} against FGD, {seeds} seeds");
    }
}

#[test]
fn a_wrong_mix_costs_little() {
    let Some(data) = Data::find() else { return };
    let own = mean_at(&Trace::new(&data, "default", "default").run_all(PolicyName::BidPrice), 100);
    for mix in ["gpushare100", "multigpu50", "gpuspec33", "cpu250"] {
        let with = Trace::new(&data, "default", mix).run_all(PolicyName::BidPrice);
        let with = mean_at(&with, 100);
        eprintln!("default with the mix of {mix}: {with:.2} %, with its own {own:.2} %");
        assert!(own - with <= 0.2, "{mix}: {with:.2} for {own:.2}");
    }
}

/// Nodes that are kept, and how many times as fast jobs come.
const BUSY: [(usize, u64); 4] = [(100, 55), (100, 64), (50, 20), (50, 24)];

#[test]
fn response_ratios_and_moves_shorten_waits() {
    let Some(data) = Data::find() else { return };
    let all = data.cluster();
    let workload = data.workload(&all, "default");
    for (nodes, load) in BUSY {
        let stream = Stream::new(&workload, load).unwrap();
        let wait_ms = |(name, beyond): (PolicyName, &str)| {
            let waits = SEEDS.map(|seed| {
                let cluster = all.keep(nodes, seed);
                let policy = name.build(cluster.fleet(), workload.mix(), seed);
                let setting = Setting {
                    cluster: &cluster,
                    workload: &workload,
                    stream: &stream,
                    policy: &*policy,
                    seed,
                    beyond: beyond.parse().unwrap(),
                    move_s: 30,
                };
                replay(setting).waits.mean_ms
            });
            waits.sum::<u64>() / SEEDS.count() as u64
        };
        let beyond = wait_ms((PolicyName::BidPrice, "ratio+moves"));
        for name in [PolicyName::Fgd, PolicyName::BestFit, PolicyName::BidPrice] {
            let plain = wait_ms((name, "nothing"));
            eprintln!("{nodes} nodes, load {load}: {} {plain} ms, {beyond} ms", name.as_str());
            assert!(beyond < plain, "{nodes} nodes, load {load}: {name:?} {plain}, {beyond}");
        }
    }
}
