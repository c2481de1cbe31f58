//! What only time brings about: limits, deadlines, idleness, and answers that never came.

use cotenant_types::{JobId, Moment};

use super::Step;
use super::start::ANSWER_MS;
use crate::event::{Command, Exit, News, Outcome};
use crate::state::{AfterStop, Phase};

impl Step<'_> {
    pub(super) fn on_ticked(&mut self) {
        let ids: Vec<JobId> = self.state.jobs.keys().copied().collect();
        for id in ids {
            self.tick(id);
        }
    }

    fn tick(&mut self, id: JobId) {
        let now = self.now;
        let job = self.state.jobs.get_mut(&id).expect("ticking one job ends no other");
        let is_missed = job.terms.deadline.is_some_and(|deadline| deadline <= now);
        match &mut job.phase {
            Phase::Queued { .. } if is_missed => self.end(id, Outcome::Missed),
            Phase::Queued { not_before } => {
                if Moment(0) < *not_before && *not_before <= now {
                    *not_before = Moment(0);
                    self.effects.wants_plan = true;
                    self.touch(id);
                }
            }
            Phase::Starting { .. } | Phase::Running { .. } if is_missed => {
                self.stop(id, AfterStop::End(Outcome::Missed), "its deadline went by".to_owned());
            }
            Phase::Starting { again, .. } => {
                if *again <= now {
                    *again = now.after_ms(ANSWER_MS);
                    self.touch(id);
                    self.order_start(id);
                }
            }
            Phase::Running { since, pressure, .. } => {
                let is_over = job.terms.time_limit.is_some_and(|limit| since.after(limit) <= now);
                match is_over {
                    true => {
                        let then = AfterStop::End(Outcome::TimedOut);
                        self.stop(id, then, "its time is over".to_owned());
                    }
                    false => {
                        let heard = pressure.at(now);
                        self.set_pressure(id, heard);
                        self.tick_idle(id);
                    }
                }
            }
            Phase::Stopping { .. } => self.tick_stopping(id),
        }
    }

    fn tick_idle(&mut self, id: JobId) {
        let now = self.now;
        let job = self.state.jobs.get_mut(&id).expect("it was there");
        let Some(idle) = job.terms.idle else { return };
        let Phase::Running { busy, notice, .. } = &mut job.phase else { return };
        match notice {
            Some(at) if *at <= now => {
                let why = "it did nothing, and its notice is over".to_owned();
                self.stop(id, AfterStop::End(Outcome::Reclaimed), why);
            }
            None if busy.after(idle.after) <= now => {
                let at = now.after(idle.notice);
                *notice = Some(at);
                let runs = job.runs().into_iter();
                self.effects.commands.extend(runs.map(|run| Command::GiveNotice { run, at }));
                self.touch(id);
                self.say(News::JobIdle(id));
            }
            Some(_) | None => {}
        }
    }

    fn tick_stopping(&mut self, id: JobId) {
        let now = self.now;
        let job = self.state.jobs.get_mut(&id).expect("it was there");
        let Phase::Stopping { held, again, fenced, .. } = &mut job.phase else { return };
        if *fenced <= now {
            let nodes: Vec<_> = held.nodes_left().collect();
            held.exits.extend(nodes.into_iter().map(|node| (node, Exit::Lost)));
            self.touch(id);
            self.settle(id);
        } else if *again <= now {
            *again = now.after_ms(ANSWER_MS);
            self.touch(id);
            self.order_stop(id);
        }
    }

    pub(super) fn on_job_busy(&mut self, id: JobId) {
        let now = self.now;
        let Some(job) = self.state.jobs.get_mut(&id) else { return };
        if let Phase::Running { busy, notice, .. } = &mut job.phase {
            *busy = now;
            *notice = None;
            self.touch(id);
        }
    }
}
