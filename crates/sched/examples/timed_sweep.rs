//! Replays openb traces in time with several policies, and compares waits seed by seed.
//!
//! `cargo run --release -p cotenant-sched --example timed_sweep -- [SEEDS] [NODES,…] [LOAD,…]`
//! with seeds as `1001-1010`; needs the traces, as the tests do.

#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

#[path = "../tests/openb/data.rs"]
mod data;

use std::io::{self, Write};
use std::time::Instant;

use cotenant_sched::policy::PolicyName;
use cotenant_sched::replay::timed::{Beyond, Setting, Stream, TimedFindings, replay};

use data::Data;

const WAYS: [(PolicyName, &str); 9] = [
    (PolicyName::BestFit, "nothing"),
    (PolicyName::BestFit, "ratio+moves"),
    (PolicyName::Fgd, "nothing"),
    (PolicyName::Fgd, "ratio+moves"),
    (PolicyName::BidPrice, "nothing"),
    (PolicyName::BidPrice, "departures"),
    (PolicyName::BidPrice, "ratio"),
    (PolicyName::BidPrice, "moves"),
    (PolicyName::BidPrice, "ratio+moves"),
];

/// What a move costs, in seconds of work.
const MOVE_S: u64 = 30;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let list = |at: usize, default: &'static str| -> Vec<u64> {
        let text = arguments.get(at).map_or(default, String::as_str);
        let number = |text: &str| text.parse::<u64>().expect("a whole number");
        let range = |part: &str| match part.split_once('-') {
            Some((first, last)) => number(first)..=number(last),
            None => number(part)..=number(part),
        };
        text.split(',').flat_map(range).collect()
    };
    let (seeds, nodes, loads) = (list(0, "1001-1010"), list(1, "100"), list(2, "50"));
    let data = Data::find().expect("the traces are there");
    for &nodes in &nodes {
        for &load in &loads {
            compare(&data, &seeds, (nodes as usize, load));
        }
    }
}

fn compare(data: &Data, seeds: &[u64], (nodes, load): (usize, u64)) {
    let all = data.cluster();
    let workload = data.workload(&all, "default");
    let stream = Stream::new(&workload, load).unwrap();
    let mut out = io::stdout().lock();
    writeln!(out, "{nodes} nodes, {load} times as fast, window {:?}", stream.window()).unwrap();
    for (name, words) in WAYS {
        let beyond: Beyond = words.parse().unwrap();
        let begun = Instant::now();
        let run = |&seed: &u64| {
            let cluster = all.keep(nodes, seed);
            let policy = name.build(cluster.fleet(), workload.mix(), seed);
            replay(Setting {
                cluster: &cluster,
                workload: &workload,
                stream: &stream,
                policy: &*policy,
                seed,
                beyond,
                move_s: MOVE_S,
            })
        };
        let found: Vec<TimedFindings> = seeds.iter().map(run).collect();
        let mean = |figure: fn(&TimedFindings) -> u64| {
            found.iter().map(figure).sum::<u64>() as f64 / found.len() as f64
        };
        writeln!(
            out,
            "{:<10} {beyond:<11} wait {:>9.1} p50 {:>7.1} p95 {:>8.1} p99 {:>8.1} slowdown {:>7.2} use {:>5.2} queue {:>6.0} unplaceable {:>4.1} moves {:>6.0} lost {:>8.0} {:>5.2} s",
            name.as_str(),
            mean(|it| it.waits.mean_ms) / 1000.0,
            mean(|it| it.waits.percentile_s(50)),
            mean(|it| it.waits.percentile_s(95)),
            mean(|it| it.waits.percentile_s(99)),
            mean(|it| it.slowdown_milli) / 1000.0,
            mean(|it| it.use_ten_thousandths) / 100.0,
            mean(|it| it.queue_peak),
            mean(|it| it.unplaceable),
            mean(|it| it.moves),
            mean(|it| it.lost_card_s),
            begun.elapsed().as_secs_f64() / found.len() as f64,
        )
        .unwrap();
    }
}
