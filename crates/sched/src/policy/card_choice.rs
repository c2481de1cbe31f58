//! The cards that a job gets where a policy does not care: the fullest that has room for a share,
//! the lowest-numbered idle ones for a job of whole cards.

use crate::policy::node::{Cards, Class, Demand, Node};

/// The cards, or none if there is no room.
pub(super) fn fullest(node: &Node, demand: &Demand) -> Option<Cards> {
    match demand.class() {
        Class::CpuOnly => Some(Cards::NONE),
        Class::Share => {
            let cards = node.cards.iter().enumerate().filter(|(_, card)| card.fits(demand));
            cards.min_by_key(|(_, card)| card.compute).map(|(at, _)| Cards::one(at))
        }
        Class::Whole(_) => node.first_idle(demand),
    }
}
