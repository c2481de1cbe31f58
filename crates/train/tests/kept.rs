//! Tenants whose states a device keeps, against the same tenants without: to the bit, wherever the
//! states are meanwhile. Memory of the host stands in for the device's.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::frail::Frail;
use common::tenant;
use common::{Ended, FINGERPRINT, TestTexts, config, encoder_on, finish, join, limits, round};
use cotenant_train::{Base, Length, Limits, Loss, TenantError, TenantSpec, Trainer};
use cotenant_transformer::{AdapterLayout, Encoder, Fault, Module, SlabState};

const SEEDS: std::ops::Range<u64> = 40..64;

fn trainer(encoder: &Arc<Encoder<Frail>>, limits: Limits) -> Trainer<Frail> {
    let base = Base { encoder: Arc::clone(encoder), fingerprint: FINGERPRINT };
    Trainer::new(base, limits).unwrap()
}

fn keeping() -> Arc<Encoder<Frail>> {
    encoder_on(Frail::keeping(), config())
}

/// What all tenants end with where nothing is kept.
fn expected() -> BTreeMap<String, Ended> {
    let mut trainer = trainer(&encoder_on(Frail::new(), config()), limits());
    join(&mut trainer, SEEDS.map(tenant));
    finish(&mut trainer)
}

/// Whether the device judges a tenant; the others' losses are the host's.
fn is_ranked(spec: &TenantSpec) -> bool {
    matches!(spec.settings.loss, Loss::Mnrl { .. })
}

/// Bytes of the states of all tenants, one by one.
fn slab_bytes() -> Vec<usize> {
    let values = |spec: TenantSpec| {
        let layout = AdapterLayout::from_spec(&spec.settings.lora, &config()).unwrap();
        match spec.settings.loss {
            Loss::Lce => layout.with_head(&config()).len(),
            Loss::Mnrl { .. } | Loss::CoSent { .. } => layout.len(),
        }
    };
    SEEDS.map(tenant).map(|spec| SlabState::bytes(values(spec))).collect()
}

#[test]
fn wherever_states_are_the_bits_are_those_of_the_host() {
    let expected = expected();
    let sizes = slab_bytes();
    let (all, largest) = (sizes.iter().sum::<usize>(), *sizes.iter().max().unwrap());
    let count = |is_it: fn(&Loss) -> bool| {
        SEEDS.map(tenant).filter(|spec| is_it(&spec.settings.loss)).count()
    };
    assert!(count(|loss| matches!(loss, Loss::Mnrl { .. })) > 6);
    assert!(count(|loss| matches!(loss, Loss::CoSent { .. })) > 2);
    assert!(count(|loss| matches!(loss, Loss::Lce)) > 2);
    let mut brought = Vec::new();
    for kept_bytes_max in [usize::MAX, all, all / 2, largest, 1] {
        for (tokens_chunk, tape_bytes_max) in [(64, 320 << 20), (400, 0)] {
            let encoder = keeping();
            // What is asked of the device is never more than the limit, or one state.
            let room = kept_bytes_max.max(largest);
            encoder.backend().slab_bytes_max.store(room, Ordering::Relaxed);
            let limits = Limits { kept_bytes_max, tokens_chunk, tape_bytes_max, ..limits() };
            let mut trainer = trainer(&encoder, limits);
            join(&mut trainer, SEEDS.map(tenant));
            let found = finish(&mut trainer);
            assert!(found == expected, "{kept_bytes_max} bytes, chunks of {tokens_chunk}");
            brought.push(encoder.backend().brought.load(Ordering::Relaxed));
        }
    }
    assert_eq!(brought[0], sizes.len(), "with room for all, each is brought once");
    assert!(brought.is_sorted(), "with less room more are brought: {brought:?}");
    assert!(brought[8] > 4 * sizes.len(), "with none, each in every round: {brought:?}");
}

