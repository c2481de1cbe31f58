//! The devices of a trainer, each with an engine of its own. A tenant's batch runs on one of them, and
//! to the same bits on each, so that nothing depends on how many there are.

mod assign;

use std::sync::Arc;
use std::thread;

use cotenant_transformer::{Backend, Encoder, Fault, SlabState};

use crate::event::TenantId;
use crate::prefix::PrefixCache;
use crate::round::{Engine, RoundCost, Share, run_wide};
use crate::spec::Limits;
use assign::{Load, assign};

/// One engine a device; there is at least one.
pub(crate) struct Fleet<B: Backend> {
    engines: Vec<Engine<B>>,
    prefix: Option<Arc<PrefixCache>>,
}

impl<B: Backend> Fleet<B> {
    /// An engine for each encoder, all within the same limits.
    pub(crate) fn new(
        encoders: Vec<Arc<Encoder<B>>>,
        limits: &Limits,
        prefix: Option<PrefixCache>,
    ) -> Self {
        let prefix = prefix.map(Arc::new);
        let engine = |encoder| Engine::new(encoder, limits.clone(), prefix.clone());
        Self { engines: encoders.into_iter().map(engine).collect(), prefix }
    }

    /// The model; it is the same on each device.
    pub(crate) fn encoder(&self) -> &Encoder<B> {
        self.engines[0].encoder()
    }

    /// Tokens of a round, on all devices together.
    pub(crate) fn round_tokens_max(&self) -> usize {
        let tokens = self.engines[0].limits().round_tokens_max;
        tokens.saturating_mul(self.engines.len())
    }

    /// The cache of frozen prefixes, which all share.
    pub(crate) fn prefix(&self) -> Option<&PrefixCache> {
        self.prefix.as_deref()
    }

    /// Runs a task for each item on the threads of the first engine.
    pub(crate) fn spread(&mut self, items: usize, task: impl Fn(usize) + Sync) {
        self.engines[0].spread(items, task);
    }

    /// A device for each tenant of a round, whose batches have so many tokens.
    pub(crate) fn assign(&self, tenants: &[(TenantId, usize)]) -> Vec<usize> {
        let load = |&(tenant, tokens): &(TenantId, usize)| Load { tokens, home: self.home(tenant) };
        assign(&tenants.iter().map(load).collect::<Vec<_>>(), self.engines.len())
    }

    /// The device that keeps a tenant's state, if one does.
    fn home(&self, tenant: TenantId) -> Option<usize> {
        self.engines.iter().position(|engine| engine.kept().has(tenant))
    }

    /// Whether a device keeps a tenant's state.
    pub(crate) fn keeps(&self, tenant: TenantId) -> bool {
        self.home(tenant).is_some()
    }

    /// Sees to it that a device keeps a tenant's state, if it can: one that is kept elsewhere moves,
    /// and one that is the host's is copied from `state`. Says whether a device keeps it now.
    pub(crate) fn settle(
        &mut self,
        tenant: TenantId,
        device: usize,
        state: impl FnOnce() -> SlabState,
    ) -> Result<bool, Fault> {
        match self.home(tenant) {
            Some(home) if home == device => {}
            Some(home) => {
                let state = self.read(tenant).expect("it is kept there")?;
                self.engines[device].keep(tenant, &state)?;
                self.engines[home].forget(tenant);
            }
            None if self.encoder().backend().keeper().is_some() => {
                self.engines[device].keep(tenant, &state())?;
            }
            None => return Ok(false),
        }
        Ok(true)
    }

    /// A copy of a tenant's state, if a device keeps it.
    pub(crate) fn read(&self, tenant: TenantId) -> Option<Result<SlabState, Fault>> {
        let engine = &self.engines[self.home(tenant)?];
        engine.kept().read(engine.encoder().backend(), tenant)
    }

    /// Forgets a tenant's state.
    pub(crate) fn forget(&mut self, tenant: TenantId) {
        self.engines.iter_mut().for_each(|engine| engine.forget(tenant));
    }

    /// Runs shares, each on its device, all devices at once, but one that is larger than a device's part
    /// of a round on all of them; see [`Engine::run`]. `meanwhile` may be called while devices work.
    pub(crate) fn run(
        &mut self,
        shares: &mut [Share],
        next: &[TenantId],
        meanwhile: &mut dyn FnMut(),
    ) -> Result<RoundCost, Fault> {
        let tokens_max = self.engines[0].limits().round_tokens_max;
        let is_wide = |share: &Share| share.kept.is_some() && share.plan.tokens() > tokens_max;
        shares.sort_by_key(|share| (!is_wide(share), share.device));
        let wide = match self.engines.len() {
            1 => 0,
            _ => shares.partition_point(is_wide),
        };
        let (wide, rest) = shares.split_at_mut(wide);
        let mut all = RoundCost::default();
        for share in wide {
            all.add(self.run_wide(share, next)?);
        }
        all.add(self.run_each(rest, next, meanwhile)?);
        shares.sort_by_key(|share| share.tenant);
        Ok(all)
    }

    /// Runs a share on all devices, its own first.
    fn run_wide(&mut self, share: &mut Share, next: &[TenantId]) -> Result<RoundCost, Fault> {
        let (before, rest) = self.engines.split_at_mut(share.device);
        let (owner, after) = rest.split_first_mut().expect("a share's device is one of them");
        let others = before.iter_mut().chain(after);
        run_wide(std::iter::once(owner).chain(others).collect(), share, next)
    }

    /// Runs shares on their devices, which are in order.
    fn run_each(
        &mut self,
        shares: &mut [Share],
        next: &[TenantId],
        meanwhile: &mut dyn FnMut(),
    ) -> Result<RoundCost, Fault> {
        let mut parts: Vec<_> = shares.chunk_by_mut(|a, b| a.device == b.device).collect();
        let ran = match &mut parts[..] {
            [] => return Ok(RoundCost::default()),
            [part] => vec![self.engines[part[0].device].run(part, next, meanwhile)],
            parts => thread::scope(|scope| {
                let mut parts = parts.iter_mut().peekable();
                let mut started = Vec::new();
                for (device, engine) in self.engines.iter_mut().enumerate() {
                    if let Some(part) = parts.next_if(|part| part[0].device == device) {
                        started.push(scope.spawn(|| engine.run(part, next, &mut || ())));
                    }
                }
                meanwhile();
                let join = |thread: thread::ScopedJoinHandle<'_, _>| {
                    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                };
                started.into_iter().map(join).collect()
            }),
        };
        let mut all = RoundCost::default();
        for cost in ran {
            all.beside(cost?);
        }
        Ok(all)
    }
}
