//! In which order pods arrive, and in which order nodes win ties.
//!
//! As in the published experiment: the trace is shuffled, and grown by copies of random pods, or
//! shrunk, until it wants 130 % of the cluster's compute. Lower-ranked nodes win ties.

mod go_random;
mod leap;

use crate::keyed::keyed;
use crate::replay::cluster::Cluster;
use crate::replay::workload::Workload;

use go_random::GoRandom;

/// Arrivals at most: a trace with hardly any cards would be grown without end.
const ARRIVALS_MAX: usize = 10_000_000;

/// Outputs of the generator that other threads of the published experiment used up between the pods
/// and the nodes.
const USED_UP: u32 = 10;

/// What draws the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The generator of the published experiment, Go's `math/rand`: the published orders, exactly.
    Published,
    /// A generator of our own: other orders for the same seeds.
    Shuffled,
}

/// Pods in the order of their arrival, and the rank of each node, both by place among the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrivals {
    pods: Vec<u32>,
    ranks: Vec<u32>,
}

/// What the procedure draws.
trait Draws {
    /// A number below `bound`, for shuffling.
    fn below_shuffling(&mut self, bound: u32) -> u32;

    /// A number below `bound`, for choosing.
    fn below(&mut self, bound: u32) -> u32;

    /// Passes over so many draws.
    fn skip(&mut self, draws: u32);
}

impl Arrivals {
    /// The order of a seed.
    pub fn new(cluster: &Cluster, workload: &Workload, (order, seed): (Order, u64)) -> Self {
        match order {
            Order::Published => draw(cluster, workload, &mut GoRandom::new(seed as i64)),
            Order::Shuffled => draw(cluster, workload, &mut Keyed { seed, draws: 0 }),
        }
    }

    /// Pods by place among the names, in the order of their arrival.
    pub fn pods(&self) -> &[u32] {
        &self.pods
    }

    /// The rank of each node.
    pub fn ranks(&self) -> &[u32] {
        &self.ranks
    }
}

fn draw(cluster: &Cluster, workload: &Workload, draws: &mut impl Draws) -> Arrivals {
    draws.skip(1);
    let all = workload.pods() as u32;
    let mut pods: Vec<u32> = (0..all).collect();
    for at in (1..all).rev() {
        pods.swap(at as usize, draws.below_shuffling(at + 1) as usize);
    }
    resize(&mut pods, (cluster, workload), draws);
    draws.skip(USED_UP);
    let mut ranks = vec![0; cluster.nodes()];
    for at in 0..ranks.len() as u32 {
        let other = draws.below(at + 1) as usize;
        ranks[at as usize] = ranks[other];
        ranks[other] = at;
    }
    Arrivals { pods, ranks }
}

/// Grows or shrinks the arrivals to 130 % of the cluster's compute.
fn resize(pods: &mut Vec<u32>, (cluster, workload): (&Cluster, &Workload), draws: &mut impl Draws) {
    let target = cluster.fleet().compute() * 13 / 10;
    let compute = |pod: u32| workload.demand(pod).compute_all();
    let mut wanted: u64 = pods.iter().map(|&pod| compute(pod)).sum();
    let grows = wanted > 0 && wanted <= target;
    while wanted > target {
        let removed = pods.remove(draws.below(pods.len() as u32) as usize);
        wanted -= compute(removed);
    }
    while grows && pods.len() < ARRIVALS_MAX {
        let pod = draws.below(workload.pods() as u32);
        // The published experiment looks at one card of the pod here, and so do we.
        if wanted + u64::from(workload.demand(pod).compute) > target {
            break;
        }
        pods.push(pod);
        wanted += compute(pod);
    }
}

/// Our own generator: a draw is fixed by the seed and its number.
struct Keyed {
    seed: u64,
    draws: u64,
}

impl Draws for Keyed {
    fn below_shuffling(&mut self, bound: u32) -> u32 {
        self.below(bound)
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.draws += 1;
        // The high word of a product: its bias is below bound / 2^64.
        let product = u128::from(keyed(&[self.seed, self.draws])) * u128::from(bound);
        (product >> 64) as u32
    }

    fn skip(&mut self, draws: u32) {
        self.draws += u64::from(draws);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::trace::{read_nodes, read_pods};

    fn small(pods: &str) -> (Cluster, Workload) {
        let nodes =
            read_nodes("sn,cpu_milli,memory_mib,gpu,model\nb,9,9,2,X\na,9,9,2,X\n").unwrap();
        let cluster = Cluster::new(nodes).unwrap();
        let header = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\n";
        let pods = read_pods(&format!("{header}{pods}")).unwrap();
        let workload = Workload::new(cluster.fleet(), pods);
        (cluster, workload)
    }

    fn wanted(workload: &Workload, arrivals: &Arrivals) -> u64 {
        arrivals.pods().iter().map(|&pod| workload.demand(pod).compute_all()).sum()
    }

    #[test]
    fn orders_are_grown_and_shrunk_to_what_the_cluster_can_hardly_hold() {
        for order in [Order::Published, Order::Shuffled] {
            for seed in 0..20 {
                let (cluster, workload) = small("a,1,1,1,500\nb,1,1,0,0\n");
                let grown = Arrivals::new(&cluster, &workload, (order, seed));
                assert_eq!(wanted(&workload, &grown), 5000, "{order:?} {seed}");
                let (cluster, workload) = small("a,1,1,4,1000\nb,1,1,4,1000\nc,1,1,0,0\n");
                let shrunk = Arrivals::new(&cluster, &workload, (order, seed));
                assert_eq!(wanted(&workload, &shrunk), 4000, "{order:?} {seed}");
                let mut ranks = shrunk.ranks().to_vec();
                ranks.sort_unstable();
                assert_eq!(ranks, [0, 1]);
            }
        }
    }

    #[test]
    fn a_trace_without_cards_arrives_once() {
        let (cluster, workload) = small("a,1,1,0,0\nb,1,1,0,0\n");
        let arrivals = Arrivals::new(&cluster, &workload, (Order::Published, 42));
        assert_eq!(arrivals.pods().len(), 2);
    }

    #[test]
    fn every_seed_has_an_order_of_its_own() {
        let (cluster, workload) = small("a,1,1,1,500\nb,1,1,1,400\nc,1,1,1,300\n");
        for order in [Order::Published, Order::Shuffled] {
            let of = |seed| Arrivals::new(&cluster, &workload, (order, seed));
            assert_eq!(of(1), of(1));
            assert!((2..30).any(|seed| of(seed) != of(1)));
        }
    }
}
