//! Proposes which jobs start where, and which make room: one pass over all that wait.

mod claim;
mod preempt;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use cotenant_types::{Ask, Class, Generation, JobId, Moment, Placement};
use serde::{Deserialize, Serialize};

use crate::fair::Tree;
use crate::ledger::Ledger;
use crate::place::{Known, Need, Placing, Prices, has_room, place, place_known};
use crate::reason::{Help, Reason};
use crate::state::{Job, Phase, State};

use claim::Claim;

/// What a pass proposes. It is checked again when it is carried out: what no longer holds by then
/// is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Jobs that start.
    pub starts: Vec<Start>,
    /// Jobs that make room.
    pub preemptions: Vec<Preemption>,
    /// Why the others wait. Not a decision, so not kept with the event.
    #[serde(skip)]
    pub waits: BTreeMap<JobId, Arc<[Reason]>>,
}

/// A job that starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Which.
    pub job: JobId,
    /// Where.
    pub placement: Placement,
}

/// A job that makes room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preemption {
    /// Which.
    pub victim: JobId,
    /// The start of it that is meant.
    pub generation: Generation,
    /// For whom.
    pub beneficiary: JobId,
}

impl Plan {
    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty() && self.preemptions.is_empty()
    }
}

/// Looks at every job that waits, in the order of class and fairness, and proposes what to do.
///
/// The first job that has no room keeps a claim on the cards that will be free first; later jobs
/// get only what does not delay it (EASY backfilling: Lifka, "The ANL/IBM SP scheduling system",
/// 1995). Equal asks fail once.
pub fn plan(state: &State, now: Moment, placing: &mut Placing) -> Plan {
    let ledger = state.ledger().into_owned();
    let prices = placing.prices(&ledger.catalog);
    let mut planner = Planner::new((state, now), (ledger, prices));
    for class in [Class::Online, Class::Offline] {
        planner.look_at_all(class);
    }
    planner.plan
}

