//! Whose turn it is: weighted dominant-resource fairness over the tree of tenants.
//!
//! A tenant's dominant share is the larger of its shares of compute and memory (Ghodsi et al.,
//! "Dominant Resource Fairness", NSDI 2011); among those with the same parent, whoever has the least
//! of it for its weight is next, and whoever is below its guarantee before all others.

use std::collections::BTreeMap;

use cotenant_types::{Amount, Quota, TenantName};

use crate::state::State;

/// Shares are compared in parts of a thousand million.
const WHOLE: u128 = 1_000_000_000;

/// The tenants as a tree, what each subtree holds, and how many jobs of it wait for a look.
pub(crate) struct Tree<'a> {
    tenants: Vec<Tenant<'a>>,
    by_name: BTreeMap<&'a TenantName, usize>,
    tops: Vec<usize>,
    capacity: Amount,
}

struct Tenant<'a> {
    name: &'a TenantName,
    quota: &'a Quota,
    parent: Option<usize>,
    children: Vec<usize>,
    /// What its own jobs hold.
    own: Amount,
    /// What those and the jobs of all below it hold.
    held: Amount,
    own_pending: usize,
    pending: usize,
}

/// A tenant that would hold more than it may.
pub(crate) struct OverQuota<'a> {
    pub(crate) tenant: &'a TenantName,
    pub(crate) held: Amount,
    pub(crate) limit: Amount,
}

impl<'a> Tree<'a> {
    /// The tenants of a state, with what their jobs hold.
    pub(crate) fn of(state: &'a State) -> Self {
        let mut tree = Self::new(&state.tenants, state.capacity());
        for (tenant, amount) in state.held() {
            tree.take(tree.find(&tenant), amount);
        }
        tree
    }

    fn new(tenants: &'a BTreeMap<TenantName, Quota>, capacity: Amount) -> Self {
        let by_name: BTreeMap<&TenantName, usize> =
            tenants.keys().enumerate().map(|(at, name)| (name, at)).collect();
        let mut tree = Self { tenants: Vec::new(), by_name, tops: Vec::new(), capacity };
        for (name, quota) in tenants {
            let parent = quota.parent.as_ref().and_then(|parent| tree.by_name.get(parent)).copied();
            tree.tenants.push(Tenant {
                name,
                quota,
                parent,
                children: Vec::new(),
                own: Amount::default(),
                held: Amount::default(),
                own_pending: 0,
                pending: 0,
            });
        }
        for at in 0..tree.tenants.len() {
            match tree.tenants[at].parent {
                Some(parent) => tree.tenants[parent].children.push(at),
                None => tree.tops.push(at),
            }
        }
        tree
    }

    pub(crate) fn find(&self, tenant: &TenantName) -> usize {
        self.by_name[tenant]
    }

    /// Counts what a tenant's job holds from now on.
    pub(crate) fn take(&mut self, tenant: usize, amount: Amount) {
        self.tenants[tenant].own = self.tenants[tenant].own.plus(amount);
        self.upwards(tenant, |above| above.held = above.held.plus(amount));
    }

    /// Counts a job that waits for a look.
    pub(crate) fn add_pending(&mut self, tenant: usize) {
        self.tenants[tenant].own_pending += 1;
        self.upwards(tenant, |above| above.pending += 1);
    }

    /// Counts a look at a job.
    pub(crate) fn looked_at(&mut self, tenant: usize) {
        self.tenants[tenant].own_pending -= 1;
        self.upwards(tenant, |above| above.pending -= 1);
    }

