//! How placement slows down as a cluster grows: the openb nodes and jobs, 1 to 16 times over, up to
//! 99,392 cards. One thread; prints one JSON object a size and policy.

#[path = "../tests/openb/data.rs"]
mod data;

use std::io::Write;
use std::time::Instant;

use cotenant_sched::policy::PolicyName;
use cotenant_sched::replay::{Arrivals, Cluster, Order, Replay, Workload, read_nodes, read_pods};

use data::Data;

fn main() {
    let Some(data) = Data::find() else { return };
    let trace = std::env::args().nth(1).unwrap_or_else(|| "default".to_owned());
    let nodes = read_nodes(&data.text("csv/openb_node_list_gpu_node.csv")).expect("a good table");
    let pods = read_pods(&data.text(&format!("csv/openb_pod_list_{trace}.csv"))).expect("the same");
    for times in [1, 2, 4, 8, 16] {
        let mut many_nodes = Vec::new();
        let mut many_pods = Vec::new();
        for copy in 0..times {
            many_nodes.extend(nodes.iter().cloned().map(|mut node| {
                node.name = format!("{}-{copy}", node.name);
                node
            }));
            many_pods.extend(pods.iter().cloned().map(|mut pod| {
                pod.name = format!("{}-{copy}", pod.name);
                pod
            }));
        }
        let cluster = Cluster::new(many_nodes).expect("as many models as one has");
        let workload = Workload::new(cluster.fleet(), many_pods);
        let arrivals = Arrivals::new(&cluster, &workload, (Order::Published, 42));
        for name in [PolicyName::Fgd, PolicyName::BidPrice] {
            report((&trace, name), (&cluster, &workload), &arrivals);
        }
    }
}

fn report(
    (trace, name): (&str, PolicyName),
    (cluster, workload): (&Cluster, &Workload),
    arrivals: &Arrivals,
) {
    let policy = name.build(cluster.fleet(), workload.mix(), 42);
    let mut replay = Replay::new(cluster, workload, (arrivals, &*policy));
    let begun = Instant::now();
    for &pod in arrivals.pods() {
        replay.arrive(pod);
    }
    let per_s = arrivals.pods().len() as f64 / begun.elapsed().as_secs_f64();
    let cards = cluster.fleet().compute() / 1000;
    let line = format!(
        "{{\"trace\":\"{trace}\",\"policy\":\"{}\",\"nodes\":{},\"cards\":{cards},\"jobs\":{},\
         \"decisions_per_s\":{per_s:.0},\"allocated_at_100_pct\":{:.2},\"peak_memory\":\"{}\"}}",
        name.as_str(),
        cluster.nodes(),
        arrivals.pods().len(),
        replay.findings().allocation_percent[100],
        data::peak_memory(),
    );
    writeln!(std::io::stdout(), "{line}").expect("stdout takes a line");
}
