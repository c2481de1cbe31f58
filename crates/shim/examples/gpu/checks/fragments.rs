//! Memory in pieces: what a slice can still give, how fast, and what comes back.

use super::super::bar::Bar;
use super::super::report::{Figure, Rows};
use super::super::slice::Limits;
use super::super::stage::{MIB, Stage, Tenant, numbers};

/// Sizes come round in this order, which has no period that the driver's pages have.
const SIZES_MIB: [u64; 5] = [2, 14, 6, 30, 10];

pub(super) fn run(stage: &Stage<'_>, rows: &mut Rows) -> Result<(), String> {
    let limit = stage.memory_limit();
    let slice = stage.slice(Limits::memory(limit))?;
    stage.insist(&slice)?;
    let mut tenant = stage.tenant(&slice)?;
    let timed = format!("time alloc bytes={} rounds=20", 16 * MIB);
    let [_, clean_ns] = numbers(&tenant.ask(&timed)?)?;
    let clean = free(&mut tenant)?;
    let count = break_up(&mut tenant, limit / 2)?;
    let broken = free(&mut tenant)?;
    let largest = largest(&mut tenant, broken)?;
    rows.add(Figure {
        metric: "FRAG-001",
        what: "free memory that cannot be had in one piece".to_owned(),
        value: Some(100.0 - largest as f64 * 100.0 / broken as f64),
        unit: "%",
        bar: Bar::AtMost(1.0),
        detail: format!("{largest} of {broken} bytes, every second of {count} pieces given back"),
    });
    let [_, broken_ns] = numbers(&tenant.ask(&timed)?)?;
    rows.add(Figure {
        metric: "FRAG-002",
        what: "an allocation of 16 MiB among pieces over one before".to_owned(),
        value: Some(broken_ns / clean_ns),
        unit: "times",
        bar: Bar::Measured,
        detail: format!("medians {broken_ns:.0} and {clean_ns:.0} ns"),
    });
    for at in (1..count).step_by(2) {
        tenant.ask(&format!("free a{at}"))?;
    }
    tenant.ask("sync")?;
    let after = free(&mut tenant)?;
    rows.add(Figure {
        metric: "FRAG-003",
        what: "memory that came back when the rest was given back".to_owned(),
        value: Some((after as f64 - broken as f64) * 100.0 / (clean as f64 - broken as f64)),
        unit: "%",
        bar: Bar::around(100.0, 0.001),
        detail: format!("{clean} bytes free before, {after} after"),
    });
    Ok(())
}

/// Takes pieces until so much is held, and gives every second one back; how many they were.
fn break_up(tenant: &mut Tenant, bytes: u64) -> Result<usize, String> {
    let (mut held, mut count) = (0, 0);
    while held < bytes && count < 256 {
        let size = SIZES_MIB[count % SIZES_MIB.len()] * MIB;
        tenant.ask(&format!("alloc a{count} {size}"))?;
        (held, count) = (held + size, count + 1);
    }
    for at in (0..count).step_by(2) {
        tenant.ask(&format!("free a{at}"))?;
    }
    Ok(count)
}

/// The largest piece that is granted, to 2 MiB.
fn largest(tenant: &mut Tenant, free: u64) -> Result<u64, String> {
    let (mut least, mut most) = (0, free / (2 * MIB) + 1);
    while most - least > 1 {
        let middle = (least + most) / 2;
        match tenant.ask(&format!("alloc largest {}", middle * 2 * MIB)) {
            Ok(_) => {
                tenant.ask("free largest")?;
                least = middle;
            }
            Err(said) if said.contains("error 2 ") => most = middle,
            Err(said) => return Err(said),
        }
    }
    Ok(least * 2 * MIB)
}

fn free(tenant: &mut Tenant) -> Result<u64, String> {
    let [free, _] = numbers(&tenant.ask("info")?)?;
    Ok(free as u64)
}
