//! What a job needs of a card, worked out once for all cards that a search looks at.

use cotenant_types::{
    Amount, Ask, Card, CardShare, Mebibytes, MemoryAsk, MigGeometry, Policy, Rung, Share, Slice,
    Span,
};

use crate::ledger::{CardFacts, Catalog, Free, mib};
use crate::reason::CardLack;

/// An ask, beside which models will do.
pub(crate) struct Need<'a> {
    pub(crate) ask: &'a Ask,
    suits: Vec<bool>,
}

impl<'a> Need<'a> {
    pub(crate) fn new(ask: &'a Ask, catalog: &Catalog) -> Self {
        let wanted = |model: &String| {
            let model = model.to_lowercase();
            ask.models.is_empty()
                || ask.models.iter().any(|part| model.contains(&part.to_lowercase()))
        };
        Self { ask, suits: catalog.models.iter().map(wanted).collect() }
    }

    /// The least that the job can be charged for, whichever cards it gets.
    pub(crate) fn amount_min(&self, catalog: &Catalog) -> Amount {
        let suiting = catalog.cards.iter().filter(|facts| self.suits[facts.model]);
        let least = suiting.map(|facts| self.memory(facts.card.memory).request).min();
        let cards = u64::from(self.ask.members) * u64::from(self.ask.cards);
        Amount {
            compute_milli: cards * u64::from(self.compute().request.per_mille()),
            memory: Mebibytes(cards.saturating_mul(least.unwrap_or_default().0)),
        }
    }

    /// What is kept for the job on a card of so much memory; at least 1 MiB.
    pub(crate) fn memory(&self, card: Mebibytes) -> Span<Mebibytes> {
        let on = |ask: MemoryAsk| ask.on(card).max(Mebibytes(1));
        match self.ask.share {
            CardShare::Whole => Span { request: card, limit: card },
            CardShare::Part { memory, .. } => {
                Span { request: on(memory.request), limit: on(memory.limit).min(card) }
            }
        }
    }

    pub(crate) fn compute(&self) -> Span<Share> {
        match self.ask.share {
            CardShare::Whole => Span { request: Share::WHOLE, limit: Share::WHOLE },
            CardShare::Part { compute, .. } => compute,
        }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.ask.share == CardShare::Whole
    }

    /// The job's slice of a card, or what the card lacks for it.
    pub(crate) fn slice(&self, facts: &CardFacts, free: &Free) -> Result<Slice, CardLack> {
        let rung = self.check(facts, free)?;
        let card = &facts.card;
        let mut slice = Slice {
            card: card.id.clone(),
            memory: self.memory(card.memory),
            compute: self.compute(),
            whole: self.is_whole(),
            enforced_by: rung,
            mig: None,
        };
        if let Some(geometry) = &card.mig {
            let ask = self.partition_ask(card, geometry);
            let (profile, place) = free.mig.find(geometry, ask).ok_or(CardLack::Partition)?;
            // A partition is kept whole, so that is what the job is shown and charged for.
            slice.memory = Span { request: profile.memory, limit: profile.memory };
            slice.compute = Span { request: profile.compute, limit: profile.compute };
            slice.mig = Some(place);
        }
        Ok(slice)
    }

    /// What enforces the job's slice if the card has room for it, else what it lacks.
    pub(crate) fn check(&self, facts: &CardFacts, free: &Free) -> Result<Rung, CardLack> {
        let card = &facts.card;
        let memory = self.memory(card.memory).request;
        let rung = self.fixed(facts)?;
        if free.is_whole {
            return Err(CardLack::Whole);
        }
        if self.is_whole() && free.slices > 0 {
            return Err(CardLack::Shared);
        }
        if card.mig.is_some() {
            return Ok(rung);
        }
        if free.memory < mib(memory) {
            return Err(CardLack::Memory);
        }
        if free.compute < i64::from(self.compute().request.per_mille()) {
            return Err(CardLack::Compute);
        }
        Ok(rung)
    }

    /// The same for what no other job can change.
    fn fixed(&self, facts: &CardFacts) -> Result<Rung, CardLack> {
        let card = &facts.card;
        if !facts.is_usable {
            return Err(CardLack::Unusable);
        }
        if !self.suits[facts.model] {
            return Err(CardLack::Model);
        }
        let rung = self.rung(&card.rungs, card.mig.is_some()).ok_or(CardLack::Enforcement)?;
        if self.memory(card.memory).request > card.memory {
            return Err(CardLack::Size);
        }
        Ok(rung)
    }

    /// The whole of a card in MIG mode is its largest partition, whatever the driver keeps of it.
    fn partition_ask(&self, card: &Card, geometry: &MigGeometry) -> (Mebibytes, Share) {
        let largest = geometry.profiles.iter().max_by_key(|profile| profile.width);
        match largest.filter(|_| self.is_whole()) {
            Some(largest) => (largest.memory, largest.compute),
            None => (self.memory(card.memory).request, self.compute().request),
        }
    }

    /// The strongest of a card's rungs that suits the policy; a card in MIG mode has only the one,
    /// and a partition can neither lend nor borrow.
    fn rung(&self, rungs: &[Rung], is_partitioned: bool) -> Option<Rung> {
        let suits = |rung: Rung| match rung {
            Rung::Mig => is_partitioned && self.ask.policy == Policy::Fixed,
            _ => !is_partitioned,
        };
        let strong = |rung: Rung| self.ask.rung_min.is_none_or(|least| rung <= least);
        rungs.iter().copied().find(|&rung| suits(rung) && strong(rung))
    }
}
