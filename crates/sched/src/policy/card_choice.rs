//! The cards that a job gets where a policy does not care: the fullest that has room for a share,
//! the lowest-numbered idle ones for a job of whole cards.

use crate::policy::node::{Cards, Demand, Node, SizeClass};

/// The cards, or none if there is no room.
pub(super) fn fullest(node: &Node, demand: &Demand) -> Option<Cards> {
    match demand.class() {
        SizeClass::CpuOnly => Some(Cards::NONE),
        SizeClass::Share => {
            let cards = node.cards.iter().enumerate().filter(|(_, card)| card.fits(demand));
            cards.min_by_key(|(_, card)| card.compute).map(|(at, _)| Cards::one(at))
        }
        SizeClass::Whole(_) => node.first_idle(demand),
    }
}
