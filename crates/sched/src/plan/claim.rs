//! The claim of the first job that has no room: what it will get, and when at the latest.

use cotenant_types::{JobId, Moment, Placement};

use super::Planner;
use crate::ledger::Ledger;
use crate::place::{Known, Need, has_room, place, place_known};
use crate::state::Job;

/// What a waiting job will have.
pub(super) struct Claim<'a> {
    pub(super) job: JobId,
    /// When it can start at the latest; never, if jobs without a time limit are in its way.
    pub(super) at: Moment,
    /// What is free then beside it.
    future: Ledger,
    /// What is free both now and then; none while it has to be worked out anew.
    common: Option<(Ledger, Known<'a>)>,
}

impl<'a> Claim<'a> {
    /// Whether a job that started now would have ended when the claim falls due. Where nobody
    /// knows when that is, no job is short enough.
    pub(super) fn is_after(&self, job: &Job, now: Moment) -> bool {
        let ends = job.terms.time_limit.map_or(Moment::NEVER, |limit| now.after(limit));
        self.at < Moment::NEVER && ends <= self.at
    }

    /// Slices for a job that may still run when the claim falls due, beside what is claimed.
    pub(super) fn place_beside(
        &mut self,
        ledger: &Ledger,
        need: &Need<'a>,
    ) -> Result<Placement, u32> {
        let work_out = || (ledger.least(&self.future), Known::default());
        let (common, known) = self.common.get_or_insert_with(work_out);
        place_known(common, need, known.of(need.ask, ledger.catalog.nodes.len()))
    }

    /// Somebody else took something: for so short that the claim does not notice, or longer.
    pub(super) fn taken(&mut self, placement: &Placement, is_short: bool) {
        if is_short {
            self.common = None;
            return;
        }
        self.future.take(placement);
        if let Some((common, _)) = &mut self.common {
            common.take(placement);
        }
    }
}

/// The claim of a job without room: the cards that it would get once as few as possible of the
/// others have ended, in the order in which they do at the latest. None if it fits no idle pool.
pub(super) fn find<'a>(planner: &Planner<'_>, job: &Job, need: &Need<'_>) -> Option<Claim<'a>> {
    let mut ends: Vec<(Moment, &Placement)> = planner
        .state
        .jobs()
        .filter_map(|other| {
            let end = match planner.evicted.contains(&other.id) {
                true => planner.now,
                false => other.ends_by(),
            };
            Some((end, other.placement()?))
        })
        .collect();
    ends.extend(planner.plan.starts.iter().map(|start| {
        let limit = planner.state.jobs[&start.job].terms.time_limit;
        let end = limit.map_or(Moment::NEVER, |limit| planner.now.after(limit));
        (end, &start.placement)
    }));
    ends.sort_by_key(|&(end, _)| end);
    let released = |count: usize| {
        let mut ledger = planner.ledger.clone();
        ends[..count].iter().for_each(|(_, placement)| ledger.give_back(placement));
        ledger
    };
    let fits = |count: usize| has_room(&released(count), need);
    if !fits(ends.len()) {
        return None;
    }
    let (mut none, mut some) = (0, ends.len());
    while none + 1 < some {
        let middle = none + (some - none) / 2;
        match fits(middle) {
            true => some = middle,
            false => none = middle,
        }
    }
    let mut future = released(some);
    let placement = place(&future, need).ok()?;
    future.take(&placement);
    let at = ends.get(some.wrapping_sub(1)).map_or(planner.now, |&(end, _)| end);
    Some(Claim { job: job.id, at, future, common: None })
}
