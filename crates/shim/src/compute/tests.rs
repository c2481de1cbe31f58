//! Each part of the compute limit by itself; all of them together run in tests/simulation.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use cotenant_types::limits::{CardLimit, CardWord, Neighbours, UsageLayout};
use cotenant_types::{Bytes, Policy, Share, Span};
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, proptest};

use super::*;
use crate::page::{CardIndex, Usage};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

fn facts(policy: Policy, request: u32, limit: u32, active: u32, elastic: u32) -> CardLimit {
    let share = |milli| Share::from_per_mille(milli).unwrap();
    CardLimit {
        uuid: [0; 16],
        memory: None,
        overhead: Bytes(0),
        policy,
        compute: Span { request: share(request), limit: share(limit) },
        neighbours: Neighbours { count: 2, active_milli: active, elastic_milli: elastic },
        hold_until_ns: 0,
        seen_busy_ns: 0,
        seen_at_ns: 0,
    }
}

fn page() -> Vec<AtomicU64> {
    (0..UsageLayout::COUNT).map(|_| AtomicU64::new(0)).collect()
}

fn first() -> CardIndex {
    CardIndex::new(0).unwrap()
}

#[test]
fn grants_follow_the_policy() {
    let check = |policy, request, limit, active, elastic, expected| {
        let granted = grant_milli(&facts(policy, request, limit, active, elastic));
        assert_eq!(granted, expected, "{policy:?} {request}/{limit} beside {active}/{elastic}");
    };
    check(Policy::Fixed, 300, 300, 0, 0, 300);
    check(Policy::Fixed, 300, 400, 900, 900, 400);
    check(Policy::Fixed, 0, 0, 0, 0, 1);
    // Alone it bursts to its limit, and beside others what is idle is shared by request.
    check(Policy::Burst, 300, 1000, 0, 0, 1000);
    check(Policy::Burst, 300, 800, 0, 0, 800);
    check(Policy::Burst, 300, 1000, 600, 0, 400);
    check(Policy::Burst, 200, 1000, 200, 200, 500);
    check(Policy::Burst, 300, 1000, 900, 900, 300);
    check(Policy::Burst, 0, 1000, 1000, 0, 1);
    // Weights count only beside others.
    check(Policy::Contend, 100, 1000, 0, 0, 1000);
    check(Policy::Contend, 100, 1000, 300, 300, 250);
    check(Policy::Contend, 100, 200, 100, 100, 200);
    check(Policy::Contend, 0, 1000, 0, 0, 1000);
}

proptest! {
    #[test]
    fn whatever_is_asked_a_program_goes_on(
        request in 0u32..=1000, limit in 0u32..=1000, active in any::<u32>(), elastic in any::<u32>(),
    ) {
        for policy in [Policy::Fixed, Policy::Burst, Policy::Contend] {
            let granted = grant_milli(&facts(policy, request, limit, active, elastic));
            prop_assert!((1..=1000).contains(&granted) && granted <= limit.max(1));
        }
    }

    /// Whatever the costs and pauses, no more is let through than the grant and one credit, but
    /// for the last submission, whose debt is carried.
    #[test]
    fn a_bucket_never_gives_more_than_its_grant(
        steps in vec((1..50 * MS, 0..30 * MS), 1..200), grant in 1u32..1000,
    ) {
        let words = page();
        let bucket = Bucket::new(Usage::adopt(&words).unwrap(), first());
        let (start, mut now, mut before_last) = (5 * SECOND, 5 * SECOND, 0u64);
        bucket.admit(0, grant, now);
        let mut given = 0;
        for (cost, pause) in steps {
            while let Admission::WaitUntil(moment) = bucket.admit(cost, grant, now) {
                prop_assert!(moment > now);
                now = moment;
            }
            before_last = given;
            given += cost;
            now += pause;
        }
        let earned = (now - start + CREDIT_NS) as u128 * u128::from(grant) / 1000;
        prop_assert!(u128::from(before_last) <= earned + 200, "{before_last} of {earned}");
    }
}

#[test]
fn a_long_kernel_is_paid_for_afterwards() {
    let words = page();
    let bucket = Bucket::new(Usage::adopt(&words).unwrap(), first());
    assert_eq!(bucket.admit(SECOND, 100, SECOND), Admission::Go);
    assert_eq!(bucket.admit(1, 100, 2 * SECOND), Admission::WaitUntil(11 * SECOND));
    // It took but half of that.
    bucket.settle(-(SECOND as i64) / 2, 100);
    assert_eq!(bucket.admit(1, 100, 2 * SECOND), Admission::WaitUntil(6 * SECOND));
    bucket.settle(SECOND as i64 / 10, 100);
    assert_eq!(bucket.admit(1, 100, 2 * SECOND), Admission::WaitUntil(7 * SECOND));
}

