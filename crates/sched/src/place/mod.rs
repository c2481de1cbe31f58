//! Finds cards for a job on a ledger: which nodes, which cards of them, which slice of each.

mod member;
mod need;

use std::collections::BTreeMap;

use cotenant_types::{MemberSlices, Near, Placement};

pub(crate) use member::shortfall;
pub(crate) use need::Need;

use crate::ledger::Ledger;
use member::Cost;

/// Slices for every member, or how many members had room.
///
/// Members are placed one after the other, each where it costs least beside those before it; what
/// is tried is tried on a copy.
pub(crate) fn place(ledger: &Ledger, need: &Need<'_>) -> Result<Placement, u32> {
    if need.ask.same != Some(Near::Rack) {
        return place_within(ledger, need, None);
    }
    let racks = 0..ledger.catalog.racks.len();
    let mut most = 0;
    for rack in by_free_cards(ledger, racks) {
        match place_within(ledger, need, Some(rack)) {
            Ok(placement) => return Ok(placement),
            Err(members) => most = most.max(members),
        }
    }
    Err(most)
}

/// Racks with the fewest idle cards first, so that a rack with many stays whole.
fn by_free_cards(ledger: &Ledger, racks: std::ops::Range<usize>) -> Vec<usize> {
    let mut idle = vec![0u32; racks.len()];
    for (at, node) in ledger.catalog.nodes.iter().enumerate() {
        idle[node.rack] += ledger.node_free(at).idle;
    }
    let mut racks: Vec<usize> = racks.collect();
    racks.sort_by_key(|&rack| (idle[rack], rack));
    racks
}

fn place_within(ledger: &Ledger, need: &Need<'_>, rack: Option<usize>) -> Result<Placement, u32> {
    let members = need.ask.members;
    if members == 1 {
        let found = member::place(ledger, need, rack);
        return found.map(|found| Placement(vec![found])).ok_or(0);
    }
    let count_max = member::count_max(ledger, need, rack);
    if count_max < u64::from(members) {
        return Err(count_max as u32);
    }
    let mut trial = ledger.clone();
    let mut offers: BTreeMap<(Cost, usize), Vec<usize>> = BTreeMap::new();
    let offer = |trial: &Ledger, node: usize| {
        let (cost, cards) = member::offer(trial, need, (node, rack))?;
        Some(((cost, node), cards))
    };
    offers.extend((0..ledger.catalog.nodes.len()).filter_map(|node| offer(&trial, node)));
    let mut placed: Vec<MemberSlices> = Vec::with_capacity(members as usize);
    for member in 0..members {
        let Some(((_, node), cards)) = offers.pop_first() else { return Err(member) };
        let found = member::slices(&trial, need, (node, cards));
        found.slices.iter().for_each(|slice| trial.take_slice(slice));
        placed.push(found);
        // Only this node's cards are not what they were.
        offers.extend(offer(&trial, node));
    }
    // Members of a node stand together, so that a machine is told of a run of numbers.
    placed.sort_by(|a, b| a.node.cmp(&b.node));
    Ok(Placement(placed))
}
