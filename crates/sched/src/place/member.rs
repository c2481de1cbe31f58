//! Finds the cards of one member: the node, and the cards of it, where the member costs least.

use std::collections::BTreeMap;

use cotenant_types::{MemberSlices, Near, Place, Slice};

use super::need::Need;
use crate::ledger::{CardFacts, Free, Ledger, mib};
use crate::reason::CardLack;

/// What a card costs a job; the least is taken. Compared from front to back.
type Cost = (i64, i64);

/// The cheapest slices for one member, on one node; none if no node has room.
pub(super) fn place(ledger: &Ledger, need: &Need<'_>, rack: Option<usize>) -> Option<MemberSlices> {
    let mut best: Option<(Cost, usize, Vec<usize>)> = None;
    for (at, node) in ledger.catalog.nodes.iter().enumerate() {
        if rack.is_some_and(|rack| rack != node.rack) || !may_fit(ledger, need, at) {
            continue;
        }
        let Some((cost, cards)) = cheapest(ledger, need, at) else { continue };
        if best.as_ref().is_none_or(|(least, ..)| cost < *least) {
            best = Some((cost, at, cards));
        }
    }
    let (_, node, cards) = best?;
    let slice = |at: usize| -> Slice {
        let made = need.slice(&ledger.catalog.cards[at], ledger.free(at));
        made.expect("the card was found to have room")
    };
    let slices = cards.into_iter().map(slice).collect();
    Some(MemberSlices { node: ledger.catalog.nodes[node].name.clone(), slices })
}

/// What each card lacks for one member, counted by model.
pub(crate) fn shortfall(ledger: &Ledger, need: &Need<'_>) -> BTreeMap<(usize, CardLack), u32> {
    let mut counts = BTreeMap::new();
    for (at, facts) in ledger.catalog.cards.iter().enumerate() {
        if let Err(lack) = fits(need, facts, ledger.free(at)) {
            *counts.entry((facts.model, lack)).or_default() += 1;
        }
    }
    counts
}

/// Whether a look at each card of the node may be worth it.
fn may_fit(ledger: &Ledger, need: &Need<'_>, node: usize) -> bool {
    let free = ledger.node_free(node);
    match need.is_whole() {
        true => free.idle >= need.ask.cards,
        false => {
            free.compute_max >= i64::from(need.compute().request.per_mille()) && free.memory_max > 0
        }
    }
}

fn fits(need: &Need<'_>, facts: &CardFacts, free: &Free) -> Result<(), CardLack> {
    need.check(facts, free)?;
    match facts.card.mig {
        None => Ok(()),
        Some(_) => need.slice(facts, free).map(drop),
    }
}

/// The cheapest cards of a node that will do together, and their cost.
fn cheapest(ledger: &Ledger, need: &Need<'_>, node: usize) -> Option<(Cost, Vec<usize>)> {
    let cards = ledger.catalog.nodes[node].cards.clone();
    let priced = cards.filter_map(|at| {
        let (facts, free) = (&ledger.catalog.cards[at], ledger.free(at));
        fits(need, facts, free).ok()?;
        Some((cost(ledger, need, at), at))
    });
    if need.ask.cards == 1 {
        return priced.min().map(|(cost, at)| (cost, vec![at]));
    }
    let mut groups: BTreeMap<u32, Vec<(Cost, usize)>> = BTreeMap::new();
    for (cost, at) in priced {
        let site = &ledger.catalog.cards[at].card.site;
        let group = match need.ask.same {
            Some(Near::Nvlink) => site.nvlink,
            Some(Near::Numa) => site.numa,
            Some(Near::Rack) | None => 0,
        };
        groups.entry(group).or_default().push((cost, at));
    }
    let chosen = groups.into_values().filter_map(|mut group| {
        group.sort_unstable();
        let taken = group.get(..need.ask.cards as usize)?;
        let cost = taken.iter().fold((0, 0), |sum, (cost, _)| (sum.0 + cost.0, sum.1 + cost.1));
        Some((cost, taken.iter().map(|&(_, at)| at).collect()))
    });
    chosen.min_by(|(a, _), (b, _)| a.cmp(b))
}

/// What it costs to put the job on a card: packed, what is left of the card, and an idle card the
/// more the fewer jobs need whole nodes; spread, the opposite.
fn cost(ledger: &Ledger, need: &Need<'_>, at: usize) -> Cost {
    let facts = &ledger.catalog.cards[at];
    let free = ledger.free(at);
    let card = &facts.card;
    let memory_left = free.memory - mib(need.memory(card.memory).request);
    let memory_left = memory_left * 1000 / mib(card.memory).max(1);
    let compute_left = free.compute - i64::from(need.compute().request.per_mille());
    let idle_of_node = i64::from(ledger.node_free(facts.node).idle);
    let opens_idle = if free.slices == 0 { 2000 } else { 0 };
    let left = memory_left + compute_left + opens_idle;
    match need.ask.place {
        Place::Binpack => (left, idle_of_node),
        Place::Spread => (-left, -idle_of_node),
    }
}
