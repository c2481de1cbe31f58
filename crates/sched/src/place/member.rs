//! Finds the cards of one member: the node, and the cards of it, where the member costs least.

use std::collections::BTreeMap;

use cotenant_types::{MemberSlices, Place, Slice};

use super::known::Costs;
use super::need::Need;
use super::prices::{Bid, Prices};
use super::{CardsNear, Where};
use crate::ledger::{CardFacts, Ledger, mib};
use crate::reason::CardLack;

/// What cards cost a member; the least is taken. Compared from front to back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost {
    turn: Turn,
    /// What a policy says, or what is left of the cards.
    price: i64,
    /// Neighbourhoods that are idle until the member takes a part of them.
    broken: u32,
    /// Idle cards of the node: where they are few, jobs of whole nodes lose least.
    idle: i64,
}

/// Which cards are taken first where a policy has prices: they compare with no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// What is left of cards that are cut into partitions, for it is of no other use.
    Cut,
    /// Cards with a price.
    Priced,
    /// Cards that would have to be cut, and those that have room and no price.
    Last,
}

/// Where the cheapest cards by what is left are looked for.
#[derive(Clone, Copy)]
struct Search {
    node: usize,
    near: CardsNear,
    among: Among,
    /// What was found elsewhere; a single card must be cheaper.
    least: Option<Cost>,
}

#[derive(Clone, Copy)]
enum Among {
    All,
    /// Cards in MIG mode.
    Partitioned,
}

/// The cheapest slices for one member, on one node; none if no node has room.
pub(super) fn place(
    ledger: &Ledger,
    need: &Need<'_>,
    (within, known): (Where, Option<&mut Costs>),
) -> Option<MemberSlices> {
    if let (Some(prices), Some(known)) = (need.prices(within.near), known) {
        return place_known(ledger, need, (within, prices, known));
    }
    let mut best: Option<(Cost, usize, Vec<usize>)> = None;
    for node in 0..ledger.catalog.nodes.len() {
        let least = best.as_ref().map(|(cost, ..)| *cost);
        if let Some((cost, cards)) = offer_below(ledger, need, ((node, within), least)) {
            best = Some((cost, node, cards));
        }
    }
    let (_, node, cards) = best?;
    Some(slices(ledger, need, (node, cards)))
}

/// The same, where costs are remembered.
fn place_known(
    ledger: &Ledger,
    need: &Need<'_>,
    (within, prices, known): (Where, &Prices, &mut Costs),
) -> Option<MemberSlices> {
    let mut best: Option<(Cost, usize)> = None;
    for node in 0..ledger.catalog.nodes.len() {
        if is_elsewhere(ledger, within, node) || !may_fit(ledger, need, node) {
            continue;
        }
        let work_out = || priced(ledger, need, (node, prices)).map(|(cost, _)| cost);
        let cost = known.get((node, ledger.version(node)), work_out);
        let cost = cost.map(|cost| cost.with_rack(ledger, node));
        if let Some(cost) = cost.filter(|cost| best.is_none_or(|(least, _)| *cost < least)) {
            best = Some((cost, node));
        }
    }
    let (_, node) = best?;
    let (_, cards) = priced(ledger, need, (node, prices)).expect("what is known holds");
    Some(slices(ledger, need, (node, cards)))
}

/// Whether any node has room for a member, whatever it costs.
pub(super) fn has_room(ledger: &Ledger, need: &Need<'_>, near: CardsNear) -> bool {
    let mut nodes = 0..ledger.catalog.nodes.len();
    nodes.any(|node| {
        let search = Search { near, ..Search::of(node) };
        may_fit(ledger, need, node) && by_what_is_left(ledger, need, search).is_some()
    })
}

/// What the node offers a member: the cost, and the cards; none if it has no room, or is not where
/// the member may be.
pub(super) fn offer(
    ledger: &Ledger,
    need: &Need<'_>,
    at: (usize, Where),
) -> Option<(Cost, Vec<usize>)> {
    offer_below(ledger, need, (at, None))
}

