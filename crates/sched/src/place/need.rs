//! What a job needs of a card, worked out once for each kind of card and not for each card.

use cotenant_types::{
    Amount, Ask, CardShare, Mebibytes, MemoryAsk, MigGeometry, Place, Policy, Rung, Share, Slice,
    Span,
};

use super::CardsNear;
use super::prices::Prices;
use crate::ledger::{CardFacts, CardKindFacts, Catalog, Free, Ledger, mib};
use crate::reason::CardLack;

/// An ask, and what it means on each kind of card.
pub(crate) struct Need<'a> {
    pub(crate) ask: &'a Ask,
    pub(crate) compute: Span<Share>,
    kinds: Vec<Result<KindNeed, CardLack>>,
    prices: Option<&'a Prices>,
}

/// What the job needs of a card of a kind that will do.
struct KindNeed {
    memory: Span<Mebibytes>,
    rung: Rung,
    is_partitioned: bool,
}

impl<'a> Need<'a> {
    pub(crate) fn new(ask: &'a Ask, catalog: &Catalog) -> Self {
        let kinds = catalog.kinds.iter().map(|kind| KindNeed::new(ask, kind)).collect();
        let compute = match ask.share {
            CardShare::Whole => Span { request: Share::WHOLE, limit: Share::WHOLE },
            CardShare::Part { compute, .. } => compute,
        };
        Self { ask, compute, kinds, prices: None }
    }

    /// The same, where cards have prices.
    pub(crate) fn at_prices(self, prices: Option<&'a Prices>) -> Self {
        Self { prices, ..self }
    }

    /// What a policy says of nodes, where it is asked: not by jobs that spread, nor about cards
    /// that must be near each other.
    pub(super) fn prices(&self, near: CardsNear) -> Option<&'a Prices> {
        let is_near = self.ask.cards > 1 && near != CardsNear::Node;
        match self.ask.place {
            Place::Binpack if !is_near => self.prices,
            Place::Binpack | Place::Spread => None,
        }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.ask.share == CardShare::Whole
    }

    /// The least that the job can be charged for, whichever cards it gets.
    pub(crate) fn amount_min(&self) -> Amount {
        let least = self.kinds.iter().flatten().map(|kind| kind.memory.request).min();
        let cards = u64::from(self.ask.members) * u64::from(self.ask.cards);
        Amount {
            compute_milli: cards * u64::from(self.compute.request.per_mille()),
            memory: Mebibytes(cards.saturating_mul(least.unwrap_or_default().0)),
        }
    }

    /// Memory kept for the job on a card; none if the card will not do.
    pub(crate) fn memory(&self, facts: &CardFacts) -> Option<Mebibytes> {
        self.kinds[facts.kind as usize].as_ref().ok().map(|kind| kind.memory.request)
    }

    /// The same on cards of a kind that are not in MIG mode.
    pub(super) fn memory_of_kind(&self, kind: usize) -> Option<Mebibytes> {
        let need = self.kinds[kind].as_ref().ok().filter(|need| !need.is_partitioned)?;
        Some(need.memory.request)
    }

    /// The same on the kind of which there are most cards; none if only cards in MIG mode will do.
    pub(super) fn memory_of_most(&self, catalog: &Catalog) -> Option<Mebibytes> {
        let kinds = (0..self.kinds.len()).rev();
        let kinds = kinds.filter_map(|kind| Some((kind, self.memory_of_kind(kind)?)));
        let most = kinds.max_by_key(|&(kind, _)| catalog.cards_of_kind[kind]);
        most.map(|(_, memory)| memory)
    }

    /// What the card lacks for a slice of the job, the first thing that is missing.
    pub(crate) fn check(&self, ledger: &Ledger, at: usize) -> Result<(), CardLack> {
        let (facts, free) = (&ledger.catalog.cards[at], ledger.free(at));
        if !facts.is_usable {
            return Err(CardLack::Unusable);
        }
        let kind = self.kinds[facts.kind as usize].as_ref().map_err(|lack| *lack)?;
        self.check_free(kind, free)?;
        match kind.is_partitioned {
            true => self.slice(ledger, at).map(drop),
            false => Ok(()),
        }
    }

    fn check_free(&self, kind: &KindNeed, free: &Free) -> Result<(), CardLack> {
        if free.is_whole {
            return Err(CardLack::Whole);
        }
        if self.is_whole() && free.slices > 0 {
            return Err(CardLack::Shared);
        }
        if kind.is_partitioned {
            return Ok(());
        }
        if free.memory < mib(kind.memory.request) {
            return Err(CardLack::Memory);
        }
        if free.compute < i64::from(self.compute.request.per_mille()) {
            return Err(CardLack::Compute);
        }
        Ok(())
    }

    /// How many slices of the job the card has room for, at most.
    pub(crate) fn count_max(&self, ledger: &Ledger, at: usize) -> u64 {
        if self.check(ledger, at).is_err() {
            return 0;
        }
        let (facts, free) = (&ledger.catalog.cards[at], ledger.free(at));
        let Ok(kind) = &self.kinds[facts.kind as usize] else { return 0 };
        match (self.is_whole(), &ledger.catalog.kind_of(facts).mig) {
            (true, _) => 1,
            (false, Some(geometry)) => u64::from(geometry.slots),
            (false, None) => {
                let memory = free.memory / mib(kind.memory.request).max(1);
                let compute = free.compute / i64::from(self.compute.request.per_mille()).max(1);
                memory.min(compute).unsigned_abs()
            }
        }
    }

    /// The job's slice of a card, or what the card lacks for it.
    pub(crate) fn slice(&self, ledger: &Ledger, at: usize) -> Result<Slice, CardLack> {
        let facts = &ledger.catalog.cards[at];
        let kind = self.kinds[facts.kind as usize].as_ref().map_err(|lack| *lack)?;
        self.check_free(kind, ledger.free(at))?;
        let mut slice = Slice {
            card: ledger.catalog.ids[at].clone(),
            memory: kind.memory,
            compute: self.compute,
            whole: self.is_whole(),
            enforced_by: kind.rung,
            mig: None,
        };
        if let Some(geometry) = &ledger.catalog.kind_of(facts).mig {
            let ask = self.partition_ask(kind, geometry);
            let found = ledger.partitions(at).find(geometry, ask);
            let (profile, place) = found.ok_or(CardLack::Partition)?;
            // A partition is kept whole, so that is what the job is shown and charged for.
            slice.memory = Span { request: profile.memory, limit: profile.memory };
            slice.compute = Span { request: profile.compute, limit: profile.compute };
            slice.mig = Some(place);
        }
        Ok(slice)
    }

    /// The whole of a card in MIG mode is its largest partition, whatever the driver keeps of it.
    fn partition_ask(&self, kind: &KindNeed, geometry: &MigGeometry) -> (Mebibytes, Share) {
        let largest = geometry.profiles.iter().max_by_key(|profile| profile.width);
        match largest.filter(|_| self.is_whole()) {
            Some(largest) => (largest.memory, largest.compute),
            None => (kind.memory.request, self.compute.request),
        }
    }
}

