//! What machines say of the jobs that they run.

use std::collections::BTreeSet;

use cotenant_types::{Generation, JobId, NodeName};

use super::Step;
use super::start::run_of;
use super::stop::after_exit;
use crate::event::{Exit, Run};
use crate::state::{AfterStop, Phase};

/// How long a machine that no longer answers may go on with what it runs: its workers end
/// themselves when nobody has renewed their lease for so long.
const LEASE_MS: u64 = 60_000;

impl Step<'_> {
    pub(super) fn on_exited(&mut self, run: &Run, exit: Exit) {
        let Some(job) = self.current(run) else { return };
        match &mut job.phase {
            Phase::Queued { .. } => return,
            Phase::Starting { held, silent, .. } => {
                silent.remove(&run.node);
                held.exits.insert(run.node.clone(), exit.clone());
            }
            Phase::Running { held, .. } | Phase::Stopping { held, .. } => {
                held.exits.insert(run.node.clone(), exit.clone());
            }
        }
        self.touch(run.job);
        let is_bad = exit != Exit::Code(0);
        let job = &self.state.jobs[&run.job];
        let others_run = job.held().is_some_and(|held| held.nodes_left().next().is_some());
        if is_bad && others_run {
            // A gang stands and falls together.
            self.stop(run.job, after_exit(Some(&exit)), format!("on {} it {exit}", run.node));
        }
        self.settle(run.job);
    }

    /// Whatever a machine runs that it should not is killed, and whatever it should run and does
    /// not is gone, but for starts that it may not have heard of.
    pub(super) fn on_runs_reported(&mut self, node: &NodeName, runs: &[(JobId, Generation)]) {
        let reported: BTreeSet<(JobId, Generation)> = runs.iter().copied().collect();
        for &(job, generation) in &reported {
            let run = Run { job, generation, node: node.clone() };
            match self.current(&run).map(|job| &mut job.phase) {
                None | Some(Phase::Queued { .. }) => self.disown(&run),
                Some(Phase::Starting { .. }) => self.on_started(&run),
                Some(Phase::Running { .. }) => {}
                // The machine answers again: it is told to stop, rather than taken to be fenced.
                Some(Phase::Stopping { fenced, .. }) => {
                    *fenced = cotenant_types::Moment::NEVER;
                    self.touch(job);
                    self.order_stop(job);
                }
            }
        }
        let holds = |job: &&crate::state::Job| {
            let runs = matches!(job.phase, Phase::Running { .. } | Phase::Stopping { .. });
            let here = job.held().is_some_and(|held| held.nodes_left().any(|left| left == *node));
            runs && here && !reported.contains(&(job.id, job.generation))
        };
        let gone: Vec<Run> =
            self.state.jobs.values().filter(holds).map(|job| run_of(job, node)).collect();
        for run in gone {
            self.on_exited(&run, Exit::Lost);
        }
    }

    /// Nobody knows what becomes of the machine's jobs. Their slices are kept until the lease of
    /// their workers is over, so that nothing runs twice.
    pub(super) fn on_node_lost(&mut self, node: &NodeName) {
        let here = |job: &&crate::state::Job| {
            job.held().is_some_and(|held| held.nodes_left().any(|left| left == *node))
        };
        let lost: Vec<JobId> = self.state.jobs.values().filter(here).map(|job| job.id).collect();
        let fence = self.now.after_ms(LEASE_MS);
        for id in lost {
            let then = AfterStop::Retry(crate::event::Outcome::Lost);
            self.stop(id, then, format!("{node} no longer answers"));
            if let Some(job) = self.state.jobs.get_mut(&id)
                && let Phase::Stopping { fenced, .. } = &mut job.phase
            {
                *fenced = fence.min(*fenced);
            }
            self.touch(id);
        }
        let names = |record: &crate::state::CardRecord| record.card.node == *node;
        let cards = self.state.cards.values().filter(|record| names(record));
        let is_known = cards.count() > 0;
        if is_known {
            self.on_cards_reported(node, Vec::new());
        }
    }
}
