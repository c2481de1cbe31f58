//! Passes by each policy, on small worlds, against what a test counts by itself: no card gives more
//! than it has, and a job waits only where no node has room for it. And how many jobs of a mix that
//! names memory get onto cards.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "the helpers are tests too")]

use std::collections::BTreeMap;

use cotenant_sched::{Event, Exit, Job, Phase, Placing, PoolPolicy, State, plan, step};
use cotenant_types::{
    Ask, Card, CardId, CardKind, CardShare, Class, JobId, JobTerms, Mebibytes, MemoryAsk, Moment,
    NodeName, Place, Policy, Quota, Rung, Share, Site, Span,
};
use proptest::prelude::*;

/// What is taken of a card, kept by this test alone.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    compute: u64,
    memory: u64,
    slices: u32,
    is_whole: bool,
}

fn card(node: &NodeName, (index, memory): (u32, u64)) -> Card {
    Card {
        id: format!("{node}-{index}").parse().unwrap(),
        node: node.clone(),
        index,
        kind: CardKind::Sim,
        model: if memory > 40_000 { "H100".to_owned() } else { "L4".to_owned() },
        memory: Mebibytes(memory),
        cores: 0,
        site: Site { nvlink: index / 2, numa: index / 4, rack: String::new() },
        rungs: vec![Rung::Mps],
        mig: None,
    }
}

/// A pool of nodes, each a list of its cards' memory.
fn pool(nodes: &[Vec<u64>]) -> State {
    let mut state = State::default();
    let tenant = "law".parse().unwrap();
    let set = Event::TenantSet { tenant, quota: Quota::default() };
    step(&mut state, Moment(0), set).unwrap();
    for (at, cards) in nodes.iter().enumerate() {
        let node: NodeName = format!("n{at}").parse().unwrap();
        let cards = (0..).zip(cards).map(|(index, memory)| card(&node, (index, *memory)));
        let cards = cards.collect();
        step(&mut state, Moment(0), Event::CardsReported { node, cards }).unwrap();
    }
    state
}

/// A job of so many cards; whole ones, or so much memory and compute of each.
fn ask(cards: u32, part: Option<(u64, u32)>) -> Ask {
    let share = part.map_or(CardShare::Whole, |(memory, compute)| {
        let memory = MemoryAsk::Mib(Mebibytes(memory));
        let compute = Share::from_per_mille(compute).unwrap();
        CardShare::Part {
            memory: Span { request: memory, limit: memory },
            compute: Span { request: compute, limit: compute },
        }
    });
    Ask {
        members: 1,
        cards,
        share,
        policy: Policy::Fixed,
        place: Place::Binpack,
        same: None,
        prefer: None,
        foretold: None,
        models: Vec::new(),
        rung_min: None,
    }
}

