//! The trainer: tenants that join and leave, and rounds that bring them on together.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cotenant_transformer::{Adapter, Backend, Encoder, Fault, SlabState};
use thiserror::Error;

use crate::checkpoint::{self, CheckpointError, Saved};
use crate::event::{Counters, Event, Outcome, Progress, TenantId};
use crate::fleet::Fleet;
use crate::packing::{Candidate, Fairness};
use crate::prefix::{PrefixCache, PrefixCounters};
use crate::round::{RoundCost, Share};
use crate::spec::{Limits, LimitsError, SettingsError, TenantSpec};
use crate::tenant::{Phase, Tenant};

/// The frozen model that all tenants share, on one device.
pub struct Base<B: Backend> {
    /// The model on its device.
    pub encoder: Arc<Encoder<B>>,
    /// A hash of its weights and of the precision it computes in: what a checkpoint or a cached
    /// prefix may only be used with.
    pub fingerprint: u64,
}

/// Trains any number of tenants' adapters on one base model.
///
/// Call [`Trainer::run_round`] until [`Trainer::is_done`], answer each [`Event::EvaluationDue`]
/// with [`Trainer::report_score`], and add, remove, look at or save tenants between rounds.
pub struct Trainer<B: Backend> {
    fleet: Fleet<B>,
    fingerprint: u64,
    tenants: BTreeMap<TenantId, Tenant>,
    next_id: u32,
    fairness: Fairness,
    counters: Counters,
    /// Why no more rounds are run.
    fault: Option<Fault>,
}

/// Why a tenant could not be looked at or judged.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TenantError {
    /// No such tenant.
    #[error("no {tenant} in this trainer")]
    Unknown {
        /// The tenant named.
        tenant: TenantId,
    },
    /// No evaluation is due.
    #[error("{tenant} ({name}) does not wait for a score")]
    NotDue {
        /// The tenant named.
        tenant: TenantId,
        /// Its name.
        name: String,
    },
    /// The device that kept its adapter is lost, and the adapter with it.
    #[error("{0}")]
    Lost(Fault),
}

impl<B: Backend> Trainer<B> {
    /// A trainer without tenants.
    pub fn new(base: Base<B>, limits: Limits) -> Result<Self, LimitsError> {
        let Base { encoder, fingerprint } = base;
        Self::over(vec![encoder], fingerprint, limits)
    }

    /// A trainer without tenants over several devices of one kind, each with the same model, which
    /// are asked for so much each. Results do not depend on how many there are.
    ///
    /// # Panics
    /// Without any device.
    pub fn over(
        encoders: Vec<Arc<Encoder<B>>>,
        fingerprint: u64,
        limits: Limits,
    ) -> Result<Self, LimitsError> {
        assert!(!encoders.is_empty(), "a trainer needs a device");
        limits.check()?;
        let prefix = PrefixCache::open(&limits.prefix, fingerprint)?;
        let fleet = Fleet::new(encoders, &limits, prefix);
        let (tenants, fairness, counters) = Default::default();
        Ok(Self { fleet, fingerprint, tenants, next_id: 0, fairness, counters, fault: None })
    }

    /// Lets a tenant join; it takes part from the next round on.
    pub fn add(&mut self, spec: TenantSpec) -> Result<TenantId, SettingsError> {
        if self.tenants.values().any(|tenant| tenant.name == spec.name) {
            return Err(SettingsError::NameTaken { name: spec.name });
        }
        let tenant = Tenant::new(spec, self.fleet.encoder().config())?;
        let id = TenantId(self.next_id);
        self.next_id += 1;
        self.tenants.insert(id, tenant);
        self.fairness.join(id);
        Ok(id)
    }

    /// Takes a tenant out, finished or not, with all that it holds; `None` if there is none, or its
    /// adapter was lost with the device.
    pub fn remove(&mut self, id: TenantId) -> Option<Outcome> {
        self.bring_home(id);
        self.fleet.forget(id);
        let tenant = self.tenants.remove(&id)?;
        self.fairness.leave(id);
        let is_whole = tenant.has_values() || tenant.state.best.is_some();
        is_whole.then(|| tenant.into_outcome(id))
    }