#[test]
fn a_device_with_less_memory_than_it_was_thought_to_have_goes_on() {
    let expected = expected();
    let sizes = slab_bytes();
    let largest = *sizes.iter().max().unwrap();
    for room in [sizes.iter().sum::<usize>() / 3, largest] {
        let encoder = keeping();
        encoder.backend().slab_bytes_max.store(room, Ordering::Relaxed);
        let mut trainer = trainer(&encoder, Limits { tokens_chunk: 1 << 30, ..limits() });
        join(&mut trainer, SEEDS.map(tenant));
        assert!(finish(&mut trainer) == expected, "{room} bytes");
    }
}

#[test]
fn a_tenant_whose_state_does_not_fit_ends_alone_and_says_why() {
    let expected = expected();
    let sizes = slab_bytes();
    let largest = *sizes.iter().max().unwrap();
    let encoder = keeping();
    encoder.backend().slab_bytes_max.store(largest - 1, Ordering::Relaxed);
    let mut trainer = trainer(&encoder, limits());
    join(&mut trainer, SEEDS.map(tenant));
    let found = finish(&mut trainer);
    let specs = SEEDS.map(tenant).zip(&sizes);
    let large: Vec<String> =
        specs.filter(|(_, bytes)| **bytes == largest).map(|(spec, _)| spec.name).collect();
    assert!(!large.is_empty() && large.len() < sizes.len());
    for (name, ended) in &found {
        if large.contains(name) {
            assert!(ended.reason.contains("there is no room for"), "{name}: {}", ended.reason);
            assert!(ended.losses.is_empty(), "{name} took no step");
        } else {
            assert!(*ended == expected[name], "{name} is not touched");
        }
    }
}

/// Numbers that are not finite and texts that cannot be had: who has them ends alone, as without a
/// device that keeps.
#[test]
fn a_tenant_that_fails_ends_alone() {
    let specs = || {
        let mut specs: Vec<TenantSpec> = SEEDS.map(tenant).collect();
        let ranked: Vec<usize> = (0..specs.len()).filter(|&at| is_ranked(&specs[at])).collect();
        specs[ranked[1]].settings.learning_rate = 1e30;
        specs[ranked[2]].settings.learning_rate = 1e30;
        specs[ranked[2]].settings.evaluation = None;
        specs[ranked[4]].texts = Arc::new(TestTexts { bad: Some(9), ..TestTexts::random(40, 44) });
        for is_it in [|loss: Loss| matches!(loss, Loss::CoSent { .. }), |loss| loss == Loss::Lce] {
            let other = specs.iter_mut().find(|spec| is_it(spec.settings.loss)).unwrap();
            other.settings.learning_rate = 1e30;
            other.settings.evaluation = None;
        }
        specs
    };
    let run = |device: Frail| {
        let mut trainer = trainer(&encoder_on(device, config()), limits());
        join(&mut trainer, specs());
        finish(&mut trainer)
    };
    let expected = run(Frail::new());
    let failed = expected.values().filter(|ended| ended.reason.contains("hint: ")).count();
    assert_eq!(failed, 5, "{failed} failed");
    assert!(run(Frail::keeping()) == expected);
}

#[test]
fn a_checkpoint_of_either_is_gone_on_from_by_either() {
    let expected = expected();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    for (first, second) in [(true, true), (true, false), (false, true)] {
        let on = |keeps: bool| if keeps { Frail::keeping() } else { Frail::new() };
        for rounds in [0, 1, 3, 7] {
            let mut begun = trainer(&encoder_on(on(first), config()), limits());
            join(&mut begun, SEEDS.map(tenant));
            (0..rounds).for_each(|_| drop(round(&mut begun)));
            begun.checkpoint(&path).unwrap();
            let mut resumed = trainer(&encoder_on(on(second), config()), limits());
            join(&mut resumed, SEEDS.map(tenant));
            // What was done before is forgotten, kept or not.
            (0..2).for_each(|_| drop(round(&mut resumed)));
            resumed.resume(&path).unwrap();
            assert!(finish(&mut resumed) == expected, "{first} {second} after {rounds}");
        }
    }
}

