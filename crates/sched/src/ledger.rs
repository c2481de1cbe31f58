//! What is free on each card, kept in flat arrays: the planner copies it, tries things on the copy,
//! and takes them back.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use cotenant_types::{
    Amount, Card, CardId, Mebibytes, MigGeometry, NodeName, Placement, Rung, Share, Slice,
};

use crate::mig::MigFree;

/// What is free, beside what never changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) catalog: Arc<Catalog>,
    free: Vec<Free>,
    nodes: Vec<NodeFree>,
    /// How often each node has changed: what was worked out for one holds until it does.
    versions: Vec<u64>,
    /// Slices on the cards of each rack.
    rack_slices: Vec<u64>,
    /// Partitions of the cards in MIG mode that have any.
    partitions: BTreeMap<usize, MigFree>,
}

/// What never changes while the cards stay the same.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Catalog {
    pub(crate) cards: Vec<CardFacts>,
    pub(crate) nodes: Vec<NodeFacts>,
    pub(crate) kinds: Vec<CardKindFacts>,
    pub(crate) cards_of_kind: Vec<u32>,
    pub(crate) racks: Vec<String>,
    pub(crate) ids: Vec<CardId>,
    by_id: BTreeMap<CardId, usize>,
}

/// A card, in as few bytes as a search over thousands of them looks at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CardFacts {
    pub(crate) node: u32,
    pub(crate) kind: u32,
    pub(crate) is_usable: bool,
    pub(crate) nvlink: u32,
    pub(crate) numa: u32,
}

/// What cards have in common, so that it is compared with an ask once for all of them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CardKindFacts {
    pub(crate) model: String,
    pub(crate) memory: Mebibytes,
    pub(crate) rungs: Vec<Rung>,
    pub(crate) mig: Option<MigGeometry>,
}

