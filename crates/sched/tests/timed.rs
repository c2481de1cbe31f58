//! Replays in time, on small worlds: by table, who starts when; by property, that all that can run
//! does, no job waits less than nothing, and the same input gives the same answer. That nothing is
//! overrun is asserted by what keeps the nodes: an amount below nothing panics.

#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use cotenant_sched::policy::PolicyName;
use cotenant_sched::replay::timed::{Beyond, Setting, Stream, TimedFindings, replay};
use cotenant_sched::replay::{Cluster, Workload, read_nodes, read_pods};
use proptest::prelude::*;

const POD_HEADER: &str =
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,qos,creation_time,deletion_time,scheduled_time\n";

/// Replays pods on nodes of so many cards each.
fn run(nodes: &[u32], pods: &str, (policy, beyond): (PolicyName, Beyond)) -> TimedFindings {
    let rows = nodes.iter().enumerate().map(|(at, cards)| format!("n{at},64000,9999,{cards},X\n"));
    let nodes = format!("sn,cpu_milli,memory_mib,gpu,model\n{}", rows.collect::<String>());
    let cluster = Cluster::new(read_nodes(&nodes).unwrap()).unwrap();
    let pods = read_pods(&format!("{POD_HEADER}{pods}")).unwrap();
    let workload = Workload::new(cluster.fleet(), pods);
    let stream = Stream::new(&workload, 1).unwrap();
    let policy = policy.build(cluster.fleet(), workload.mix(), 7);
    replay(Setting {
        cluster: &cluster,
        workload: &workload,
        stream: &stream,
        policy: &*policy,
        seed: 7,
        beyond,
        move_s: 5,
    })
}

#[test]
fn jobs_wait_for_room_and_later_ones_may_overtake() {
    let check = |nodes: &[u32], pods: &str, (mean_ms, longest_s, ended_s, peak)| {
        for policy in PolicyName::ALL {
            let found = run(nodes, pods, (policy, Beyond::Nothing));
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
    let found = run(&[2], pods, (PolicyName::Fgd, Beyond::Nothing));
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
        for (service, beyond) in [("BE", Beyond::Nothing), ("LS", Beyond::Moves)] {
            let found = run(service, policy, beyond);
            let waited = (found.waits.mean_ms, found.waits.percentile_s(100));
            assert_eq!((found.moves, waited), (0, (15_000, 90)), "{policy:?}");
        }
        let found = run("BE", policy, Beyond::Moves);
        let waited = (found.waits.mean_ms, found.waits.percentile_s(100));
        assert_eq!((found.moves, found.lost_card_s, waited), (1, 2, (1333, 5)), "{policy:?}");
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
        for beyond in Beyond::ALL.into_iter().filter(|it| it.goes_with(policy)) {
            let found = run(&nodes, &pods, (policy, beyond));
            prop_assert_eq!(found.waits.jobs + found.unplaceable, count);
            prop_assert!(found.use_curve.iter().all(|&part| part <= 10_000), "{:?}", found);
            prop_assert_eq!(&found, &run(&nodes, &pods, (policy, beyond)));
        }
    }
}
