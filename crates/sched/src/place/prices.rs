//! Asks a policy what it costs to put a member on a node, and on which of its cards.
//!
//! Policies know nodes whose cards are of one kind. So the cards of a kind on a node make a *room*,
//! and a member is put into one room; cards in MIG mode are in none. Cards of which the policy
//! thinks the same are shown to it in an order of ours, for it takes the first of equals: cards in
//! use, then idle ones whose neighbourhood is idle in the smallest part that does.

use std::collections::BTreeMap;
use std::ops::Range;

use cotenant_types::Mebibytes;

use super::Need;
use crate::ledger::{CardFacts, CardKindFacts, Catalog, Ledger};
use crate::policy::{
    Cards, Demand, Fleet, Free, MODELS_MAX, Mix, Models, Node, PlacementPolicy, PolicyName, Shape,
    SizeClass, WHOLE,
};

/// Cards that a policy knows of a node.
const ROOM_CARDS_MAX: usize = 64;

/// A policy that knows the cards that there are.
pub(crate) struct Prices {
    policy: Box<dyn PlacementPolicy>,
    rooms: Vec<Room>,
    /// The rooms of each node.
    of_node: Vec<Range<usize>>,
    /// Whether each node has cards in MIG mode.
    partitioned: Vec<bool>,
    /// The model of each kind of card among those of the fleet; none of cards in MIG mode.
    models: Vec<Option<usize>>,
}

/// Cards of a kind on a node.
struct Room {
    kind: usize,
    shape: usize,
    model: usize,
    memory_mib: u64,
    /// Its cards among all.
    cards: Vec<usize>,
    /// For each card those with the same NVLink, and of the same NUMA node, as bits.
    nvlink: Vec<u64>,
    numa: Vec<u64>,
}

/// What a policy would have a member pay on a node.
pub(super) struct Bid {
    /// What the policy says.
    pub(super) price: i64,
    /// Neighbourhoods that were idle, and of which a part is taken.
    pub(super) broken: u32,
    /// The cards, among all.
    pub(super) cards: Vec<usize>,
}

