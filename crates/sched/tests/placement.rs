//! Policies on small worlds: by table, what each prefers; by property, that a replay takes the
//! cheapest node, turns nobody away who has room, and gives nothing twice.

#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use cotenant_sched::policy::{
    Cards, Demand, Fleet, Mix, Models, Node, PlacementPolicy, PolicyName, Shape, SizeClass, WHOLE,
};
use cotenant_sched::replay::{Arrivals, Cluster, Order, Replay, Workload, read_nodes, read_pods};
use proptest::prelude::*;

/// A job of so many vCPU and cards, of so many thousandths each.
fn job(cpu: u64, (cards, compute): (u32, u32)) -> Demand {
    Demand {
        cpu_milli: cpu * 1000,
        memory_mib: 0,
        cards,
        compute,
        card_memory_mib: 0,
        models: Models::ANY,
    }
}

/// The place and the cards that a policy gives a job on nodes of 32 vCPU and four cards, of which
/// the given are free.
fn choice(policy: PolicyName, nodes: &[(u64, [u32; 4])], wanted: &Demand) -> Option<(usize, u64)> {
    let mut fleet = Fleet::default();
    fleet.add_model("a").unwrap();
    let shape = Shape {
        model: 0,
        cards: 4,
        card_memory_mib: 0,
        cpu_milli: Some(32_000),
        memory_mib: None,
        nodes: 0,
    };
    let nodes = nodes.iter().enumerate().map(|(key, (cpu, cards))| {
        let shape = fleet.add_node(shape.clone());
        let mut node = fleet.empty_node(shape, key as u64);
        node.cpu_milli = Some(cpu * 1000);
        node.cards.iter_mut().zip(cards).for_each(|(card, free)| card.compute = *free);
        node.jobs = u32::from(cards.iter().any(|free| *free < WHOLE) || *cpu < 32);
        node.hosted = u64::from(cards.iter().any(|free| (1..WHOLE).contains(free)));
        node
    });
    let nodes: Vec<Node> = nodes.collect();
    let history = [(job(4, (1, 500)), 60), (job(8, (1, WHOLE)), 30), (job(16, (2, WHOLE)), 10)];
    let history: Vec<&Demand> =
        history.iter().flat_map(|(job, count)| std::iter::repeat_n(job, *count)).collect();
    let mix = Mix::of(history.into_iter().map(|job| (job, "")));
    let policy = policy.build(&fleet, &mix, 1);
    cheapest(&*policy, &nodes, (wanted, 1)).map(|(at, cards)| (at, cards.0))
}

/// The first of the cheapest nodes, looked at one by one.
fn cheapest(
    policy: &dyn PlacementPolicy,
    nodes: &[Node],
    (wanted, arrival): (&Demand, u64),
) -> Option<(usize, Cards)> {
    let offer = |(at, node)| Some((at, policy.offer(node, wanted, arrival)?));
    let offers = nodes.iter().enumerate().filter_map(offer);
    offers.min_by_key(|(at, offer)| (offer.cost, *at)).map(|(at, offer)| (at, offer.cards))
}

