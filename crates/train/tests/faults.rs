//! Devices that fail in the middle of a round: what is tried again, what ends the run, and what is
//! left to go on from.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::frail::Frail;
use common::{FINGERPRINT, TestTexts, config, encoder_on, finish, join, limits, tenant};
use cotenant_train::{Base, CheckpointError, Limits, PrefixLimits, TenantSpec, Trainer};
use cotenant_transformer::{Encoder, Fault};

const SEEDS: [u64; 4] = [3, 8, 21, 34];

/// Whether the device keeps what it trains or not.
const DEVICES: [fn() -> Frail; 2] = [Frail::new, Frail::keeping];

/// Limits with a cache below the adapted layers, which must not keep what a failed device gave.
fn wide() -> Limits {
    let prefix = PrefixLimits { memory_bytes_max: 1 << 20, ..PrefixLimits::default() };
    Limits { tokens_chunk: 1024, prefix, ..limits() }
}

fn texts() -> TestTexts {
    TestTexts { texts: Vec::new(), are_pairs: false, bad: None }
}

fn trainer(encoder: &Arc<Encoder<Frail>>) -> Trainer<Frail> {
    let base = Base { encoder: Arc::clone(encoder), fingerprint: FINGERPRINT };
    let mut trainer = Trainer::new(base, wide()).unwrap();
    join(&mut trainer, SEEDS.map(tenant));
    trainer
}

/// What every tenant ends with where nothing fails.
fn expected() -> BTreeMap<String, common::Ended> {
    finish(&mut trainer(&encoder_on(Frail::new(), config())))
}

#[test]
fn with_less_memory_fewer_tokens_are_run_at_a_time_and_the_bits_stay() {
    let expected = expected();
    for device in DEVICES {
        // A tenant's piece has 256 tokens at most.
        for tokens in [900, 400, 260] {
            let encoder = encoder_on(device(), config());
            // Rows of three widths, for so many tokens.
            let floats_max = tokens * 3 * config().hidden;
            encoder.backend().floats_max.store(floats_max, Ordering::Relaxed);
            let found = finish(&mut trainer(&encoder));
            assert!(found == expected, "with room for {tokens} tokens");
        }
    }
}

#[test]
fn on_a_device_without_memory_for_anything_each_tenant_ends_and_says_why() {
    for device in DEVICES {
        let encoder = encoder_on(device(), config());
        encoder.backend().floats_max.store(10, Ordering::Relaxed);
        for (name, ended) in finish(&mut trainer(&encoder)) {
            assert!(ended.reason.contains("there is no room for"), "{name}: {}", ended.reason);
            assert!(ended.losses.is_empty(), "{name} took no step");
        }
    }
}

/// Texts of 63 tokens, of which one piece holds four, beside tenants with pieces of 40 tokens.
#[test]
fn a_tenant_that_the_device_has_no_memory_for_ends_alone() {
    let long = || {
        let mut spec = tenant(40);
        spec.name = "long".into();
        (spec.settings.tokens_chunk, spec.settings.batch) = (256, 4);
        spec.texts = Arc::new(TestTexts { texts: vec![vec![7; 63].into(); 40], ..texts() });
        spec
    };
    let short = |seed: u64| {
        let mut spec = tenant(seed);
        spec.texts = Arc::new(TestTexts { texts: vec![vec![7, 8, 9].into(); 40], ..texts() });
        spec.settings.tokens_chunk = 40;
        spec
    };
    let run = |device: Frail, specs: Vec<TenantSpec>, tokens: usize| {
        let encoder = encoder_on(device, config());
        let floats_max = tokens * 3 * config().hidden;
        encoder.backend().floats_max.store(floats_max, Ordering::Relaxed);
        let base = Base { encoder: Arc::clone(&encoder), fingerprint: FINGERPRINT };
        let mut trainer = Trainer::new(base, wide()).unwrap();
        join(&mut trainer, specs);
        finish(&mut trainer)
    };
    let others = || [3, 8, 21, 44].map(short).to_vec();
    let expected = run(Frail::new(), others(), 10_000);
    for device in DEVICES {
        let mut found = run(device(), [others(), vec![long()]].concat(), 130);
        let ended = found.remove("long").unwrap();
        assert!(ended.reason.contains("there is no room for"), "{}", ended.reason);
        assert!(found == expected, "nobody else is touched");
    }
}

/// Whenever the device is lost, the last checkpoint leads to the bits that never losing it gives.
#[test]
fn a_device_that_is_lost_ends_the_run_and_a_checkpoint_goes_on_from_before() {
    for device in DEVICES {
        let encoder = encoder_on(device(), config());
        let expected = finish(&mut trainer(&encoder));
        let all = i64::MAX - encoder.backend().products_left.load(Ordering::Relaxed);
        let folder = tempfile::tempdir().unwrap();
        for products in [0, 1, all / 5, all / 2, all - 1] {
            let path = folder.path().join(format!("{products}"));
            let encoder = encoder_on(device(), config());
            let mut lost = trainer(&encoder);
            lost.checkpoint(&path).unwrap();
            encoder.backend().products_left.store(products, Ordering::Relaxed);
            loop {
                common::round(&mut lost);
                if lost.fault().is_some() || lost.is_done() {
                    break;
                }
                lost.checkpoint(&path).unwrap();
            }
            assert!(matches!(lost.fault(), Some(Fault::Lost(_))), "after {products} products");
            let refused = lost.checkpoint(&path).unwrap_err();
            assert!(matches!(refused, CheckpointError::Device { .. }), "the one before stays");
            let mut resumed = trainer(&encoder_on(device(), config()));
            resumed.resume(&path).unwrap();
            assert!(finish(&mut resumed) == expected, "after {products} products");
        }
    }
}
