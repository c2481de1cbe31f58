//! Finds cards for a job on a ledger: which nodes, which cards of them, which slice of each.

mod known;
mod member;
mod need;
mod placing;
mod prices;

use std::collections::BTreeMap;

use cotenant_types::{MemberSlices, Near, Placement};

pub(crate) use known::Known;
pub(crate) use member::shortfall;
pub(crate) use need::Need;
pub use placing::{ParsePoolPolicyError, Placing, PoolPolicy};
pub(crate) use prices::Prices;

use crate::ledger::Ledger;
use known::Costs;
use member::Cost;

/// Slices for every member, or how many members had room.
///
/// Members are placed one after the other, each where it costs least beside those before it; what
/// is tried is tried on a copy.
///
/// What a job prefers is tried first, and costs nothing where it is not to be had.
pub(crate) fn place(ledger: &Ledger, need: &Need<'_>) -> Result<Placement, u32> {
    place_preferred(ledger, need, None)
}

/// The same, and what is worked out of the nodes is remembered for the next job that asks for as
/// much.
pub(crate) fn place_known(
    ledger: &Ledger,
    need: &Need<'_>,
    known: &mut Costs,
) -> Result<Placement, u32> {
    place_preferred(ledger, need, Some(known))
}

/// Whether there is room, as [`place`] would find it: for one member it does not matter where it
/// costs least, nor in which rack it is.
pub(crate) fn has_room(ledger: &Ledger, need: &Need<'_>) -> bool {
    let required = Nearness::default().with(need.ask.same);
    match need.ask.members {
        1 => member::has_room(ledger, need, required.cards),
        _ => place(ledger, need).is_ok(),
    }
}

fn place_preferred(
    ledger: &Ledger,
    need: &Need<'_>,
    mut known: Option<&mut Costs>,
) -> Result<Placement, u32> {
    let required = Nearness::default().with(need.ask.same);
    let preferred = required.with(need.ask.prefer);
    if preferred != required
        && let Ok(placement) = place_near(ledger, need, (preferred, known.as_deref_mut()))
    {
        return Ok(placement);
    }
    place_near(ledger, need, (required, known))
}

/// How near each other a job's cards must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Nearness {
    cards: CardsNear,
    is_one_rack: bool,
}

/// What the cards of a member share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum CardsNear {
    #[default]
    Node,
    Numa,
    Nvlink,
}

/// Where a member may be put.
#[derive(Clone, Copy)]
struct Where {
    rack: Option<usize>,
    near: CardsNear,
}

impl Nearness {
    fn with(self, near: Option<Near>) -> Self {
        match near {
            Some(Near::Rack) => Self { is_one_rack: true, ..self },
            Some(Near::Nvlink) => Self { cards: CardsNear::Nvlink, ..self },
            Some(Near::Numa) => Self { cards: CardsNear::Numa, ..self },
            None => self,
        }
    }
}

fn place_near(
    ledger: &Ledger,
    need: &Need<'_>,
    (nearness, mut known): (Nearness, Option<&mut Costs>),
) -> Result<Placement, u32> {
    let Nearness { cards: near, is_one_rack } = nearness;
    if !is_one_rack {
        return place_within(ledger, need, (Where { rack: None, near }, known));
    }
    let racks = 0..ledger.catalog.racks.len();
    let mut most = 0;
    for rack in by_free_cards(ledger, racks) {
        let within = Where { rack: Some(rack), near };
        match place_within(ledger, need, (within, known.as_deref_mut())) {
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

fn place_within(
    ledger: &Ledger,
    need: &Need<'_>,
    (within, known): (Where, Option<&mut Costs>),
) -> Result<Placement, u32> {
    let members = need.ask.members;
    if members == 1 {
        let found = member::place(ledger, need, (within, known));
        return found.map(|found| Placement(vec![found])).ok_or(0);
    }
    let count_max = member::count_max(ledger, need, within.rack);
    if count_max < u64::from(members) {
        return Err(count_max as u32);
    }
    let mut trial = ledger.clone();
    let mut offers: BTreeMap<(Cost, usize), Vec<usize>> = BTreeMap::new();
    let offer = |trial: &Ledger, node: usize| {
        let (cost, cards) = member::offer(trial, need, (node, within))?;
        Some(((cost, node), cards))
    };
    offers.extend((0..ledger.catalog.nodes.len()).filter_map(|node| offer(&trial, node)));
    let mut placed: Vec<MemberSlices> = Vec::with_capacity(members as usize);
    for member in 0..members {
        let Some(((_, node), cards)) = offers.pop_first() else { return Err(member) };
        let found = member::slices(&trial, need, (node, cards));
        found.slices.iter().for_each(|slice| trial.take_slice(slice));
        placed.push(found);
        // Only this node's cards are not what they were. That its rack is in use now would make
        // equal offers of its other nodes better, and is left out.
        offers.extend(offer(&trial, node));
    }
    // Members of a node stand together, so that a machine is told of a run of numbers.
    placed.sort_by(|a, b| a.node.cmp(&b.node));
    Ok(Placement(placed))
}
