//! How fast a pool of 1,000 nodes of 8 cards is planned: many small jobs, one large gang, and a job
//! that has no room; by each policy, which expects the many jobs. One thread; prints one JSON object
//! for each policy.

use std::collections::BTreeSet;
use std::time::Instant;

use cotenant_sched::{Event, Placing, PoolPolicy, State, plan, step};
use cotenant_types::{
    Ask, Card, CardKind, CardShare, Class, JobTerms, Mebibytes, MemoryAsk, Moment, NodeName, Place,
    Policy, Quota, Rung, Share, Site, Span,
};

const NODES: u32 = 1000;
const CARDS: u32 = 8;
const JOBS: u64 = 10_000;

fn main() {
    PoolPolicy::ALL.into_iter().for_each(measure);
}

fn measure(policy: PoolPolicy) {
    let asks = (0..JOBS).map(|job| part(2_000 + 500 * (job % 37), 50 + 25 * (job % 19) as u32));
    let mut placing = Placing::new(policy);
    placing.expect_asks(asks.clone());
    // What a policy works out once for the cards that there are is measured apart.
    let mut state = pool();
    let begun = Instant::now();
    let nothing = plan(&state, Moment(0), &mut placing);
    let worked_out_ms = begun.elapsed().as_secs_f64() * 1e3;
    assert!(nothing.is_empty(), "nobody waits");

    asks.for_each(|ask| submit(&mut state, ask));
    let begun = Instant::now();
    let proposed = plan(&state, Moment(0), &mut placing);
    let planned_s = begun.elapsed().as_secs_f64();
    let placed = proposed.starts.len();
    let slices = proposed.starts.iter().flat_map(|start| start.placement.slices());
    let cards_held = slices.map(|slice| &slice.card).collect::<BTreeSet<_>>().len();
    let begun = Instant::now();
    step(&mut state, Moment(0), Event::Planned(proposed)).expect("plans are never refused");
    let carried_out_s = begun.elapsed().as_secs_f64();

    let mut state = pool();
    submit(&mut state, Ask { members: 512, ..whole(8) });
    let begun = Instant::now();
    let gang = plan(&state, Moment(0), &mut placing);
    let gang_ms = begun.elapsed().as_secs_f64() * 1e3;
    assert_eq!(gang.starts.len(), 1, "the gang fits");

    step(&mut state, Moment(0), Event::Planned(gang)).expect("plans are never refused");
    submit(&mut state, Ask { members: 512, ..whole(8) });
    let begun = Instant::now();
    let refused = plan(&state, Moment(0), &mut placing);
    let refused_ms = begun.elapsed().as_secs_f64() * 1e3;
    assert!(refused.is_empty() && refused.waits.len() == 1, "the second does not");

    let line = format!(
        "{{\"policy\":\"{}\",\"worked_out_ms\":{worked_out_ms:.1},\"placements\":{placed},\
         \"placements_per_s\":{:.0},\"cards_held\":{cards_held},\
         \"carried_out_s\":{carried_out_s:.3},\"gang_512_ms\":{gang_ms:.1},\
         \"unplaceable_ms\":{refused_ms:.1}}}",
        policy.as_str(),
        placed as f64 / planned_s
    );
    std::io::Write::write_all(&mut std::io::stdout(), (line + "\n").as_bytes())
        .expect("stdout takes a line");
}

fn pool() -> State {
    let mut state = State::default();
    let tenant = "law".parse().expect("a good name");
    let set = Event::TenantSet { tenant, quota: Quota::default() };
    step(&mut state, Moment(0), set).expect("a new tenant");
    for node in 0..NODES {
        let name: NodeName = format!("n{node}").parse().expect("a good name");
        let card = |index: u32| Card {
            id: format!("n{node}-{index}").parse().expect("a good name"),
            node: name.clone(),
            index,
            kind: CardKind::Sim,
            model: "H100".to_owned(),
            memory: Mebibytes(80_000),
            cores: 0,
            site: Site { nvlink: 0, numa: index / 4, rack: format!("r{}", node / 16) },
            rungs: vec![Rung::Mps],
            mig: None,
        };
        let cards = (0..CARDS).map(card).collect();
        // Cards are reported one machine at a time, which is not what is measured here.
        step(&mut state, Moment(0), Event::CardsReported { node: name.clone(), cards })
            .expect("cards are never refused");
    }
    state
}

fn submit(state: &mut State, ask: Ask) {
    let terms = JobTerms {
        tenant: "law".parse().expect("a good name"),
        ask,
        class: Class::Offline,
        priority: 0,
        time_limit: None,
        deadline: None,
        retries: 0,
        preempt: None,
        idle: None,
        watermark: None,
    };
    let job = state.next_job();
    step(state, Moment(0), Event::JobSubmitted { job, terms }).expect("the tenant is there");
}

fn whole(cards: u32) -> Ask {
    Ask {
        members: 1,
        cards,
        share: CardShare::Whole,
        policy: Policy::Fixed,
        place: Place::Binpack,
        same: None,
        prefer: None,
        foretold: None,
        models: Vec::new(),
        rung_min: None,
    }
}

fn part(memory: u64, compute: u32) -> Ask {
    let memory = MemoryAsk::Mib(Mebibytes(memory));
    let compute = Share::from_per_mille(compute).expect("at most the whole");
    let share = CardShare::Part {
        memory: Span { request: memory, limit: memory },
        compute: Span { request: compute, limit: compute },
    };
    Ask { share, ..whole(1) }
}
