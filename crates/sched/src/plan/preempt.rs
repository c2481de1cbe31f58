//! Which jobs make room for another: the fewest, and of those the youngest.

use std::cmp::Reverse;

use cotenant_types::{Class, JobId, Moment, Placement};

use super::{Planner, Preemption};
use crate::ledger::Ledger;
use crate::place::{Need, has_room, place};
use crate::state::{Job, Phase};

/// Most jobs that are considered, the youngest: choosing takes a look at the pool for each.
const CANDIDATES_MAX: usize = 256;

impl<'a> Planner<'a> {
    /// Jobs that this one pushes aside, and what it will then get; none if pushing all that it may
    /// would not be enough. They are told by this plan.
    pub(super) fn preempt(
        &mut self,
        job: &Job,
        tenant: usize,
        need: &Need<'_>,
    ) -> Option<(Vec<JobId>, Placement)> {
        let may_push = |other: &&Job| self.may_push(job, tenant, other, need);
        let mut candidates: Vec<&'a Job> = self.state.jobs.values().filter(may_push).collect();
        candidates.sort_by_key(|other| Reverse((started(other), other.id)));
        candidates.truncate(CANDIDATES_MAX);
        let hoped = self.hoped.as_mut().expect("a job hopes before it pushes");
        let victims = fewest(hoped, &candidates, need)?;
        for victim in &victims {
            release(hoped, victim);
            self.evicted.insert(victim.id);
            self.plan.preemptions.push(Preemption {
                victim: victim.id,
                generation: victim.generation,
                beneficiary: job.id,
            });
        }
        let placement = place(hoped, need).expect("the victims were found to be enough");
        Some((victims.into_iter().map(|victim| victim.id).collect(), placement))
    }

    /// Within a tenant, online jobs push offline ones and higher priorities lower ones. Between
    /// tenants only what is borrowed is taken back: for an online job, or for a tenant that still
    /// lives on its guarantee.
    fn may_push(&self, job: &Job, tenant: usize, other: &Job, need: &Need<'_>) -> bool {
        let is_soft = other.terms.preempt.is_some() && other.terms.class == Class::Offline;
        let runs = matches!(other.phase, Phase::Running { .. });
        if !is_soft || !runs || self.evicted.contains(&other.id) {
            return false;
        }
        let is_online = job.terms.class == Class::Online;
        if other.terms.tenant == job.terms.tenant {
            return is_online || job.terms.priority > other.terms.priority;
        }
        let is_owed = self.tree.is_owed(tenant, need.amount_min());
        (is_online || is_owed) && self.tree.borrows(self.tree.find(&other.terms.tenant))
    }
}

fn started(job: &Job) -> Moment {
    match job.phase {
        Phase::Running { since, .. } => since,
        Phase::Queued { .. } | Phase::Starting { .. } | Phase::Stopping { .. } => Moment::NEVER,
    }
}

fn release(ledger: &mut Ledger, job: &Job) {
    ledger.give_back(job.placement().expect("candidates run"));
}

/// The smallest set of the candidates whose slices make room, from the youngest; none if all of
/// them do not.
///
/// One victim is found exactly. Where more are needed, all are let go and then kept again one by
/// one, the oldest first, as long as there is room: no victim is pushed in vain.
fn fewest<'a>(base: &Ledger, candidates: &[&'a Job], need: &Need<'_>) -> Option<Vec<&'a Job>> {
    let mut all = base.clone();
    candidates.iter().for_each(|job| release(&mut all, job));
    if !has_room(&all, need) {
        return None;
    }
    let alone = candidates.iter().find(|job| {
        let mut trial = base.clone();
        release(&mut trial, job);
        has_room(&trial, need)
    });
    if let Some(job) = alone {
        return Some(vec![job]);
    }
    let mut victims = Vec::new();
    for &job in candidates.iter().rev() {
        let placement = job.placement().expect("candidates run");
        all.take(placement);
        if !has_room(&all, need) {
            all.give_back(placement);
            victims.push(job);
        }
    }
    Some(victims)
}
