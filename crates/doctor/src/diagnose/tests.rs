//! Causes from counts that are made up, each as a program of its kind would leave them.

use std::collections::BTreeMap;

use cotenant_types::trace::{CallKind, GapLength, GapStart, TraceLayout, TraceWord};

use super::*;
use crate::card::CardCounts;
use crate::held::Held;
use crate::observed::{FilesRead, ProcessCounts, WrittenFile};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;

fn held(parts: &[(Held, u64)]) -> Observed {
    let wall_ns = parts.iter().map(|part| part.1).sum();
    Observed { wall_ns, looks: 1000, held: BTreeMap::from_iter(parts.iter().copied()), ..empty() }
}

fn empty() -> Observed {
    Observed { cores: 2, ..Observed::default() }
}

/// A card that was used for ten seconds.
fn card(words: &[(usize, u64)]) -> CardCounts {
    let mut all = vec![0; TraceLayout::SLOT_STRIDE];
    all[TraceWord::FIRST_NS] = SECOND;
    all[TraceWord::ACCOUNTED_NS] = 11 * SECOND;
    all[TraceWord::MULTIPROCESSORS] = 100;
    for (word, value) in words {
        all[*word] = *value;
    }
    CardCounts::new(all, 11 * SECOND).unwrap()
}

fn gap(length: GapLength, start: GapStart, count: u64, ns: u64) -> [(usize, u64); 2] {
    [(TraceWord::gaps(length, start), count), (TraceWord::gap_ns(length, start), ns)]
}

#[track_caller]
fn check(observed: &Observed, expected: &[(Cause, u32)]) {
    let found = diagnose(observed, MIN_SHARE_MILLI);
    let found: Vec<_> = found.findings.iter().map(|one| (one.cause, one.share_milli)).collect();
    assert_eq!(found, expected);
}

#[test]
fn waits_are_named_by_what_was_waited_for() {
    let busy = (Held::Computes, 6 * SECOND);
    for (by, cause) in [
        (Held::ByWorkers, Cause::SlowWorkers),
        (Held::ByReading, Cause::SlowStorage),
        (Held::ByOpening, Cause::SmallFiles),
        (Held::ByOutput, Cause::Output),
        (Held::ByNetwork, Cause::Network),
        (Held::BySleep, Cause::Sleep),
        (Held::ByUnknown, Cause::UnknownWait),
    ] {
        check(&held(&[busy, (by, 4 * SECOND)]), &[(cause, 400)]);
    }
    check(&held(&[busy]), &[]);
    check(&held(&[busy, (Held::BySleep, 100 * MS)]), &[]);
    check(&empty(), &[]);
}

#[test]
fn writes_are_told_apart_by_what_was_written() {
    let file = |held_ns, bytes, is_appended| WrittenFile {
        path: "/x".to_owned(),
        held_ns,
        bytes,
        is_appended,
    };
    let written = vec![file(3 * SECOND, 64 << 20, false), file(SECOND, 1 << 30, true)];
    let both = Observed {
        written,
        ..held(&[(Held::Computes, 6 * SECOND), (Held::ByWriting, 4 * SECOND)])
    };
    check(&both, &[(Cause::Checkpoints, 300), (Cause::Logging, 100)]);
}

#[test]
fn time_in_the_system_is_put_down_to_what_is_transferred() {
    let lead = ProcessCounts {
        user_ns: SECOND,
        system_ns: 3 * SECOND,
        reads: 400_000,
        read_bytes: 400_000 << 12,
        ..ProcessCounts::default()
    };
    let small = FilesRead { count: 900, bytes: 900 << 12 };
    let reads = Observed { lead, files: small, ..held(&[(Held::Computes, 4 * SECOND)]) };
    check(&reads, &[(Cause::SmallFiles, 750)]);
    // Much time in the system for other things is nobody's reading.
    let other = ProcessCounts { reads: 10, read_bytes: 100, ..lead };
    check(&Observed { lead: other, ..reads.clone() }, &[]);
    let large = FilesRead { count: 3, bytes: 3 << 30 };
    let lead = ProcessCounts { reads: 4000, read_bytes: 4000 << 20, ..lead };
    check(&Observed { lead, files: large, ..reads.clone() }, &[(Cause::SlowStorage, 750)]);
    // Reads of no file are of pipes.
    check(&Observed { lead, files: FilesRead::default(), ..reads }, &[]);
}

#[test]
fn time_without_a_processor_is_not_the_programs_own() {
    let crowded = |held_parts: &[(Held, u64)]| Observed {
        lead: ProcessCounts {
            user_ns: 6 * SECOND,
            ready_ns: 2 * SECOND,
            ..ProcessCounts::default()
        },
        ..held(held_parts)
    };
    check(&crowded(&[(Held::Computes, 8 * SECOND)]), &[(Cause::NoProcessor, 250)]);
    let [count, ns] = gap(GapLength::Long, GapStart::RanDry, 100, 4 * SECOND);
    let program =
        Observed { card: Some(card(&[count, ns])), ..crowded(&[(Held::Computes, 4 * SECOND)]) };
    // Half of the time at work fell into gaps, and with it half of that without a processor.
    check(&program, &[(Cause::InlinePreparation, 300), (Cause::NoProcessor, 100)]);
}