    fn upwards(&mut self, tenant: usize, change: impl Fn(&mut Tenant<'a>)) {
        let mut next = Some(tenant);
        while let Some(at) = next {
            change(&mut self.tenants[at]);
            next = self.tenants[at].parent;
        }
    }

    /// The tenant whose job is looked at next; none when all were.
    pub(crate) fn next(&self) -> Option<usize> {
        let mut at = self.first(&self.tops)?;
        loop {
            let tenant = &self.tenants[at];
            let below = self.first(&tenant.children);
            // A tenant's own jobs stand beside its children's, as those of a child of weight 1.
            let own = (true, self.share(tenant.own));
            let Some(below) = below else { return Some(at) };
            if tenant.own_pending > 0 && own <= self.turn(&self.tenants[below]) {
                return Some(at);
            }
            at = below;
        }
    }

    fn first(&self, among: &[usize]) -> Option<usize> {
        let waiting = among.iter().copied().filter(|&at| self.tenants[at].pending > 0);
        waiting.min_by_key(|&at| self.turn(&self.tenants[at]))
    }

    /// The least is next.
    fn turn(&self, tenant: &Tenant<'_>) -> (bool, u128) {
        let share = self.share(tenant.held) / u128::from(tenant.quota.weight.max(1));
        (!is_below_guarantee(tenant), share)
    }

    fn share(&self, held: Amount) -> u128 {
        let part = |held: u64, all: u64| u128::from(held) * WHOLE / u128::from(all.max(1));
        let compute = part(held.compute_milli, self.capacity.compute_milli);
        compute.max(part(held.memory.0, self.capacity.memory.0))
    }

    /// Who would hold too much if the tenant held so much more: itself, or one that it lives on.
    pub(crate) fn over_quota(&self, tenant: usize, more: Amount) -> Option<OverQuota<'a>> {
        let mut next = Some(tenant);
        while let Some(at) = next {
            let Tenant { name, quota, held, parent, .. } = &self.tenants[at];
            if let Some(limit) = quota.limit
                && !held.plus(more).is_within(limit)
            {
                return Some(OverQuota { tenant: name, held: *held, limit });
            }
            next = *parent;
        }
        None
    }

    /// Whether the tenant holds something that it only borrows.
    pub(crate) fn borrows(&self, tenant: usize) -> bool {
        let Tenant { held, quota, .. } = &self.tenants[tenant];
        !held.is_within(quota.guaranteed)
    }

    /// Whether the tenant would still live on what it is guaranteed if it held so much more.
    pub(crate) fn is_owed(&self, tenant: usize, more: Amount) -> bool {
        let Tenant { held, quota, .. } = &self.tenants[tenant];
        held.plus(more).is_within(quota.guaranteed)
    }
}

fn is_below_guarantee(tenant: &Tenant<'_>) -> bool {
    let guaranteed = tenant.quota.guaranteed;
    tenant.held.compute_milli < guaranteed.compute_milli || tenant.held.memory < guaranteed.memory
}

#[cfg(test)]
mod tests {
    use cotenant_types::Mebibytes;

    use super::*;

    fn amount(compute_milli: u64, memory: u64) -> Amount {
        Amount { compute_milli, memory: Mebibytes(memory) }
    }

    /// Gives every turn one card of ten, and says who took them.
    fn turns(quotas: &[(&str, Option<&str>, u32, u64)]) -> String {
        let quota = |&(name, parent, weight, guaranteed): &(&str, Option<&str>, u32, u64)| {
            let parent = parent.map(|parent| parent.parse().unwrap());
            let guaranteed = amount(guaranteed, guaranteed);
            (name.parse().unwrap(), Quota { parent, weight, guaranteed, limit: None })
        };
        let tenants: BTreeMap<TenantName, Quota> = quotas.iter().map(quota).collect();
        let mut tree = Tree::new(&tenants, amount(10_000, 10_000));
        for at in 0..tree.tenants.len() {
            (0..10).for_each(|_| tree.add_pending(at));
        }
        let mut names = String::new();
        for _ in 0..10 {
            let next = tree.next().unwrap();
            tree.looked_at(next);
            tree.take(next, amount(1000, 1000));
            names.push_str(tree.tenants[next].name.as_str());
        }
        names
    }

    #[test]
    fn turns_follow_weights_guarantees_and_the_tree() {
        assert_eq!(turns(&[("a", None, 1, 0), ("b", None, 1, 0)]), "ababababab");
        assert_eq!(turns(&[("a", None, 1, 0), ("b", None, 3, 0)]), "abbbabbbab");
        assert_eq!(turns(&[("a", None, 9, 0), ("b", None, 1, 3000)]), "bbbaaaaaaa");
        // b and c share what b has beside a; b's own jobs are one more of its children.
        let tree = [("a", None, 1, 0), ("b", None, 1, 0), ("c", Some("b"), 1, 0)];
        assert_eq!(turns(&tree), "abacabacab");
    }

    #[test]
    fn the_larger_share_counts() {
        let tenants: BTreeMap<TenantName, Quota> =
            ["a", "b"].map(|name| (name.parse().unwrap(), Quota::default())).into();
        let mut tree = Tree::new(&tenants, amount(10_000, 1_000));
        (0..2).for_each(|at| tree.add_pending(at));
        tree.take(0, amount(100, 400));
        tree.take(1, amount(3_000, 100));
        assert_eq!(tree.next(), Some(1), "3 of 10 cards are less than 4 tenths of the memory");
    }
}
