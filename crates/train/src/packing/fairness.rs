//! Who goes next: one virtual counter of tokens a tenant, as S-LoRA's fair queue has it
//! (arXiv:2401.00588).
//!
//! A tenant's counter grows by its tokens divided by its weight, and the smallest counter goes
//! first. A tenant that is ahead of the smallest by more than one plan sits a round out, so that
//! shares follow the weights also when everybody would fit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::TenantId;

/// Virtual cost of one token at weight 1; divides well by small weights.
const TOKEN: u64 = 1 << 20;

/// The counters of the tenants that have something to train.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fairness {
    counters: BTreeMap<TenantId, u64>,
}

/// A tenant with a plan ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Who.
    pub(crate) tenant: TenantId,
    /// Tokens of its plan.
    pub(crate) tokens: usize,
    /// Its share relative to others.
    pub(crate) weight: u32,
}

impl Candidate {
    fn cost(&self) -> u64 {
        (self.tokens as u64).saturating_mul(TOKEN) / u64::from(self.weight.max(1))
    }
}

impl Fairness {
    /// Begins to count a tenant, at the smallest counter: it neither owes nor is owed.
    pub(crate) fn join(&mut self, tenant: TenantId) {
        let smallest = self.counters.values().min().copied().unwrap_or(0);
        self.counters.entry(tenant).or_insert(smallest);
    }

    /// Counts a tenant on that was idle by its own doing: the pause earns it no credit.
    pub(crate) fn rejoin(&mut self, tenant: TenantId) {
        let others = self.counters.iter().filter(|(id, _)| **id != tenant);
        let smallest = others.map(|(_, counter)| *counter).min().unwrap_or(0);
        let counter = self.counters.entry(tenant).or_insert(smallest);
        *counter = smallest.max(*counter);
    }

    /// Ends to count a tenant.
    pub(crate) fn leave(&mut self, tenant: TenantId) {
        self.counters.remove(&tenant);
    }

    /// The counter of a tenant, to be kept in a checkpoint.
    pub(crate) fn counter(&self, tenant: TenantId) -> Option<u64> {
        self.counters.get(&tenant).copied()
    }

    /// Puts back a counter from a checkpoint.
    pub(crate) fn restore(&mut self, tenant: TenantId, counter: u64) {
        self.counters.insert(tenant, counter);
    }

