//! What the pool knows: cards, tenants, and the jobs that have not ended.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use cotenant_types::{
    Amount, Card, CardId, Generation, JobId, JobTerms, Moment, NodeName, Placement, Quota,
    TenantName,
};
use serde::{Deserialize, Serialize};

use crate::event::{Exit, Outcome, Run};
use crate::ledger::Ledger;
use crate::pressure::Pressure;

/// Everything that decisions depend on. It is what its events made it: the same events give the
/// same state.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    pub(crate) cards: BTreeMap<CardId, CardRecord>,
    pub(crate) draining: BTreeSet<NodeName>,
    pub(crate) tenants: BTreeMap<TenantName, Quota>,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) last_job: JobId,
    /// What is free on each card: follows from the rest. None once cards came or went, until
    /// somebody asks: a thousand machines that report one after the other are counted once.
    #[serde(skip)]
    ledger: Option<Ledger>,
}

/// A card, and whether it can be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardRecord {
    /// The card.
    pub card: Card,
    /// Whether its machine no longer names it.
    pub is_lost: bool,
    /// Whether nothing new should start on it before it was reset or looked at.
    #[serde(default)]
    pub is_failing: bool,
}

/// A job that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// When and where it is to run.
    pub terms: JobTerms,
    /// When it came in.
    pub submitted: Moment,
    /// Starts so far.
    pub generation: Generation,
    /// Attempts left after failures.
    pub retries_left: u32,
    /// Where it is in its life.
    pub phase: Phase,
}

/// Where a job is in its life.
///
/// ```text
/// queued -> starting -> running -> (ended)
///   ^          |           |
///   |          v           v
///   +------- stopping <----+        and from queued and stopping to (ended)
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It waits.
    Queued {
        /// It is not started before.
        not_before: Moment,
    },
    /// It has slices, and its machines were told.
    Starting {
        /// What it holds.
        held: Held,
        /// When its machines were told.
        since: Moment,
        /// Machines that have not answered.
        silent: BTreeSet<NodeName>,
        /// When they are told again.
        again: Moment,
    },
    /// It runs on all its machines, or did until some of them ended well.
    Running {
        /// What it holds.
        held: Held,
        /// When all ran.
        since: Moment,
        /// When it last did some work.
        busy: Moment,
        /// When it loses its slice unless it works, if it was told.
        notice: Option<Moment>,
        /// Whether an online neighbour needs what it borrows.
        is_squeezed: bool,
        /// Whether it suffers from its neighbours itself.
        pressure: Pressure,
    },
    /// It was told to end; its slices are its own until it has.
    Stopping {
        /// What it holds.
        held: Held,
        /// What then.
        then: AfterStop,
        /// When its machines are told again, or given up.
        again: Moment,
        /// When machines that do not answer are taken to be fenced; never, if they are there.
        fenced: Moment,
    },
}

/// What a job holds, and who of its machines is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its slices.
    pub placement: Placement,
    /// Machines whose part has ended, and how.
    pub exits: BTreeMap<NodeName, Exit>,
}

/// What follows when a job that was told to end has done so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterStop {
    /// It waits for its turn again; it is not its fault.
    Requeue,
    /// It waits a while and then for its turn; its card was not ready, which is not its fault.
    Postpone,
    /// It failed: another attempt if one is left, else the end.
    Retry(Outcome),
    /// The end.
    End(Outcome),
}

/// A job whose life is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedJob {
    /// The job as it was last.
    pub job: Job,
    /// How its life ended.
    pub outcome: Outcome,
}

impl State {
    /// The state again after its parts were stored; what follows from them is worked out.
    pub fn from_parts(
        jobs: Vec<Job>,
        cards: Vec<CardRecord>,
        tenants: BTreeMap<TenantName, Quota>,
        (draining, last_job): (Vec<NodeName>, JobId),
    ) -> Self {
        let mut state = Self {
            cards: cards.into_iter().map(|record| (record.card.id.clone(), record)).collect(),
            draining: draining.into_iter().collect(),
            tenants,
            jobs: jobs.into_iter().map(|job| (job.id, job)).collect(),
            last_job,
            ledger: None,
        };
        state.ledger_mut();
        state
    }

    /// The number that the next job gets.
    pub fn next_job(&self) -> JobId {
        JobId(self.last_job.0 + 1)
    }

    /// Jobs that have not ended, by number.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }

    /// A job, unless it has ended or never was.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// Every tenant's quota.
    pub fn tenants(&self) -> &BTreeMap<TenantName, Quota> {
        &self.tenants
    }

    /// Every card, by name.
    pub fn cards(&self) -> impl Iterator<Item = &CardRecord> {
        self.cards.values()
    }

    /// Whether an operator keeps new jobs away from a machine.
    pub fn is_draining(&self, node: &NodeName) -> bool {
        self.draining.contains(node)
    }

    /// All that usable cards have.
    pub fn capacity(&self) -> Amount {
        self.ledger().capacity()
    }