/// The same, if it costs less than what was found elsewhere.
fn offer_below(
    ledger: &Ledger,
    need: &Need<'_>,
    ((node, within), least): ((usize, Where), Option<Cost>),
) -> Option<(Cost, Vec<usize>)> {
    if is_elsewhere(ledger, within, node) || !may_fit(ledger, need, node) {
        return None;
    }
    let found = match need.prices(within.near) {
        Some(prices) => {
            let found = priced(ledger, need, (node, prices));
            found.map(|(cost, cards)| (cost.with_rack(ledger, node), cards))
        }
        None => {
            let search = Search { near: within.near, least, ..Search::of(node) };
            by_what_is_left(ledger, need, search)
        }
    };
    found.filter(|(cost, _)| least.is_none_or(|least| *cost < least))
}

fn is_elsewhere(ledger: &Ledger, within: Where, node: usize) -> bool {
    within.rack.is_some_and(|rack| rack != ledger.catalog.nodes[node].rack)
}

/// The cheapest cards of a node where a policy has prices. The policy knows no partitions, so cards
/// in MIG mode cost what is left of them; and what it does not see is taken last.
fn priced(
    ledger: &Ledger,
    need: &Need<'_>,
    (node, prices): (usize, &Prices),
) -> Option<(Cost, Vec<usize>)> {
    let idle = i64::from(ledger.node_free(node).idle);
    let bid = prices.bid(ledger, need, node).map(|bid| {
        let Bid { price, broken, cards } = bid;
        (Cost { turn: Turn::Priced, price, broken, idle }, cards)
    });
    let partition = prices.has_partitions(node).then(|| {
        let search = Search { among: Among::Partitioned, ..Search::of(node) };
        let (cost, cards) = by_what_is_left(ledger, need, search)?;
        let is_cut = cards.iter().all(|&at| ledger.free(at).slices > 0);
        Some((Cost { turn: if is_cut { Turn::Cut } else { Turn::Last }, ..cost }, cards))
    });
    let found = [bid, partition.flatten()].into_iter().flatten().min_by_key(|(cost, _)| *cost);
    found.or_else(|| {
        let (cost, cards) = by_what_is_left(ledger, need, Search::of(node))?;
        Some((Cost { turn: Turn::Last, ..cost }, cards))
    })
}

/// The cheapest cards of a node by what is left of them.
fn by_what_is_left(ledger: &Ledger, need: &Need<'_>, search: Search) -> Option<(Cost, Vec<usize>)> {
    match need.ask.cards {
        1 => cheapest_card(ledger, need, search),
        _ => cheapest_cards(ledger, need, search),
    }
}

impl Search {
    fn of(node: usize) -> Self {
        Self { node, near: CardsNear::Node, among: Among::All, least: None }
    }

    fn cards(self, ledger: &Ledger) -> impl Iterator<Item = usize> {
        let is_partitioned = |at: usize| {
            let facts = &ledger.catalog.cards[at];
            ledger.catalog.kind_of(facts).mig.is_some()
        };
        let is_meant = move |at: &usize| match self.among {
            Among::All => true,
            Among::Partitioned => is_partitioned(*at),
        };
        ledger.catalog.nodes[self.node].cards.clone().filter(is_meant)
    }
}

/// A member's slices of the cards that were found to have room.
pub(super) fn slices(
    ledger: &Ledger,
    need: &Need<'_>,
    (node, cards): (usize, Vec<usize>),
) -> MemberSlices {
    let slice =
        |at: usize| -> Slice { need.slice(ledger, at).expect("the card was found to have room") };
    let slices = cards.into_iter().map(slice).collect();
    MemberSlices { node: ledger.catalog.nodes[node].name.clone(), slices }
}

/// How many members there is room for at most: more may turn out not to fit together.
pub(super) fn count_max(ledger: &Ledger, need: &Need<'_>, rack: Option<usize>) -> u64 {
    let nodes = ledger.catalog.nodes.iter().enumerate();
    let nodes = nodes.filter(|(_, node)| rack.is_none_or(|rack| rack == node.rack));
    let members = nodes.filter(|&(at, _)| may_fit(ledger, need, at)).map(|(_, node)| {
        let slices: u64 = node.cards.clone().map(|at| need.count_max(ledger, at)).sum();
        slices / u64::from(need.ask.cards)
    });
    members.sum()
}

