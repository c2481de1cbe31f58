//! `cotenant simulate --arrival timed`: jobs come and go when the trace says, and wait.

use std::process::ExitCode;

use cotenant_sched::policy::PolicyName;
use cotenant_sched::replay::Cluster;
use cotenant_sched::replay::timed::{Beyond, Setting, Stream, TimedFindings, fewest_nodes, replay};
use serde_json::{Value, json};

use super::run::policies;
use super::traces::{FileError, Traces};
use crate::args::simulate::SimulateArgs;
use crate::commands::Ended;
use crate::console::Console;
use crate::table::table;

/// A policy, and what is done beside it.
struct Way {
    policy: PolicyName,
    beyond: Beyond,
    seeds: Vec<Outcome>,
}

/// What came of a seed.
struct Outcome {
    seed: u64,
    findings: TimedFindings,
    /// Cards of the smallest cluster that keeps the wait, where it was asked for; none if the whole
    /// cluster does not.
    fewest_cards: Option<u64>,
}

/// What all ways have in common.
struct Subject<'a> {
    arguments: &'a SimulateArgs,
    traces: &'a Traces,
    stream: Stream,
}

/// Replays the trace in time with each policy and seed.
pub(super) fn run(arguments: &SimulateArgs, traces: &Traces, console: &Console) -> Ended {
    if arguments.html.is_some() {
        let hint = "hint: leave out --html, or take --json";
        return Err(format!("write a page of a replay in time: there is none yet\n{hint}").into());
    }
    let stream = Stream::new(&traces.workload, arguments.load).map_err(|error| FileError {
        act: "read the times",
        file: arguments.tables().1.to_owned(),
        source: error.into(),
    })?;
    console.say(&format!(
        "{} jobs never ran in the trace and run here from when they came to when they were deleted; \
         {} rows have no times and are left out",
        stream.never_scheduled(),
        stream.without_times()
    ));
    let subject = Subject { arguments, traces, stream };
    let mut ways = Vec::new();
    for policy in policies(arguments) {
        let beyond = Beyond::ALL.into_iter();
        let is_asked = |it: &Beyond| arguments.beyond.iter().any(|asked| asked.beyond() == *it);
        for beyond in beyond.filter(is_asked).filter(|it| it.goes_with(policy)) {
            let outcome = |&seed: &u64| subject.outcome((policy, beyond), seed);
            let seeds = arguments.seeds.0.iter().map(outcome).collect();
            ways.push(Way { policy, beyond, seeds });
        }
    }
    if ways.is_empty() {
        let hint = "hint: departures and both go with bid-price, nothing and moves with all";
        return Err(format!("find a policy for what is asked beside it\n{hint}").into());
    }
    console.data(&subject.json(&ways), || subject.text(&ways))?;
    Ok(ExitCode::SUCCESS)
}

impl Subject<'_> {
    fn outcome(&self, way: (PolicyName, Beyond), seed: u64) -> Outcome {
        let all = self.traces.cluster.nodes();
        let most = self.arguments.keep.map_or(all, |keep| all.min(keep as usize));
        let findings = self.replay(way, (most, seed));
        let fewest_cards = self.arguments.wait_s.and_then(|wait_s| {
            // What the whole cluster can run, the smaller one has to run as well.
            let unplaceable = self.replay(way, (all, seed)).unplaceable;
            let holds = |nodes| {
                let found = self.replay(way, (nodes, seed));
                let mean_ms = found.waits.mean_ms;
                found.unplaceable <= unplaceable && mean_ms <= wait_s.saturating_mul(1000)
            };
            let nodes = fewest_nodes(all, holds)?;
            Some(self.cluster(nodes, seed).fleet().compute() / 1000)
        });
        Outcome { seed, findings, fewest_cards }
    }

    fn cluster(&self, nodes: usize, seed: u64) -> Cluster {
        self.traces.cluster.keep(nodes, seed)
    }

    fn replay(
        &self,
        (name, beyond): (PolicyName, Beyond),
        (nodes, seed): (usize, u64),
    ) -> TimedFindings {
        let cluster = self.cluster(nodes, seed);
        let policy = name.build(cluster.fleet(), self.traces.mix().mix(), seed);
        replay(Setting {
            cluster: &cluster,
            workload: &self.traces.workload,
            stream: &self.stream,
            policy: &*policy,
            seed,
            beyond,
            move_s: self.arguments.move_s,
        })
    }

    fn json(&self, ways: &[Way]) -> Value {
        let seed = |Outcome { seed, findings, fewest_cards }: &Outcome| {
            json!({
                "seed": seed,
                "jobs": findings.waits.jobs,
                "wait_mean_ms": findings.waits.mean_ms,
                "wait_percentiles_s": findings.waits.percentiles_s,
                "slowdown_milli": findings.slowdown_milli,
                "use_ten_thousandths": findings.use_ten_thousandths,
                "use_curve_ten_thousandths": findings.use_curve,
                "queue_peak": findings.queue_peak,
                "unplaceable": findings.unplaceable,
                "moves": findings.moves,
                "lost_card_s": findings.lost_card_s,
                "fewest_cards": fewest_cards,
            })
        };
        let way = |way: &Way| {
            json!({
                "policy": way.policy.as_str(),
                "beyond": way.beyond.as_str(),
                "seeds": way.seeds.iter().map(seed).collect::<Vec<_>>(),
            })
        };
        json!({
            "never_scheduled": self.stream.never_scheduled(),
            "without_times": self.stream.without_times(),
            "ways": ways.iter().map(way).collect::<Vec<_>>(),
        })
    }

    fn text(&self, ways: &[Way]) -> String {
        let mut header = vec![
            "policy",
            "beyond",
            "wait s",
            "median",
            "p95",
            "p99",
            "slowdown",
            "use %",
            "queue",
            "unplaceable",
            "moves",
            "lost card-s",
        ];
        header.extend(self.arguments.wait_s.map(|_| "fewest cards"));
        let rows: Vec<Vec<String>> = ways.iter().map(|way| self.row(way)).collect();
        table(&header, &rows)
    }

    fn row(&self, way: &Way) -> Vec<String> {
        let mean = |figure: &dyn Fn(&TimedFindings) -> u64| {
            let sum: u64 = way.seeds.iter().map(|outcome| figure(&outcome.findings)).sum();
            sum as f64 / way.seeds.len() as f64
        };
        let percentile = |at| format!("{:.1}", mean(&|it| it.waits.percentile_s(at)));
        let mut row = vec![
            way.policy.as_str().to_owned(),
            way.beyond.as_str().to_owned(),
            format!("{:.1}", mean(&|it| it.waits.mean_ms) / 1000.0),
            percentile(50),
            percentile(95),
            percentile(99),
            format!("{:.2}", mean(&|it| it.slowdown_milli) / 1000.0),
            format!("{:.2}", mean(&|it| it.use_ten_thousandths) / 100.0),
            format!("{:.1}", mean(&|it| it.queue_peak)),
            format!("{:.1}", mean(&|it| it.unplaceable)),
            format!("{:.1}", mean(&|it| it.moves)),
            format!("{:.0}", mean(&|it| it.lost_card_s)),
        ];
        if self.arguments.wait_s.is_some() {
            let cards: Option<u64> = way.seeds.iter().map(|outcome| outcome.fewest_cards).sum();
            row.push(cards.map_or("none".to_owned(), |cards| {
                format!("{:.1}", cards as f64 / way.seeds.len() as f64)
            }));
        }
        row
    }
}