#[test]
fn threads_that_run_one_at_a_time_wait_for_a_lock_or_hand_over() {
    let parts = [(Held::Computes, 4 * SECOND), (Held::ByOneThread, 6 * SECOND)];
    let lead =
        |switches| ProcessCounts { user_ns: 10 * SECOND, switches, ..ProcessCounts::default() };
    let program = |switches| Observed { lead: lead(switches), ..held(&parts) };
    check(&program(1000), &[(Cause::OneThread, 600)]);
    check(&program(1_000_000), &[(Cause::SmallPieces, 600)]);
}

#[test]
fn gaps_of_a_card_are_what_the_program_waited_for_meanwhile() {
    let [count, ns] = gap(GapLength::Long, GapStart::RanDry, 100, 6 * SECOND);
    let looks = held(&[(Held::ByWorkers, 2 * SECOND), (Held::Computes, SECOND)]);
    let program = Observed { card: Some(card(&[count, ns])), ..looks };
    check(&program, &[(Cause::SlowWorkers, 400), (Cause::InlinePreparation, 200)]);
}

#[test]
fn a_wait_for_the_card_costs_no_more_than_the_card_worked() {
    let computes = held(&[(Held::Computes, SECOND)]);
    let waited = |idle_ns| {
        let [count, ns] = gap(GapLength::Long, GapStart::Synchronized, 1000, idle_ns);
        let work = (TraceWord::CARD_NS, 10 * SECOND - idle_ns);
        Observed { card: Some(card(&[count, ns, work])), ..computes.clone() }
    };
    check(&waited(4 * SECOND), &[(Cause::Synchronization, 400)]);
    check(&waited(8 * SECOND), &[(Cause::InlinePreparation, 600), (Cause::Synchronization, 200)]);
}

#[test]
fn calls_in_which_the_card_idles_are_named_by_their_kind() {
    for (kind, cause) in [
        (CallKind::CopyFromPageable, Cause::UnpinnedCopies),
        (CallKind::CopyAndWait, Cause::SynchronousCopies),
        (CallKind::Fetch, Cause::Fetches),
        (CallKind::ReadValue, Cause::Synchronization),
        (CallKind::Launch, Cause::TinyKernels),
        (CallKind::Allocate, Cause::Allocations),
    ] {
        let card =
            card(&[(TraceWord::call_idle_ns(kind), 3 * SECOND), (TraceWord::CARD_NS, 7 * SECOND)]);
        check(&Observed { card: Some(card), ..empty() }, &[(cause, 300)]);
    }
}

#[test]
fn a_small_batch_leaves_the_card_empty_between_and_within_kernels() {
    let [count, ns] = gap(GapLength::Medium, GapStart::RanDry, 20_000, 6 * SECOND);
    let words = |blocks: u64, bytes: u64| {
        [
            count,
            ns,
            (TraceWord::KERNELS, 40_000),
            (TraceWord::BLOCKS, 40_000 * blocks),
            (TraceWord::CARD_NS, 40_000 * 20_000),
            (TraceWord::calls(CallKind::CopyBehind), 10_000),
            (TraceWord::call_bytes(CallKind::CopyBehind), 10_000 * bytes),
        ]
    };
    let program = |words: &[(usize, u64)]| Observed { card: Some(card(words)), ..empty() };
    check(&program(&words(4, 4096)), &[(Cause::SmallBatch, 600)]);
    check(&program(&words(4000, 4096)), &[(Cause::InlinePreparation, 600)]);
    check(&program(&words(4, 64 << 20)), &[(Cause::InlinePreparation, 600)]);
}

#[test]
fn a_card_that_is_always_busy_has_nothing_to_say() {
    let program = Observed { card: Some(card(&[])), ..empty() };
    let diagnosis = diagnose(&program, MIN_SHARE_MILLI);
    assert_eq!((diagnosis.busy_milli, diagnosis.findings.len()), (1000, 0));
    assert!(diagnosis.text().contains("Nothing in particular"), "{}", diagnosis.text());
}

#[test]
fn whatever_a_program_writes_into_its_counts_is_survived() {
    for value in [1, u64::MAX / 2, u64::MAX] {
        let words = vec![value; TraceLayout::SLOT_STRIDE];
        let card = CardCounts::new(words, 11 * SECOND);
        let program = Observed { card, ..held(&[(Held::Computes, SECOND)]) };
        let diagnosis = diagnose(&program, 0);
        assert!(diagnosis.findings.iter().all(|finding| finding.share_milli <= 1000));
        assert!(!diagnosis.text().is_empty());
    }
}

#[test]
fn every_cause_has_words_of_its_own() {
    let mut names: Vec<_> = Cause::ALL.iter().map(|cause| cause.name()).collect();
    names.extend(Cause::ALL.iter().map(|cause| cause.what()));
    names.extend(Cause::ALL.iter().map(|cause| cause.remedy()));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn the_page_for_people_has_every_cause() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/doctor.md");
    let page = std::fs::read_to_string(path).unwrap();
    for cause in Cause::ALL {
        let (name, what, remedy) = (cause.name(), cause.what(), cause.remedy());
        let row = page.lines().find(|line| line.starts_with(&format!("| **{name}**: {what} |")));
        assert!(row.is_some_and(|row| row.ends_with(&format!("| {remedy} |"))), "{name}");
    }
}
