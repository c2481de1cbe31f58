//! Offline jobs use what online neighbours leave, and give it back when a neighbour suffers.

use cotenant_types::{Class, JobId, Load, MemberSlices, Policy};

use super::Step;
use super::start::parts;
use super::submit::shares_card;
use crate::event::{Command, News, Refusal, squeezed};
use crate::pressure::Pressure;
use crate::state::{Job, Phase};

impl Step<'_> {
    pub(super) fn on_load_reported(&mut self, id: JobId, load: Load) -> Result<(), Refusal> {
        let job = self.state.jobs.get(&id).ok_or(Refusal::UnknownJob(id))?;
        let mark = job.terms.watermark.ok_or(Refusal::NoWatermark(id))?;
        if let Phase::Running { pressure, .. } = job.phase {
            self.set_pressure(id, pressure.after(mark, load, self.now));
        }
        Ok(())
    }

    /// Keeps what was heard of a running job; its neighbours give back, or may borrow again.
    pub(super) fn set_pressure(&mut self, id: JobId, new: Pressure) {
        let Some(job) = self.state.jobs.get_mut(&id) else { return };
        let Phase::Running { pressure, .. } = &mut job.phase else { return };
        let before = std::mem::replace(pressure, new);
        if before != new {
            self.touch(id);
        }
        if before.is_high() != new.is_high() {
            self.relieve_neighbours();
        }
    }

    /// Holds every offline job that borrows to its request while an online job on one of its cards
    /// suffers, and lets it borrow again when none does.
    pub(super) fn relieve_neighbours(&mut self) {
        let pressed: Vec<_> = self.state.jobs.values().filter(|job| is_pressed(job)).collect();
        let mut changes = Vec::new();
        for job in self.state.jobs.values() {
            if let Phase::Running { held, is_squeezed, .. } = &job.phase
                && job.terms.class == Class::Offline
                && job.terms.ask.policy != Policy::Fixed
            {
                let suffers = |other: &&Job| {
                    let placement = other.placement();
                    placement.is_some_and(|theirs| shares_card(&held.placement, theirs))
                };
                let is_needed = pressed.iter().any(suffers);
                if is_needed != *is_squeezed {
                    changes.push((job.id, is_needed));
                }
            }
        }
        for (id, is_needed) in changes {
            let job = self.state.jobs.get_mut(&id).expect("it was there");
            if let Phase::Running { is_squeezed, .. } = &mut job.phase {
                *is_squeezed = is_needed;
            }
            self.touch(id);
            let why = match is_needed {
                true => "an online neighbour needs what it borrows",
                false => "it may borrow again",
            };
            self.say(News::JobResized(id, why.to_owned()));
            self.set_limits(id, is_needed);
        }
    }

    /// Tells a job's machines which limits hold.
    pub(super) fn set_limits(&mut self, id: JobId, is_squeezed: bool) {
        let job = &self.state.jobs[&id];
        let Some(held) = job.held() else { return };
        let limit = |member: &MemberSlices| match is_squeezed {
            true => {
                let slices = member.slices.iter().map(squeezed).collect();
                MemberSlices { node: member.node.clone(), slices }
            }
            false => member.clone(),
        };
        let members: Vec<MemberSlices> = held.placement.0.iter().map(limit).collect();
        let commands: Vec<Command> = parts(job, &members)
            .filter(|(run, ..)| !held.exits.contains_key(&run.node))
            .map(|(run, _, members)| Command::SetLimits { run, members })
            .collect();
        self.effects.commands.extend(commands);
    }
}

fn is_pressed(job: &Job) -> bool {
    matches!(job.phase, Phase::Running { pressure, .. } if pressure.is_high())
}