#[test]
fn an_adapter_can_be_looked_at_and_taken_out_at_any_time() {
    let home = &mut trainer(&encoder_on(Frail::new(), config()), limits());
    let kept = &mut trainer(&keeping(), limits());
    let ids = [join(home, SEEDS.map(tenant)), join(kept, SEEDS.map(tenant))];
    assert_eq!(ids[0], ids[1]);
    for (at, &id) in ids[0].iter().enumerate() {
        round(home);
        round(kept);
        for &id in &ids[0][at..] {
            assert_eq!(home.adapter(id).unwrap(), kept.adapter(id).unwrap(), "{id}");
        }
        let taken = [&mut *home, &mut *kept].map(|trainer| trainer.remove(id).unwrap());
        let [home, kept] = taken.each_ref().map(common::ended);
        assert_eq!(home, kept, "{id} is taken out");
    }
}

/// What was kept is gone with the device, and nothing pretends otherwise.
#[test]
fn what_a_lost_device_kept_is_lost() {
    let encoder = keeping();
    let mut trainer = trainer(&encoder, limits());
    let ids = join(&mut trainer, SEEDS.map(tenant));
    round(&mut trainer);
    encoder.backend().products_left.store(0, Ordering::Relaxed);
    while trainer.fault().is_none() {
        round(&mut trainer);
    }
    let lost: Vec<_> = ids.iter().map(|id| trainer.adapter(*id)).collect();
    assert!(lost.iter().any(|found| matches!(found, Err(TenantError::Lost(Fault::Lost(_))))));
    let outcomes: Vec<_> = ids.iter().map(|id| trainer.remove(*id)).collect();
    for (adapter, outcome) in lost.iter().zip(&outcomes) {
        // The best so far is the host's.
        let has_best = outcome.as_ref().is_some_and(|outcome| outcome.progress.best.is_some());
        assert!(adapter.is_ok() || outcome.is_none() || has_best);
    }
    assert!(outcomes.iter().any(Option::is_none), "some had nothing but what was kept");
}

/// Ten thousand tenants with room for a hundred: each comes to the device once for each of its steps.
#[test]
fn ten_thousand_tenants_take_turns_on_a_device_with_room_for_a_hundred() {
    let mut spec = SEEDS.map(tenant).find(is_ranked).unwrap();
    spec.examples.truncate(2);
    (spec.settings.lora.targets, spec.settings.lora.rank) = (vec![Module::Query], 1);
    (spec.settings.length, spec.settings.evaluation) = (Length::Steps(1), None);
    spec.settings.accumulate = 1;
    let layout = AdapterLayout::from_spec(&spec.settings.lora, &config()).unwrap();
    let bytes = SlabState::bytes(layout.len());
    // Two tokens a text.
    let texts = |seed: u32| TestTexts {
        texts: (0..40).map(|text| [(7 * seed + text) % 60, text].into()).collect(),
        ..TestTexts::random(0, 0)
    };
    let texts: Vec<Arc<TestTexts>> = (0..10).map(|seed| Arc::new(texts(seed))).collect();
    let small = |number: usize| TenantSpec {
        name: format!("tenant {number}"),
        texts: texts[number % texts.len()].clone(),
        ..spec.clone()
    };
    let encoder = keeping();
    encoder.backend().slab_bytes_max.store(100 * bytes, Ordering::Relaxed);
    let (kept_bytes_max, round_tokens_max) = (100 * bytes, 800);
    let limits = Limits { kept_bytes_max, round_tokens_max, tokens_chunk: 800, ..limits() };
    let mut trainer = trainer(&encoder, limits);
    let ids = join(&mut trainer, (0..10_000).map(small));
    while !trainer.is_done() {
        round(&mut trainer);
        assert_eq!(trainer.fault(), None);
    }
    let adapters: Vec<_> = ids.iter().map(|&id| trainer.adapter(id).unwrap()).collect();
    // Tenants of the same texts have the same bits, whenever they came.
    for (at, adapter) in adapters.iter().enumerate() {
        assert!(adapter.values == adapters[at % texts.len()].values, "tenant {at}");
    }
    assert_eq!(encoder.backend().brought.load(Ordering::Relaxed), 10_000);
}
