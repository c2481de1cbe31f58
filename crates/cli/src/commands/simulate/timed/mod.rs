//! `cotenant simulate --arrival timed`: jobs come and go when the trace says, and wait.

mod page;
mod screen;
mod way;

use std::process::ExitCode;

use cotenant_sched::policy::PolicyName;
use cotenant_sched::replay::Cluster;
use cotenant_sched::replay::timed::{
    Beyond, Setting, Stream, fewest_nodes, replay, replay_within, unplaceable,
};

use super::page::Subject;
use super::run::{bar, policies};
use super::traces::{FileError, Traces};
use super::write_page;
use crate::args::simulate::SimulateArgs;
use crate::commands::Ended;
use crate::console::Console;
use way::{Outcome, Way};

/// What all ways have in common.
struct Course<'a> {
    arguments: &'a SimulateArgs,
    traces: &'a Traces,
    stream: Stream,
}

/// Replays the trace in time with each policy and seed.
pub(super) fn run(arguments: &SimulateArgs, traces: &Traces, console: &Console) -> Ended {
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
    let course = Course { arguments, traces, stream };
    let ways = course.ways(console)?;
    if let Some(file) = &arguments.html {
        let page = page::render(&Subject::new(arguments, traces), arguments, &ways);
        write_page((file, &page), console)?;
    }
    console.data(&screen::json(&course.stream, &ways), || screen::text(arguments, &ways))?;
    Ok(ExitCode::SUCCESS)
}

impl Course<'_> {
    fn ways(&self, console: &Console) -> Result<Vec<Way>, String> {
        let mut beyond = self.arguments.beyond.clone();
        beyond.sort_unstable();
        beyond.dedup();
        let all = policies(self.arguments).into_iter().flat_map(|policy| {
            let beyond = beyond.iter().filter(move |it| it.goes_with(policy));
            beyond.map(move |&beyond| (policy, beyond))
        });
        let all: Vec<(PolicyName, Beyond)> = all.collect();
        if all.is_empty() {
            let hint = "hint: departures go with bid-price only, the rest with all policies";
            return Err(format!("find a policy for what is asked beside it\n{hint}"));
        }
        let seeds = &self.arguments.seeds.0;
        let bar = bar((all.len() * seeds.len()) as u64, console);
        let way = |(policy, beyond): (PolicyName, Beyond)| {
            let outcome = |&seed: &u64| {
                bar.set_message(format!("{}, {beyond}, seed {seed}", policy.as_str()));
                let outcome = self.outcome((policy, beyond), seed);
                bar.inc(1);
                outcome
            };
            Way { policy, beyond, seeds: seeds.iter().map(outcome).collect() }
        };
        let ways = all.into_iter().map(way).collect();
        bar.finish_and_clear();
        Ok(ways)
    }

    fn outcome(&self, way: (PolicyName, Beyond), seed: u64) -> Outcome {
        let all = self.traces.cluster.nodes();
        let most = self.arguments.keep.map_or(all, |keep| all.min(keep as usize));
        let findings = self.with(way, (most, seed), replay);
        let fewest_cards = self.arguments.wait_s.and_then(|wait_s| {
            // What the whole cluster can run, the smaller one has to run as well.
            let most = self.with(way, (all, seed), |setting| unplaceable(&setting));
            let holds = |nodes| {
                self.with(way, (nodes, seed), |setting| {
                    unplaceable(&setting) <= most && replay_within(setting, wait_s).is_some()
                })
            };
            let nodes = fewest_nodes(all, holds)?;
            Some(self.cluster(nodes, seed).fleet().compute() / 1000)
        });
        Outcome { seed, findings, fewest_cards }
    }

    fn cluster(&self, nodes: usize, seed: u64) -> Cluster {
        self.traces.cluster.keep(nodes, seed)
    }

    fn with<T>(
        &self,
        (name, beyond): (PolicyName, Beyond),
        (nodes, seed): (usize, u64),
        run: impl FnOnce(Setting<'_>) -> T,
    ) -> T {
        let cluster = self.cluster(nodes, seed);
        let policy = name.build(cluster.fleet(), self.traces.mix().mix(), seed);
        run(Setting {
            cluster: &cluster,
            workload: &self.traces.workload,
            stream: &self.stream,
            policy: &*policy,
            seed,
            beyond,
            move_s: self.arguments.move_s,
        })
    }
}
