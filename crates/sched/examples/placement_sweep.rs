//! Replays the openb traces with every policy and compares with the published curves: allocation at
//! 100 and 130 %, the worst column against FGD, rejections, and decisions a second. One thread.
//!
//! Arguments, each a list with commas: traces (default `default`), policies (default all), seeds
//! (default 42-51), and perhaps the trace that policies learn from. The folder of traces is
//! `COTENANT_DATA`, or `../shared/data` beside the checkout.

#[path = "../tests/openb/data.rs"]
mod data;

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Instant;

use cotenant_sched::policy::PolicyName;
use cotenant_sched::replay::{Arrivals, Cluster, Findings, Order, PERCENT_MAX, Replay, Workload};

use data::Data;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize, default: &str| arguments.get(at).map_or(default, |it| it).to_owned();
    let Some(data) = Data::find() else { return };
    let traces = match argument(0, "default").as_str() {
        "all" => data::TRACES.join(","),
        traces => traces.to_owned(),
    };
    let policies = policies(&argument(1, "all"));
    let seeds = seeds(&argument(2, "42-51"));
    let mut out = std::io::stdout().lock();
    for trace in traces.split(',') {
        let sweep = Sweep::new(&data, (trace, arguments.get(3).map(String::as_str)));
        let mut by_policy = BTreeMap::new();
        for &policy in &policies {
            let (outcomes, per_s): (Vec<_>, Vec<_>) =
                seeds.iter().map(|&seed| sweep.run(policy, seed)).unzip();
            let line =
                describe((trace, policy), &outcomes, &per_s, by_policy.get(&PolicyName::Fgd));
            writeln!(
                out,
                "{line}{}",
                against_published(&data, (trace, policy), (&seeds, &outcomes))
            )
            .expect("stdout takes a line");
            by_policy.insert(policy, outcomes);
        }
    }
    writeln!(out, "peak memory {}", data::peak_memory()).expect("stdout takes a line");
}

struct Sweep {
    cluster: Cluster,
    workload: Workload,
    mix: Workload,
}

impl Sweep {
    fn new(data: &Data, (trace, mix): (&str, Option<&str>)) -> Self {
        let cluster = data.cluster();
        let workload = data.workload(&cluster, trace);
        let mix = data.workload(&cluster, mix.unwrap_or(trace));
        Self { cluster, workload, mix }
    }

    fn run(&self, name: PolicyName, seed: u64) -> (Findings, f64) {
        let arrivals = Arrivals::new(&self.cluster, &self.workload, (Order::Published, seed));
        let policy = name.build(self.cluster.fleet(), self.mix.mix(), seed);
        let mut replay = Replay::new(&self.cluster, &self.workload, (&arrivals, &*policy));
        let begun = Instant::now();
        for &pod in arrivals.pods() {
            replay.arrive(pod);
        }
        let seconds = begun.elapsed().as_secs_f64();
        (replay.findings(), arrivals.pods().len() as f64 / seconds)
    }
}

fn describe(
    (trace, policy): (&str, PolicyName),
    outcomes: &[Findings],
    per_s: &[f64],
    fgd: Option<&Vec<Findings>>,
) -> String {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let at = |percent: usize| -> Vec<f64> {
        outcomes.iter().map(|findings| findings.allocation_percent[percent]).collect()
    };
    let deviation = |values: &[f64]| {
        let middle = mean(values);
        let squares = values.iter().map(|value| (value - middle).powi(2)).sum::<f64>();
        (squares / (values.len() as f64 - 1.0).max(1.0)).sqrt()
    };
    let rejected: u64 = outcomes
        .iter()
        .flat_map(|findings| findings.classes.values())
        .map(|counts| counts.rejected)
        .sum();
    let placed: u64 = outcomes.iter().map(Findings::placed).sum();
    let seeds = outcomes.len() as u64;
    let worst = fgd.filter(|_| policy == PolicyName::BidPrice).map(|fgd| worst(outcomes, fgd));
    let worst =
        worst.map_or_else(String::new, |(by, percent)| format!(", worst {by:+.2} at {percent} %"));
    format!(
        "{trace:<12} {:<12} {:.2} ± {:.2} / {:.2} ± {:.2}, placed {}, rejected {}, {:.0}/s{worst}",
        policy.as_str(),
        mean(&at(100)),
        deviation(&at(100)),
        mean(&at(PERCENT_MAX)),
        deviation(&at(PERCENT_MAX)),
        placed / seeds,
        rejected / seeds,
        mean(per_s),
    )
}

/// The column where the policy is furthest below the other, seed by seed.
fn worst(outcomes: &[Findings], other: &[Findings]) -> (f64, usize) {
    let differences = outcomes.iter().zip(other).flat_map(|(one, other)| {
        (1..=PERCENT_MAX).map(|percent| {
            (one.allocation_percent[percent] - other.allocation_percent[percent], percent)
        })
    });
    differences.min_by(|(one, _), (other, _)| one.total_cmp(other)).unwrap_or_default()
}

/// How far the curves are from the published ones, where those are there.
fn against_published(
    data: &Data,
    (trace, policy): (&str, PolicyName),
    (seeds, outcomes): (&[u64], &[Findings]),
) -> String {
    let published = data.published(trace, policy);
    let mut most: Option<f64> = None;
    for (seed, findings) in seeds.iter().zip(outcomes) {
        if let Some(expected) = published.get(seed) {
            for (found, expected) in findings.allocation_percent.iter().zip(expected) {
                most = Some(most.unwrap_or_default().max((found - expected).abs()));
            }
        }
    }
    most.map_or_else(String::new, |most| format!(", {most:.3} off what was published"))
}

fn policies(list: &str) -> Vec<PolicyName> {
    let named =
        |policy: &PolicyName| list == "all" || list.split(',').any(|it| it == policy.as_str());
    PolicyName::ALL.into_iter().filter(named).collect()
}

fn seeds(list: &str) -> Vec<u64> {
    let number = |text: &str| text.parse::<u64>().expect("a seed is a number");
    let range = |part: &str| match part.split_once('-') {
        Some((first, last)) => number(first)..=number(last),
        None => number(part)..=number(part),
    };
    list.split(',').flat_map(range).collect()
}
