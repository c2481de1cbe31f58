//! Lets a policy place arrivals, one by one.
//!
//! What a node costs a kind of job is remembered until the node changes. Each kind has a [`Board`]
//! of its own, which takes in what changed when the next job of the kind arrives: a kind that comes
//! seldom pays once for many changes.

use crate::policy::{Cards, Demand, Draw, Fragmentation, Mix, Node, Offer, PlacementPolicy};
use crate::replay::arrival::Arrivals;
use crate::replay::board::Board;
use crate::replay::cluster::Cluster;
use crate::replay::findings::{Curve, Findings, round_half_even};
use crate::replay::workload::Workload;

/// Costs that all boards together remember: 256 MiB, with the trees above them. Kinds of jobs that
/// come after that are compared node by node, each time.
const COSTS_MAX: usize = 16 << 20;

/// A cluster that fills up.
pub struct Replay<'a> {
    policy: &'a dyn PlacementPolicy,
    workload: &'a Workload,
    /// In the order of their ranks, so that of equals the first wins.
    nodes: Vec<Node>,
    boards: Vec<Option<Board>>,
    boards_left: usize,
    /// Nodes in the order in which they changed.
    changes: Vec<u32>,
    /// For each node, the last arrival whose board took its changes in.
    taken_in: Vec<u64>,
    arrivals: u64,
    measured: Measured,
}

/// Where a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The rank of the node.
    pub node: usize,
    /// The cards of it.
    pub cards: Cards,
}

/// What is counted.
struct Measured {
    fragmentation: Fragmentation,
    /// Compute of the cluster, what has arrived and what is allocated, in thousandths of a card.
    capacity: u128,
    arrived: u128,
    allocated: u128,
    /// Fragmentation of all nodes, times the sum of the weights.
    fragmented: i64,
    allocation: Curve,
    fragmentation_curve: Curve,
    findings: Findings,
}

impl<'a> Replay<'a> {
    /// The empty cluster, with the ranks of its nodes.
    pub fn new(
        cluster: &Cluster,
        workload: &'a Workload,
        (arrivals, policy): (&Arrivals, &'a dyn PlacementPolicy),
    ) -> Self {
        let mut by_rank: Vec<usize> = (0..cluster.nodes()).collect();
        by_rank.sort_by_key(|&at| arrivals.ranks()[at]);
        let nodes: Vec<Node> = by_rank.into_iter().map(|at| cluster.node(at)).collect();
        let measured = Measured::new(cluster, workload.mix(), &nodes);
        let boards = (0..workload.kinds().len()).map(|_| None).collect();
        let taken_in = vec![0; nodes.len()];
        let boards_left = COSTS_MAX / nodes.len().max(1);
        Self {
            policy,
            workload,
            nodes,
            boards,
            boards_left,
            changes: Vec::new(),
            taken_in,
            arrivals: 0,
            measured,
        }
    }

    /// Lets a pod arrive, by its place among the names, and says where it runs; none if no node has
    /// room.
    pub fn arrive(&mut self, pod: u32) -> Option<Placed> {
        self.arrivals += 1;
        let kind = self.workload.kind(pod) as usize;
        let demand = &self.workload.kinds()[kind];
        let is_kept = self.boards[kind].is_some() || self.boards_left > 0;
        let found = match self.policy.draw() {
            Draw::None if is_kept => self.cheapest_kept(kind),
            Draw::None | Draw::EachArrival => self.cheapest_of_all(demand),
        };
        if let Some((node, offer)) = found {
            let before = self.measured.fragmentation.of(&self.nodes[node]);
            self.nodes[node].take(demand, offer.cards);
            let after = self.measured.fragmentation.of(&self.nodes[node]);
            self.measured.fragmented += after - before;
            self.changes.push(node as u32);
        }
        self.measured.count(demand, found.is_some());
        found.map(|(node, offer)| Placed { node, cards: offer.cards })
    }

    /// What came of it so far.
    pub fn findings(&self) -> Findings {
        Findings {
            allocation_percent: self.measured.allocation.means(),
            fragmentation_percent: self.measured.fragmentation_curve.means(),
            ..self.measured.findings.clone()
        }
    }

    /// What is free now, node by node in the order of their ranks.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    fn cheapest_kept(&mut self, kind: usize) -> Option<(usize, Offer)> {
        let demand = &self.workload.kinds()[kind];
        let (policy, nodes, number) = (self.policy, &self.nodes, self.arrivals);
        let cost = |node: &Node| policy.offer(node, demand, number).map(|offer| offer.cost);
        match &mut self.boards[kind] {
            Some(board) if self.changes.len() - board.seen < nodes.len() => {
                for &node in &self.changes[board.seen..] {
                    let node = node as usize;
                    if std::mem::replace(&mut self.taken_in[node], number) != number {
                        board.set(node, cost(&nodes[node]));
                    }
                }
                board.seen = self.changes.len();
            }
            stale => {
                self.boards_left -= usize::from(stale.is_none());
                *stale = Some(Board::new(nodes.iter().map(cost), self.changes.len()));
            }
        }
        let node = self.boards[kind].as_ref().and_then(Board::cheapest)?;
        policy.offer(&nodes[node], demand, number).map(|offer| (node, offer))
    }

