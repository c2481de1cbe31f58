//! Replays in time, on small worlds: by table, who starts when; by property, that all that can run
//! does, no job waits less than nothing, the same input gives the same answer, and nothing is overrun,
//! by books that the test keeps itself.

#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::collections::BTreeMap;

use cotenant_sched::policy::PolicyName;
use cotenant_sched::replay::timed::{
    Beyond, Change, ChangeKind, Setting, Stream, TimedFindings, replay, replay_observed,
    replay_within,
};
use cotenant_sched::replay::{Cluster, Workload, read_nodes, read_pods};
use proptest::prelude::*;

const NOTHING: Beyond = Beyond { departures: false, ratio: false, moves: false };
const MOVES: Beyond = Beyond { moves: true, ..NOTHING };
const RATIO: Beyond = Beyond { ratio: true, ..NOTHING };

/// Processors of a node.
const CPU_MILLI: u64 = 64_000;

const POD_HEADER: &str =
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,qos,creation_time,deletion_time,scheduled_time\n";

/// What is replayed: nodes of so many cards each, 64 vCPU and 9,999 MiB, and pods.
struct World {
    cluster: Cluster,
    workload: Workload,
    stream: Stream,
}

impl World {
    fn new(nodes: &[u32], pods: &str) -> Self {
        let row = |(at, cards): (usize, &u32)| format!("n{at},{CPU_MILLI},9999,{cards},X\n");
        let rows: String = nodes.iter().enumerate().map(row).collect();
        let nodes = format!("sn,cpu_milli,memory_mib,gpu,model\n{rows}");
        let cluster = Cluster::new(read_nodes(&nodes).unwrap()).unwrap();
        let pods = read_pods(&format!("{POD_HEADER}{pods}")).unwrap();
        let workload = Workload::new(cluster.fleet(), pods);
        let stream = Stream::new(&workload, 1).unwrap();
        Self { cluster, workload, stream }
    }

