//! One event changes the state, and says what is to be done about it.
//!
//! Every handler is total: news of a start that is over changes nothing, and whatever a machine
//! says twice means the same as once.

mod colocate;
mod pool;
mod run;
mod start;
mod stop;
mod submit;
mod tick;

use std::collections::BTreeSet;

use cotenant_types::{JobId, Moment};

use crate::event::{Command, Event, News, Outcome, Refusal};
use crate::state::{EndedJob, Phase, State};

/// What an event brought about, beside the state itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// What is to be done, in this order.
    pub commands: Vec<Command>,
    /// What is worth a line in the log.
    pub news: Vec<News>,
    /// Jobs that are not what they were, and have not ended.
    pub touched: BTreeSet<JobId>,
    /// Jobs whose life is over; the state no longer knows them.
    pub ended: Vec<EndedJob>,
    /// Whether a new plan may find something to do.
    pub wants_plan: bool,
}

/// Takes in an event. A refusal has changed nothing.
pub fn step(state: &mut State, now: Moment, event: Event) -> Result<Effects, Refusal> {
    let mut step = Step { state, now, effects: Effects::default() };
    match event {
        Event::TenantSet { tenant, quota } => step.on_tenant_set(tenant, quota)?,
        Event::JobSubmitted { job, terms } => step.on_job_submitted(job, terms)?,
        Event::CancelRequested { job } => step.on_cancel_requested(job)?,
        Event::ResizeRequested { job, ask } => step.on_resize_requested(job, ask)?,
        Event::CardsReported { node, cards } => step.on_cards_reported(&node, cards),
        Event::FailingReported { node, cards } => step.on_failing_reported(&node, &cards),
        Event::DrainSet { node, is_draining } => step.on_drain_set(node, is_draining)?,
        Event::Started { run } => step.on_started(&run),
        Event::StartFailed { run, why } => step.on_start_failed(&run, &why),
        Event::Exited { run, exit, peak: _ } => step.on_exited(&run, exit),
        Event::RunsReported { node, runs } => step.on_runs_reported(&node, &runs),
        Event::NodeLost { node } => step.on_node_lost(&node),
        Event::JobBusy { job } => step.on_job_busy(job),
        Event::LoadReported { job, load } => step.on_load_reported(job, load)?,
        Event::Planned(plan) => step.on_planned(plan),
        Event::Ticked => step.on_ticked(),
    }
    Ok(step.effects)
}

/// An event being taken in.
struct Step<'a> {
    state: &'a mut State,
    now: Moment,
    effects: Effects,
}

impl Step<'_> {
    fn touch(&mut self, job: JobId) {
        self.effects.touched.insert(job);
    }

    fn say(&mut self, news: News) {
        self.effects.news.push(news);
    }

    fn order(&mut self, command: Command) {
        self.effects.commands.push(command);
    }

    /// Ends a job's life: its slices are free, and the state forgets it.
    fn end(&mut self, id: JobId, outcome: Outcome) {
        let job = self.state.jobs.remove(&id).expect("a job that ends is alive");
        if let Some(placement) = job.placement() {
            self.state.release(placement);
            self.effects.wants_plan = true;
        }
        self.effects.touched.remove(&id);
        self.say(News::JobEnded(id, outcome));
        self.effects.ended.push(EndedJob { job, outcome });
        self.relieve_neighbours();
    }

    /// Puts a job back among those that wait: its slices are free.
    fn requeue(&mut self, id: JobId, not_before: Moment, why: String) {
        let job = self.state.jobs.get_mut(&id).expect("a job that waits again is alive");
        let phase = std::mem::replace(&mut job.phase, Phase::Queued { not_before });
        if let Some(held) = phase.held() {
            self.state.release(&held.placement);
        }
        self.effects.wants_plan = true;
        self.touch(id);
        self.say(News::JobRequeued(id, why));
        self.relieve_neighbours();
    }
}
