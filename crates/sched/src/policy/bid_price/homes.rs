//! Which shapes of nodes some kind of job can hardly do without.
//!
//! A kind that few nodes could run waits for as long as what stands there stays, however idle the rest
//! is; and a rare kind is too rare to show in the [scarcity](super::scarcity) of cards. So whoever can
//! go elsewhere does, while there is room elsewhere.

use super::CARD;
use crate::policy::fleet::Fleet;
use crate::policy::mix::Mix;
use crate::policy::node::Node;

/// A kind has few homes if at most one node in so many could run it, or only one of all.
const FEW: u64 = 10;

/// For each shape, the kinds with few homes that it could run, each divided by its homes, in parts of
/// [`CARD`].
pub(super) struct Homes(Vec<i64>);

impl Homes {
    pub(super) fn new(fleet: &Fleet, mix: &Mix) -> Self {
        let shapes = fleet.shapes();
        let nodes: u64 = shapes.iter().map(|shape| shape.nodes).sum();
        let mut needed = vec![0; shapes.len()];
        let few = (nodes / FEW).max(1);
        for (job, _) in mix.kinds() {
            let able = || (0..shapes.len()).filter(|&at| shapes[at].fits(job));
            let homes: u64 = able().map(|at| shapes[at].nodes).sum();
            if (1..=few).contains(&homes) {
                able().for_each(|at| needed[at] += CARD / homes as i64);
            }
        }
        Self(needed)
    }

    /// How much the node is needed.
    pub(super) fn of(&self, node: &Node) -> i64 {
        self.0[node.shape]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fleet::{Models, Shape};
    use crate::policy::node::Demand;

    #[test]
    fn shapes_that_a_kind_can_hardly_do_without_are_needed() {
        // Twenty small nodes, three middle ones and a large one.
        let mut fleet = Fleet::default();
        let model = fleet.add_model("a").unwrap();
        for (cards, nodes) in [(1, 20), (2, 3), (4, 1)] {
            for _ in 0..nodes {
                fleet.add_node(Shape {
                    model,
                    cards,
                    card_memory_mib: 0,
                    cpu_milli: None,
                    memory_mib: None,
                    nodes: 0,
                });
            }
        }
        let needed = |wanted: &[u32]| {
            let job = |&cards: &u32| Demand {
                cpu_milli: 0,
                memory_mib: 0,
                cards,
                compute: 1000,
                card_memory_mib: 0,
                models: Models::ANY,
            };
            let jobs: Vec<Demand> = wanted.iter().map(job).collect();
            Homes::new(&fleet, &Mix::of(jobs.iter().map(|job| (job, "")))).0
        };
        // One card has room anywhere, two on four nodes of 24, four on one only.
        assert_eq!(needed(&[1, 1, 1]), [0, 0, 0]);
        assert_eq!(needed(&[2]), [0, 0, 0]);
        assert_eq!(needed(&[4]), [0, 0, CARD]);
        // How often a kind comes does not count: one that comes once may wait for ever.
        assert_eq!(needed(&[1, 3, 4, 4, 4]), [0, 0, 2 * CARD]);
        // What no node can run needs none.
        assert_eq!(needed(&[8]), [0, 0, 0]);
    }
}
