//! A training process that is killed at any moment and started again ends with the same bits.
//!
//! The test binary is its own child: with `COTENANT_KILLED_CHILD` set, the test trains three random
//! tenants in that folder, writes a checkpoint each round and says on stdout what it is about to do.
//! The parent kills it with SIGKILL when it has heard a drawn number of such lines, so a kill falls
//! into a round, into the writing of a checkpoint, or between them. A child stops by itself soon
//! after it should have been killed, and waits: a slow parent still kills it before the end. After
//! the last kill a child trains to the end, and what it ends with must be what a process that was
//! never stopped ends with. Threads are drawn anew each time, and the folder also holds a cache of
//! prefixes, which a kill may damage.
//!
//! `COTENANT_SEED=N cargo test -p cotenant-train --test killed` replays a failure.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a helper of a test fails by panicking, and the seed has to be said"
)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Ended, encoder, finish, fused, join, limits, prefix_in_memory, round, trainer};
use cotenant_train::{Evaluation, Length, Limits, PrefixLimits, TenantSpec};
use cotenant_transformer::random::mix;

const TEST: &str = "a_process_that_is_killed_and_resumed_ends_with_the_same_bits";
/// The child's folder; set for a child alone.
const CHILD: &str = "COTENANT_KILLED_CHILD";
/// `seed threads rounds_max` of a child.
const ORDERS: &str = "COTENANT_KILLED_ORDERS";
/// Begins each line of a child that the parent counts.
const MARK: &str = "now:";
/// Lines of one round.
const MARKS_A_ROUND: u64 = 3;
const KILLS: u64 = 6;
const TRAININGS: u64 = 3;
const SIGKILL: i32 = 9;

#[test]
fn a_process_that_is_killed_and_resumed_ends_with_the_same_bits() {
    if let Some(folder) = std::env::var_os(CHILD) {
        let orders = std::env::var(ORDERS).unwrap();
        let orders: Vec<u64> = orders.split(' ').map(|order| order.parse().unwrap()).collect();
        let [seed, threads, rounds_max] = orders[..] else { panic!("{orders:?}") };
        return train(Path::new(&folder), Orders { seed, threads, rounds_max });
    }
    let seed = match std::env::var("COTENANT_SEED") {
        Ok(seed) => seed.parse().expect("COTENANT_SEED is a number"),
        Err(_) => RandomState::new().hash_one("any seed will do"),
    };
    println!("replay with: COTENANT_SEED={seed} cargo test -p cotenant-train --test killed");
    for training in 0..TRAININGS {
        check(mix(&[seed, training]));
    }
}

/// What a child is to do.
#[derive(Clone, Copy)]
struct Orders {
    /// Decides the tenants.
    seed: u64,
    threads: u64,
    /// Rounds after which the child waits for being killed.
    rounds_max: u64,
}

fn check(seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    for kill in 0..KILLS {
        let draw = |what: u64, below: u64| mix(&[seed, kill, what]) % below;
        // The first life ends before a checkpoint is done, the second one not before.
        let marks = match kill {
            0 => 1 + draw(0, 2),
            1 => MARKS_A_ROUND + draw(0, 4 * MARKS_A_ROUND),
            _ => 1 + draw(0, 4 * MARKS_A_ROUND),
        };
        let rounds_max = marks.div_ceil(MARKS_A_ROUND) + 1;
        let orders = Orders { seed, threads: 1 + draw(1, 3), rounds_max };
        let (heard, signal) = run_child(folder.path(), orders, Some(marks));
        assert_eq!(signal, Some(SIGKILL), "the child ended by itself after {heard} lines");
    }
    assert!(folder.path().join("checkpoint").is_file(), "every later life goes on from it");
    let orders = Orders { seed, threads: 2, rounds_max: u64::MAX };
    let (heard, signal) = run_child(folder.path(), orders, None);
    assert!(heard > MARKS_A_ROUND, "there was nothing left to train after the last kill");
    assert_eq!(signal, None);
    let expected = written(&fused(&encoder(), limits(), tenants(seed)));
    let found = fs::read_to_string(folder.path().join("ended")).unwrap();
    let differs = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    let name = |line: &str| line.chars().take(40).collect::<String>();
    assert!(found == expected, "{:?}", differs.map(|(found, _)| name(found)));
}

/// Runs a child and kills it once so many lines were heard. Returns their number and the signal that
/// ended it.
fn run_child(folder: &Path, orders: Orders, kill_at: Option<u64>) -> (u64, Option<i32>) {
    let Orders { seed, threads, rounds_max } = orders;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(CHILD, folder)
        .env(ORDERS, format!("{seed} {threads} {rounds_max}"))
        // The child reads until the parent lets go of this pipe, so it never outlives the parent.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut heard = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        heard += u64::from(line.unwrap().starts_with(MARK));
        if Some(heard) == kill_at {
            child.kill().unwrap();
            break;
        }
    }
    let status = child.wait().unwrap();
    assert!(status.success() || status.signal().is_some(), "the child failed: {status}");
    (heard, status.signal())
}

/// The child: goes on from the checkpoint that is there, and writes `ended` at the end.
fn train(folder: &Path, orders: Orders) {
    let path = folder.join("checkpoint");
    let prefix = PrefixLimits {
        folder: Some(folder.join("prefixes")),
        disk_bytes_max: 50_000,
        ..prefix_in_memory(20_000)
    };
    let limits = Limits { threads: orders.threads as usize, prefix, ..limits() };
    let mut trainer = trainer(&encoder(), limits);
    join(&mut trainer, tenants(orders.seed));
    if path.exists() {
        trainer.resume(&path).unwrap();
        assert!(trainer.counters().rounds > 0, "it goes on, and does not begin anew");
    }
    for _ in 0..orders.rounds_max {
        if trainer.is_done() {
            fs::write(folder.join("ended"), written(&finish(&mut trainer))).unwrap();
            return;
        }
        say("a round");
        round(&mut trainer);
        say("a checkpoint");
        trainer.checkpoint(&path).unwrap();
        say("between rounds");
    }
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn say(what: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{MARK} {what}").unwrap();
    stdout.flush().unwrap();
}

/// Three tenants that take more rounds than all lives of killed children together.
fn tenants(seed: u64) -> Vec<TenantSpec> {
    let long = |i| {
        let mut tenant = common::tenant(mix(&[seed, 55, i]));
        tenant.name = format!("tenant {i}");
        tenant.settings.length = Length::Steps(32);
        let evaluation = &mut tenant.settings.evaluation;
        // One that waits for no score trains from the first round on, so that every checkpoint holds
        // a round (COTENANT_SEED=9386908958114843476 drew three that all waited).
        let judged = evaluation.filter(|_| i > 0);
        *evaluation = judged.map(|evaluation| Evaluation { patience: None, ..evaluation });
        tenant
    };
    (0..3).map(long).collect()
}

/// One line a tenant.
fn written(ended: &BTreeMap<String, Ended>) -> String {
    ended.iter().map(|(name, ended)| format!("{name}: {ended:?}\n")).collect()
}
