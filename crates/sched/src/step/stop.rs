//! From running to the end, or back to waiting: machines are told, and nothing is free before they
//! say that it is.

use cotenant_types::{JobId, Moment, Preempt, Seconds, Signal};

use super::Step;
use super::start::{ANSWER_MS, backoff};
use crate::event::{Command, Exit, News, Outcome, Refusal};
use crate::state::{AfterStop, Job, Phase};

/// How long a job waits whose card could not be made ready.
const POSTPONED_MS: u64 = 10_000;

/// What a job that names no way to be stopped gets.
const STOP: Preempt = Preempt { signal: Signal::Term, grace: Seconds(10) };

impl Step<'_> {
    pub(super) fn on_cancel_requested(&mut self, id: JobId) -> Result<(), Refusal> {
        let job = self.state.jobs.get(&id).ok_or(Refusal::UnknownJob(id))?;
        match job.phase {
            Phase::Queued { .. } => self.end(id, Outcome::Cancelled),
            Phase::Starting { .. } | Phase::Running { .. } | Phase::Stopping { .. } => {
                self.stop(id, AfterStop::End(Outcome::Cancelled), "as was asked for".to_owned());
            }
        }
        Ok(())
    }

    /// Tells a job's machines to end it. Of a job that is ending already only what follows may
    /// change: that it ends for good goes before all else. How its parts end meanwhile does not
    /// count, for they were told to.
    pub(super) fn stop(&mut self, id: JobId, then: AfterStop, why: String) {
        let again = self.now.after(stop_of(&self.state.jobs[&id]).grace).after_ms(ANSWER_MS);
        let job = self.state.jobs.get_mut(&id).expect("a job that is stopped is alive");
        match &mut job.phase {
            Phase::Queued { .. } => return,
            Phase::Stopping { then: already, .. } => {
                if matches!(then, AfterStop::End(_)) && !matches!(already, AfterStop::End(_)) {
                    *already = then;
                    self.touch(id);
                }
                return;
            }
            Phase::Starting { held, .. } | Phase::Running { held, .. } => {
                let held = held.clone();
                job.phase = Phase::Stopping { held, then, again, fenced: Moment::NEVER };
            }
        }
        self.touch(id);
        self.say(News::JobStopping(id, why));
        self.order_stop(id);
        self.effects.wants_plan = true;
    }

    /// Tells every machine where a part may still run to end it.
    pub(super) fn order_stop(&mut self, id: JobId) {
        let job = &self.state.jobs[&id];
        let Preempt { signal, grace } = stop_of(job);
        let runs = job.runs();
        self.effects.commands.extend(runs.into_iter().map(|run| Command::Stop {
            run,
            signal,
            grace,
        }));
    }

    /// Does what follows once no machine runs a part of the job any more.
    pub(super) fn settle(&mut self, id: JobId) {
        let Some(job) = self.state.jobs.get_mut(&id) else { return };
        let Some(held) = job.held() else { return };
        if held.nodes_left().next().is_some() {
            return;
        }
        let worst = held.exits.values().max_by_key(|exit| exit.gravity()).cloned();
        let then = match &job.phase {
            Phase::Stopping { then, .. } => then.clone(),
            Phase::Queued { .. } | Phase::Starting { .. } | Phase::Running { .. } => {
                after_exit(worst.as_ref())
            }
        };
        match then {
            AfterStop::Requeue => {
                self.requeue(id, Moment(0), "it was stopped, and waits again".to_owned());
            }
            AfterStop::Postpone => {
                let at = self.now.after_ms(POSTPONED_MS);
                self.requeue(id, at, "its card was not ready; it is tried again".to_owned());
            }
            AfterStop::Retry(outcome) if job.retries_left > 0 => {
                let at = backoff(job, self.now);
                job.retries_left -= 1;
                let left = job.retries_left;
                self.requeue(id, at, format!("{}; {left} attempts are left", outcome.name()));
            }
            AfterStop::Retry(outcome) | AfterStop::End(outcome) => self.end(id, outcome),
        }
    }
}

/// How a job is stopped.
fn stop_of(job: &Job) -> Preempt {
    job.terms.preempt.unwrap_or(STOP)
}

/// What an exit that nobody asked for leads to.
pub(super) fn after_exit(worst: Option<&Exit>) -> AfterStop {
    match worst {
        Some(Exit::Code(0)) => AfterStop::End(Outcome::Succeeded),
        Some(Exit::Code(_) | Exit::Signal(_)) => AfterStop::Retry(Outcome::Failed),
        Some(Exit::OutOfMemory) => AfterStop::Retry(Outcome::OutOfMemory),
        Some(Exit::Lost) | None => AfterStop::Retry(Outcome::Lost),
    }
}
