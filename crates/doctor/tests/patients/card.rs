//! Patients with a card.

use cotenant_doctor::Cause;

use super::ward::{Ward, is_first, is_well};

#[test]
fn a_card_that_always_has_work_is_well() {
    let seen = Ward::new().see("card-well", "");
    is_well(&seen);
    assert!(seen.busy_milli > 900, "{}", seen.text());
}

#[test]
fn workers_that_are_slower_than_the_card_are_named() {
    is_first(Cause::SlowWorkers, || Ward::new().see("card-workers", ""));
}

#[test]
fn copies_from_memory_that_is_not_pinned_are_named() {
    is_first(Cause::UnpinnedCopies, || Ward::new().see("card-unpinned", ""));
}

#[test]
fn copies_that_are_waited_for_are_named() {
    is_first(Cause::SynchronousCopies, || Ward::new().see("card-synchronous", ""));
}

#[test]
fn tiny_kernels_are_named() {
    is_first(Cause::TinyKernels, || Ward::new().see("card-tiny", ""));
}

#[test]
fn waits_in_every_step_are_named() {
    is_first(Cause::Synchronization, || Ward::new().see("card-waits", ""));
}

#[test]
fn batches_that_are_too_small_are_named() {
    is_first(Cause::SmallBatch, || Ward::new().see("card-small", ""));
}

#[test]
fn preparation_between_two_steps_is_named() {
    is_first(Cause::InlinePreparation, || Ward::new().see("card-inline", ""));
}

#[test]
fn checkpoints_of_a_card_are_named() {
    let ward = Ward::new();
    let folder = ward.folder().to_string_lossy().into_owned();
    is_first(Cause::Checkpoints, || ward.see("card-checkpoints", &folder));
}

/// Of two causes, whichever costs more comes first.
#[test]
fn the_heavier_of_two_causes_comes_first() {
    let ward = Ward::new();
    // A mebibyte takes a millisecond to copy.
    let check = |weights: &str, first: Cause, second: Cause| {
        let seen = is_first(first, || ward.see("card-both", weights));
        let second = seen.findings.iter().find(|finding| finding.cause == second);
        assert!(second.is_some(), "{weights}: {}", seen.text());
    };
    check("4000,12582912", Cause::UnpinnedCopies, Cause::InlinePreparation);
    check("16000,4194304", Cause::InlinePreparation, Cause::UnpinnedCopies);
}
