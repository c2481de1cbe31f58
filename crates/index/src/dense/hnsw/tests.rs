//! What the graph promises beyond what every kind does: all can be reached, memory comes back, and
//! equal vectors do no harm.

use super::graph::{Graph, NO_SLOT};
use crate::dense::random::{mix, uniform};
use crate::dense::search::SearchArgs;
use crate::dense::spec::{DenseSpec, Hnsw, Kind, Metric};

const DIMENSIONS: usize = 32;

fn new() -> Graph {
    let settings = Hnsw { links: 6, construction: 40, candidates: 40 };
    let kind = Kind::Hnsw(settings);
    let spec = DenseSpec { dimensions: DIMENSIONS, metric: Metric::Cosine, kind, seed: 2 };
    Graph::new(&spec, settings)
}

/// A unit vector; of `distinct` ones, so that there are as many equal to each other as that leaves.
fn vector(slot: u32, distinct: u64) -> Vec<f32> {
    let seed = mix(21, mix(20, u64::from(slot)) % distinct);
    let mut vector: Vec<f32> =
        (0..DIMENSIONS).map(|at| uniform(seed, at as u64) as f32 - 0.5).collect();
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|value| *value /= length);
    vector
}

/// Counts and links agree with each other and with who lives.
fn check(graph: &Graph) {
    let nodes = graph.links.len() as u32;
    let mut incoming = vec![0; nodes as usize];
    let (mut living, mut gone) = (0, 0);
    for node in 0..nodes {
        let Some(highest) = graph.links.level(node) else {
            assert!(graph.free.contains(&node), "{node} is not in use and not free");
            continue;
        };
        if graph.slot_of[node as usize] == NO_SLOT {
            gone += 1;
            continue;
        }
        living += 1;
        assert_eq!(graph.map().get(graph.slot_of[node as usize]), Some(node));
        for level in 0..=highest {
            let mut row: Vec<u32> = graph.links.of(node, level).collect();
            for &to in &row {
                assert_ne!(to, node, "a link to itself");
                assert!(graph.links.level(to).is_some(), "{node} links to {to}, which is free");
                incoming[to as usize] += 1;
            }
            row.sort_unstable();
            let count = row.len();
            row.dedup();
            assert_eq!(row.len(), count, "{node} links twice to one");
        }
    }
    assert_eq!((living, gone), (graph.len(), graph.gone()));
    for node in 0..nodes {
        if graph.links.level(node).is_some() {
            assert_eq!(graph.links.incoming(node), incoming[node as usize]);
            let is_gone = graph.slot_of[node as usize] == NO_SLOT;
            assert!(!is_gone || incoming[node as usize] > 0, "{node} is gone, unlinked, not free");
        }
    }
    graph.check_tree().unwrap();
    check_reach(graph);
    assert_eq!(graph.entry.is_some(), living > 0);
}

/// From wherever one begins, living nodes' links lead to every living node.
fn check_reach(graph: &Graph) {
    let living: Vec<u32> = (0..graph.links.len() as u32)
        .filter(|&node| graph.slot_of[node as usize] != NO_SLOT)
        .collect();
    for &start in living.iter().step_by(living.len() / 3 + 1) {
        let mut is_reached = vec![false; graph.links.len()];
        is_reached[start as usize] = true;
        let (mut open, mut count) = (vec![start], 1);
        while let Some(node) = open.pop() {
            for to in graph.links.of(node, 0).filter(|&to| graph.can_join(to, 0)) {
                if !std::mem::replace(&mut is_reached[to as usize], true) {
                    open.push(to);
                    count += 1;
                }
            }
        }
        assert_eq!(count, living.len(), "not all can be reached from {start}");
    }
}

fn check_churn(distinct: u64) {
    let mut graph = new();
    let mut slots: Vec<u32> = Vec::new();
    let mut next = 0;
    for round in 0..12u64 {
        for _ in 0..300 {
            graph.insert(next, vector(next, distinct));
            slots.push(next);
            next += 1;
        }
        check(&graph);
        for draw in 0..if round < 4 { 60 } else { 300 } {
            let at = mix(round, draw) % slots.len() as u64;
            assert!(graph.remove(slots.swap_remove(at as usize)));
        }
        check(&graph);
    }
    let nodes = graph.links.len();
    graph.settle();
    check(&graph);
    assert_eq!(graph.gone(), 0);
    assert!(nodes < 1600, "{nodes} nodes for never more than 1560 vectors");
    for &slot in &slots {
        let query = vector(slot, distinct);
        let args = SearchArgs { query: &query, k: 1, effort: None, allowed: None, originals: None };
        let best = graph.search(&args).hits[0];
        assert!(best.score > 0.99, "{distinct}: {slot} does not find its own vector: {best:?}");
    }
    while let Some(slot) = slots.pop() {
        assert!(graph.remove(slot));
        if slots.len().is_multiple_of(97) {
            check(&graph);
        }
    }
    assert_eq!((graph.len(), graph.gone(), graph.free.len()), (0, 0, graph.links.len()));
}

/// Vectors come and go twice over; links, counts and reach are checked on the way.
#[test]
fn churn_leaves_nothing_behind() {
    check_churn(u64::MAX);
}

/// Crowds of equal vectors, far more than a node has links, do not fall off.
#[test]
fn equal_vectors_stay_within_reach() {
    check_churn(8);
    check_churn(1);
}

/// A graph over f32 vectors, as other libraries have it, takes 4 bytes a dimension and the links.
#[test]
fn a_graph_takes_less_than_half_of_one_over_f32() {
    const DIMENSIONS: usize = 384;
    let settings = Hnsw { construction: 20, ..Hnsw::default() };
    let kind = Kind::Hnsw(settings);
    let spec = DenseSpec { dimensions: DIMENSIONS, metric: Metric::Dot, kind, seed: 2 };
    let mut graph = Graph::new(&spec, settings);
    for slot in 0..4000 {
        let value = |at| uniform(u64::from(slot), at as u64) as f32 - 0.5;
        graph.insert(slot, (0..DIMENSIONS).map(value).collect());
        let over_f32 = graph.len() * (4 * DIMENSIONS + 4 * 2 * settings.links as usize);
        let memory = graph.memory_bytes();
        let is_less = 2 * memory < over_f32;
        assert!(slot < 1000 || is_less, "{memory} bytes for {} vectors", graph.len());
    }
}

/// A walk's answers do not depend on those before it, nor on ones beside it.
#[test]
fn searches_run_side_by_side() {
    let mut graph = new();
    for slot in 0..3000 {
        graph.insert(slot, vector(slot, u64::MAX));
    }
    let find = |number: u32| {
        let query = vector(1_000_000 + number, u64::MAX);
        let args = SearchArgs { query: &query, k: 5, effort: None, allowed: None, originals: None };
        graph.search(&args)
    };
    let alone: Vec<_> = (0..600).map(find).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                (0..600).for_each(|number| assert_eq!(find(number), alone[number as usize]))
            });
        }
    });
}