    /// Why the device has given up, once it has: no rounds are run any more, and what was trained
    /// since the last checkpoint is gone.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// Runs one batch of as many tenants as a round holds, and says what came of it. Nothing
    /// happens while every tenant is finished or waits for a score, nor once the device has given up.
    pub fn run_round(&mut self) -> Vec<Event> {
        if self.fault.is_some() {
            return Vec::new();
        }
        let begun = Instant::now();
        let mut events = self.call_for_scores();
        let candidates = self.fetch_batches(&mut events);
        let mut chosen = self.fairness.choose(&candidates, self.fleet.round_tokens_max());
        chosen.sort_unstable();
        let shares = self.take_shares(&chosen);
        let config = self.fleet.encoder().config().clone();
        self.counters.planning += begun.elapsed();
        let ran = shares.and_then(|mut shares| {
            // While a device works, the batches are made ready that come after these.
            let mut stall = Duration::ZERO;
            let mut meanwhile = || {
                for id in &chosen {
                    let tenant = self.tenants.get_mut(id).expect("chosen among the tenants");
                    stall += tenant.look_ahead(&config);
                }
            };
            let cost = self.fleet.run(&mut shares, &self.fairness.order(), &mut meanwhile)?;
            self.counters.data_stall += stall;
            Ok((shares, cost))
        });
        match ran {
            Ok((shares, cost)) if !shares.is_empty() => {
                let begun = Instant::now();
                events.extend(self.finish_shares(&chosen, shares));
                self.counters.optimizer += begun.elapsed();
                self.count(cost);
            }
            Ok(_) => {}
            Err(fault) => self.fault = Some(fault),
        }
        self.leave_finished(&events);
        events.extend(self.call_for_scores());
        events
    }

    /// The shares of these tenants in a round; devices keep their states from now on, if they can.
    fn take_shares(&mut self, chosen: &[TenantId]) -> Result<Vec<Share>, Fault> {
        let tokens = |id: &TenantId| self.tenants[id].fetched_tokens().unwrap_or(0);
        let loads: Vec<(TenantId, usize)> = chosen.iter().map(|id| (*id, tokens(id))).collect();
        let devices = self.fleet.assign(&loads);
        let mut shares = Vec::with_capacity(chosen.len());
        for (&id, device) in chosen.iter().zip(devices) {
            let tenant = self.tenants.get_mut(&id).expect("chosen among the tenants");
            let is_kept = self.fleet.settle(id, device, || tenant.slab_state())?;
            shares.push(tenant.take_share(id, device, is_kept));
        }
        Ok(shares)
    }

    /// An adapter's values, from wherever they are.
    fn values(&self, id: TenantId) -> Result<Vec<f32>, TenantError> {
        self.adapter(id).map(|adapter| Arc::unwrap_or_clone(adapter).values)
    }

    /// Tells how good a tenant's adapter is; higher is better, and what is not a number is never
    /// better. The tenant then goes on, or is finished.
    pub fn report_score(&mut self, id: TenantId, score: f64) -> Result<Vec<Event>, TenantError> {
        let tenant = self.tenants.get(&id).ok_or(TenantError::Unknown { tenant: id })?;
        if tenant.state.phase != Phase::AwaitingScore {
            return Err(TenantError::NotDue { tenant: id, name: tenant.name.clone() });
        }
        let values = tenant.improves(score).then(|| self.values(id)).transpose();
        if let Err(TenantError::Lost(fault)) = &values {
            self.fault.get_or_insert_with(|| fault.clone());
        }
        let values = values?;
        let tenant = self.tenants.get_mut(&id).expect("it was just looked at");
        let events = tenant.on_score(id, score, values);
        self.fairness.rejoin(id);
        self.leave_finished(&events);
        Ok(events)
    }