    fn cheapest_of_all(&self, demand: &Demand) -> Option<(usize, Offer)> {
        let offer = |(at, node)| Some((at, self.policy.offer(node, demand, self.arrivals)?));
        let offers = self.nodes.iter().enumerate().filter_map(offer);
        offers.min_by_key(|(at, offer)| (offer.cost, *at))
    }
}

impl Measured {
    fn new(cluster: &Cluster, mix: &Mix, nodes: &[Node]) -> Self {
        let kinds: Vec<_> = mix.target().iter().map(|(job, n)| (job.clone(), *n as i64)).collect();
        let fragmentation = Fragmentation::new(cluster.fleet(), &kinds);
        let fragmented = nodes.iter().map(|node| fragmentation.of(node)).sum();
        Self {
            fragmentation,
            capacity: u128::from(cluster.fleet().compute()),
            arrived: 0,
            allocated: 0,
            fragmented,
            allocation: Curve::new(),
            fragmentation_curve: Curve::new(),
            findings: Findings::default(),
        }
    }

    fn count(&mut self, demand: &Demand, is_placed: bool) {
        let counts = self.findings.classes.entry(demand.class()).or_default();
        self.arrived += u128::from(demand.compute_all());
        match is_placed {
            true => {
                counts.placed += 1;
                self.allocated += u128::from(demand.compute_all());
            }
            false => counts.rejected += 1,
        }
        // A cluster without cards has no per cent of them.
        if self.capacity > 0 {
            let percent = round_half_even(self.arrived * 100, self.capacity) as usize;
            let hundredths = round_half_even(self.allocated * 10_000, self.capacity);
            self.allocation.add(percent, hundredths as i64);
            let whole = self.capacity * self.fragmentation.weight().max(1) as u128;
            let lost = round_half_even(self.fragmented.max(0) as u128 * 10_000, whole);
            self.fragmentation_curve.add(percent, lost as i64);
        }
    }
}

impl std::fmt::Debug for Replay<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (nodes, arrivals) = (self.nodes.len(), self.arrivals);
        formatter
            .debug_struct("Replay")
            .field("nodes", &nodes)
            .field("arrivals", &arrivals)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PolicyName;
    use crate::replay::arrival::Order;
    use crate::replay::trace::{read_nodes, read_pods};

    #[test]
    fn what_is_not_remembered_is_worked_out_anew() {
        let nodes = "sn,cpu_milli,memory_mib,gpu,model\na,9000,9,4,X\nb,9000,9,4,X\nc,5000,9,2,Y\n";
        let pods = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\n\
            a,1000,1,1,300\nb,1000,1,1,700\nc,2000,1,2,1000\nd,500,0,0,0\ne,100,0,1,50\n";
        let cluster = Cluster::new(read_nodes(nodes).unwrap()).unwrap();
        let workload = Workload::new(cluster.fleet(), read_pods(pods).unwrap());
        let arrivals = Arrivals::new(&cluster, &workload, (Order::Shuffled, 3));
        for name in PolicyName::ALL {
            let policy = name.build(cluster.fleet(), workload.mix(), 3);
            let run = |boards: usize| {
                let mut replay = Replay::new(&cluster, &workload, (&arrivals, &*policy));
                replay.boards_left = boards;
                let placed: Vec<_> =
                    arrivals.pods().iter().map(|&pod| replay.arrive(pod)).collect();
                (placed, replay.findings())
            };
            let all = run(5);
            assert!(all.0.iter().flatten().count() > 10, "{name:?}: {all:?}");
            assert_eq!(run(0), all, "{name:?}");
            assert_eq!(run(2), all, "{name:?}");
        }
    }
}