#[test]
fn debts_follow_a_new_grant_at_once() {
    let words = page();
    let bucket = Bucket::new(Usage::adopt(&words).unwrap(), first());
    bucket.admit(SECOND, 100, SECOND);
    assert_eq!(bucket.admit(1, 100, SECOND), Admission::WaitUntil(11 * SECOND));
    assert_eq!(bucket.admit(1, 500, SECOND), Admission::WaitUntil(3 * SECOND));
    assert_eq!(bucket.admit(1, 1000, 2 * SECOND), Admission::Go);
    // Whoever had everything begins anew without credit.
    assert_eq!(bucket.admit(10 * MS, 100, 3 * SECOND), Admission::Go);
    assert_eq!(bucket.admit(1, 100, 3 * SECOND), Admission::WaitUntil(3 * SECOND + 100 * MS));
}

#[test]
fn hostile_words_hold_nobody_for_ever() {
    let words = page();
    let usage = Usage::adopt(&words).unwrap();
    for word in 0..UsageLayout::CARD_STRIDE {
        usage.card(first(), word).store(u64::MAX, Relaxed);
    }
    let bucket = Bucket::new(usage, first());
    match bucket.admit(u64::MAX, 1, SECOND) {
        Admission::Go => {}
        Admission::WaitUntil(moment) => assert!(moment <= 3601 * SECOND),
    }
    bucket.settle(i64::MAX, 1);
    bucket.settle(i64::MIN, 1);
    let late = bucket.admit(u64::MAX, 1, u64::MAX - 10);
    assert!(late == Admission::Go || late == Admission::WaitUntil(u64::MAX), "{late:?}");
}

#[test]
fn costs_are_learnt_by_shape() {
    let costs: Costs<64> = Costs::new();
    let (one, other) = (Shape::of(&[1, 2]), Shape::of(&[2, 1]));
    assert_ne!(one, other);
    let unknown = Estimate { cost_ns: 10, is_learnt: false, is_young: true, is_crowded: false };
    assert_eq!(costs.estimate(one, 10, SECOND), unknown);
    costs.note_unmeasured(one, 10);
    costs.note_unmeasured(one, 30);
    assert_eq!(costs.learn(one, 500), Lesson { unmeasured: 2, charged_ns: 40 });
    assert_eq!(costs.learn(one, 500), Lesson::default());
    let young = Estimate { cost_ns: 500, is_learnt: true, ..unknown };
    assert_eq!(costs.estimate(one, 10, SECOND), young);
    assert_eq!(costs.estimate(other, 10, SECOND), unknown);
    for _ in 0..200 {
        costs.learn(one, 900);
    }
    let settled = costs.estimate(one, 10, SECOND);
    assert!((890..=900).contains(&settled.cost_ns) && !settled.is_young, "{settled:?}");
    costs.suggest(one, 70);
    assert_eq!(costs.estimate(one, 10, SECOND), Estimate { cost_ns: 70, ..unknown });
}

/// What has been running for a while costs at least that: it is not launched blindly on and on.
#[test]
fn what_is_not_done_yet_costs_what_it_has_taken() {
    let costs: Costs<64> = Costs::new();
    let shape = Shape::of(&[1]);
    costs.note_measured(shape, SECOND);
    costs.note_measured(shape, SECOND + MS);
    let at = |now| costs.estimate(shape, 10, now).cost_ns;
    assert_eq!([at(SECOND), at(SECOND + 7 * MS)], [10, 7 * MS]);
    assert_eq!(at(99 * SECOND), 100 * MS, "but what waits for ever says nothing");
    costs.learn(shape, 3 * MS);
    assert_eq!(at(99 * SECOND), 3 * MS);
}

/// A few of an unknown kind go out at once; more only as time goes by, but then always.
#[test]
fn of_an_unknown_kind_few_are_out_at_once() {
    let costs: Costs<64> = Costs::new();
    let shape = Shape::of(&[1]);
    let is_crowded = |now| costs.estimate(shape, 10, now).is_crowded;
    for _ in 0..4 {
        assert!(!is_crowded(SECOND));
        costs.note_blind(shape, SECOND);
    }
    assert!(is_crowded(SECOND) && is_crowded(SECOND + 4 * MS));
    assert!(!is_crowded(SECOND + 5 * MS));
    costs.learn(shape, 7);
    assert!(!is_crowded(SECOND));
}