    /// Tenants that wait for a score, with the step that is to be judged.
    pub fn awaiting_score(&self) -> Vec<(TenantId, u64)> {
        let waits = |tenant: &Tenant| tenant.state.phase == Phase::AwaitingScore;
        let waiting = self.tenants.iter().filter(|(_, tenant)| waits(tenant));
        waiting.map(|(id, tenant)| (*id, tenant.state.step)).collect()
    }

    /// Whether every tenant is finished.
    pub fn is_done(&self) -> bool {
        self.tenants.values().all(|tenant| matches!(tenant.state.phase, Phase::Finished(_)))
    }

    /// Every tenant, in the order of joining.
    pub fn tenants(&self) -> Vec<TenantId> {
        self.tenants.keys().copied().collect()
    }

    /// A tenant's adapter as it stands; once the tenant is finished, the final (best) one. Where the
    /// device keeps it, it is copied, which waits for the device.
    pub fn adapter(&self, id: TenantId) -> Result<Arc<Adapter>, TenantError> {
        let tenant = self.tenants.get(&id).ok_or(TenantError::Unknown { tenant: id })?;
        let adapter = &tenant.state.adapter;
        if tenant.has_values() {
            return Ok(Arc::clone(adapter));
        }
        if let Some(fault) = &self.fault {
            return Err(TenantError::Lost(fault.clone()));
        }
        let read = self.fleet.read(id);
        let values = read.expect("what is not here is kept").map_err(TenantError::Lost)?.values;
        Ok(Arc::new(Adapter { layout: Arc::clone(&adapter.layout), values }))
    }

    /// How far a tenant is.
    pub fn progress(&self, id: TenantId) -> Option<Progress> {
        self.tenants.get(&id).map(Tenant::progress)
    }

    /// What was done so far, and how long it took.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What the cache of frozen prefixes did; `None` where it is off.
    pub fn prefix_counters(&self) -> Option<PrefixCounters> {
        self.fleet.prefix().map(PrefixCache::counters)
    }

    /// Writes everything that training needs to go on to one file, in place of the file that may
    /// be there, which stays as it is if that fails. Once the device has given up, it does.
    pub fn checkpoint(&self, path: &Path) -> Result<(), CheckpointError> {
        if let Some(fault) = &self.fault {
            let (path, fault) = (path.to_path_buf(), fault.clone());
            return Err(CheckpointError::Device { path, fault });
        }
        let saved = |(&id, tenant)| Saved { id, tenant, counter: self.fairness.counter(id) };
        let saved: Vec<Saved<'_>> = self.tenants.iter().map(saved).collect();
        let head = (self.fingerprint, self.counters);
        checkpoint::write(path, head, &saved, |saved| self.read_kept(saved))
    }

    /// Copies what the device keeps of a tenant, if it does, as a checkpoint holds it.
    fn read_kept(&self, Saved { id, tenant, .. }: Saved<'_>) -> Option<Result<SlabState, Fault>> {
        let kept = |mut state: SlabState| {
            if !tenant.is_within_step() {
                state.gradient.clear();
            }
            state
        };
        self.fleet.read(id).map(|read| read.map(kept))
    }

    /// Puts the tenants that were added back to where the checkpoint left those of the same names.
    /// Going on from there gives the bits that never stopping would have given. Every tenant of
    /// the checkpoint must be here, with the same examples, texts and settings (`weight` aside); a
    /// tenant that it does not hold starts from the beginning. On an error nothing is changed.
    pub fn resume(&mut self, path: &Path) -> Result<(), CheckpointError> {
        let mut saved = checkpoint::read(path)?;
        saved.check(path, self.fingerprint, self.tenants.values())?;
        self.counters = saved.counters();
        for (&id, tenant) in &mut self.tenants {
            let Some(found) = saved.take(&tenant.name) else { continue };
            match found.counter() {
                Some(counter) => self.fairness.restore(id, counter),
                None => self.fairness.leave(id),
            }
            let cursor = found.cursor();
            let state = found.into_state(tenant);
            self.fleet.forget(id);
            tenant.restore(state, cursor);
        }
        Ok(())
    }

