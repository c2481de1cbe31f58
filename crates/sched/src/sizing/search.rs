//! The fewest cards that are enough, and what came of a pool of so many.

use cotenant_types::JobTerms;

use super::demand::{Arrival, Demand};
use super::findings::{Findings, Tally};
use super::pool::{Until, simulate};
use crate::advise::{Misfit, NodeShape, fewest_cards, first_misfit};

/// The fewest cards, in nodes of a shape, on which jobs wait no longer than they may; at most so
/// many are tried, and `tried` hears of each number.
///
/// With one card fewer they wait longer. A yet smaller pool on which they happen to wait no longer
/// may be missed, for the search doubles, then halves.
pub fn smallest(
    demand: &Demand,
    (shape, cards_max): (&NodeShape, u32),
    tried: &dyn Fn(u32),
) -> Result<u32, Misfit> {
    if let Some(misfit) = misfit(demand, shape) {
        return Err(misfit);
    }
    let courses = courses(demand);
    let does = |cards: u32| {
        tried(cards);
        let tally = tally(demand, (shape, cards), (&courses, Until::Decided));
        (!tally.is_missed()).then_some(())
    };
    let found = fewest_cards((1, cards_max), does);
    found.map(|(cards, ())| cards).ok_or(Misfit::Limit { cards_max })
}

/// The first stream whose jobs have no room on a whole node of a shape, however many there are.
pub fn misfit(demand: &Demand, shape: &NodeShape) -> Option<Misfit> {
    let terms: Vec<JobTerms> = demand.streams.iter().map(|it| it.terms.clone()).collect();
    first_misfit(&terms, shape)
}

/// What comes of a pool of so many cards, in nodes of a shape.
pub fn measure(demand: &Demand, (shape, cards): (&NodeShape, u32)) -> Findings {
    let courses = courses(demand);
    let tally = tally(demand, (shape, cards), (&courses, Until::End));
    let ms = demand.horizon.to_ms() - demand.warm_up().to_ms();
    let all = u128::from(cards) * u128::from(ms) * courses.len() as u128;
    let is_enough = !tally.is_missed();
    let mut waits = tally.waits;
    waits.iter_mut().for_each(|waits| waits.sort());
    Findings {
        waits,
        kept_per_mille: tally.kept.checked_div(all).unwrap_or(0) as u64,
        is_overrun: tally.is_overrun,
        is_enough,
    }
}

fn courses(demand: &Demand) -> Vec<Vec<Arrival>> {
    demand.seeds.iter().map(|&seed| demand.arrivals(seed)).collect()
}

fn tally(
    demand: &Demand,
    (shape, cards): (&NodeShape, u32),
    (courses, until): (&[Vec<Arrival>], Until),
) -> Tally {
    let mut tally = Tally::new(demand, courses);
    let cards = shape.grown_to(cards);
    for arrivals in courses {
        simulate((demand, arrivals), (&cards, until), &mut tally);
        if until == Until::Decided && tally.is_missed() {
            break;
        }
    }
    tally
}