fn submit(state: &mut State, ask: Ask) -> JobId {
    let job = state.next_job();
    let terms = JobTerms {
        tenant: "law".parse().unwrap(),
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
    step(state, Moment(0), Event::JobSubmitted { job, terms }).unwrap();
    job
}

/// Plans until nothing more comes of it.
fn settle(state: &mut State, placing: &mut Placing) {
    loop {
        let proposed = plan(state, Moment(0), placing);
        if proposed.is_empty() {
            return;
        }
        step(state, Moment(0), Event::Planned(proposed)).unwrap();
    }
}

fn waits(job: &Job) -> bool {
    matches!(job.phase, Phase::Queued { .. })
}

fn taken(state: &State) -> BTreeMap<&CardId, Taken> {
    let mut cards: BTreeMap<&CardId, Taken> =
        state.cards().map(|record| (&record.card.id, Taken::default())).collect();
    for slice in state.jobs().filter_map(Job::placement).flat_map(|placement| placement.slices()) {
        let card = cards.get_mut(&slice.card).unwrap();
        card.compute += u64::from(slice.compute.request.per_mille());
        card.memory += slice.memory.request.0;
        card.slices += 1;
        card.is_whole |= slice.whole;
    }
    cards
}

/// Whether a node has as many cards with room as the job wants, by trying each.
fn has_room(state: &State, ask: &Ask) -> bool {
    let taken = taken(state);
    let mut free: BTreeMap<&NodeName, u32> = BTreeMap::new();
    for record in state.cards() {
        let held = taken[&record.card.id];
        let fits = match ask.share {
            CardShare::Whole => held.slices == 0,
            CardShare::Part { memory, compute } => {
                !held.is_whole
                    && held.memory + memory.request.on(record.card.memory).0 <= record.card.memory.0
                    && held.compute + u64::from(compute.request.per_mille()) <= 1000
            }
        };
        *free.entry(&record.card.node).or_default() += u32::from(fits);
    }
    free.values().any(|&cards| cards >= ask.cards)
}

fn asks() -> impl Strategy<Value = Ask> {
    let part = (prop::sample::select(vec![1, 3_000, 8_000, 12_000, 24_000, 60_000]), 0..=20u32);
    (1..4u32, prop::option::weighted(0.8, part))
        .prop_map(|(cards, part)| ask(cards, part.map(|(memory, compute)| (memory, compute * 50))))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    /// Jobs come one by one, and some end again. A node may have cards of several kinds.
    #[test]
    fn cards_give_what_they_have_and_jobs_get_what_there_is(
        nodes in prop::collection::vec(
            prop::collection::vec(prop::sample::select(vec![24_000u64, 80_000]), 1..5), 1..4),
        jobs in prop::collection::vec((asks(), prop::option::weighted(0.3, 0..20usize)), 1..30),
        expected in prop::collection::vec(asks(), 0..12),
        policy in 0..PoolPolicy::ALL.len(),
    ) {
        let mut state = pool(&nodes);
        let mut placing = Placing::new(PoolPolicy::ALL[policy]);
        placing.expect_asks(expected);
        for (ask, ended) in jobs {
            let had_room = has_room(&state, &ask);
            let job = submit(&mut state, ask);
            settle(&mut state, &mut placing);
            let is_placed = !waits(state.job(job).unwrap());
            prop_assert_eq!(is_placed, had_room, "a job waits though it has room, or the opposite");
            let held = taken(&state);
            for record in state.cards() {
                let Taken { compute, memory, slices, is_whole } = held[&record.card.id];
                prop_assert!(compute <= 1000 && memory <= record.card.memory.0);
                prop_assert!(!is_whole || slices == 1);
            }
            // Nobody waits while the next one comes, who might be held back for it.
            if !is_placed {
                end(&mut state, job);
            }
            if let Some(job) = ended.and_then(|at| state.jobs().nth(at).map(|job| job.id)) {
                end(&mut state, job);
            }
        }
    }
}

/// A job that has a placement starts and ends; one that waits is cancelled.
fn end(state: &mut State, job: JobId) {
    for run in state.job(job).unwrap().runs() {
        step(state, Moment(0), Event::Started { run: run.clone() }).unwrap();
        step(state, Moment(0), Event::Exited { run, exit: Exit::Code(0), peak: None }).unwrap();
    }
    if state.job(job).is_some() {
        step(state, Moment(0), Event::CancelRequested { job }).unwrap();
    }
}

/// Jobs that get onto cards before the first finds no room, and all that do of so many that come.
fn packed(policy: PoolPolicy, (seed, history): (u64, u64)) -> (usize, u64) {
    let nodes: Vec<Vec<u64>> = (0..12).map(|at| vec![[24_000, 80_000][at % 2]; 4]).collect();
    let mut placing = Placing::new(policy);
    placing.expect_asks((0..2000).map(|at| synthetic(history, at)));
    let mut state = pool(&nodes);
    for at in 0..220 {
        let job = submit(&mut state, synthetic(seed, at));
        settle(&mut state, &mut placing);
        if waits(state.job(job).unwrap()) {
            end(&mut state, job);
        }
    }
    let compute = taken(&state).values().map(|card| card.compute).sum();
    (state.jobs().count(), compute)
}

/// Memory is synthesised from the sizes of cards: a job was made for a card of 16, 24, 40 or 80 GB,
/// of which it wants a quarter, a half, or nearly all, whatever card it gets now; and a part of
/// compute of its own. One of six jobs has one or two whole cards.
fn synthetic(seed: u64, at: u64) -> Ask {
    let mut draw =
        seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ at.wrapping_mul(0xD1B5_4A32_D192_ED03);
    let mut below = |limit: u64| {
        draw ^= draw >> 30;
        draw = draw.wrapping_mul(0xBF58_476D_1CE4_E5B9);
        draw ^= draw >> 27;
        draw = draw.wrapping_mul(0x94D0_49BB_1331_11EB);
        draw ^= draw >> 31;
        draw % limit
    };
    if below(6) == 0 {
        return ask(1 + below(4) as u32 / 3, None);
    }
    let card = [16_000, 24_000, 40_000, 80_000][below(4) as usize];
    let memory = card * [25, 50, 95][below(3) as usize] / 100;
    ask(1, Some((memory, [100, 200, 250, 300, 500, 700][below(6) as usize])))
}

/// On 48 cards of two sizes. It prints what it measured; the figures stand in docs/placement.md.
#[test]
fn bid_price_packs_at_least_as_many_jobs_as_what_is_left() {
    const SEEDS: u64 = 20;
    let sums = PoolPolicy::ALL.map(|policy| {
        let packed = (1..=SEEDS).map(|seed| packed(policy, (seed, 1_000 + seed)));
        let sum = packed.fold((0, 0), |sum, (jobs, compute)| (sum.0 + jobs, sum.1 + compute));
        eprintln!("{}: {} jobs, {} ‰ of cards, in {SEEDS} worlds", policy.as_str(), sum.0, sum.1);
        sum
    });
    let [bid_price, _, _, least_left] = sums;
    assert!(bid_price.0 >= least_left.0 && bid_price.1 >= least_left.1, "{sums:?}");
}
