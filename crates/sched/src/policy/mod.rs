//! Where a job goes: policies that say what it costs to put a job on a node, and on which cards.
//!
//! A policy knows the fleet and the expected [`Mix`] of jobs, and is asked about one node at a time.
//! The node where the job costs least is taken; whoever asks breaks ties by an order of its own.
//! Costs are integers, so that ties are ties. Sources and measurements are in `docs/placement.md`.

mod best_fit;
mod bid_price;
mod card_choice;
mod clustering;
mod dot_product;
mod fgd;
mod fleet;
mod fragmentation;
mod mix;
mod node;
mod packing;
mod random;

pub use fleet::{Fleet, MODELS_MAX, Models, Shape};
pub use mix::Mix;
pub use node::{Cards, Demand, Free, Node, SizeClass, WHOLE};

/// What a whole card is worth in costs of [`PolicyName::BidPrice`].
pub(crate) const CARD_COST: i64 = bid_price::CARD_COST;

pub(crate) use fragmentation::Fragmentation;

/// Every policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyName {
    /// Least growth of fragmentation.
    Fgd,
    /// Least left over, of processors and cards.
    BestFit,
    /// Cards in use before idle cards of nodes in use before idle nodes.
    Packing,
    /// Beside jobs of the same kind.
    Clustering,
    /// Where what is free looks least like what is asked for.
    DotProduct,
    /// Anywhere.
    Random,
    /// Least worth of what is taken, at the prices that the expected jobs would pay.
    BidPrice,
}

/// What a node offers a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What it costs; the least is taken. Costs of different policies do not compare.
    pub cost: i64,
    /// The cards that the job would get.
    pub cards: Cards,
}

/// What an offer depends on beside the node and the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// Nothing: an offer holds until the node changes.
    None,
    /// The number of the arrival: it is another each time.
    EachArrival,
}

/// Says what it costs to put a job on a node.
pub trait PlacementPolicy: Send + Sync {
    /// Which policy it is.
    fn name(&self) -> PolicyName;

    /// What its offers depend on beside the node and the job.
    fn draw(&self) -> Draw {
        Draw::None
    }

    /// What a node that has room beside its cards offers; none if no cards have room.
    fn score(&self, node: &Node, demand: &Demand, arrival: u64) -> Option<Offer>;

    /// What the node offers the job; none if it has no room.
    fn offer(&self, node: &Node, demand: &Demand, arrival: u64) -> Option<Offer> {
        if !node.has_room_beside_cards(demand) {
            return None;
        }
        self.score(node, demand, arrival)
    }
}

impl PolicyName {
    /// Every policy, in the order of the published tables, the own one last.
    pub const ALL: [Self; 7] = [
        Self::Random,
        Self::DotProduct,
        Self::Clustering,
        Self::Packing,
        Self::BestFit,
        Self::Fgd,
        Self::BidPrice,
    ];

    /// As people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fgd => "fgd",
            Self::BestFit => "best-fit",
            Self::Packing => "packing",
            Self::Clustering => "clustering",
            Self::DotProduct => "dot-product",
            Self::Random => "random",
            Self::BidPrice => "bid-price",
        }
    }

    /// The policy for a fleet and the jobs that are expected there. The seed is for those that draw.
    pub fn build(self, fleet: &Fleet, mix: &Mix, seed: u64) -> Box<dyn PlacementPolicy> {
        match self {
            Self::Fgd => Box::new(fgd::Fgd::new(fleet, mix)),
            Self::BestFit => Box::new(best_fit::BestFit),
            Self::Packing => Box::new(packing::Packing),
            Self::Clustering => Box::new(clustering::Clustering),
            Self::DotProduct => Box::new(dot_product::DotProduct),
            Self::Random => Box::new(random::Random { seed }),
            Self::BidPrice => Box::new(bid_price::BidPrice::new(fleet, mix)),
        }
    }
}