    fn with<T>(
        &self,
        (policy, beyond): (PolicyName, Beyond),
        run: impl FnOnce(Setting<'_>) -> T,
    ) -> T {
        let policy = policy.build(self.cluster.fleet(), self.workload.mix(), 7);
        run(Setting {
            cluster: &self.cluster,
            workload: &self.workload,
            stream: &self.stream,
            policy: &*policy,
            seed: 7,
            beyond,
            move_s: 5,
        })
    }
}

fn run(nodes: &[u32], pods: &str, way: (PolicyName, Beyond)) -> TimedFindings {
    World::new(nodes, pods).with(way, replay)
}

#[test]
fn jobs_wait_for_room_and_later_ones_may_overtake() {
    let check = |nodes: &[u32], pods: &str, (mean_ms, longest_s, ended_s, peak)| {
        for policy in PolicyName::ALL {
            let found = run(nodes, pods, (policy, NOTHING));
            let waits = (found.waits.mean_ms, found.waits.percentile_s(100));
            let all = (waits.0, waits.1, found.ended_s, found.queue_peak);
            assert_eq!(all, (mean_ms, longest_s, ended_s, peak), "{policy:?} {pods}");
        }
    };
    // Alone, nobody waits; times count from the first arrival.
    check(&[1], "a,1,1,1,1000,LS,100,110,100\n", (0, 0, 10, 0));
    // Two jobs on one card: the second waits for the first.
    let two = "a,1,1,1,1000,LS,0,10,0\nb,1,1,1,1000,LS,4,14,4\n";
    check(&[1], two, (3000, 6, 20, 1));
    check(&[1, 1], two, (0, 0, 14, 0));
    // What goes at the moment when another comes makes room for it.
    check(&[1], "a,1,1,1,1000,LS,0,10,0\nb,1,1,1,1000,LS,10,20,10\n", (0, 0, 20, 0));
    // A job of two cards waits for both, and a small one overtakes it.
    let three = "a,1,1,1,1000,LS,0,10,0\nb,1,1,2,1000,LS,1,11,1\nc,1,1,1,1000,LS,2,6,2\n";
    check(&[2], three, (3000, 9, 20, 1));
    // What was scheduled late ran from then on; what never was, from when it came.
    check(&[1], "a,1,1,1,1000,LS,0,10,8\nb,1,1,1,1000,LS,0,3,\n", (1000, 2, 5, 1));
}

#[test]
fn what_no_node_can_run_is_counted_and_stops_nobody() {
    let pods = "a,1,1,4,1000,LS,0,10,0\nb,1,1,1,1000,LS,0,10,0\n";
    let found = run(&[2], pods, (PolicyName::Fgd, NOTHING));
    assert_eq!((found.unplaceable, found.waits.jobs, found.waits.mean_ms), (1, 1, 0));
}

#[test]
fn a_move_makes_room_once_it_is_worth_it_and_its_price_is_counted() {
    // When `p0` and `p2` go, a half of each card is left, and `p4` wants a whole one. What is moved
    // loses five seconds of half a card, so `p4` has to have waited for three; then `p5` comes.
    let run = |service: &str, policy, beyond| {
        let pods = format!(
            "p0,1,1,1,500,LS,0,10,0\np1,1,1,1,500,{service},0,100,0\np2,1,1,1,500,LS,0,10,0\n\
             p3,1,1,1,500,{service},0,100,0\np4,1,1,1,1000,LS,10,20,10\np5,1,1,0,0,LS,13,30,13\n"
        );
        run(&[1, 1], &pods, (policy, beyond))
    };
    for policy in [PolicyName::Packing, PolicyName::BestFit, PolicyName::BidPrice] {
        for (service, beyond) in [("BE", NOTHING), ("LS", MOVES)] {
            let found = run(service, policy, beyond);
            let waited = (found.waits.mean_ms, found.waits.percentile_s(100));
            assert_eq!((found.moves, waited), (0, (15_000, 90)), "{policy:?}");
        }
        let found = run("BE", policy, MOVES);
        let waited = (found.waits.mean_ms, found.waits.percentile_s(100));
        assert_eq!((found.moves, found.lost_card_s, waited), (1, 2, (1333, 5)), "{policy:?}");
    }
}

#[test]
fn the_highest_response_ratio_is_tried_first() {
    // Four short jobs and four long ones teach how long both kinds run. Then `x` fills the card, a
    // long job comes, and a short one later: by order the long one is first, by ratio the short one.
    let lesson = |at: u64| {
        let (from, to) = (at * 200, at * 200 + 100);
        format!(
            "l{at},2,1,1,1000,LS,{from},{to},{from}\ns{at},1,1,1,1000,LS,{to},{},{to}\n",
            to + 2
        )
    };
    let lessons: String = (0..4).map(lesson).collect();
    let pods = |long_comes: u64| {
        format!(
            "{lessons}x,9,1,1,1000,LS,2000,2050,2000\nlong,2,1,1,1000,LS,{long_comes},{},{long_comes}\n\
             short,1,1,1,1000,LS,2048,2050,2048\n",
            long_comes + 100
        )
    };
    let longest_s = |long_comes, beyond| {
        let found = run(&[1], &pods(long_comes), (PolicyName::BestFit, beyond));
        found.waits.percentile_s(100)
    };
    assert_eq!(longest_s(2040, NOTHING), 102, "the short one waits for the long one");
    assert_eq!(longest_s(2040, RATIO), 12, "the long one waits for the short one");
    // Who has waited for long enough is first all the same: 90 s of 100 to 2 s of 2.
    assert_eq!(longest_s(2001, RATIO), 51);
}

#[test]
fn a_replay_ends_as_soon_as_the_wait_is_too_long() {
    let pods = "a,1,1,1,1000,LS,0,10,0\nb,1,1,1,1000,LS,4,14,4\n";
    let within = |wait_s| {
        World::new(&[1], pods)
            .with((PolicyName::Fgd, NOTHING), |setting| replay_within(setting, wait_s))
    };
    // Six seconds of two jobs.
    assert_eq!((within(2), within(3).map(|it| it.waits.mean_ms)), (None, Some(3000)));
}

/// Keeps books of what jobs have taken, and refuses what is too much.
struct Books<'a> {
    world: &'a World,
    /// Cards of all nodes.
    cards: usize,
    /// Compute by node and card, and processors by node.
    compute: BTreeMap<(usize, usize), u32>,
    cpu_milli: BTreeMap<usize, u64>,
    taken: BTreeMap<u32, Change>,
}