/// More shapes than there is room for: the seldom ones go, the frequent one stays known.
#[test]
fn a_full_table_keeps_what_is_used() {
    let costs: Costs<16> = Costs::new();
    let often = Shape::of(&[0]);
    for nth in 1..500 {
        for _ in 0..3 {
            costs.learn(often, 1000);
        }
        costs.learn(Shape::of(&[nth]), 5);
    }
    assert_eq!(costs.estimate(often, 1, SECOND).cost_ns, 1000);
}

#[test]
fn the_factor_goes_to_what_the_driver_sees_and_stays() {
    let seen = |busy, measured| Seen {
        span_ns: 200 * MS,
        busy_ns: busy,
        measured_ns: measured,
        largest_ns: 0,
    };
    let mut factor = 0;
    for _ in 0..40 {
        factor = next_correction(factor, seen(50 * MS, 100 * MS));
    }
    assert!((490_000..=515_000).contains(&factor), "{factor}");
    // Within the band nothing moves: no sawtooth.
    let near = seen(factor * 100 * MS / 1_000_000 + MS / 2, 100 * MS);
    assert_eq!(next_correction(factor, near), factor);
    // Short looks, and looks at hardly any use, say nothing.
    let short = Seen { span_ns: MS, ..seen(100 * MS, 50 * MS) };
    assert_eq!(next_correction(factor, short), factor);
    assert_eq!(next_correction(factor, seen(90 * MS, MS)), factor);
    assert_eq!(next_correction(factor, seen(0, 90 * MS)), factor);
    // Those that a single submission could have turned move it little, or do not tell at all.
    let coarse = Seen { largest_ns: 20 * MS, ..seen(82 * MS, 100 * MS) };
    assert_eq!(next_correction(0, coarse), 985_000);
    let untold = Seen { largest_ns: 40 * MS, ..seen(60 * MS, 100 * MS) };
    assert_eq!(next_correction(0, untold), 1_000_000);
    let wild = next_correction(u64::MAX, seen(u64::MAX, 1 + 20 * MS));
    assert!((200_000..=2_000_000).contains(&wild), "{wild}");
}

#[test]
fn what_was_charged_beside_the_truth_is_settled() {
    assert_eq!(gap_ns(500 * MS, 500 * MS, 0), 0);
    assert_eq!(gap_ns(600 * MS, 500 * MS, 0), 90 * MS as i64);
    assert_eq!(gap_ns(600 * MS, 500 * MS, 100 * MS), 0);
    assert_eq!(gap_ns(500 * MS, 590 * MS, 0), 0, "it may not have run yet");
    assert_eq!(gap_ns(500 * MS, 700 * MS, 0), -(100 * MS as i64));
    assert!(gap_ns(u64::MAX, 0, u64::MAX) >= 0 && gap_ns(0, u64::MAX, 0) < 0);
}

#[test]
fn samples_come_back_once() {
    let flight: Flight<2> = Flight::new();
    let sample = |charged_ns| Sample { shape: Shape::of(&[1]), charged_ns, card: first() };
    let one = flight.take(|taken| taken == Taken(1)).unwrap();
    assert_eq!(one, Taken(1));
    let other = flight.take(|_| false).unwrap();
    assert_eq!(flight.take(|_| true), None);
    flight.drop_taken(other);
    flight.submit(70);
    flight.arm(one, sample(70));
    flight.submit(30);
    assert!(flight.is_over(90, SECOND) && !flight.is_over(100, SECOND));
    let mut learnt = Vec::new();
    flight.collect(|_| Verdict::NotYet, |_, _| unreachable!("it is not done"));
    flight.collect(|_| Verdict::Took(80), |sample, took| learnt.push((sample, took)));
    flight.collect(|_| Verdict::Took(80), |sample, took| learnt.push((sample, took)));
    assert_eq!(learnt, [(sample(70), 80)]);
    assert_eq!(flight.in_flight_ns(), 30);
    // What no sample will tell of is not waited for.
    assert!(!flight.is_over(10, SECOND));
    let lost = flight.take(|_| true).unwrap();
    flight.arm(lost, sample(30));
    flight.collect(|_| Verdict::Lost, |_, _| unreachable!("it is lost"));
    assert_eq!((flight.in_flight_ns(), flight.armed()), (0, 0));
}

