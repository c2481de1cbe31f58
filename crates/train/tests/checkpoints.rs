//! Checkpoints that must be refused: damaged ones, and ones of another training.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::{TestTexts, encoder, finish, join, limits, round, tenant, trainer};
use cotenant_train::{Base, Example, TenantSpec, Trainer};
use cotenant_transformer::Cpu;

fn two_tenants() -> [TenantSpec; 2] {
    [tenant(11), tenant(12)]
}

fn added(specs: impl IntoIterator<Item = TenantSpec>) -> Trainer<Cpu> {
    let mut trainer = trainer(&encoder(), limits());
    join(&mut trainer, specs);
    trainer
}

/// A checkpoint of two tenants after a few rounds.
fn written(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("run.checkpoint");
    let mut trainer = added(two_tenants());
    (0..3).for_each(|_| drop(round(&mut trainer)));
    trainer.checkpoint(&path).unwrap();
    path
}

#[test]
fn every_cut_and_flipped_bit_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path());
    let whole = fs::read(&path).unwrap();
    let mut trainer = added(two_tenants());
    let mut refuses = |bytes: &[u8], what: String| {
        fs::write(&path, bytes).unwrap();
        let error = trainer.resume(&path).expect_err(&what).to_string();
        assert!(error.contains("damaged") || error.contains("has format"), "{what}: {error}");
    };
    // Every bit where lengths and the description's beginning lie, then bits all over the file.
    let bits = (0..200 * 8).chain((0..400).map(|i| i * whole.len() * 8 / 400));
    for bit in bits {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        refuses(&flipped, format!("bit {bit}"));
    }
    for len in (0..60).chain((0..100).map(|i| i * whole.len() / 100)) {
        refuses(&whole[..len], format!("cut to {len}"));
    }
    let longer = [&whole[..], &[0]].concat();
    refuses(&longer, "a byte more".into());
    refuses(b"{\"tenants\": []} and some more bytes", "another file".into());
    fs::write(&path, &whole).unwrap();
    trainer.resume(&path).unwrap();
}

#[track_caller]
fn check_refused(trainer: &mut Trainer<Cpu>, path: &Path, expected: &str) {
    let before: Vec<_> = trainer.tenants().iter().map(|id| trainer.progress(*id)).collect();
    let error = trainer.resume(path).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
    let after: Vec<_> = trainer.tenants().iter().map(|id| trainer.progress(*id)).collect();
    assert_eq!(before, after, "an error changes nothing");
}

#[test]
fn a_checkpoint_of_another_training_is_refused_and_says_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path());
    let changed = |change: &dyn Fn(&mut TenantSpec)| {
        let [first, mut second] = two_tenants();
        change(&mut second);
        added([first, second])
    };
    type Change<'a> = &'a dyn Fn(&mut TenantSpec);
    let cases: [(Change, &str); 6] = [
        (&|spec| spec.settings.seed = 5, "tenant \"tenant 12\": seed was 12 and is 5"),
        (&|spec| spec.settings.lora.rank += 1, "\"tenant 12\": lora.rank was"),
        (&|spec| spec.settings.clip_norm = Some(9.0), "clip_norm was"),
        (&|spec| spec.name = "renamed".into(), "tenant \"tenant 12\" is not part of this training"),
        (&|spec| drop(spec.examples.pop()), "\"tenant 12\": its examples or texts have changed"),
        (
            &|spec| {
                let mut texts = TestTexts::random(40, 12);
                let text = match &spec.examples[0] {
                    Example::Pair { anchor, .. } => *anchor,
                    Example::Scored { left, .. } => *left,
                    Example::Choice { right, .. } => right.text,
                };
                texts.texts[text as usize] = vec![1, 2, 3].into();
                spec.texts = Arc::new(texts);
            },
            "\"tenant 12\": its examples or texts have changed",
        ),
    ];
    for (change, expected) in cases {
        check_refused(&mut changed(change), &path, expected);
    }
    let base = Base { encoder: encoder(), fingerprint: 1 };
    let mut other_model = Trainer::new(base, limits()).unwrap();
    check_refused(&mut other_model, &path, "another base model");
    check_refused(&mut added(two_tenants()), &folder.path().join("absent"), "failed to read");
}

#[test]
fn weights_may_change_and_new_tenants_start_from_the_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path());
    let [first, second] = two_tenants();
    let mut heavier = first.clone();
    heavier.settings.weight += 5;
    let mut trainer = added([tenant(13), second.clone(), heavier]);
    trainer.resume(&path).unwrap();
    let found = finish(&mut trainer);
    assert_eq!(found, finish(&mut added([first, second, tenant(13)])));
}

#[test]
fn a_checkpoint_that_cannot_be_written_leaves_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path());
    let before = fs::read(&path).unwrap();
    let trainer = added(two_tenants());
    // The name of the unfinished file is taken by a folder, so creating it fails.
    fs::create_dir(folder.path().join("run.checkpoint.part")).unwrap();
    let error = trainer.checkpoint(&path).unwrap_err().to_string();
    assert!(error.contains("failed to write checkpoint"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_finished_training_is_resumed_as_finished() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.checkpoint");
    let mut trainer = added(two_tenants());
    while !trainer.is_done() {
        round(&mut trainer);
    }
    trainer.checkpoint(&path).unwrap();
    let mut resumed = added(two_tenants());
    resumed.resume(&path).unwrap();
    assert!(resumed.is_done());
    assert_eq!(resumed.counters(), trainer.counters());
    assert_eq!(finish(&mut resumed), finish(&mut trainer));
}