impl Prices {
    /// Prices of a policy that expects these jobs, each so often.
    pub(super) fn new(catalog: &Catalog, name: PolicyName, expected: &[(Need<'_>, u64)]) -> Self {
        let mut fleet = Fleet::default();
        let model = |kind: &CardKindFacts| {
            // All models beyond what a fleet can tell apart count as its last.
            let model = || fleet.add_model(&kind.model).unwrap_or(MODELS_MAX - 1);
            kind.mig.is_none().then(model)
        };
        let models: Vec<Option<usize>> = catalog.kinds.iter().map(model).collect();
        let (mut rooms, mut of_node) = (Vec::new(), Vec::new());
        for node in &catalog.nodes {
            let first = rooms.len();
            rooms.extend(rooms_of(catalog, node.cards.clone()).map(|(kind, cards)| {
                let model = models[kind].expect("a room's cards are not in MIG mode");
                let shape = Shape {
                    model,
                    cards: cards.len() as u32,
                    card_memory_mib: catalog.kinds[kind].memory.0,
                    cpu_milli: None,
                    memory_mib: None,
                    nodes: 0,
                };
                Room::new(catalog, (kind, cards), (fleet.add_node(shape), model))
            }));
            of_node.push(first..rooms.len());
        }
        let is_partitioned = |at: usize| catalog.kind_of(&catalog.cards[at]).mig.is_some();
        let partitioned = catalog.nodes.iter().map(|node| node.cards.clone().any(is_partitioned));
        let partitioned = partitioned.collect();
        let expect = |need: &Need<'_>| {
            let memory = need.memory_of_most(catalog)?;
            let demand = demand(need, (memory, allowed(need, &models)));
            Some(Demand { cards: need.ask.cards, ..demand })
        };
        let jobs: Vec<(Demand, String, u64)> = expected
            .iter()
            .filter_map(|(need, count)| {
                Some((
                    expect(need)?,
                    need.ask.models.join("|"),
                    count * u64::from(need.ask.members),
                ))
            })
            .collect();
        let mix = Mix::counted(jobs.iter().map(|(job, models, n)| ((job, models.as_str()), *n)));
        Self { policy: name.build(&fleet, &mix, 0), rooms, of_node, partitioned, models }
    }

    /// Whether the node has cards in MIG mode.
    pub(super) fn has_partitions(&self, node: usize) -> bool {
        self.partitioned[node]
    }

    /// The best of the node's rooms for a member; none if no room has it.
    pub(super) fn bid(&self, ledger: &Ledger, need: &Need<'_>, node: usize) -> Option<Bid> {
        let models = allowed(need, &self.models);
        let rooms = self.rooms[self.of_node[node].clone()].iter();
        let bids = rooms.filter_map(|room| {
            let demand = demand(need, (need.memory_of_kind(room.kind)?, models));
            self.bid_of_room(ledger, (need, &demand), room)
        });
        bids.min_by_key(|bid| (bid.price, bid.broken))
    }

    /// Shares of several cards are asked for one after another, each on a card of its own.
    fn bid_of_room(
        &self,
        ledger: &Ledger,
        (need, demand): (&Need<'_>, &Demand),
        room: &Room,
    ) -> Option<Bid> {
        let (times, together) = match demand.class() {
            SizeClass::CpuOnly | SizeClass::Share => (need.ask.cards, 1),
            SizeClass::Whole(cards) => (1, cards),
        };
        let idle = room.idle(ledger);
        let order = room.order(idle, together);
        let mut node = room.node(ledger, &order);
        let (mut price, mut taken) = (0, 0);
        for _ in 0..times {
            let offer = self.policy.score(&node, demand, 0)?;
            price += offer.cost;
            for shown in offer.cards.iter() {
                taken |= 1 << order[shown];
                node.cards[shown] = Free { compute: 0, memory_mib: 0 };
            }
            node.jobs = 1;
        }
        let cards: Vec<usize> = Cards(taken).iter().map(|at| room.cards[at]).collect();
        // The ledger has the last word, where jobs ask for what a policy does not know.
        let has_room = cards.iter().all(|&at| need.check(ledger, at).is_ok());
        let broken = match demand.class() {
            SizeClass::CpuOnly | SizeClass::Share => room.broken(idle, (0, taken)),
            SizeClass::Whole(_) => room.broken(idle, (taken, taken)),
        };
        has_room.then_some(Bid { price, broken, cards })
    }
}

/// The cards of a node that are not in MIG mode, by kind, in parts that a policy can look at.
fn rooms_of(
    catalog: &Catalog,
    cards: Range<usize>,
) -> impl Iterator<Item = (usize, Vec<usize>)> + use<> {
    let mut kinds: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for at in cards {
        let facts = &catalog.cards[at];
        if catalog.kind_of(facts).mig.is_none() {
            kinds.entry(facts.kind as usize).or_default().push(at);
        }
    }
    kinds.into_iter().flat_map(|(kind, cards)| {
        let parts: Vec<_> = cards.chunks(ROOM_CARDS_MAX).map(|part| (kind, part.into())).collect();
        parts
    })
}

/// The models that will do; any, if all that there are will.
fn allowed(need: &Need<'_>, models: &[Option<usize>]) -> Models {
    let will_do = |kind: usize| need.memory_of_kind(kind).is_some();
    let mut kinds = models.iter().enumerate();
    if kinds.all(|(kind, model)| model.is_none() || will_do(kind)) {
        return Models::ANY;
    }
    let kinds = models.iter().enumerate().filter(|&(kind, _)| will_do(kind));
    kinds.filter_map(|(_, model)| *model).fold(Models::NONE, Models::with)
}

/// What is asked of a policy at a time: all of a member's whole cards, or one of its shares. A job
/// that has all of the compute shares its card with nobody, and one that has none has the least
/// part.
fn demand(need: &Need<'_>, (memory, models): (Mebibytes, Models)) -> Demand {
    let compute = need.compute.request.per_mille().clamp(1, WHOLE);
    Demand {
        cpu_milli: 0,
        memory_mib: 0,
        cards: if compute == WHOLE { need.ask.cards } else { 1 },
        compute,
        card_memory_mib: if need.is_whole() { 0 } else { memory.0 },
        models,
    }
}

impl Room {
    fn new(
        catalog: &Catalog,
        (kind, cards): (usize, Vec<usize>),
        (shape, model): (usize, usize),
    ) -> Self {
        let near = |number: fn(&CardFacts) -> u32| -> Vec<u64> {
            let numbers: Vec<u32> = cards.iter().map(|&at| number(&catalog.cards[at])).collect();
            let same = |one: &u32| {
                let others = numbers.iter().enumerate().filter(|(_, other)| *other == one);
                others.fold(0, |bits, (at, _)| bits | 1 << at)
            };
            numbers.iter().map(same).collect()
        };
        let (nvlink, numa) = (near(|facts| facts.nvlink), near(|facts| facts.numa));
        let memory_mib = catalog.kinds[kind].memory.0;
        Self { kind, shape, model, memory_mib, cards, nvlink, numa }
    }

    /// Cards that can be used, and of which nothing is taken, as bits.
    fn idle(&self, ledger: &Ledger) -> u64 {
        let is_idle = |at: usize| ledger.catalog.cards[at].is_usable && ledger.free(at).slices == 0;
        let idle = self.cards.iter().enumerate().filter(|&(_, &at)| is_idle(at));
        idle.fold(0, |bits, (at, _)| bits | 1 << at)
    }

    /// Cards in use first; then where the smallest neighbourhood has so many idle ones together,
    /// and the smallest of all where none has.
    fn order(&self, idle: u64, together: u32) -> Vec<usize> {
        let rank = |near: u64| {
            let count = (near & idle).count_ones();
            (count < together, count)
        };
        let mut order: Vec<usize> = (0..self.cards.len()).collect();
        let is_even =
            idle == 0 || self.nvlink.iter().chain(&self.numa).all(|near| near & idle == idle);
        if is_even {
            order.sort_by_key(|&at| idle >> at & 1);
        } else {
            order.sort_by_cached_key(|&at| match idle >> at & 1 {
                0 => (0, (false, 0), (false, 0)),
                _ => (1, rank(self.nvlink[at]), rank(self.numa[at])),
            });
        }
        order
    }

    /// The room as a policy sees it. Cards that cannot be used have nothing free.
    fn node(&self, ledger: &Ledger, order: &[usize]) -> Node {
        let mut is_used = false;
        let free = |&shown: &usize| {
            let at = self.cards[shown];
            let free = ledger.free(at);
            is_used |= free.slices > 0;
            if !ledger.catalog.cards[at].is_usable || free.is_whole {
                return Free { compute: 0, memory_mib: 0 };
            }
            Free {
                compute: free.compute.clamp(0, i64::from(WHOLE)) as u32,
                memory_mib: free.memory.max(0).unsigned_abs(),
            }
        };
        let cards = order.iter().map(free).collect();
        Node {
            shape: self.shape,
            model: self.model,
            key: 0,
            cpu_milli: None,
            memory_mib: None,
            card_memory_mib: self.memory_mib,
            cards,
            jobs: u32::from(is_used),
            hosted: 0,
        }
    }

    /// Neighbourhoods of several cards, all idle, of which something is taken, but for those of which
    /// every card is taken whole.
    fn broken(&self, idle: u64, (whole, taken): (u64, u64)) -> u32 {
        let mut broken = 0;
        for near in [&self.nvlink, &self.numa] {
            let mut seen = 0;
            for at in Cards(taken).iter() {
                let near = near[at];
                let is_new = seen & near == 0;
                let is_idle = near & idle == near && near.count_ones() > 1;
                broken += u32::from(is_new && is_idle && whole & near != near);
                seen |= near;
            }
        }
        broken
    }
}
