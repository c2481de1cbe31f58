//! Lets a policy place arrivals, one by one.

use crate::policy::{Cards, Demand, Fragmentation, Mix, Node, PlacementPolicy};
use crate::replay::arrival::Arrivals;
use crate::replay::cluster::Cluster;
use crate::replay::findings::{Curve, Findings, round_half_even};
use crate::replay::placer::Placer;
use crate::replay::workload::Workload;

/// A cluster that fills up.
pub struct Replay<'a> {
    workload: &'a Workload,
    placer: Placer<'a>,
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
        let placer = Placer::new(cluster, workload, (arrivals.ranks(), policy));
        let measured = Measured::new(cluster, workload.mix(), placer.nodes());
        Self { workload, placer, arrivals: 0, measured }
    }

    /// Lets a pod arrive, by its place among the names, and says where it runs; none if no node has
    /// room.
    pub fn arrive(&mut self, pod: u32) -> Option<Placed> {
        self.arrivals += 1;
        let kind = self.workload.kind(pod) as usize;
        let found = self.placer.cheapest(kind);
        if let Some((node, offer)) = found {
            let before = self.measured.fragmentation.of(&self.placer.nodes()[node]);
            self.placer.take(node, (kind, offer.cards));
            let after = self.measured.fragmentation.of(&self.placer.nodes()[node]);
            self.measured.fragmented += after - before;
        }
        self.measured.count(&self.workload.kinds()[kind], found.is_some());
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
        self.placer.nodes()
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
        let (nodes, arrivals) = (self.placer.nodes().len(), self.arrivals);
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
                replay.placer.boards_left = boards;
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
