//! Tenants' states that the device keeps from round to round, and which of them are on it.
//!
//! What is kept is nowhere else: the tenant's own values, running means and gradient are empty until
//! it comes home. A state is on the device or aside, in memory of the host; `paging` decides.

mod paging;

use std::collections::BTreeMap;

use cotenant_transformer::{Backend, Fault, Keeper, SlabState};

use crate::event::TenantId;
use paging::{Page, moves};

/// What a device keeps of one adapter.
pub(crate) type Slab<B> = <<B as Backend>::Keeper as Keeper<B>>::Slab;

/// The tenants whose states the device keeps.
pub(crate) struct Kept<B: Backend> {
    slabs: BTreeMap<TenantId, Slab<B>>,
    pages: BTreeMap<TenantId, Page>,
    /// Bytes of states that are on the device at a time; a single one may be larger.
    bytes_max: usize,
}

impl<B: Backend> Kept<B> {
    /// Nobody's, with room for so many bytes on the device.
    pub(crate) fn new(bytes_max: usize) -> Self {
        let (slabs, pages) = Default::default();
        Self { slabs, pages, bytes_max }
    }

    /// Takes over a tenant's state.
    pub(crate) fn take(
        &mut self,
        device: &B,
        tenant: TenantId,
        state: &SlabState,
    ) -> Result<(), Fault> {
        let Some(keeper) = device.keeper() else { return Ok(()) };
        self.slabs.insert(tenant, keeper.take(state)?);
        let bytes = SlabState::bytes(state.values.len());
        self.pages.insert(tenant, Page { bytes, is_there: false });
        Ok(())
    }

    /// Whether a tenant's state is here.
    pub(crate) fn has(&self, tenant: TenantId) -> bool {
        self.slabs.contains_key(&tenant)
    }

    /// A copy of a tenant's state, if it is here.
    pub(crate) fn read(&self, device: &B, tenant: TenantId) -> Option<Result<SlabState, Fault>> {
        Some(device.keeper()?.read(self.slabs.get(&tenant)?))
    }

    /// Forgets a tenant's state.
    pub(crate) fn forget(&mut self, tenant: TenantId) {
        self.slabs.remove(&tenant);
        self.pages.remove(&tenant);
    }

    /// How many of these tenants, from the first on, can be in a round together; one at least.
    pub(crate) fn together(&self, tenants: impl Iterator<Item = TenantId>) -> usize {
        let mut bytes = 0_usize;
        let fits = |tenant: &TenantId| {
            bytes = bytes.saturating_add(self.pages.get(tenant).map_or(0, |page| page.bytes));
            bytes <= self.bytes_max
        };
        tenants.take_while(fits).count().max(1)
    }

    /// Whether anybody's state is here.
    pub(crate) fn is_used(&self) -> bool {
        !self.slabs.is_empty()
    }

    /// Begins to bring these tenants' states to the device, and then those that are wanted next, the
    /// soonest first, as far as there is room; puts aside whom that takes room from.
    pub(crate) fn bring(&mut self, device: &B, now: &[TenantId], next: &[TenantId]) {
        let Some(keeper) = device.keeper() else { return };
        let moves = moves(&self.pages, (now, next), self.bytes_max);
        for (tenants, is_there) in [(moves.aside, false), (moves.brought, true)] {
            for tenant in tenants {
                let slab = self.slabs.get_mut(&tenant).expect("a page is a slab's");
                if is_there {
                    keeper.bring(slab)
                } else {
                    keeper.put_aside(slab)
                }
                self.pages.get_mut(&tenant).expect("it was just moved").is_there = is_there;
            }
        }
    }

    /// The states of these tenants, which are here, in the order of tenants.
    pub(crate) fn slabs<'a>(
        &'a mut self,
        tenants: &'a [TenantId],
    ) -> impl Iterator<Item = &'a mut Slab<B>> {
        let chosen = self.slabs.iter_mut().filter(|(id, _)| tenants.binary_search(id).is_ok());
        chosen.map(|(_, slab)| slab)
    }

    /// Has at most so many bytes on the device from now on, and nothing at first; with none, tenants
    /// are in rounds alone.
    pub(crate) fn limit(&mut self, device: &B, bytes_max: usize) {
        let Some(keeper) = device.keeper() else { return };
        self.bytes_max = bytes_max;
        for (slab, page) in self.slabs.values_mut().zip(self.pages.values_mut()) {
            keeper.put_aside(slab);
            page.is_there = false;
        }
    }
}
