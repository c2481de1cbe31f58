//! The smallest pool that holds a set of jobs at once, found by asking the production placement.

use std::cmp::Reverse;

use cotenant_types::{Amount, Ask, JobTerms, Placement};

use super::shape::NodeShape;
use crate::ledger::Ledger;
use crate::place::{Need, place, shortfall};
use crate::reason::CardLack;

/// A pool that is large enough, and where each job runs in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fitting {
    /// Its cards.
    pub cards: u32,
    /// Its nodes, of which the last may lack cards.
    pub nodes: u32,
    /// Slices of each job, in the order of the jobs.
    pub placements: Vec<Placement>,
}

/// Why no pool of such nodes is large enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// A job has no room on a whole node, however many nodes there are.
    Job {
        /// Which of the jobs.
        job: usize,
        /// What every such card lacks for it.
        lack: CardLack,
    },
    /// More cards would be needed than may be tried.
    Limit {
        /// The most that are tried.
        cards_max: u32,
    },
}

/// The fewest cards on which all jobs run at once, in nodes of a shape, and where they run.
///
/// Jobs are placed as the pool places them, online ones first, the largest before smaller ones,
/// which packs tightest; tenants, priorities and deadlines decide who goes first and not what is
/// needed, and are left out. A pool with one card fewer has no room for all; a yet smaller one in
/// which they happen to fall into place may be missed, for the search halves.
pub fn smallest_pool(
    jobs: &[JobTerms],
    shape: &NodeShape,
    cards_max: u32,
) -> Result<Fitting, Misfit> {
    if let Some(misfit) = first_misfit(jobs, shape) {
        return Err(misfit);
    }
    let node = idle_node(shape);
    let order = order(jobs, &node);
    let fits = |cards: u32| place_all(jobs, &order, &shape.grown_to(cards));
    let found = fewest_cards((cards_min(jobs, &node, shape), cards_max), fits);
    let (cards, placements) = found.ok_or(Misfit::Limit { cards_max })?;
    Ok(Fitting { cards, nodes: cards.div_ceil(shape.cards_per_node()), placements })
}

/// The first job that has no room on a whole node, however many nodes there are.
pub(crate) fn first_misfit(jobs: &[JobTerms], shape: &NodeShape) -> Option<Misfit> {
    let node = idle_node(shape);
    jobs.iter().enumerate().find_map(|(job, terms)| {
        let ask = Ask { members: 1, ..terms.ask.clone() };
        let need = Need::new(&ask, &node.catalog);
        let has_room = place(&node, &need).is_ok();
        (!has_room).then(|| Misfit::Job { job, lack: lack(&node, &need) })
    })
}

fn idle_node(shape: &NodeShape) -> Ledger {
    Ledger::new(shape.grown_to(shape.cards_per_node()).iter().map(|card| (card, true)))
}

/// The fewest cards that do, from a number below which none does to the most that are tried, and
/// what they gave. One card fewer does not, or is below that number; the search doubles, then
/// halves.
pub fn fewest_cards<T>(
    (least, most): (u64, u32),
    does: impl Fn(u32) -> Option<T>,
) -> Option<(u32, T)> {
    let mut some = u32::try_from(least).ok().filter(|&least| least <= most)?;
    // The largest number that is known not to do.
    let mut none = some.checked_sub(1);
    let mut found = loop {
        match does(some) {
            Some(found) => break found,
            None if some == most => return None,
            None => (none, some) = (Some(some), some.saturating_mul(2).clamp(1, most)),
        }
    };
    while let Some(below) = none.filter(|below| below + 1 < some) {
        let middle = below + (some - below) / 2;
        match does(middle) {
            Some(better) => (some, found) = (middle, better),
            None => none = Some(middle),
        }
    }
    Some((some, found))
}

/// What the cards of an idle node lack, the first thing that is missing; near each other, if each
/// by itself would do.
pub(super) fn lack(node: &Ledger, need: &Need<'_>) -> CardLack {
    shortfall(node, need).keys().next().map_or(CardLack::Together, |&(_, lack)| lack)
}

