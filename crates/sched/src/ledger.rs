//! What is free on each card, kept in flat arrays: the planner copies it, tries things on the copy,
//! and takes them back.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use cotenant_types::{Amount, Card, CardId, Mebibytes, NodeName, Placement, Share, Slice};

use crate::mig::MigFree;

/// What is free, beside what never changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) catalog: Arc<Catalog>,
    free: Vec<Free>,
    nodes: Vec<NodeFree>,
}

/// What never changes while the cards stay the same.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) cards: Vec<CardFacts>,
    pub(crate) nodes: Vec<NodeFacts>,
    pub(crate) models: Vec<String>,
    pub(crate) racks: Vec<String>,
    by_id: BTreeMap<CardId, usize>,
}

#[derive(Debug)]
pub(crate) struct CardFacts {
    pub(crate) card: Card,
    pub(crate) node: usize,
    pub(crate) model: usize,
    pub(crate) is_usable: bool,
}

#[derive(Debug)]
pub(crate) struct NodeFacts {
    pub(crate) name: NodeName,
    pub(crate) rack: usize,
    /// Its cards among all.
    pub(crate) cards: Range<usize>,
}

/// What is free on a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Free {
    /// Below zero where a card came back smaller than it was.
    pub(crate) memory: i64,
    pub(crate) compute: i64,
    /// Jobs that have a slice.
    pub(crate) slices: u32,
    /// Whether one of them has the whole card.
    pub(crate) is_whole: bool,
    pub(crate) mig: MigFree,
}

/// What is free on the cards of a node at best: enough to pass it by without a look at each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeFree {
    pub(crate) idle: u32,
    pub(crate) memory_max: i64,
    pub(crate) compute_max: i64,
}

