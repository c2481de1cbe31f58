//! Offline jobs use what online neighbours leave, and give it back when a neighbour suffers.

use cotenant_types::{Class, JobId, MemberSlices, Policy};

use super::Step;
use super::start::parts;
use super::submit::shares_card;
use crate::event::{Command, News, Refusal, squeezed};
use crate::state::{Job, Phase};

impl Step<'_> {
    pub(super) fn on_pressure_set(&mut self, id: JobId, is_high: bool) -> Result<(), Refusal> {
        let job = self.state.jobs.get_mut(&id).ok_or(Refusal::UnknownJob(id))?;
        if job.terms.class != Class::Online {
            return Err(Refusal::NotOnline(id));
        }
        if let Phase::Running { is_pressed, .. } = &mut job.phase
            && *is_pressed != is_high
        {
            *is_pressed = is_high;
            self.touch(id);
            self.relieve_neighbours();
        }
        Ok(())
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
    matches!(job.phase, Phase::Running { is_pressed: true, .. })
}
