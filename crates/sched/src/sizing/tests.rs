//! Worlds that can be worked out by hand, the formulas of queues, and what is promised of any.

use cotenant_types::{Class, JobTerms, Preempt, Seconds, Signal};
use expect_test::{Expect, expect};
use proptest::prelude::{Just, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;
use crate::advise::testing::{cards, of_cards, online, terms};
use crate::advise::{Misfit, NodeShape};

const HOUR: u32 = 3600;

fn shape(per_node: u32) -> NodeShape {
    NodeShape::of(&cards(per_node, 81_920)).unwrap()
}

/// One job, at the beginning.
fn once(terms: JobTerms, runs_s: u32) -> Stream {
    let runs = Some(Length::Fixed(Seconds(runs_s)));
    Stream { terms, copies: 1, start: Seconds(0), every: None, runs }
}

fn for_ever(terms: JobTerms) -> Stream {
    Stream { runs: None, ..once(terms, 0) }
}

fn copies(copies: u32, stream: Stream) -> Stream {
    Stream { copies, ..stream }
}

fn every(every_s: u32, stream: Stream) -> Stream {
    Stream { every: Some(Seconds(every_s)), ..stream }
}

fn at(start_s: u32, stream: Stream) -> Stream {
    Stream { start: Seconds(start_s), ..stream }
}

fn soft(mut terms: JobTerms) -> JobTerms {
    terms.preempt = Some(Preempt { signal: Signal::Term, grace: Seconds(10) });
    terms
}

/// An hour, in which offline jobs may wait so long and online ones not at all.
fn demand(offline_s: u32, streams: &[Stream]) -> Demand {
    let target = Target { offline: Seconds(offline_s), online: Seconds(0) };
    Demand { streams: streams.to_vec(), seeds: vec![42], horizon: Seconds(HOUR), target }
}

/// Jobs, seconds of the mean, the 95th per cent and the longest wait, and jobs that still wait.
fn shown(waits: &Waits) -> String {
    let seconds = |ms: Option<u64>| ms.map_or("–".to_owned(), |ms| (ms / 1000).to_string());
    let (mean, p95, longest) = (waits.mean_ms(), waits.p95_ms(), waits.longest_ms());
    let (mean, p95, longest) = (seconds(mean), seconds(p95), seconds(longest));
    format!("{} jobs {mean} {p95} {longest} s, {} wait", waits.count(), waits.waiting)
}

fn check(demand: &Demand, expected: Expect) {
    let line = |name: &str, demand: &Demand| match smallest(demand, (&shape(2), 64), &|_| {}) {
        Err(misfit) => format!("{name}: {misfit:?}\n"),
        Ok(cards) => {
            let found = measure(demand, (&shape(2), cards));
            let waits: Vec<String> = found.waits.iter().map(shown).collect();
            let waits = waits.join("; ");
            format!("{name}: {cards} cards, {}‰ kept: {waits}\n", found.kept_per_mille)
        }
    };
    let alone = line("whole", &demand.without_sharing());
    expected.assert_eq(&(line("shared", demand) + &alone));
}

#[test]
fn jobs_that_come_once_wait_for_each_other() {
    let jobs = [copies(3, once(terms("10GiB 600"), 600))];
    check(
        &demand(1200, &jobs),
        expect![[r#"
        shared: 1 cards, 266‰ kept: 3 jobs 600 1200 1200 s, 0 wait
        whole: 1 cards, 444‰ kept: 3 jobs 600 1200 1200 s, 0 wait
    "#]],
    );
    check(
        &demand(1199, &jobs),
        expect![[r#"
        shared: 2 cards, 100‰ kept: 3 jobs 200 600 600 s, 0 wait
        whole: 2 cards, 166‰ kept: 3 jobs 200 600 600 s, 0 wait
    "#]],
    );
    check(
        &demand(599, &jobs),
        expect![[r#"
        shared: 3 cards, 44‰ kept: 3 jobs 0 0 0 s, 0 wait
        whole: 3 cards, 74‰ kept: 3 jobs 0 0 0 s, 0 wait
    "#]],
    );
    check(
        &demand(0, &[copies(3, once(terms("10GiB 300"), 600))]),
        expect![[r#"
        shared: 1 cards, 66‰ kept: 3 jobs 0 0 0 s, 0 wait
        whole: 3 cards, 74‰ kept: 3 jobs 0 0 0 s, 0 wait
    "#]],
    );
}

#[test]
fn services_start_at_once_and_stay() {
    let jobs = [copies(4, for_ever(online(terms("10GiB 250")))), once(terms("whole"), 1800)];
    check(
        &demand(0, &jobs),
        expect![[r#"
        shared: 2 cards, 722‰ kept: 4 jobs 0 0 0 s, 0 wait; 1 jobs 0 0 0 s, 0 wait
        whole: 5 cards, 888‰ kept: 4 jobs 0 0 0 s, 0 wait; 1 jobs 0 0 0 s, 0 wait
    "#]],
    );
    // All of them, though 95 of 100 would do of jobs that end.
    check(
        &demand(HOUR, &[copies(40, for_ever(terms("whole")))]),
        expect![[r#"
        shared: 40 cards, 1000‰ kept: 40 jobs 0 0 0 s, 0 wait
        whole: 40 cards, 1000‰ kept: 40 jobs 0 0 0 s, 0 wait
    "#]],
    );
    check(
        &demand(HOUR, &[copies(40, once(terms("whole"), 2 * HOUR))]),
        expect![[r#"
        shared: 38 cards, 1000‰ kept: 40 jobs 360 0 7200 s, 0 wait
        whole: 38 cards, 1000‰ kept: 40 jobs 360 0 7200 s, 0 wait
    "#]],
    );
}

#[test]
fn who_is_pushed_aside_goes_on_where_it_stopped() {
    let jobs = [
        once(soft(terms("whole")), 1000),
        at(500, once(online(terms("whole")), 100)),
        at(501, once(terms("whole"), 10)),
    ];
    // The first waits from 500 s to 600 s, the last from 501 s until the first is done at 1,100 s.
    check(
        &demand(600, &jobs),
        expect![[r#"
        shared: 1 cards, 231‰ kept: 1 jobs 100 100 100 s, 0 wait; 1 jobs 0 0 0 s, 0 wait; 1 jobs 599 599 599 s, 0 wait
        whole: 1 cards, 231‰ kept: 1 jobs 100 100 100 s, 0 wait; 1 jobs 0 0 0 s, 0 wait; 1 jobs 599 599 599 s, 0 wait
    "#]],
    );
}

#[test]
fn limits_and_gangs_are_those_of_the_pool() {
    let limited = JobTerms { time_limit: Some(Seconds(300)), ..terms("whole") };
    check(
        &demand(300, &[copies(2, once(limited, 1000))]),
        expect![[r#"
        shared: 1 cards, 74‰ kept: 2 jobs 150 300 300 s, 0 wait
        whole: 1 cards, 74‰ kept: 2 jobs 150 300 300 s, 0 wait
    "#]],
    );
    let mut gang = of_cards(terms("whole"), 2);
    gang.ask.members = 2;
    check(
        &demand(0, &[once(gang, 60)]),
        expect![[r#"
        shared: 4 cards, 0‰ kept: 1 jobs 0 0 0 s, 0 wait
        whole: 4 cards, 0‰ kept: 1 jobs 0 0 0 s, 0 wait
    "#]],
    );
    check(
        &demand(0, &[once(terms("81GiB 1"), 60)]),
        expect![[r#"
        shared: Job { job: 0, lack: Size }
        whole: 1 cards, 0‰ kept: 1 jobs 0 0 0 s, 0 wait
    "#]],
    );
    check(
        &demand(0, &[copies(65, for_ever(terms("whole")))]),
        expect![[r#"
        shared: Limit { cards_max: 64 }
        whole: Limit { cards_max: 64 }
    "#]],
    );
}

#[test]
fn jobs_of_the_warm_up_do_not_count_where_more_come() {
    // 6 min of the hour are left out: of those that come once a minute, about 54 count.
    let jobs = [every(60, once(terms("1GiB 10"), 60)), once(terms("1GiB 10"), 60)];
    check(
        &demand(0, &jobs),
        expect![[r#"
        shared: 1 cards, 9‰ kept: 52 jobs 0 0 0 s, 0 wait; 1 jobs 0 0 0 s, 0 wait
        whole: 3 cards, 320‰ kept: 52 jobs 0 0 42 s, 0 wait; 1 jobs 0 0 0 s, 0 wait
    "#]],
    );
}

#[test]
fn a_pool_where_too_many_wait_is_given_up() {
    let demand = demand(HOUR, &[copies(5_010, once(terms("whole"), 1))]);
    let found = measure(&demand, (&shape(1), 1));
    assert!(found.is_overrun && !found.is_enough, "{found:?}");
    let limit = Misfit::Limit { cards_max: 8 };
    assert_eq!(smallest(&demand, (&shape(1), 8), &|_| {}), Err(limit));
}

/// Ten days, twenty times over, on one card.
fn mean_wait_s(runs: Length) -> f64 {
    let stream = Stream { runs: Some(runs), ..every(1000, once(terms("whole"), 1)) };
    let demand = Demand {
        horizon: Seconds(240 * HOUR),
        seeds: (0..20).collect(),
        ..demand(HOUR, &[stream])
    };
    measure(&demand, (&shape(1), 1)).waits[0].mean_ms().unwrap() as f64 / 1000.0
}

/// Pollaczek and Khinchine: a card that is in use half of the time lets jobs of one length wait half
/// of it on average, and jobs of exponential length as long as they run.
#[test]
fn one_card_makes_jobs_wait_as_the_formulas_say() {
    let fixed = mean_wait_s(Length::Fixed(Seconds(500)));
    assert!((fixed - 250.0).abs() < 25.0, "{fixed}");
    let exponential = mean_wait_s(Length::Exponential(Seconds(500)));
    assert!((exponential - 500.0).abs() < 75.0, "{exponential}");
}

#[test]
fn more_load_than_cards_asks_for_more_cards() {
    let load = |every_s: u32| {
        let jobs = [every(every_s, once(terms("10GiB 500"), 1000))];
        Demand { horizon: Seconds(100 * HOUR), ..demand(300, &jobs) }
    };
    // 0.25, 2.5 and 10 cards are in use on average without sharing, and half as many with it.
    check(
        &load(4000),
        expect![[r#"
        shared: 1 cards, 140‰ kept: 91 jobs 15 0 599 s, 0 wait
        whole: 2 cards, 140‰ kept: 91 jobs 15 0 599 s, 0 wait
    "#]],
    );
    check(
        &load(400),
        expect![[r#"
        shared: 3 cards, 433‰ kept: 841 jobs 5 0 378 s, 0 wait
        whole: 5 cards, 519‰ kept: 841 jobs 25 221 642 s, 0 wait
    "#]],
    );
    check(
        &load(100),
        expect![[r#"
        shared: 7 cards, 737‰ kept: 3348 jobs 29 218 839 s, 2 wait
        whole: 14 cards, 737‰ kept: 3348 jobs 29 218 839 s, 2 wait
    "#]],
    );
}

#[test]
fn classes_are_sums_of_their_streams() {
    let jobs = [
        copies(2, once(terms("whole"), 60)),
        once(online(terms("whole")), 60),
        once(terms("whole"), 60),
    ];
    let demand = demand(HOUR, &jobs);
    let found = measure(&demand, (&shape(1), 1));
    let class = |class| shown(&found.of_class(&demand, class));
    expect!["1 jobs 0 0 0 s, 0 wait"].assert_eq(&class(Class::Online));
    expect!["3 jobs 120 180 180 s, 0 wait"].assert_eq(&class(Class::Offline));
}

proptest! {
    /// What is found is enough over the whole time, one card fewer is not, and both are the same
    /// whenever they are asked for.
    #[test]
    fn the_smallest_pool_is_enough_and_one_card_fewer_is_not(
        jobs in proptest::collection::vec(
            (1u64..80, 50u32..1000, 1u32..4, 20u32..2000, 1u32..2000, 0u32..1000),
            1..5,
        ),
        kinds in proptest::collection::vec(
            prop_oneof![Just("once"), Just("ever"), Just("again"), Just("online"), Just("soft")],
            5,
        ),
        per_node in 1u32..4,
        target_s in 0u32..1000,
        seed in 0u64..1000,
    ) {
        let stream = |(&(gib, compute, number, every_s, runs_s, start_s), &kind): (&_, &&str)| {
            let terms = terms(&format!("{gib}GiB {compute}"));
            let mean = Length::Exponential(Seconds(runs_s));
            let again = |terms| {
                let runs = Some(mean);
                copies(number, at(start_s, every(every_s, Stream { runs, ..once(terms, 1) })))
            };
            match kind {
                "once" => copies(number, once(terms, runs_s)),
                "ever" => copies(number, for_ever(terms)),
                "again" => again(terms),
                "online" => again(online(terms)),
                _ => again(soft(terms)),
            }
        };
        let streams: Vec<Stream> = jobs.iter().zip(&kinds).map(stream).collect();
        let demand = Demand { seeds: vec![seed, seed + 1], ..demand(target_s, &streams) };
        for demand in [demand.without_sharing(), demand] {
            let shape = shape(per_node);
            let cards = smallest(&demand, (&shape, 4096), &|_| {}).unwrap();
            let found = measure(&demand, (&shape, cards));
            prop_assert!(found.is_enough && !found.is_overrun);
            prop_assert!(cards == 1 || !measure(&demand, (&shape, cards - 1)).is_enough);
            for (stream, waits) in demand.streams.iter().zip(&found.waits) {
                let target = match stream.terms.class {
                    Class::Online => demand.target.online,
                    Class::Offline => demand.target.offline,
                };
                prop_assert!(waits.p95_ms().is_none_or(|wait| wait <= target.to_ms()));
            }
            prop_assert_eq!(measure(&demand, (&shape, cards)), found);
        }
    }
}
