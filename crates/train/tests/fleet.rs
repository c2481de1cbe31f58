//! Trainers over several devices, against one.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::frail::Frail;
use common::{Ended, FINGERPRINT, config, encoder_on, finish, join, limits, prefix_in_memory};
use common::{round, tenant};
use cotenant_train::{Limits, Trainer};
use cotenant_transformer::{Encoder, Fault};

const SEEDS: std::ops::Range<u64> = 70..86;

/// Whether devices keep what they train or not.
const DEVICES: [fn() -> Frail; 2] = [Frail::new, Frail::keeping];

fn encoders(device: fn() -> Frail, count: usize) -> Vec<Arc<Encoder<Frail>>> {
    (0..count).map(|_| encoder_on(device(), config())).collect()
}

fn trainer(encoders: &[Arc<Encoder<Frail>>]) -> Trainer<Frail> {
    // Few in a round, so that tenants change places.
    let limits = Limits { round_tokens_max: 300, prefix: prefix_in_memory(1 << 20), ..limits() };
    let mut trainer = Trainer::over(encoders.to_vec(), FINGERPRINT, limits).unwrap();
    join(&mut trainer, SEEDS.map(tenant));
    trainer
}

fn expected() -> BTreeMap<String, Ended> {
    finish(&mut trainer(&encoders(Frail::new, 1)))
}

/// Products that a device has done.
fn products(encoder: &Encoder<Frail>) -> i64 {
    i64::MAX - encoder.backend().products_left.load(Ordering::Relaxed)
}

#[test]
fn however_many_devices_there_are_the_bits_stay() {
    let expected = expected();
    for device in DEVICES {
        for count in [1, 2, 3, 7] {
            let encoders = encoders(device, count);
            assert!(finish(&mut trainer(&encoders)) == expected, "{count} devices");
            let work: Vec<i64> = encoders.iter().map(|encoder| products(encoder)).collect();
            let (least, most) = (work.iter().min().unwrap(), work.iter().max().unwrap());
            assert!(most <= &(3 * least), "all have something to do: {work:?}");
        }
    }
}

#[test]
fn a_run_goes_on_with_fewer_devices_once_one_is_lost() {
    let expected = expected();
    let folder = tempfile::tempdir().unwrap();
    for (device, name) in DEVICES.into_iter().zip(["host", "kept"]) {
        let path = folder.path().join(name);
        let three = encoders(device, 3);
        let mut lost = trainer(&three);
        for _ in 0..4 {
            round(&mut lost);
        }
        lost.checkpoint(&path).unwrap();
        three[1].backend().products_left.store(5, Ordering::Relaxed);
        while lost.fault().is_none() && !lost.is_done() {
            round(&mut lost);
        }
        assert!(matches!(lost.fault(), Some(Fault::Lost(_))), "{:?}", lost.fault());
        let mut resumed = trainer(&encoders(device, 2));
        resumed.resume(&path).unwrap();
        assert!(finish(&mut resumed) == expected, "{name}");
    }
}

/// Batches that are larger than a device's part of a round, which all devices run together.
#[test]
fn large_batches_are_divided_among_devices_and_the_bits_stay() {
    let run = |encoders: &[Arc<Encoder<Frail>>], limits: Limits| {
        let mut trainer = Trainer::over(encoders.to_vec(), FINGERPRINT, limits).unwrap();
        join(&mut trainer, SEEDS.map(tenant));
        finish(&mut trainer)
    };
    let expected = run(&encoders(Frail::keeping, 1), limits());
    for (count, tokens_chunk, tape_bytes_max) in [(2, 64, 320 << 20), (3, 400, 0), (5, 64, 0)] {
        let encoders = encoders(Frail::keeping, count);
        // Nearly every batch is larger.
        let limits = Limits { round_tokens_max: 30, tokens_chunk, tape_bytes_max, ..limits() };
        assert!(run(&encoders, limits) == expected, "{count} devices");
        let helped = encoders.iter().map(|it| it.backend().helped.load(Ordering::Relaxed));
        assert!(helped.sum::<usize>() > 20, "batches are divided");
        let work: Vec<i64> = encoders.iter().map(|encoder| products(encoder)).collect();
        let (least, most) = (work.iter().min().unwrap(), work.iter().max().unwrap());
        // A batch of few pieces has none for some.
        assert!(most <= &(8 * least), "all have something to do: {work:?}");
    }
}

/// A device that has less memory than the others, and one that is lost, among those that help.
#[test]
fn a_large_batch_survives_a_helper_that_is_short_and_not_one_that_is_lost() {
    let run = |encoders: &[Arc<Encoder<Frail>>]| {
        let limits = Limits { round_tokens_max: 30, tokens_chunk: 1024, ..limits() };
        let mut trainer = Trainer::over(encoders.to_vec(), FINGERPRINT, limits).unwrap();
        join(&mut trainer, SEEDS.map(tenant));
        trainer
    };
    let expected = finish(&mut run(&encoders(Frail::keeping, 1)));
    for short in 0..3 {
        let encoders = encoders(Frail::keeping, 3);
        let floats_max = 260 * 3 * config().hidden;
        encoders[short].backend().floats_max.store(floats_max, Ordering::Relaxed);
        assert!(finish(&mut run(&encoders)) == expected, "device {short} is short");
    }
    for lost in 0..3 {
        let encoders = encoders(Frail::keeping, 3);
        encoders[lost].backend().products_left.store(40, Ordering::Relaxed);
        let mut trainer = run(&encoders);
        while trainer.fault().is_none() && !trainer.is_done() {
            round(&mut trainer);
        }
        assert!(matches!(trainer.fault(), Some(Fault::Lost(_))), "device {lost} is lost");
    }
}

/// What one device can do is done, whatever there is beside it.
#[test]
fn a_helper_without_memory_for_anything_is_done_without() {
    let run = |encoders: &[Arc<Encoder<Frail>>]| {
        // Every batch is larger.
        let limits = Limits { round_tokens_max: 1, ..limits() };
        let mut trainer = Trainer::over(encoders.to_vec(), FINGERPRINT, limits).unwrap();
        join(&mut trainer, SEEDS.map(tenant));
        finish(&mut trainer)
    };
    let expected = run(&encoders(Frail::keeping, 1));
    for full in 1..3 {
        let encoders = encoders(Frail::keeping, 3);
        encoders[full].backend().floats_max.store(10, Ordering::Relaxed);
        assert!(run(&encoders) == expected, "device {full} has no memory");
    }
}