struct Planner<'a> {
    state: &'a State,
    now: Moment,
    tree: Tree<'a>,
    ledger: Ledger,
    prices: Option<&'a Prices>,
    /// What is known of costs on the ledger.
    known: Known<'a>,
    claim: Option<Claim<'a>>,
    /// Jobs that this plan tells to make room.
    evicted: BTreeSet<JobId>,
    /// What will be free when all that go have gone, less what waiting jobs will get of it; none
    /// until the first job has to hope.
    hoped: Option<Ledger>,
    /// Asks that had no room, by whether they would have ended before the claim.
    failed: BTreeMap<(bool, &'a Ask), Arc<[Reason]>>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn new(
        (state, now): (&'a State, Moment),
        (ledger, prices): (Ledger, Option<&'a Prices>),
    ) -> Self {
        Self {
            state,
            now,
            tree: Tree::of(state),
            ledger,
            prices,
            known: Known::default(),
            claim: None,
            evicted: BTreeSet::new(),
            hoped: None,
            failed: BTreeMap::new(),
            plan: Plan::default(),
        }
    }

    fn look_at_all(&mut self, class: Class) {
        let mut queues: BTreeMap<usize, VecDeque<&'a Job>> = BTreeMap::new();
        for job in self.state.jobs.values() {
            if let Phase::Queued { not_before } = job.phase
                && job.terms.class == class
            {
                if not_before > self.now {
                    self.wait(job, [Reason::Backoff { until: not_before }].into());
                    continue;
                }
                let tenant = self.tree.find(&job.terms.tenant);
                self.tree.add_pending(tenant);
                queues.entry(tenant).or_default().push_back(job);
            }
        }
        for queue in queues.values_mut() {
            queue.make_contiguous().sort_by_key(|job| {
                let deadline = job.terms.deadline.unwrap_or(Moment::NEVER);
                (-job.terms.priority, deadline, job.id)
            });
        }
        while let Some(tenant) = self.tree.next() {
            self.tree.looked_at(tenant);
            let queue = queues.get_mut(&tenant).expect("a tenant with a turn has a queue");
            let job = queue.pop_front().expect("a tenant with a turn has a job");
            self.look_at(job, tenant);
        }
    }

    fn look_at(&mut self, job: &'a Job, tenant: usize) {
        if self.ledger.catalog.cards.is_empty() {
            return self.wait(job, [Reason::NoCards].into());
        }
        let ask = &job.terms.ask;
        let is_short = self.claim.as_ref().is_some_and(|claim| claim.is_after(job, self.now));
        if let Some(reasons) = self.failed.get(&(is_short, ask)) {
            return self.wait(job, reasons.clone());
        }
        let need = Need::new(ask, &self.ledger.catalog).at_prices(self.prices);
        let least = need.amount_min();
        if let Some(reason) = self.over_quota(tenant, least) {
            return self.wait(job, [reason].into());
        }
        let placed = match &mut self.claim {
            Some(claim) if !is_short => claim.place_beside(&self.ledger, &need),
            Some(_) | None => {
                let costs = self.known.of(ask, self.ledger.catalog.nodes.len());
                place_known(&self.ledger, &need, costs)
            }
        };
        match placed {
            Ok(placement) => match self.over_quota(tenant, placement.amount()) {
                Some(reason) => self.wait(job, [reason].into()),
                None => self.start(job, tenant, (placement, is_short)),
            },
            Err(members_placed) => {
                let reasons = match self.make_way(job, tenant, (&need, members_placed)) {
                    Ok(reasons) => {
                        self.failed.insert((is_short, ask), reasons.clone());
                        reasons
                    }
                    Err(reasons) => reasons,
                };
                self.wait(job, reasons);
            }
        }
    }

    fn over_quota(&self, tenant: usize, wanted: cotenant_types::Amount) -> Option<Reason> {
        let over = self.tree.over_quota(tenant, wanted)?;
        let (tenant, held, limit) = (over.tenant.clone(), over.held, over.limit);
        Some(Reason::Quota { tenant, held, wanted, limit })
    }

    fn start(&mut self, job: &Job, tenant: usize, (placement, is_short): (Placement, bool)) {
        self.ledger.take(&placement);
        if let Some(claim) = &mut self.claim {
            claim.taken(&placement, is_short);
        }
        if let Some(hoped) = &mut self.hoped {
            hoped.take(&placement);
        }
        self.tree.take(tenant, placement.amount());
        self.plan.starts.push(Start { job: job.id, placement });
    }

    /// Why the job has no room, which goes for all that ask for the same, or goes for it alone
    /// (`Err`) because others make room for it. A claim is kept for it if it is the first.
    fn make_way(
        &mut self,
        job: &'a Job,
        tenant: usize,
        (need, members_placed): (&Need<'a>, u32),
    ) -> Result<Arc<[Reason]>, Arc<[Reason]>> {
        if let Some(claim) = &self.claim
            && has_room(&self.ledger, need)
        {
            return Ok([Reason::Reserved { job: claim.job, at: claim.at }].into());
        }
        if let Some(victims) = self.room_being_made(job, tenant, need) {
            return Err([Reason::MakingRoom { victims }].into());
        }
        if self.claim.is_none() {
            self.claim = claim::find(self, job, need);
        }
        let help = match () {
            () if has_room(&self.idle_pool(), need) => Help::OthersEnd,
            () if has_room(&self.whole_pool(), need) => Help::CardsReturn,
            () => Help::AskLess,
        };
        Ok([crate::explain::cards(&self.ledger, need, (members_placed, vec![help]))].into())
    }

    /// Jobs that make room for this one: those that go already, if that is enough, or others that
    /// are told now. What it will get counts as its own from here on, so that the next job does not
    /// hope for the same.
    fn room_being_made(&mut self, job: &Job, tenant: usize, need: &Need<'_>) -> Option<Vec<JobId>> {
        if self.hoped.is_none() {
            self.hoped = Some(self.without(&self.going()));
        }
        let hoped = self.hoped.as_ref().expect("it was just worked out");
        let (victims, placement) = match place(hoped, need) {
            Ok(placement) => (self.going().into_iter().collect(), placement),
            Err(_) => self.preempt(job, tenant, need)?,
        };
        self.tree.take(tenant, placement.amount());
        self.hoped.as_mut().expect("it was worked out").take(&placement);
        if self.claim.is_none() {
            self.claim = claim::find(self, job, need);
        }
        Some(victims)
    }

    /// Jobs that are on their way out, now or by this plan.
    fn going(&self) -> BTreeSet<JobId> {
        let stopping =
            self.state.jobs.values().filter(|job| matches!(job.phase, Phase::Stopping { .. }));
        stopping.map(|job| job.id).chain(self.evicted.iter().copied()).collect()
    }

    /// What would be free without these jobs.
    fn without(&self, jobs: &BTreeSet<JobId>) -> Ledger {
        let mut ledger = self.ledger.clone();
        for id in jobs {
            if let Some(placement) = self.state.jobs[id].placement() {
                ledger.give_back(placement);
            }
        }
        ledger
    }

    /// What would be free if nothing ran.
    fn idle_pool(&self) -> Ledger {
        let mut ledger = self.ledger.clone();
        let held = self.state.jobs.values().filter_map(Job::placement);
        let started = self.plan.starts.iter().map(|start| &start.placement);
        held.chain(started).for_each(|placement| ledger.give_back(placement));
        ledger
    }

    /// The same if no card were lost or failing and no machine drained.
    fn whole_pool(&self) -> Ledger {
        Ledger::new(self.state.cards.values().map(|record| (&record.card, true)))
    }

    fn wait(&mut self, job: &Job, reasons: Arc<[Reason]>) {
        self.plan.waits.insert(job.id, reasons);
    }
}