/// What each card lacks for one member, counted by model.
pub(crate) fn shortfall<'a>(
    ledger: &'a Ledger,
    need: &Need<'_>,
) -> BTreeMap<(&'a str, CardLack), u32> {
    let mut counts = BTreeMap::new();
    for (at, facts) in ledger.catalog.cards.iter().enumerate() {
        if let Err(lack) = need.check(ledger, at) {
            let model = ledger.catalog.kind_of(facts).model.as_str();
            *counts.entry((model, lack)).or_default() += 1;
        }
    }
    counts
}

/// Whether a look at each card of the node may be worth it.
fn may_fit(ledger: &Ledger, need: &Need<'_>, node: usize) -> bool {
    let free = ledger.node_free(node);
    let compute = i64::from(need.compute.request.per_mille());
    match need.is_whole() {
        true => free.idle >= need.ask.cards,
        false => free.compute_max >= compute && free.memory_max > 0,
    }
}

/// The cheapest card of a node if it is cheaper than what was found elsewhere.
fn cheapest_card(ledger: &Ledger, need: &Need<'_>, search: Search) -> Option<(Cost, Vec<usize>)> {
    let (mut least, mut found) = (search.least, None);
    for at in search.cards(ledger) {
        // The price is less work than the check, and most cards are too dear.
        let Some(cost) = cost(ledger, need, at) else { continue };
        if least.is_none_or(|least| cost < least) && need.check(ledger, at).is_ok() {
            least = Some(cost);
            found = Some((cost, at));
        }
    }
    found.map(|(cost, at)| (cost, vec![at]))
}

/// The cheapest cards of a node that will do together, and their cost.
fn cheapest_cards(ledger: &Ledger, need: &Need<'_>, search: Search) -> Option<(Cost, Vec<usize>)> {
    let mut groups: BTreeMap<u32, Vec<(Cost, usize)>> = BTreeMap::new();
    for at in search.cards(ledger) {
        if need.check(ledger, at).is_ok()
            && let Some(cost) = cost(ledger, need, at)
        {
            groups
                .entry(group(search.near, &ledger.catalog.cards[at]))
                .or_default()
                .push((cost, at));
        }
    }
    let chosen = groups.into_values().filter_map(|mut group| {
        group.sort_unstable();
        let taken = group.get(..need.ask.cards as usize)?;
        let cost = taken.iter().map(|(cost, _)| *cost).reduce(Cost::plus)?;
        Some((cost, taken.iter().map(|&(_, at)| at).collect()))
    });
    chosen.min_by(|(a, _), (b, _)| a.cmp(b))
}

/// The neighbourhood that a card counts for.
fn group(near: CardsNear, facts: &CardFacts) -> u32 {
    match near {
        CardsNear::Nvlink => facts.nvlink,
        CardsNear::Numa => facts.numa,
        CardsNear::Node => 0,
    }
}

/// What it costs to put the job on a card by what is left: packed, what is left of the card, and an
/// idle card the more the fewer jobs need whole nodes; spread, the opposite. None if the card will
/// never do.
fn cost(ledger: &Ledger, need: &Need<'_>, at: usize) -> Option<Cost> {
    let facts = &ledger.catalog.cards[at];
    let free = ledger.free(at);
    let memory = mib(ledger.catalog.kind_of(facts).memory).max(1);
    let memory_left = (free.memory - mib(need.memory(facts)?)) * 1000 / memory;
    let compute_left = free.compute - i64::from(need.compute.request.per_mille());
    let idle_of_node = i64::from(ledger.node_free(facts.node as usize).idle);
    let opens_idle = if free.slices == 0 { 2000 } else { 0 };
    let left = memory_left + compute_left + opens_idle;
    let (price, idle) = match need.ask.place {
        Place::Binpack => (left, idle_of_node),
        Place::Spread => (-left, -idle_of_node),
    };
    Some(Cost { turn: Turn::Priced, price, broken: 0, idle })
}

impl Cost {
    fn plus(self, other: Self) -> Self {
        Self { price: self.price + other.price, idle: self.idle + other.idle, ..self }
    }

    /// A rack of which nothing was taken is a neighbourhood too. Other nodes change that, so it is
    /// not remembered with the node.
    fn with_rack(self, ledger: &Ledger, node: usize) -> Self {
        Self { broken: self.broken + u32::from(ledger.is_rack_idle(node)), ..self }
    }
}