impl KindNeed {
    /// What the ask means on cards of a kind, or why none of them will ever do.
    fn new(ask: &Ask, kind: &CardKindFacts) -> Result<Self, CardLack> {
        let model = kind.model.to_lowercase();
        let is_wanted = |part: &String| model.contains(&part.to_lowercase());
        if !ask.models.is_empty() && !ask.models.iter().any(is_wanted) {
            return Err(CardLack::Model);
        }
        let rung = strongest(ask, kind).ok_or(CardLack::Enforcement)?;
        let on = |asked: MemoryAsk| asked.on(kind.memory).max(Mebibytes(1));
        let memory = match ask.share {
            CardShare::Whole => Span { request: kind.memory, limit: kind.memory },
            CardShare::Part { memory, .. } => {
                Span { request: on(memory.request), limit: on(memory.limit).min(kind.memory) }
            }
        };
        let foretold = ask.foretold.unwrap_or(Mebibytes(0));
        if memory.request.max(foretold) > kind.memory || foretold > memory.limit {
            return Err(CardLack::Size);
        }
        let is_partitioned = kind.mig.is_some();
        // A partition gives what is kept and no more.
        let request = if is_partitioned { memory.request.max(foretold) } else { memory.request };
        Ok(Self { memory: Span { request, ..memory }, rung, is_partitioned })
    }
}

/// The strongest of a card's rungs that suits the policy; a card in MIG mode has only the one, and
/// a partition can neither lend nor borrow.
fn strongest(ask: &Ask, kind: &CardKindFacts) -> Option<Rung> {
    let suits = |rung: Rung| match rung {
        Rung::Mig => kind.mig.is_some() && ask.policy == Policy::Fixed,
        _ => kind.mig.is_none(),
    };
    let is_strong = |rung: Rung| ask.rung_min.is_none_or(|least| rung <= least);
    kind.rungs.iter().copied().find(|&rung| suits(rung) && is_strong(rung))
}