/// Places of the jobs: online before offline, many cards before few, large slices before small.
fn order(jobs: &[JobTerms], node: &Ledger) -> Vec<usize> {
    let card = &node.catalog.cards[0];
    let all = node.catalog.kind_of(card).memory.0.max(1);
    let size = |terms: &JobTerms| {
        let need = Need::new(&terms.ask, &node.catalog);
        let memory = need.memory(card).map_or(0, |memory| memory.0);
        let compute = u128::from(need.compute.request.per_mille()) * u128::from(all);
        compute.max(u128::from(memory) * 1000)
    };
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_cached_key(|&at| {
        let terms = &jobs[at];
        (terms.class, Reverse(terms.ask.cards), Reverse(size(terms)), at)
    });
    order
}

/// Fewer cards than this have too little memory or compute, or are too few for one member.
fn cards_min(jobs: &[JobTerms], node: &Ledger, shape: &NodeShape) -> u64 {
    let needed = |terms: &JobTerms| Need::new(&terms.ask, &node.catalog).amount_min();
    let sum = jobs.iter().map(needed).fold(Amount::default(), Amount::plus);
    let widest = jobs.iter().map(|terms| u64::from(terms.ask.cards)).max().unwrap_or(0);
    let memory = sum.memory.0.div_ceil(shape.card().memory.0.max(1));
    sum.compute_milli.div_ceil(1000).max(memory).max(widest)
}

