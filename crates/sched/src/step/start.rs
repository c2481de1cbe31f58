//! From a plan to running: slices are taken, machines are told, machines answer.

use cotenant_types::{JobId, MemberSlices, Moment, NodeName};

use super::Step;
use crate::event::{Command, Exit, News, Outcome, Run, StartFailure};
use crate::plan::{Plan, Preemption, Start};
use crate::pressure::Pressure;
use crate::state::{AfterStop, Held, Job, Phase};

/// How long a machine has to answer before it is told again.
pub(super) const ANSWER_MS: u64 = 10_000;

impl Step<'_> {
    pub(super) fn on_planned(&mut self, plan: Plan) {
        for start in plan.starts {
            self.place(start);
        }
        for preemption in plan.preemptions {
            self.make_room(&preemption);
        }
    }

    /// Gives a job its slices, unless it no longer waits or somebody else has them.
    fn place(&mut self, Start { job: id, placement }: Start) {
        let Some(job) = self.state.jobs.get(&id) else { return };
        let waits = matches!(job.phase, Phase::Queued { not_before } if not_before <= self.now);
        if !waits || !self.state.ledger_mut().try_take(&placement) {
            self.effects.wants_plan = true;
            return;
        }
        let job = self.state.jobs.get_mut(&id).expect("it was there");
        job.generation = job.generation.next();
        let held = Held::new(placement);
        let silent = held.nodes();
        let (since, again) = (self.now, self.now.after_ms(ANSWER_MS));
        job.phase = Phase::Starting { held, since, silent, again };
        self.touch(id);
        self.say(News::JobPlaced(id));
        self.order_start(id);
    }

    /// Tells every machine that has not answered to start its part.
    pub(super) fn order_start(&mut self, id: JobId) {
        let job = &self.state.jobs[&id];
        let Phase::Starting { held, silent, .. } = &job.phase else { return };
        let commands: Vec<Command> = parts(job, &held.placement.0)
            .filter(|(run, ..)| silent.contains(&run.node))
            .map(|(run, first_member, members)| Command::Start {
                run,
                first_member,
                members,
                members_all: held.placement.0.len() as u32,
            })
            .collect();
        self.effects.commands.extend(commands);
    }

    fn make_room(&mut self, preemption: &Preemption) {
        let Preemption { victim, generation, beneficiary } = preemption;
        let Some(job) = self.state.jobs.get(victim) else { return };
        let runs = matches!(job.phase, Phase::Running { .. });
        if runs && job.generation == *generation {
            let why = format!("to make room for job {beneficiary}");
            self.stop(*victim, AfterStop::Requeue, why);
        }
    }

    pub(super) fn on_started(&mut self, run: &Run) {
        let now = self.now;
        let Some(job) = self.current(run) else { return self.disown(run) };
        let Phase::Starting { held, silent, .. } = &mut job.phase else { return };
        silent.remove(&run.node);
        if !silent.is_empty() {
            return self.touch(run.job);
        }
        job.phase = Phase::Running {
            held: held.clone(),
            since: now,
            busy: now,
            notice: None,
            is_squeezed: false,
            pressure: Pressure::default(),
        };
        self.touch(run.job);
        self.say(News::JobStarted(run.job));
        self.relieve_neighbours();
    }

    pub(super) fn on_start_failed(&mut self, run: &Run, why: &StartFailure) {
        let Some(job) = self.current(run) else { return };
        match &mut job.phase {
            Phase::Queued { .. } | Phase::Running { .. } => return,
            Phase::Starting { held, .. } | Phase::Stopping { held, .. } => {
                held.exits.insert(run.node.clone(), Exit::Lost);
            }
        }
        self.touch(run.job);
        if matches!(self.state.jobs[&run.job].phase, Phase::Starting { .. }) {
            let then = match why {
                StartFailure::Broken(_) => AfterStop::Retry(Outcome::Failed),
                StartFailure::Busy(_) => AfterStop::Postpone,
            };
            self.stop(run.job, then, format!("{} could not start it: {}", run.node, why.words()));
        }
        self.settle(run.job);
    }

    /// The job that a machine means, if it still is at that start.
    pub(super) fn current(&mut self, run: &Run) -> Option<&mut Job> {
        let job = self.state.jobs.get_mut(&run.job)?;
        (job.generation == run.generation && job.held()?.nodes().contains(&run.node)).then_some(job)
    }

    /// A machine runs something that nobody wants any more.
    pub(super) fn disown(&mut self, run: &Run) {
        self.order(Command::Kill { run: run.clone() });
    }
}

/// What each machine has of a job: its run, the number of its first member there, and its members.
pub(super) fn parts<'a>(
    job: &'a Job,
    members: &'a [MemberSlices],
) -> impl Iterator<Item = (Run, u32, Vec<MemberSlices>)> + 'a {
    let mut first = 0;
    members.chunk_by(|a, b| a.node == b.node).map(move |chunk| {
        let at = first;
        first += chunk.len() as u32;
        (run_of(job, &chunk[0].node), at, chunk.to_vec())
    })
}

/// A machine's part of the job's present start.
pub(super) fn run_of(job: &Job, node: &NodeName) -> Run {
    Run { job: job.id, generation: job.generation, node: node.clone() }
}

/// When a job that failed is tried again: after 1 s, then twice as long each time, at most 5 min.
pub(super) fn backoff(job: &Job, now: Moment) -> Moment {
    let failures = job.terms.retries - job.retries_left;
    now.after_ms((1_000u64 << failures.min(9)).min(300_000))
}