#[test]
fn each_policy_prefers_what_it_is_for() {
    use PolicyName::{BestFit, BidPrice, Clustering, DotProduct, Fgd, Packing};
    const IDLE: (u64, [u32; 4]) = (32, [WHOLE; 4]);
    let check = |policy, nodes: &[(u64, [u32; 4])], job: &Demand, expected| {
        assert_eq!(choice(policy, nodes, job), Some(expected), "{policy:?} {job:?}");
    };
    let half = job(4, (1, 500));
    // The other half of a card that is in use, rather than an idle node. Dot product sees no difference.
    for policy in [BestFit, Clustering, Fgd, Packing, BidPrice] {
        check(policy, &[IDLE, (28, [1000, 500, 1000, 1000])], &half, (1, 0b10));
    }
    // Best fit goes where less is left, packing where a card in use is the fuller.
    let nodes = [(30, [700, 0, 0, 0]), (30, [1000, 600, 1000, 1000])];
    check(BestFit, &nodes, &half, (0, 0b1));
    check(Packing, &nodes, &half, (1, 0b10));
    // Clustering keeps a whole card away from shares.
    let whole = job(8, (1, WHOLE));
    check(Clustering, &[(28, [500, 1000, 1000, 1000]), IDLE], &whole, (1, 0b1));
    // Dot product takes a wish for processors where there are few.
    check(DotProduct, &[(128, [1000; 4]), (40, [1000; 4])], &job(40, (0, 0)), (1, 0));
    // FGD and bid price do not leave a tenth that nobody wants.
    let nodes = [(28, [600, 1000, 0, 0]), (28, [500, 1000, 0, 0])];
    check(Fgd, &nodes, &half, (1, 0b1));
    check(BidPrice, &nodes, &half, (1, 0b1));
    // Bid price knows that cards without processors are lost: a job without cards goes elsewhere.
    let nodes = [(16, [1000; 4]), (16, [0; 4])];
    check(BidPrice, &nodes, &job(8, (0, 0)), (1, 0));
}

#[test]
fn no_policy_offers_what_is_not_there() {
    for policy in PolicyName::ALL {
        let none = |nodes: &[(u64, [u32; 4])], wanted: &Demand| {
            assert_eq!(choice(policy, nodes, wanted), None, "{policy:?} {wanted:?}");
        };
        none(&[(32, [400, 499, 0, 0])], &job(1, (1, 500)));
        none(&[(32, [1000, 999, 999, 999])], &job(1, (2, WHOLE)));
        none(&[(7, [1000; 4])], &job(8, (1, 500)));
        none(&[(32, [1000; 4])], &job(1, (5, WHOLE)));
        let named = Demand { models: Models::NONE, ..job(1, (1, 500)) };
        none(&[(32, [1000; 4])], &named);
        let with_memory = Demand { card_memory_mib: 1, ..job(1, (1, 500)) };
        none(&[(32, [1000; 4])], &with_memory);
    }
}

/// A small trace: nodes and pods as text, cards with and without memory.
fn traces() -> impl Strategy<Value = (String, String)> {
    let node = (0..40u64, 0..60u64, 0..5u32, 0..3usize, 0..3u64);
    let pod = (0..12u64, 0..20u64, 0..8usize, 0..4usize, 0..3u64);
    let nodes = prop::collection::vec(node, 1..6).prop_map(|nodes| {
        let rows = nodes.iter().enumerate().map(|(at, (cpu, memory, cards, model, room))| {
            let model = ["A", "B", "C"][*model];
            format!("n{at},{},{memory},{cards},{model},{}\n", cpu * 1000, room * 8000)
        });
        rows.collect::<String>()
    });
    let pods = prop::collection::vec(pod, 1..40).prop_map(|pods| {
        let rows = pods.iter().enumerate().map(|(at, (cpu, memory, size, models, room))| {
            let sizes = ["0,0", "1,100", "1,330", "1,500", "1,810", "1,1000", "2,1000", "4,1000"];
            let room = if *size == 0 { 0 } else { room * 3000 };
            let models = ["", "A", "A|B", "D"][*models];
            format!("p{at},{},{memory},{},{models},{room}\n", cpu * 1000, sizes[*size])
        });
        rows.collect::<String>()
    });
    (nodes, pods).prop_map(|(nodes, pods)| {
        let nodes = format!("sn,cpu_milli,memory_mib,gpu,model,gpu_memory_mib\n{nodes}");
        let head = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,gpu_memory_mib\n";
        (nodes, format!("{head}{pods}"))
    })
}

/// What is free on a node, kept by this test alone.
#[derive(Clone, Debug)]
struct Kept {
    model: usize,
    cpu: i64,
    memory: i64,
    cards: Vec<(i64, i64)>,
    card_memory: i64,
}