    /// Everybody who has something to train, whoever is next first.
    pub(crate) fn order(&self) -> Vec<TenantId> {
        let mut order: Vec<(u64, TenantId)> =
            self.counters.iter().map(|(id, counter)| (*counter, *id)).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, id)| id).collect()
    }

    /// Chooses who is in the next round and counts their tokens. Goes through the candidates from
    /// the smallest counter on, equal ones by id, and takes each that still fits; the first one is
    /// always taken, and one that is larger than the whole round only goes as the first, alone.
    pub(crate) fn choose(
        &mut self,
        candidates: &[Candidate],
        round_tokens_max: usize,
    ) -> Vec<TenantId> {
        let mut order: Vec<(u64, Candidate)> = candidates
            .iter()
            .map(|candidate| (self.counter(candidate.tenant).unwrap_or(0), *candidate))
            .collect();
        order.sort_by_key(|(counter, candidate)| (*counter, candidate.tenant));
        let smallest = order.first().map_or(0, |(counter, _)| *counter);
        let grain = candidates.iter().map(Candidate::cost).max().unwrap_or(0);
        let (mut chosen, mut tokens) = (Vec::new(), 0);
        for (counter, candidate) in order {
            let fits = tokens + candidate.tokens <= round_tokens_max;
            if chosen.is_empty() || (fits && counter - smallest <= grain) {
                tokens += candidate.tokens;
                chosen.push(candidate.tenant);
                self.counters.insert(candidate.tenant, counter.saturating_add(candidate.cost()));
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, proptest};

    use super::{Candidate, Fairness, TenantId};

    fn tenants(sizes: &[(usize, u32)]) -> Vec<Candidate> {
        let candidate = |(id, &(tokens, weight)): (usize, &(usize, u32))| Candidate {
            tenant: TenantId(id as u32),
            tokens,
            weight,
        };
        sizes.iter().enumerate().map(candidate).collect()
    }

    /// Tokens served to each tenant after so many rounds.
    fn serve(candidates: &[Candidate], round_tokens_max: usize, rounds: usize) -> Vec<usize> {
        let mut fairness = Fairness::default();
        candidates.iter().for_each(|candidate| fairness.join(candidate.tenant));
        let mut served = vec![0; candidates.len()];
        for _ in 0..rounds {
            for TenantId(id) in fairness.choose(candidates, round_tokens_max) {
                served[id as usize] += candidates[id as usize].tokens;
            }
        }
        served
    }

    fn check(sizes: &[(usize, u32)], round_tokens_max: usize, rounds: usize, expected: &[usize]) {
        let served = serve(&tenants(sizes), round_tokens_max, rounds);
        assert_eq!(served, expected, "{sizes:?} in rounds of {round_tokens_max}");
    }

    #[test]
    fn rounds_are_filled_in_the_order_of_counters() {
        check(&[(10, 1), (10, 1), (10, 1)], 30, 1, &[10, 10, 10]);
        check(&[(10, 1), (10, 1), (10, 1)], 20, 1, &[10, 10, 0]);
        check(&[(10, 1), (10, 1), (10, 1)], 20, 3, &[20, 20, 20]);
        check(&[(50, 1), (10, 1)], 20, 1, &[50, 0]);
        check(&[(50, 1), (10, 1)], 20, 6, &[50, 50]);
    }

    #[test]
    fn a_latecomer_neither_owes_nor_is_owed() {
        let candidates = tenants(&[(10, 1), (10, 1)]);
        let mut fairness = Fairness::default();
        fairness.join(TenantId(0));
        (0..100).for_each(|_| drop(fairness.choose(&candidates[..1], 10)));
        fairness.join(TenantId(1));
        let mut turns: Vec<_> = (0..4).flat_map(|_| fairness.choose(&candidates, 10)).collect();
        turns.sort();
        assert_eq!(turns, [0, 0, 1, 1].map(TenantId));
    }

    #[test]
    fn a_pause_earns_no_credit() {
        let candidates = tenants(&[(10, 1), (10, 1)]);
        let mut fairness = Fairness::default();
        candidates.iter().for_each(|candidate| fairness.join(candidate.tenant));
        (0..100).for_each(|_| drop(fairness.choose(&candidates[..1], 10)));
        fairness.rejoin(TenantId(1));
        assert_eq!(fairness.counter(TenantId(1)), fairness.counter(TenantId(0)));
        fairness.choose(&candidates[..1], 10);
        fairness.rejoin(TenantId(0));
        assert!(fairness.counter(TenantId(0)) > fairness.counter(TenantId(1)));
    }

    proptest! {
        #[test]
        fn shares_follow_weights_within_two_grains(
            sizes in prop::collection::vec((1usize..60, 1u32..5), 2..6),
            round_tokens_max in 1usize..200,
        ) {
            let candidates = tenants(&sizes);
            let served = serve(&candidates, round_tokens_max, 400);
            let shares: Vec<f64> =
                served.iter().zip(&sizes).map(|(&tokens, &(_, w))| tokens as f64 / f64::from(w)).collect();
            let grain = sizes.iter().map(|&(t, w)| t as f64 / f64::from(w)).fold(0.0, f64::max);
            let (low, high) = shares.iter().fold((f64::MAX, 0.0_f64), |(l, h), &s| (l.min(s), h.max(s)));
            assert!(high - low <= 2.0 * grain + 0.01, "{shares:?}, grain {grain}");
        }
    }
}
