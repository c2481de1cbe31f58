//! Runs the replays, one after another on one thread, so that the times compare.

use std::time::{Duration, Instant};

use cotenant_sched::policy::PolicyName;
use cotenant_sched::replay::{Arrivals, Findings, Order, Replay};
use indicatif::{ProgressBar, ProgressStyle};

use super::traces::Traces;
use crate::args::simulate::SimulateArgs;
use crate::console::Console;

/// What came of a policy's replays.
pub(super) struct PolicyResult {
    pub(super) policy: PolicyName,
    pub(super) seeds: Vec<(u64, Findings)>,
    decisions: u64,
    took: Duration,
}

/// Arrivals between two looks at the progress.
const STRIDE: usize = 1024;

/// Replays the trace with every policy and seed.
pub(super) fn replay_all(
    arguments: &SimulateArgs,
    (traces, order): (&Traces, Order),
    console: &Console,
) -> Vec<PolicyResult> {
    let policies = policies(arguments);
    let seeds = &arguments.seeds.0;
    let bar = bar((policies.len() * seeds.len()) as u64, console);
    let mut results: Vec<PolicyResult> = policies
        .into_iter()
        .map(|policy| PolicyResult {
            policy,
            seeds: Vec::new(),
            decisions: 0,
            took: Duration::ZERO,
        })
        .collect();
    // An order of arrival is worth keeping for all policies, and policies for all seeds are not.
    for &seed in seeds {
        let arrivals = Arrivals::new(&traces.cluster, &traces.workload, (order, seed));
        for result in &mut results {
            bar.set_message(format!("{}, seed {seed}", result.policy.as_str()));
            result.add(traces, (seed, &arrivals), &bar);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    results
}

impl PolicyResult {
    /// Decisions a second, over all seeds.
    pub(super) fn decisions_per_s(&self) -> f64 {
        self.decisions as f64 / self.took.as_secs_f64().max(1e-9)
    }

    fn add(&mut self, traces: &Traces, (seed, arrivals): (u64, &Arrivals), bar: &ProgressBar) {
        let fleet = traces.cluster.fleet();
        let policy = self.policy.build(fleet, traces.mix().mix(), seed);
        let mut replay = Replay::new(&traces.cluster, &traces.workload, (arrivals, &*policy));
        for pods in arrivals.pods().chunks(STRIDE) {
            let begun = Instant::now();
            for &pod in pods {
                replay.arrive(pod);
            }
            self.took += begun.elapsed();
            bar.tick();
        }
        self.decisions += arrivals.pods().len() as u64;
        self.seeds.push((seed, replay.findings()));
    }
}

/// The policies that are asked for; all if none is named.
pub(super) fn policies(arguments: &SimulateArgs) -> Vec<PolicyName> {
    match arguments.policy.as_slice() {
        [] => PolicyName::ALL.to_vec(),
        named => distinct(named.iter().map(|policy| policy.name())),
    }
}

/// The policies in the order in which they were named first.
fn distinct(named: impl Iterator<Item = PolicyName>) -> Vec<PolicyName> {
    let mut policies = Vec::new();
    for policy in named {
        if !policies.contains(&policy) {
            policies.push(policy);
        }
    }
    policies
}

/// The progress of so many replays.
pub(super) fn bar(replays: u64, console: &Console) -> ProgressBar {
    let bar = if console.quiet { ProgressBar::hidden() } else { ProgressBar::new(replays) };
    let template = "{msg} {wide_bar} {pos}/{len} {elapsed} left {eta}";
    bar.with_style(ProgressStyle::with_template(template).expect("a template of our own"))
}
