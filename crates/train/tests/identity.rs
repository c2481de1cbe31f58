//! The promise of fused training, bit for bit: what a tenant ends with depends on nothing but its
//! own examples, settings and seed. Tenants are drawn at random (losses, ranks, layers, dropout,
//! accumulation, evaluation, very unequal texts) and compared with themselves trained alone.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use common::{
    Ended, alone, encoder, finish, fused, join, limits, prefix_in_memory, round, tenant, trainer,
};
use cotenant_train::{Limits, PrefixLimits, TenantSpec};
use cotenant_transformer::{Cpu, Encoder};
use proptest::prelude::{ProptestConfig, any, prop, proptest};

fn shared_encoder() -> &'static Arc<Encoder<Cpu>> {
    static ENCODER: OnceLock<Arc<Encoder<Cpu>>> = OnceLock::new();
    ENCODER.get_or_init(encoder)
}

fn tenants(seed: u64, count: u64) -> Vec<TenantSpec> {
    (0..count).map(|i| tenant(seed.wrapping_mul(1000).wrapping_add(i))).collect()
}

fn each_alone(tenants: &[TenantSpec]) -> BTreeMap<String, Ended> {
    let one = |spec: &TenantSpec| (spec.name.clone(), alone(shared_encoder(), spec.clone()));
    tenants.iter().map(one).collect()
}

#[track_caller]
fn check(found: &BTreeMap<String, Ended>, expected: &BTreeMap<String, Ended>) {
    assert_eq!(found.len(), expected.len());
    for (name, expected) in expected {
        let found = &found[name];
        assert_eq!(found.reason, expected.reason, "{name}");
        assert_eq!(found.losses, expected.losses, "losses of {name}");
        assert!(found == expected, "{name}: same losses but another adapter");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn alone_is_fused_with_any_others(
        seed in any::<u64>(),
        count in 2u64..9,
        threads in 1usize..4,
        round_tokens_max in 1usize..3000,
        tokens_chunk in 1usize..300,
    ) {
        let tenants = tenants(seed, count);
        let limits = Limits { threads, round_tokens_max, tokens_chunk, ..Limits::default() };
        check(&fused(shared_encoder(), limits, tenants.clone()), &each_alone(&tenants));
    }

    #[test]
    fn added_late_and_left_early_is_alone(seed in any::<u64>(), joins in prop::collection::vec(0usize..6, 3)) {
        let tenants = tenants(seed, 4);
        let mut trainer = trainer(shared_encoder(), limits());
        let leaver = trainer.add(tenant(seed ^ 1)).unwrap();
        for (spec, rounds) in tenants.iter().zip([0].iter().chain(&joins)) {
            (0..*rounds).for_each(|_| drop(round(&mut trainer)));
            trainer.add(spec.clone()).unwrap();
        }
        trainer.remove(leaver).unwrap();
        check(&finish(&mut trainer), &each_alone(&tenants));
    }

    #[test]
    fn resumed_at_any_round_is_alone(
        seed in any::<u64>(),
        stops in prop::collection::vec(0usize..9, 1..4),
    ) {
        let tenants = tenants(seed, 3);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let start = || {
            let mut trainer = trainer(shared_encoder(), limits());
            join(&mut trainer, tenants.clone());
            trainer
        };
        let mut trainer = start();
        for rounds in stops {
            (0..rounds).for_each(|_| drop(round(&mut trainer)));
            trainer.checkpoint(&path).unwrap();
            // What the killed process did after its checkpoint is lost.
            (0..2).for_each(|_| drop(round(&mut trainer)));
            trainer = start();
            trainer.resume(&path).unwrap();
        }
        check(&finish(&mut trainer), &each_alone(&tenants));
    }

    #[test]
    fn tapes_threads_and_order_change_nothing(
        seed in any::<u64>(),
        threads in 1usize..4,
        tape_bytes_max in 0usize..2_000_000,
        turn in 0usize..4,
    ) {
        let mut tenants = tenants(seed, 4);
        let expected = each_alone(&tenants);
        tenants.rotate_left(turn);
        let limits = Limits { threads, tape_bytes_max, tokens_chunk: 80, ..limits() };
        check(&fused(shared_encoder(), limits, tenants), &expected);
    }

    #[test]
    fn cached_prefixes_change_nothing(seed in any::<u64>(), texts in 0usize..60, threads in 1usize..3) {
        let tenants = tenants(seed, 3);
        let expected = each_alone(&tenants);
        let folder = tempfile::tempdir().unwrap();
        for tape_bytes_max in [0, 1 << 30] {
            // The second pass finds on disk what the first one left there.
            let prefix = PrefixLimits {
                folder: Some(folder.path().into()),
                disk_bytes_max: 100_000,
                ..prefix_in_memory(texts * 2000)
            };
            let limits = Limits { threads, prefix, tape_bytes_max, ..limits() };
            check(&fused(shared_encoder(), limits, tenants.clone()), &expected);
        }
    }
}

#[test]
fn every_tape_budget_is_taken() {
    // The random budgets above mean something only if they lead to different tapes.
    let tenants = tenants(5, 4);
    let mut recomputed = Vec::new();
    for tape_bytes_max in [0, 150_000, 1 << 30] {
        let mut trainer = trainer(shared_encoder(), Limits { tape_bytes_max, ..limits() });
        join(&mut trainer, tenants.clone());
        round(&mut trainer);
        while trainer.counters().rounds < 2 {
            round(&mut trainer);
        }
        let counters = trainer.counters();
        recomputed.push((counters.chunks_recomputed, counters.chunks));
    }
    let [(none, all), (some, of), (nothing, _)] = recomputed[..] else { unreachable!() };
    assert_eq!(none, all);
    assert!(some > 0 && some < of, "{some} of {of}");
    assert_eq!(nothing, 0);
}