impl Ledger {
    /// Nothing is taken yet on these cards.
    pub(crate) fn new<'a>(cards: impl Iterator<Item = (&'a Card, bool)>) -> Self {
        let mut cards: Vec<_> = cards.collect();
        cards.sort_by(|(a, _), (b, _)| (&a.node, a.index, &a.id).cmp(&(&b.node, b.index, &b.id)));
        let mut catalog = Catalog::default();
        let (mut models, mut racks) = (BTreeMap::new(), BTreeMap::new());
        for (card, is_usable) in cards {
            let at = catalog.cards.len();
            let is_new = catalog.nodes.last().is_none_or(|node| node.name != card.node);
            if is_new {
                let rack = number(&mut racks, &mut catalog.racks, &card.site.rack);
                catalog.nodes.push(NodeFacts { name: card.node.clone(), rack, cards: at..at });
            }
            let node = catalog.nodes.len() - 1;
            catalog.nodes[node].cards.end = at + 1;
            let model = number(&mut models, &mut catalog.models, &card.model);
            catalog.by_id.insert(card.id.clone(), at);
            catalog.cards.push(CardFacts { card: card.clone(), node, model, is_usable });
        }
        let free = catalog.cards.iter().map(|facts| Free::of(&facts.card)).collect();
        let nodes = vec![NodeFree::default(); catalog.nodes.len()];
        let mut ledger = Self { catalog: Arc::new(catalog), free, nodes };
        for node in 0..ledger.nodes.len() {
            ledger.sum_up(node);
        }
        ledger
    }

    /// All that usable cards have.
    pub(crate) fn capacity(&self) -> Amount {
        let usable = self.catalog.cards.iter().filter(|facts| facts.is_usable);
        let amount = |facts: &CardFacts| Amount {
            compute_milli: u64::from(Share::WHOLE.per_mille()),
            memory: facts.card.memory,
        };
        usable.map(amount).fold(Amount::default(), Amount::plus)
    }

    pub(crate) fn free(&self, card: usize) -> &Free {
        &self.free[card]
    }

    pub(crate) fn node_free(&self, node: usize) -> NodeFree {
        self.nodes[node]
    }

    /// Whether the placement's slices are all free.
    pub(crate) fn has_room(&self, placement: &Placement) -> bool {
        let mut trial = self.clone();
        placement.slices().all(|slice| {
            let Some(&at) = trial.catalog.by_id.get(&slice.card) else { return false };
            let fits = trial.catalog.cards[at].is_usable && trial.free[at].fits(slice);
            if fits {
                trial.take_slice(slice);
            }
            fits
        })
    }

    pub(crate) fn take(&mut self, placement: &Placement) {
        placement.slices().for_each(|slice| self.take_slice(slice));
    }

    pub(crate) fn give_back(&mut self, placement: &Placement) {
        placement.slices().for_each(|slice| self.give_back_slice(slice));
    }

    /// A card that has left the pool altogether has no line here, and nothing to take.
    pub(crate) fn take_slice(&mut self, slice: &Slice) {
        let Some(&at) = self.catalog.by_id.get(&slice.card) else { return };
        let free = &mut self.free[at];
        free.memory -= mib(slice.memory.request);
        free.compute -= i64::from(slice.compute.request.per_mille());
        free.slices += 1;
        free.is_whole |= slice.whole;
        free.mig.take(self.catalog.cards[at].card.mig.as_ref(), slice.mig.as_ref());
        self.sum_up(self.catalog.cards[at].node);
    }

    pub(crate) fn give_back_slice(&mut self, slice: &Slice) {
        let Some(&at) = self.catalog.by_id.get(&slice.card) else { return };
        let free = &mut self.free[at];
        free.memory += mib(slice.memory.request);
        free.compute += i64::from(slice.compute.request.per_mille());
        free.slices -= 1;
        free.is_whole &= !slice.whole;
        free.mig.give_back(self.catalog.cards[at].card.mig.as_ref(), slice.mig.as_ref());
        self.sum_up(self.catalog.cards[at].node);
    }

    /// What is free both here and there: what a job may take that stays for ever, when another has
    /// a claim on what there will be.
    pub(crate) fn least(&self, other: &Ledger) -> Ledger {
        assert!(Arc::ptr_eq(&self.catalog, &other.catalog), "two ledgers of the same cards");
        let free = self.free.iter().zip(&other.free).map(|(here, there)| here.least(there));
        let mut least =
            Self { catalog: self.catalog.clone(), free: free.collect(), nodes: self.nodes.clone() };
        for node in 0..least.nodes.len() {
            least.sum_up(node);
        }
        least
    }

    fn sum_up(&mut self, node: usize) {
        let mut sum = NodeFree::default();
        for at in self.catalog.nodes[node].cards.clone() {
            let free = &self.free[at];
            if !self.catalog.cards[at].is_usable || free.is_whole {
                continue;
            }
            sum.idle += u32::from(free.slices == 0);
            sum.memory_max = sum.memory_max.max(free.memory);
            sum.compute_max = sum.compute_max.max(free.compute);
        }
        self.nodes[node] = sum;
    }
}

impl Free {
    fn of(card: &Card) -> Self {
        Self {
            memory: mib(card.memory),
            compute: i64::from(Share::WHOLE.per_mille()),
            slices: 0,
            is_whole: false,
            mig: MigFree::default(),
        }
    }

    fn fits(&self, slice: &Slice) -> bool {
        let shared = !self.is_whole && (!slice.whole || self.slices == 0);
        shared
            && self.memory >= mib(slice.memory.request)
            && self.compute >= i64::from(slice.compute.request.per_mille())
    }

    fn least(&self, other: &Free) -> Free {
        Free {
            memory: self.memory.min(other.memory),
            compute: self.compute.min(other.compute),
            slices: self.slices.max(other.slices),
            is_whole: self.is_whole || other.is_whole,
            mig: self.mig.least(&other.mig),
        }
    }
}

/// MiB that can be counted below zero; no card has more than fit.
pub(crate) fn mib(amount: Mebibytes) -> i64 {
    i64::try_from(amount.0).unwrap_or(i64::MAX / 2)
}

/// The number of a text among those seen so far.
fn number(known: &mut BTreeMap<String, usize>, texts: &mut Vec<String>, text: &str) -> usize {
    if let Some(&at) = known.get(text) {
        return at;
    }
    known.insert(text.to_owned(), texts.len());
    texts.push(text.to_owned());
    texts.len() - 1
}
