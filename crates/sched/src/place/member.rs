//! Finds the cards of one member: the node, and the cards of it, where the member costs least.

use std::collections::BTreeMap;

use cotenant_types::{MemberSlices, Place, Slice};

use super::need::Need;
use super::{CardsNear, Where};
use crate::ledger::{CardFacts, Ledger, mib};
use crate::reason::CardLack;

/// What a card costs a job; the least is taken. Compared from front to back.
pub(super) type Cost = (i64, i64);

/// The cheapest slices for one member, on one node; none if no node has room.
pub(super) fn place(ledger: &Ledger, need: &Need<'_>, within: Where) -> Option<MemberSlices> {
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
    let is_elsewhere = within.rack.is_some_and(|rack| rack != ledger.catalog.nodes[node].rack);
    if is_elsewhere || !may_fit(ledger, need, node) {
        return None;
    }
    if need.ask.cards == 1 {
        return cheapest_card(ledger, need, (node, least));
    }
    let found = cheapest_cards(ledger, need, (node, within.near));
    found.filter(|(cost, _)| least.is_none_or(|least| *cost < least))
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
fn cheapest_card(
    ledger: &Ledger,
    need: &Need<'_>,
    (node, mut least): (usize, Option<Cost>),
) -> Option<(Cost, Vec<usize>)> {
    let mut found = None;
    for at in ledger.catalog.nodes[node].cards.clone() {
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
fn cheapest_cards(
    ledger: &Ledger,
    need: &Need<'_>,
    (node, near): (usize, CardsNear),
) -> Option<(Cost, Vec<usize>)> {
    let mut groups: BTreeMap<u32, Vec<(Cost, usize)>> = BTreeMap::new();
    for at in ledger.catalog.nodes[node].cards.clone() {
        if need.check(ledger, at).is_ok()
            && let Some(cost) = cost(ledger, need, at)
        {
            groups.entry(group(near, &ledger.catalog.cards[at])).or_default().push((cost, at));
        }
    }
    let chosen = groups.into_values().filter_map(|mut group| {
        group.sort_unstable();
        let taken = group.get(..need.ask.cards as usize)?;
        let cost = taken.iter().fold((0, 0), |sum, (cost, _)| (sum.0 + cost.0, sum.1 + cost.1));
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

/// What it costs to put the job on a card: packed, what is left of the card, and an idle card the
/// more the fewer jobs need whole nodes; spread, the opposite. None if the card will never do.
fn cost(ledger: &Ledger, need: &Need<'_>, at: usize) -> Option<Cost> {
    let facts = &ledger.catalog.cards[at];
    let free = ledger.free(at);
    let memory = mib(ledger.catalog.kind_of(facts).memory).max(1);
    let memory_left = (free.memory - mib(need.memory(facts)?)) * 1000 / memory;
    let compute_left = free.compute - i64::from(need.compute.request.per_mille());
    let idle_of_node = i64::from(ledger.node_free(facts.node as usize).idle);
    let opens_idle = if free.slices == 0 { 2000 } else { 0 };
    let left = memory_left + compute_left + opens_idle;
    Some(match need.ask.place {
        Place::Binpack => (left, idle_of_node),
        Place::Spread => (-left, -idle_of_node),
    })
}