/// Where each job runs if all have room.
fn place_all(
    jobs: &[JobTerms],
    order: &[usize],
    cards: &[cotenant_types::Card],
) -> Option<Vec<Placement>> {
    let mut ledger = Ledger::new(cards.iter().map(|card| (card, true)));
    let mut placements: Vec<Option<Placement>> = vec![None; jobs.len()];
    for &at in order {
        let need = Need::new(&jobs[at].ask, &ledger.catalog);
        let placement = place(&ledger, &need).ok()?;
        ledger.take(&placement);
        placements[at] = Some(placement);
    }
    let placed = |placement: Option<Placement>| placement.expect("every job was placed");
    Some(placements.into_iter().map(placed).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cotenant_types::{JobId, Moment, Quota};
    use expect_test::{Expect, expect};
    use proptest::prelude::{Just, prop_assert, prop_oneof, proptest};

    use super::super::testing::{self, cards, geometry, terms};
    use super::*;
    use crate::{Event, Placing, State, plan, step};

    const GIB: u64 = 1024;

    fn shape(per_node: u32) -> NodeShape {
        NodeShape::of(&cards(per_node, 80 * GIB)).unwrap()
    }

    /// Cards, nodes, and the card of each job's first slice.
    fn shown(found: &Result<Fitting, Misfit>) -> String {
        match found {
            Ok(fitting) => {
                let first = |placement: &Placement| {
                    placement.slices().map(|slice| slice.card.to_string()).collect::<Vec<_>>()
                };
                let jobs: Vec<String> =
                    fitting.placements.iter().map(|it| first(it).join("+")).collect();
                let (cards, nodes) = (fitting.cards, fitting.nodes);
                format!("{cards} cards, {nodes} nodes: {}", jobs.join(" "))
            }
            Err(misfit) => format!("{misfit:?}"),
        }
    }

    fn check(jobs: &[JobTerms], shape: &NodeShape, expected: Expect) {
        expected.assert_eq(&shown(&smallest_pool(jobs, shape, 64)));
    }

    #[test]
    fn the_fewest_cards_are_found() {
        let small = || terms("10GiB 200");
        let online = || testing::online(terms("60GiB 300"));
        check(&[], &shape(8), expect!["0 cards, 0 nodes: "]);
        check(&[small()], &shape(8), expect!["1 cards, 1 nodes: node-0-0"]);
        check(
            &vec![small(); 6],
            &shape(8),
            expect![[r#"2 cards, 1 nodes: node-0-0 node-0-0 node-0-0 node-0-0 node-0-0 node-0-1"#]],
        );
        check(
            &[small(), online(), terms("whole"), small()],
            &shape(1),
            expect!["2 cards, 2 nodes: node-0-0 node-0-0 node-1-0 node-0-0"],
        );
        // Slices of more than half a card never share one, though half as many cards have enough.
        check(
            &vec![terms("1GiB 510"); 5],
            &shape(2),
            expect!["5 cards, 3 nodes: node-2-0 node-0-0 node-0-1 node-1-0 node-1-1"],
        );
        // Cards of a member are of one node: the second pair opens a second node of three.
        check(
            &vec![testing::of_cards(terms("whole"), 2); 2],
            &shape(3),
            expect!["5 cards, 2 nodes: node-1-0+node-1-1 node-0-0+node-0-1"],
        );
    }

    #[test]
    fn what_no_pool_holds_is_named() {
        check(
            &[terms("1GiB 100"), terms("81GiB 100")],
            &shape(8),
            expect!["Job { job: 1, lack: Size }"],
        );
        check(
            &[testing::of_cards(terms("1GiB 1"), 9)],
            &shape(8),
            expect!["Job { job: 0, lack: Together }"],
        );
        check(&vec![terms("whole"); 65], &shape(8), expect!["Limit { cards_max: 64 }"]);
        // Enough of everything on 64 cards, and yet no room.
        check(&vec![terms("1GiB 510"); 65], &shape(8), expect!["Limit { cards_max: 64 }"]);
    }

    #[test]
    fn partitions_are_packed_as_they_lie() {
        let mig = shape(8).partitioned(&geometry());
        check(
            &vec![terms("22GiB 300"); 3],
            &mig,
            expect!["2 cards, 1 nodes: node-0-0 node-0-0 node-0-1"],
        );
        check(
            &[testing::bursting(terms("1GiB 100"))],
            &mig,
            expect!["Job { job: 0, lack: Enforcement }"],
        );
    }

    /// What the planner starts of the jobs on an empty pool of these cards, submitted in order.
    fn started(jobs: &[JobTerms], cards: Vec<cotenant_types::Card>) -> usize {
        let mut state = State::default();
        let tenant = jobs[0].tenant.clone();
        let mut tell = |event| step(&mut state, Moment(0), event).unwrap();
        tell(Event::TenantSet { tenant, quota: Quota::default() });
        let mut nodes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for card in cards {
            nodes.entry(card.node.clone()).or_default().push(card);
        }
        for (node, cards) in nodes {
            tell(Event::CardsReported { node, cards });
        }
        for (number, terms) in jobs.iter().enumerate() {
            let job = JobId(number as u64 + 1);
            tell(Event::JobSubmitted { job, terms: terms.clone() });
        }
        plan(&state, Moment(0), &mut Placing::default()).starts.len()
    }

    proptest! {
        /// The planner starts all jobs on what was found, submitted as the search placed them, and
        /// not on one card fewer.
        #[test]
        fn the_planner_agrees(
            amounts in proptest::collection::vec((1u64..80, 50u32..1000), 1..12),
            per_node in 1u32..4,
            mode in prop_oneof![Just(false), Just(true)],
        ) {
            let shape = if mode { shape(per_node).partitioned(&geometry()) } else { shape(per_node) };
            let jobs: Vec<JobTerms> = amounts
                .iter()
                .map(|(gib, compute)| terms(&format!("{}GiB {compute}", gib.min(&78))))
                .collect();
            let found = smallest_pool(&jobs, &shape, 64).unwrap();
            let node = Ledger::new(shape.grown_to(per_node).iter().map(|card| (card, true)));
            let ordered: Vec<JobTerms> =
                order(&jobs, &node).into_iter().map(|at| jobs[at].clone()).collect();
            prop_assert!(started(&ordered, shape.grown_to(found.cards)) == jobs.len());
            prop_assert!(started(&ordered, shape.grown_to(found.cards - 1)) < jobs.len());
        }
    }
}