    /// What each tenant's own jobs hold; those that hold nothing are left out.
    pub fn held(&self) -> BTreeMap<TenantName, Amount> {
        let mut held: BTreeMap<TenantName, Amount> = BTreeMap::new();
        for job in self.jobs.values() {
            if let Some(placement) = job.placement() {
                let amount = held.entry(job.terms.tenant.clone()).or_default();
                *amount = amount.plus(placement.amount());
            }
        }
        held
    }

    /// The moment at which something is due that only time brings about; never, if nothing is.
    pub fn next_wake(&self) -> Moment {
        self.jobs.values().map(Job::next_wake).min().unwrap_or(Moment::NEVER)
    }

    /// What is free.
    pub(crate) fn ledger(&self) -> Cow<'_, Ledger> {
        match &self.ledger {
            Some(ledger) => Cow::Borrowed(ledger),
            None => Cow::Owned(self.counted_ledger()),
        }
    }

    /// What is free, for somebody who takes or gives back.
    pub(crate) fn ledger_mut(&mut self) -> &mut Ledger {
        let ledger = self.ledger.take().unwrap_or_else(|| self.counted_ledger());
        self.ledger.insert(ledger)
    }

    /// Frees what a job held until now.
    pub(crate) fn release(&mut self, placement: &Placement) {
        // Where nothing is counted yet, the job will not be among those that hold something.
        if let Some(ledger) = &mut self.ledger {
            ledger.give_back(placement);
        }
    }

    /// Cards came or went: what is free is to be counted anew.
    pub(crate) fn forget_ledger(&mut self) {
        self.ledger = None;
    }

    fn counted_ledger(&self) -> Ledger {
        let is_drained = |record: &CardRecord| self.draining.contains(&record.card.node);
        let usable =
            |record: &CardRecord| !record.is_lost && !record.is_failing && !is_drained(record);
        let cards = self.cards.values().map(|record| (&record.card, usable(record)));
        let mut ledger = Ledger::new(cards);
        let held = self.jobs.values().filter_map(Job::placement);
        held.for_each(|placement| ledger.take(placement));
        ledger
    }
}

impl Job {
    /// What it holds, if it holds anything.
    pub fn placement(&self) -> Option<&Placement> {
        self.held().map(|held| &held.placement)
    }

    /// What it holds and who is done, if it holds anything.
    pub fn held(&self) -> Option<&Held> {
        self.phase.held()
    }

    /// Its parts that may still run.
    pub fn runs(&self) -> Vec<Run> {
        let run = |node| Run { job: self.id, generation: self.generation, node };
        self.held().map(|held| held.nodes_left().map(run).collect()).unwrap_or_default()
    }

    /// The last moment at which it can still hold its slices, as far as anybody knows.
    pub(crate) fn ends_by(&self) -> Moment {
        let until = |begin: Moment| {
            let limit = self.terms.time_limit.map_or(Moment::NEVER, |limit| begin.after(limit));
            limit.min(self.terms.deadline.unwrap_or(Moment::NEVER))
        };
        match &self.phase {
            Phase::Queued { .. } => Moment::NEVER,
            Phase::Starting { since, .. } => until(*since),
            Phase::Running { since, .. } => until(*since),
            Phase::Stopping { again, .. } => *again,
        }
    }

    fn next_wake(&self) -> Moment {
        let deadline = self.terms.deadline.unwrap_or(Moment::NEVER);
        match &self.phase {
            Phase::Queued { not_before } => deadline.min(match not_before {
                Moment(0) => Moment::NEVER,
                later => *later,
            }),
            Phase::Starting { again, .. } => deadline.min(*again),
            Phase::Running { busy, notice, pressure, .. } => {
                let idle = match (self.terms.idle, notice) {
                    (Some(_), Some(notice)) => *notice,
                    (Some(idle), None) => busy.after(idle.after),
                    (None, _) => Moment::NEVER,
                };
                self.ends_by().min(idle).min(pressure.ends())
            }
            Phase::Stopping { again, fenced, .. } => *again.min(fenced),
        }
    }
}

impl Phase {
    /// What a job in it holds, if it holds anything.
    pub(crate) fn held(&self) -> Option<&Held> {
        match self {
            Phase::Queued { .. } => None,
            Phase::Starting { held, .. }
            | Phase::Running { held, .. }
            | Phase::Stopping { held, .. } => Some(held),
        }
    }
}

impl Held {
    /// Nothing has ended yet.
    pub(crate) fn new(placement: Placement) -> Self {
        Self { placement, exits: BTreeMap::new() }
    }

    /// The machines that it is spread over.
    pub(crate) fn nodes(&self) -> BTreeSet<NodeName> {
        self.placement.0.iter().map(|member| member.node.clone()).collect()
    }

    /// Machines whose part may still run.
    pub(crate) fn nodes_left(&self) -> impl Iterator<Item = NodeName> {
        self.nodes().into_iter().filter(|node| !self.exits.contains_key(node))
    }
}
