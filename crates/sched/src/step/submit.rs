//! What people ask for: tenants, jobs, and other amounts for a job.

use cotenant_types::{
    Amount, Ask, CardShare, JobId, JobTerms, MemoryAsk, Moment, Placement, Quota, Slice, Span,
    TenantName,
};

use super::Step;
use crate::event::{News, Refusal};
use crate::fair::Tree;
use crate::state::{Job, Phase};

/// Most jobs that have not ended.
const JOBS_MAX: usize = 1_000_000;
/// Most tenants between one and the top.
const LEVELS_MAX: usize = 8;

impl Step<'_> {
    pub(super) fn on_tenant_set(
        &mut self,
        tenant: TenantName,
        quota: Quota,
    ) -> Result<(), Refusal> {
        if let Some(parent) = &quota.parent {
            let bad = |why| {
                let (tenant, parent) = (tenant.clone(), parent.clone());
                Err(Refusal::BadParent { tenant, parent, why })
            };
            let mut above = Some(parent.clone());
            for level in 0.. {
                let Some(name) = above else { break };
                if name == tenant {
                    return bad("it would live on its own share");
                }
                if level == LEVELS_MAX {
                    return bad("that would be more than 8 levels");
                }
                let Some(quota) = self.state.tenants.get(&name) else {
                    return Err(Refusal::UnknownTenant(name));
                };
                above = quota.parent.clone();
            }
        }
        if self.state.tenants.get(&tenant) != Some(&quota) {
            self.state.tenants.insert(tenant.clone(), quota);
            self.effects.wants_plan = true;
            self.say(News::TenantSet(tenant));
        }
        Ok(())
    }

    pub(super) fn on_job_submitted(&mut self, id: JobId, terms: JobTerms) -> Result<(), Refusal> {
        assert_eq!(id, self.state.next_job(), "job numbers have no gaps");
        if !self.state.tenants.contains_key(&terms.tenant) {
            return Err(Refusal::UnknownTenant(terms.tenant));
        }
        if self.state.jobs.len() >= JOBS_MAX {
            return Err(Refusal::QueueFull(JOBS_MAX));
        }
        self.state.last_job = id;
        let job = Job {
            id,
            submitted: self.now,
            generation: Default::default(),
            retries_left: terms.retries,
            phase: Phase::Queued { not_before: Moment(0) },
            terms,
        };
        self.state.jobs.insert(id, job);
        self.effects.wants_plan = true;
        self.touch(id);
        self.say(News::JobSubmitted(id));
        Ok(())
    }

    pub(super) fn on_resize_requested(&mut self, id: JobId, ask: Ask) -> Result<(), Refusal> {
        let job = self.state.jobs.get(&id).ok_or(Refusal::UnknownJob(id))?;
        let no = |why: &str| Refusal::NoResize { job: id, why: why.to_owned() };
        let old = &job.terms.ask;
        if (ask.members, ask.cards) != (old.members, old.cards) {
            return Err(no("it keeps its cards; cancel it and submit it with others"));
        }
        match &job.phase {
            Phase::Queued { .. } => {}
            Phase::Starting { .. } => return Err(no("it is being started; try again in a moment")),
            Phase::Stopping { .. } => return Err(no("it is ending")),
            Phase::Running { held, is_squeezed, .. } => {
                let (old, is_squeezed) = (held.placement.clone(), *is_squeezed);
                let new = self.resized(&old, &ask).map_err(|why| no(&why))?;
                self.check_quota(id, (&old, &new)).map_err(|why| no(&why))?;
                self.swap(id, (&old, new), is_squeezed).map_err(|why| no(&why))?;
            }
        }
        let job = self.state.jobs.get_mut(&id).expect("it was there");
        job.terms.ask = ask;
        self.effects.wants_plan = true;
        self.touch(id);
        self.say(News::JobResized(id, "as was asked for".to_owned()));
        Ok(())
    }

    /// The same slices with the amounts of another ask.
    fn resized(&self, placement: &Placement, ask: &Ask) -> Result<Placement, String> {
        let CardShare::Part { memory, compute } = ask.share else {
            return Err("it has slices of cards, and cannot have them whole".to_owned());
        };
        let mut new = placement.clone();
        for slice in new.0.iter_mut().flat_map(|member| &mut member.slices) {
            if slice.mig.is_some() {
                return Err("its partition was cut when it started; submit it again".to_owned());
            }
            if slice.whole {
                return Err("it has whole cards".to_owned());
            }
            let card = &self.state.cards[&slice.card].card;
            let on = |ask: MemoryAsk| ask.on(card.memory);
            slice.memory = Span { request: on(memory.request), limit: on(memory.limit) };
            slice.compute = compute;
        }
        Ok(new)
    }

    /// Whether nobody would hold more than it may if the job held something else.
    fn check_quota(&self, id: JobId, (old, new): (&Placement, &Placement)) -> Result<(), String> {
        let tree = Tree::of(self.state);
        let tenant = tree.find(&self.state.jobs[&id].terms.tenant);
        let more = new.amount().minus(old.amount());
        match tree.over_quota(tenant, more) {
            Some(over) if more != Amount::default() => {
                Err(format!("tenant {} would hold more than its limit", over.tenant))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Exchanges what a job holds, if there is room for what it is to hold.
    fn swap(
        &mut self,
        id: JobId,
        (old, new): (&Placement, Placement),
        is_squeezed: bool,
    ) -> Result<(), String> {
        let ledger = self.state.ledger_mut();
        ledger.give_back(old);
        if !ledger.try_take(&new) {
            ledger.take(old);
            let cards: Vec<&str> = new.slices().map(|slice| slice.card.as_str()).collect();
            return Err(format!("there is too little left on {}", cards.join(", ")));
        }
        let job = self.state.jobs.get_mut(&id).expect("it was there");
        if let Phase::Running { held, .. } = &mut job.phase {
            held.placement = new;
        }
        self.set_limits(id, is_squeezed);
        Ok(())
    }
}

/// Whether two slices are on the same card.
pub(super) fn shares_card(a: &Placement, b: &Placement) -> bool {
    let has = |slice: &Slice| b.slices().any(|other| other.card == slice.card);
    a.slices().any(has)
}
