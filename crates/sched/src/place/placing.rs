//! What a pass places by: the policy that was chosen, what it expects, and what it has worked out
//! for the cards that there are.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use cotenant_types::Ask;
use thiserror::Error;

use super::Need;
use super::prices::Prices;
use crate::ledger::Catalog;
use crate::policy::PolicyName;

/// How a pool chooses among cards that have room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PoolPolicy {
    /// Where what is taken is worth least to the jobs that are expected.
    BidPrice,
    /// Where fragmentation grows least, by the jobs that are expected.
    Fgd,
    /// On the node where least is left of all cards' compute.
    BestFit,
    /// On the card where least is left of memory and compute. Expects nothing.
    #[default]
    LeastLeft,
}

/// A text is no policy of a pool.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0:?} is no policy of a pool; write bid-price, fgd, best-fit or least-left")]
pub struct ParsePoolPolicyError(String);

/// A policy, what it expects, and what it has worked out from that.
///
/// What a policy works out follows from the cards, the policy and the expected asks alone; it is
/// kept from one pass to the next for speed.
#[derive(Default)]
pub struct Placing {
    policy: PoolPolicy,
    asks: BTreeMap<Ask, u64>,
    worked_out: Option<(Arc<Catalog>, Option<Prices>)>,
}

impl PoolPolicy {
    /// Every policy, the default of a pool first.
    pub const ALL: [Self; 4] = [Self::BidPrice, Self::Fgd, Self::BestFit, Self::LeastLeft];

    /// As people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BidPrice => PolicyName::BidPrice.as_str(),
            Self::Fgd => PolicyName::Fgd.as_str(),
            Self::BestFit => PolicyName::BestFit.as_str(),
            Self::LeastLeft => "least-left",
        }
    }

    /// The policy that is asked about nodes, and whether it has to expect something; none if cards
    /// are compared one by one.
    fn asked(self) -> Option<(PolicyName, bool)> {
        match self {
            Self::BidPrice => Some((PolicyName::BidPrice, true)),
            Self::Fgd => Some((PolicyName::Fgd, true)),
            Self::BestFit => Some((PolicyName::BestFit, false)),
            Self::LeastLeft => None,
        }
    }
}

impl FromStr for PoolPolicy {
    type Err = ParsePoolPolicyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|policy| policy.as_str() == text);
        found.ok_or_else(|| ParsePoolPolicyError(text.to_owned()))
    }
}

impl Placing {
    /// A policy that expects nothing yet.
    pub fn new(policy: PoolPolicy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// Expects jobs like these, and no others.
    pub fn expect_asks(&mut self, asks: impl IntoIterator<Item = Ask>) {
        let mut counts = BTreeMap::new();
        for ask in asks {
            *counts.entry(ask).or_default() += 1;
        }
        if counts != self.asks {
            self.asks = counts;
            self.worked_out = None;
        }
    }

    /// Prices on these cards; none where cards are compared by what is left on them: if that is the
    /// policy, or if the policy goes by what is expected, and nothing is.
    pub(crate) fn prices(&mut self, catalog: &Arc<Catalog>) -> Option<&Prices> {
        let same = |known: &Arc<Catalog>| Arc::ptr_eq(known, catalog) || known == catalog;
        if !self.worked_out.as_ref().is_some_and(|(known, _)| same(known)) {
            self.worked_out = Some((catalog.clone(), self.work_out(catalog)));
        }
        self.worked_out.as_ref().and_then(|(_, prices)| prices.as_ref())
    }

    fn work_out(&self, catalog: &Catalog) -> Option<Prices> {
        let (name, is_expecting) = self.policy.asked()?;
        let expected: Vec<(Need<'_>, u64)> =
            self.asks.iter().map(|(ask, count)| (Need::new(ask, catalog), *count)).collect();
        let is_useful = expected.iter().any(|(need, _)| need.memory_of_most(catalog).is_some());
        (is_useful || !is_expecting).then(|| Prices::new(catalog, name, &expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_as_they_are_written() {
        for policy in PoolPolicy::ALL {
            assert_eq!(policy.as_str().parse(), Ok(policy));
        }
        let refused = "random".parse::<PoolPolicy>().unwrap_err().to_string();
        assert!(
            PoolPolicy::ALL.iter().all(|policy| refused.contains(policy.as_str())),
            "{refused}"
        );
    }
}