#[derive(Debug, PartialEq, Eq)]
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
        let mut racks = BTreeMap::new();
        for (card, is_usable) in cards {
            let at = catalog.cards.len();
            let is_new = catalog.nodes.last().is_none_or(|node| node.name != card.node);
            if is_new {
                let rack = number(&mut racks, &mut catalog.racks, &card.site.rack);
                catalog.nodes.push(NodeFacts { name: card.node.clone(), rack, cards: at..at });
            }
            let node = catalog.nodes.len() - 1;
            catalog.nodes[node].cards.end = at + 1;
            catalog.by_id.insert(card.id.clone(), at);
            catalog.ids.push(card.id.clone());
            let kind = catalog.kind(card);
            let (nvlink, numa) = (card.site.nvlink, card.site.numa);
            let node = node as u32;
            catalog.cards.push(CardFacts { node, kind, is_usable, nvlink, numa });
        }
        let memory = |facts: &CardFacts| catalog.kinds[facts.kind as usize].memory;
        let free = catalog.cards.iter().map(|facts| Free::of(memory(facts))).collect();
        let nodes = vec![NodeFree::default(); catalog.nodes.len()];
        let (versions, rack_slices) = (vec![0; nodes.len()], vec![0; catalog.racks.len()]);
        let (catalog, partitions) = (Arc::new(catalog), BTreeMap::new());
        let mut ledger = Self { catalog, free, nodes, versions, rack_slices, partitions };
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
            memory: self.catalog.kind_of(facts).memory,
        };
        usable.map(amount).fold(Amount::default(), Amount::plus)
    }

    pub(crate) fn free(&self, card: usize) -> &Free {
        &self.free[card]
    }

    pub(crate) fn node_free(&self, node: usize) -> NodeFree {
        self.nodes[node]
    }

    /// A number that is another as soon as the node has changed; never 0.
    pub(crate) fn version(&self, node: usize) -> u64 {
        self.versions[node]
    }

    /// Whether nothing of the node's rack is taken.
    pub(crate) fn is_rack_idle(&self, node: usize) -> bool {
        self.rack_slices[self.catalog.nodes[node].rack] == 0
    }

    /// Takes the placement's slices if all are free, else none.
    pub(crate) fn try_take(&mut self, placement: &Placement) -> bool {
        for (taken, slice) in placement.slices().enumerate() {
            let at = self.catalog.by_id.get(&slice.card);
            let has_room = |&at: &usize| self.catalog.cards[at].is_usable && self.fits(at, slice);
            if !at.is_some_and(has_room) {
                placement.slices().take(taken).for_each(|slice| self.give_back_slice(slice));
                return false;
            }
            self.take_slice(slice);
        }
        true
    }

    fn fits(&self, at: usize, slice: &Slice) -> bool {
        let geometry = self.catalog.kind_of(&self.catalog.cards[at]).mig.as_ref();
        self.free[at].fits(slice) && self.partitions(at).has_room(geometry, slice.mig.as_ref())
    }

    /// The partitions of a card in MIG mode.
    pub(crate) fn partitions(&self, card: usize) -> &MigFree {
        const NONE: &MigFree = &MigFree::NONE;
        self.partitions.get(&card).unwrap_or(NONE)
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
        self.rack_slices[self.catalog.rack_of(at)] += 1;
        if slice.mig.is_some() {
            let geometry = self.catalog.kind_of(&self.catalog.cards[at]).mig.as_ref();
            self.partitions.entry(at).or_default().take(geometry, slice.mig.as_ref());
        }
        self.sum_up(self.catalog.cards[at].node as usize);
    }

    pub(crate) fn give_back_slice(&mut self, slice: &Slice) {
        let Some(&at) = self.catalog.by_id.get(&slice.card) else { return };
        let free = &mut self.free[at];
        free.memory += mib(slice.memory.request);
        free.compute += i64::from(slice.compute.request.per_mille());
        free.slices -= 1;
        free.is_whole &= !slice.whole;
        self.rack_slices[self.catalog.rack_of(at)] -= 1;
        if slice.mig.is_some() {
            let geometry = self.catalog.kind_of(&self.catalog.cards[at]).mig.as_ref();
            self.partitions.entry(at).or_default().give_back(geometry, slice.mig.as_ref());
        }
        self.sum_up(self.catalog.cards[at].node as usize);
    }

    /// What is free both here and there: what a job may take that stays for ever, when another has
    /// a claim on what there will be.
    pub(crate) fn least(&self, other: &Ledger) -> Ledger {
        assert!(Arc::ptr_eq(&self.catalog, &other.catalog), "two ledgers of the same cards");
        let free = self.free.iter().zip(&other.free).map(|(here, there)| here.least(there));
        let cut = self.partitions.keys().chain(other.partitions.keys());
        let both = |&at: &usize| (at, self.partitions(at).least(other.partitions(at)));
        let free: Vec<Free> = free.collect();
        let mut rack_slices = vec![0; self.rack_slices.len()];
        for (at, free) in free.iter().enumerate() {
            rack_slices[self.catalog.rack_of(at)] += u64::from(free.slices);
        }
        let mut least = Self {
            catalog: self.catalog.clone(),
            free,
            nodes: self.nodes.clone(),
            versions: self.versions.clone(),
            rack_slices,
            partitions: cut.map(both).collect(),
        };
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
        self.versions[node] += 1;
    }
}

impl Catalog {
    fn rack_of(&self, card: usize) -> usize {
        self.nodes[self.cards[card].node as usize].rack
    }

    /// What the card has in common with others.
    pub(crate) fn kind_of(&self, facts: &CardFacts) -> &CardKindFacts {
        &self.kinds[facts.kind as usize]
    }

    /// The number of the card's kind, which is a new one if no card before had the like.
    fn kind(&mut self, card: &Card) -> u32 {
        let kind = CardKindFacts {
            model: card.model.clone(),
            memory: card.memory,
            rungs: card.rungs.clone(),
            mig: card.mig.clone(),
        };
        let known = self.kinds.iter().rposition(|other| *other == kind);
        let at = known.unwrap_or_else(|| {
            self.kinds.push(kind);
            self.cards_of_kind.push(0);
            self.kinds.len() - 1
        });
        self.cards_of_kind[at] += 1;
        at as u32
    }
}

impl Free {
    fn of(memory: Mebibytes) -> Self {
        Self {
            memory: mib(memory),
            compute: i64::from(Share::WHOLE.per_mille()),
            slices: 0,
            is_whole: false,
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