impl Books<'_> {
    fn enter(&mut self, change: Change) {
        let demand = self.world.workload.demand(self.world.stream.jobs()[change.job as usize].pod);
        match change.kind {
            ChangeKind::Taken => {
                assert_eq!(self.taken.insert(change.job, change), None, "one place at a time");
                let cpu = self.cpu_milli.entry(change.node).or_default();
                *cpu += demand.cpu_milli;
                assert!(*cpu <= CPU_MILLI, "processors of {change:?}");
                assert_eq!(change.cards.iter().count() as u32, demand.cards);
                for card in change.cards.iter() {
                    let compute = self.compute.entry((change.node, card)).or_default();
                    *compute += demand.compute;
                    assert!(*compute <= 1000, "card {card} of {change:?}");
                }
                let used = self.compute.values().filter(|compute| **compute > 0).count();
                assert!(used <= self.cards, "{used} cards in use of {}", self.cards);
            }
            ChangeKind::GivenBack => {
                let place = self.taken.remove(&change.job).expect("who goes was there");
                assert_eq!((place.node, place.cards), (change.node, change.cards));
                *self.cpu_milli.get_mut(&change.node).unwrap() -= demand.cpu_milli;
                for card in change.cards.iter() {
                    *self.compute.get_mut(&(change.node, card)).unwrap() -= demand.compute;
                }
            }
        }
    }
}

/// Pods with times, some offline, some larger than any node.
fn pods() -> impl Strategy<Value = String> {
    let pod = (0..6usize, 0..60u64, 0..40u64, 0..3u64);
    prop::collection::vec(pod, 1..60).prop_map(|pods| {
        let row = |(at, (size, comes, runs, kind)): (usize, &(usize, u64, u64, u64))| {
            let size = ["0,0", "1,330", "1,500", "1,1000", "2,1000", "8,1000"][*size];
            let service = ["LS", "BE", "BE"][*kind as usize];
            let begun = if *kind == 1 { String::new() } else { (comes + 1).to_string() };
            format!("p{at},9000,1,{size},{service},{comes},{},{begun}\n", comes + 1 + runs)
        };
        pods.iter().enumerate().map(row).collect()
    })
}

proptest! {
    #[test]
    fn all_that_can_run_does_and_the_same_input_gives_the_same_answer(
        (nodes, pods) in (prop::collection::vec(1..5u32, 1..4), pods()),
        policy in 0..PolicyName::ALL.len(),
    ) {
        let policy = PolicyName::ALL[policy];
        let count = pods.lines().count() as u64;
        let world = World::new(&nodes, &pods);
        for beyond in Beyond::all().filter(|it| it.goes_with(policy)) {
            let mut books = Books {
                world: &world,
                cards: nodes.iter().sum::<u32>() as usize,
                compute: BTreeMap::new(),
                cpu_milli: BTreeMap::new(),
                taken: BTreeMap::new(),
            };
            let found = world.with((policy, beyond), |setting| {
                replay_observed(setting, &mut |change| books.enter(change))
            });
            prop_assert!(books.taken.is_empty(), "all that was taken is given back");
            prop_assert_eq!(found.waits.jobs + found.unplaceable, count);
            prop_assert!(found.use_curve.iter().all(|&part| part <= 10_000), "{:?}", found);
            prop_assert_eq!(&found, &world.with((policy, beyond), replay));
        }
    }
}