    /// Tells the caller once about each tenant that waits for a score.
    fn call_for_scores(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for (&id, tenant) in &mut self.tenants {
            if tenant.state.phase == Phase::AwaitingScore && !tenant.called_for_score {
                tenant.called_for_score = true;
                events.push(Event::EvaluationDue { tenant: id, step: tenant.state.step });
            }
        }
        events
    }

    /// Fetches the next batch of every training tenant whose texts are ready, or waits for one
    /// tenant's where none are. Ends tenants whose texts are bad.
    fn fetch_batches(&mut self, events: &mut Vec<Event>) -> Vec<Candidate> {
        let training =
            |(_, tenant): &(&TenantId, &mut Tenant)| tenant.state.phase == Phase::Training;
        let (ready, late): (Vec<_>, Vec<_>) = self
            .tenants
            .iter_mut()
            .filter(training)
            .map(|(&id, tenant)| (id, tenant.is_ready()))
            .partition(|(_, is_ready)| *is_ready);
        let mut candidates: Vec<Candidate> =
            ready.into_iter().filter_map(|(id, _)| self.fetch(id, events)).collect();
        let mut late = late.into_iter();
        while candidates.is_empty()
            && let Some((id, _)) = late.next()
        {
            candidates.extend(self.fetch(id, events));
        }
        candidates
    }

    fn fetch(&mut self, id: TenantId, events: &mut Vec<Event>) -> Option<Candidate> {
        let config = self.fleet.encoder().config();
        let tenant = self.tenants.get_mut(&id)?;
        match tenant.fetch(config) {
            Ok(stall) => self.counters.data_stall += stall,
            Err(reason) => events.push(tenant.finish(id, reason)),
        }
        let tokens = tenant.fetched_tokens()?;
        Some(Candidate { tenant: id, tokens, weight: tenant.settings.weight })
    }

    /// Steps the optimizers of the chosen tenants, spread over the threads.
    fn finish_shares(&mut self, chosen: &[TenantId], shares: Vec<Share>) -> Vec<Event> {
        for share in shares.iter().filter(|share| share.failed.is_none()) {
            self.counters.tokens += share.plan.tokens() as u64;
            self.counters.pairs += share.plan.pairs as u64;
        }
        let tenants = self.tenants.iter_mut().filter(|(id, _)| chosen.binary_search(id).is_ok());
        let work: Vec<_> = tenants
            .zip(shares)
            .map(|((&id, tenant), share)| Mutex::new((id, tenant, Some(share), Vec::new())))
            .collect();
        self.fleet.spread(work.len(), |item| {
            let mut work = work[item].lock().expect("each item is run once");
            let (id, tenant, share, events) = &mut *work;
            let share = share.take().expect("each item is run once");
            *events = tenant.on_round_finished(*id, share);
        });
        let events = work.into_iter().flat_map(|work| {
            let (_, _, _, events) = work.into_inner().expect("no thread panicked");
            events
        });
        events.collect()
    }

    fn leave_finished(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::TenantFinished { tenant, .. } => {
                    self.fairness.leave(*tenant);
                    self.bring_home(*tenant);
                }
                Event::StepFinished { .. } => self.counters.steps += 1,
                Event::EvaluationDue { .. } | Event::ScoreCompared { .. } => {}
            }
        }
    }

    /// Takes back the values that a device kept of a tenant that trains no further.
    fn bring_home(&mut self, id: TenantId) {
        if !self.fleet.keeps(id) {
            return;
        }
        match self.values(id) {
            Ok(values) => {
                self.fleet.forget(id);
                let tenant = self.tenants.get_mut(&id).expect("only tenants are kept");
                tenant.take_values(values);
            }
            Err(TenantError::Lost(fault)) => self.fault = Some(fault),
            Err(TenantError::Unknown { .. } | TenantError::NotDue { .. }) => {}
        }
    }

    fn count(&mut self, cost: RoundCost) {
        let counters = &mut self.counters;
        counters.rounds += 1;
        counters.chunks += cost.chunks as u64;
        counters.chunks_recomputed += cost.chunks_recomputed as u64;
        counters.forward += cost.forward;
        counters.loss += cost.loss;
        counters.backward += cost.backward;
    }
}