impl Kept {
    fn of(node: &Node) -> Self {
        let card_memory = node.card_memory_mib as i64;
        Self {
            model: node.model,
            cpu: node.cpu_milli.unwrap() as i64,
            memory: node.memory_mib.unwrap() as i64,
            cards: vec![(i64::from(WHOLE), card_memory); node.cards.len()],
            card_memory,
        }
    }

    fn has_room(&self, job: &Demand) -> bool {
        let (compute, memory) = (i64::from(job.compute), job.card_memory_mib as i64);
        let idle = (i64::from(WHOLE), self.card_memory);
        let fits = |card: &&(i64, i64)| match job.class() {
            SizeClass::CpuOnly | SizeClass::Share => card.0 >= compute && card.1 >= memory,
            SizeClass::Whole(_) => **card == idle && self.card_memory >= memory,
        };
        self.cpu >= job.cpu_milli as i64
            && self.memory >= job.memory_mib as i64
            && job.models.allow(self.model)
            && self.cards.iter().filter(fits).count() >= job.cards as usize
    }

    fn take(&mut self, job: &Demand, cards: Cards) {
        self.cpu -= job.cpu_milli as i64;
        self.memory -= job.memory_mib as i64;
        assert_eq!(cards.iter().count(), job.cards as usize);
        for at in cards.iter() {
            let all = self.card_memory.max(job.card_memory_mib as i64);
            let memory = if job.compute == WHOLE { all } else { job.card_memory_mib as i64 };
            self.cards[at].0 -= i64::from(job.compute);
            self.cards[at].1 -= memory;
        }
        let least = self.cards.iter().map(|card| card.0.min(card.1)).min().unwrap_or_default();
        assert!(self.cpu >= 0 && self.memory >= 0 && least >= 0, "{self:?} {job:?}");
    }
}

proptest! {
    #[test]
    fn replays_take_the_cheapest_node_and_give_nothing_twice(
        (nodes, pods) in traces(),
        (seed, policy) in (0..1000u64, 0..PolicyName::ALL.len()),
    ) {
        let cluster = Cluster::new(read_nodes(&nodes).unwrap()).unwrap();
        let workload = Workload::new(cluster.fleet(), read_pods(&pods).unwrap());
        let policy = PolicyName::ALL[policy].build(cluster.fleet(), workload.mix(), seed);
        let arrivals = Arrivals::new(&cluster, &workload, (Order::Shuffled, seed));
        let mut replay = Replay::new(&cluster, &workload, (&arrivals, &*policy));
        let mut kept: Vec<Kept> = replay.nodes().iter().map(Kept::of).collect();
        for (number, &pod) in arrivals.pods().iter().enumerate() {
            let job = workload.demand(pod);
            let expected = cheapest(&*policy, replay.nodes(), (job, number as u64 + 1));
            let placed = replay.arrive(pod);
            prop_assert_eq!(placed.map(|placed| (placed.node, placed.cards)), expected);
            match placed {
                Some(placed) => kept[placed.node].take(job, placed.cards),
                None => prop_assert!(!kept.iter().any(|node| node.has_room(job)), "{job:?} {kept:?}"),
            }
        }
        let findings = replay.findings();
        let counts = findings.classes.values().map(|counts| counts.placed + counts.rejected);
        prop_assert_eq!(counts.sum::<u64>(), arrivals.pods().len() as u64);
    }

    #[test]
    fn any_text_is_read_or_refused_with_a_hint(
        header in prop::sample::select(vec![
            "sn,cpu_milli,memory_mib,gpu,model\n",
            "name,cpu_milli,memory_mib,num_gpu,gpu_milli\n",
            "",
        ]),
        rows in "([a-c]|[0-9]{1,3}|18446744073709551616|1000|-|\\+|,|\n|\r|\"|\u{feff}|é| |\\|){0,60}",
    ) {
        let text = format!("{header}{rows}");
        let refused = [read_nodes(&text).err(), read_pods(&text).err()];
        for error in refused.into_iter().flatten() {
            let message = error.to_string();
            prop_assert!(message.lines().last().unwrap().starts_with("hint: "), "{message}");
        }
    }
}