#[test]
fn what_the_driver_refuses_costs_nothing() {
    let words = page();
    let usage = Usage::adopt(&words).unwrap();
    let (costs, flight) = (Costs::<64>::new(), Flight::<4>::new());
    let meter = Meter { usage, card: first(), costs: &costs, flight: &flight };
    let terms = Terms { grant_milli: 100, is_shared: true, hold_until_ns: 0 };
    let shape = Shape::of(&[1]);
    let asked = |default_ns| Asked { shape, default_ns, is_measurable: true };
    let charged = match meter.admit(terms, asked(50 * MS), SECOND) {
        Ticket::Go { charged_ns, is_sampled: true } => charged_ns,
        other => panic!("{other:?}"),
    };
    let waits = meter.admit(terms, asked(1), SECOND);
    assert_eq!(waits, Ticket::WaitUntil(SECOND + 500 * MS));
    meter.refund(terms, charged);
    assert!(matches!(meter.admit(terms, asked(1), SECOND), Ticket::Go { .. }));
    assert_eq!(usage.card(first(), CardWord::CHARGED_NS).load(Relaxed), 1);
    // A hold comes before everything, and ends by itself.
    let held = Terms { hold_until_ns: 2 * SECOND, ..terms };
    assert_eq!(meter.admit(held, asked(1), SECOND), Ticket::WaitUntil(2 * SECOND));
    assert!(matches!(meter.admit(held, asked(1), 2 * SECOND), Ticket::Go { .. }));
}

/// What one stream finishes says nothing of another: all since the oldest that is out is under way.
#[test]
fn a_stream_that_is_ahead_finishes_nothing_of_another() {
    let flight: Flight<8> = Flight::new();
    let submit = |charged_ns| {
        flight.submit(charged_ns);
        let taken = flight.take(|_| true).unwrap();
        flight.arm(taken, Sample { shape: Shape::of(&[1]), charged_ns, card: first() });
        taken
    };
    let done = |done: &[Taken]| {
        let look = |taken| if done.contains(&taken) { Verdict::Took(1) } else { Verdict::NotYet };
        flight.collect(look, |_, _| {});
    };
    let (slow, fast) = (submit(40 * MS), submit(30 * MS));
    let later = submit(20 * MS);
    done(&[fast, later]);
    assert_eq!(flight.in_flight_ns(), 90 * MS, "the slow one may not have begun");
    flight.submit(5 * MS);
    done(&[slow]);
    assert_eq!(flight.in_flight_ns(), 5 * MS, "only what came after the last sample");
}

/// What is under way may wait for what comes next: it is held for long, and not for ever.
#[test]
fn nobody_waits_for_ever_for_what_is_under_way() {
    let flight: Flight<16> = Flight::new();
    let submit = |charged_ns| {
        flight.submit(charged_ns);
        let taken = flight.take(|_| true).unwrap();
        flight.arm(taken, Sample { shape: Shape::of(&[1]), charged_ns, card: first() });
        taken
    };
    let oldest = submit(10 * MS);
    for _ in 0..10 {
        submit(10 * MS);
    }
    let is_held = |ms| flight.is_over(IN_FLIGHT_NS_MAX, SECOND + ms * MS);
    assert!(is_held(0) && is_held(79), "it may take a while on a shared card");
    assert!(!is_held(80), "one more goes");
    assert!(is_held(80) && is_held(89), "and no other until its time has gone by");
    assert!(!is_held(90));
    // As soon as anything is finished, all is as before.
    flight.collect(
        |taken| if taken == oldest { Verdict::Took(1) } else { Verdict::NotYet },
        |_, _| {},
    );
    submit(10 * MS);
    assert!(is_held(95) && is_held(174) && !is_held(175));
}

/// A kind whose marks always fail is let through by its default after a few.
#[test]
fn what_cannot_be_measured_is_not_held_for_good() {
    let words = page();
    let usage = Usage::adopt(&words).unwrap();
    let (costs, flight) = (Costs::<64>::new(), Flight::<4>::new());
    let meter = Meter { usage, card: first(), costs: &costs, flight: &flight };
    let terms = Terms { grant_milli: 1000, is_shared: true, hold_until_ns: 0 };
    let asked =
        |nth, is_measurable| Asked { shape: Shape::of(&[nth]), default_ns: 10_000, is_measurable };
    // While marks are forbidden, nothing would be learnt from waiting.
    for _ in 0..100 {
        let ticket = meter.admit(terms, asked(1, false), SECOND);
        assert!(matches!(ticket, Ticket::Go { .. }), "{ticket:?}");
    }
    let mut now = SECOND;
    for nth in 0.. {
        match meter.admit(terms, asked(2, true), now) {
            Ticket::Go { charged_ns, is_sampled: true } => {
                meter.note_unmarked(Shape::of(&[2]), charged_ns);
            }
            Ticket::Go { is_sampled: false, .. } => break,
            Ticket::DrainUntil(_) | Ticket::WaitUntil(_) => now += MS,
        }
        assert!(nth < 100 && now < 2 * SECOND, "it is tried for ever");
    }
    for _ in 0..100 {
        let ticket = meter.admit(terms, asked(2, true), now);
        assert!(matches!(ticket, Ticket::Go { charged_ns: 10_000, .. }), "{ticket:?}");
    }
}
