//! The memory limit: never passed, fillable, changed and credited.

use std::thread;
use std::time::{Duration, Instant};

use super::super::bar::Bar;
use super::super::report::{Figure, Rows};
use super::super::slice::Limits;
use super::super::stage::{GIB, MIB, Stage, Tenant, numbers};

const CHUNK: u64 = 64 * MIB;
const STEP: u64 = 2 * MIB;

/// Many processes that take and give back at random, and NVML's word of all of them meanwhile.
pub(super) fn race(stage: &Stage<'_>, rows: &mut Rows) -> Result<(), String> {
    let limit = stage.memory_limit();
    let slice = stage.slice(Limits::memory(limit))?;
    let count = stage.pick(16, 6);
    let mut tenants: Vec<Tenant> =
        (0..count).map(|_| stage.tenant(&slice)).collect::<Result<_, _>>()?;
    // Contexts stand by now, and are not what is limited here.
    let before = stage.used()?;
    let (ms, each) = (stage.pick(8000, 700), limit / 8);
    let begun = Instant::now();
    for (seed, tenant) in tenants.iter_mut().enumerate() {
        tenant.tell(&format!("race {ms} {} {each}", seed * 2 + 1))?;
    }
    let mut most = 0;
    while begun.elapsed() < Duration::from_millis(ms) {
        most = most.max(stage.used()?.saturating_sub(before));
    }
    let (mut held, mut granted, mut refused) = (0.0, 0.0, 0.0);
    for tenant in &mut tenants {
        let [held_one, granted_one, refused_one] = numbers(&tenant.answer("race")?)?;
        held += held_one;
        granted += granted_one;
        refused += refused_one;
    }
    most = most.max(stage.used()?.saturating_sub(before));
    let detail = format!("{count} processes, {granted} granted, {refused} refused");
    let figure = |what: &str, bytes: f64, bar| Figure {
        metric: "",
        what: what.to_owned(),
        value: Some(bytes * 100.0 / limit as f64),
        unit: "% of the limit",
        bar,
        detail: detail.clone(),
    };
    rows.add(figure("the most that NVML saw during a race", most as f64, Bar::AtMost(101.0)));
    rows.add(figure("what processes held after it", held, Bar::AtMost(100.0)));
    let raced = if refused > 0.0 { Ok(()) } else { Err("nobody was refused".to_owned()) };
    rows.claim("", "the limit was reached during the race", raced);
    Ok(())
}

/// Fills a slice, and times what is refused.
pub(super) fn fill(stage: &Stage<'_>, rows: &mut Rows) -> Result<(), String> {
    let limit = stage.memory_limit();
    let slice = stage.slice(Limits::memory(limit))?;
    let mut tenant = stage.tenant(&slice)?;
    let before = stage.used()?;
    let (mut held, mut count) = (0, 0);
    for size in [CHUNK, STEP] {
        // One that is not held at all is stopped soon after.
        while held < limit + limit / 4 {
            let line = format!("alloc a{count} {size}");
            match tenant.ask(&line) {
                Ok(_) => (held, count) = (held + size, count + 1),
                Err(said) if said.contains("error 2 ") => break,
                Err(said) => return Err(said),
            }
        }
    }
    let seen = stage.used()?.saturating_sub(before);
    let part = |bytes: u64| Some(bytes as f64 * 100.0 / limit as f64);
    rows.add(Figure {
        metric: "IS-001",
        what: "memory that a slice could fill".to_owned(),
        value: part(held),
        unit: "% of the limit",
        bar: Bar::Between(99.0, 100.0),
        detail: format!("{held} of {limit} bytes"),
    });
    rows.add(Figure {
        metric: "IS-001",
        what: "the same as NVML saw it".to_owned(),
        value: part(seen),
        unit: "% of the limit",
        bar: Bar::Between(99.0, 101.0),
        detail: format!("{seen} bytes more than before"),
    });
    let timed = tenant.ask(&format!("time refused bytes={} rounds=50", 100 * MIB));
    let (value, detail) = match timed.and_then(|answer| numbers(&answer)) {
        Ok([least, median]) => (Some(median / 1000.0), format!("median; least {least} ns")),
        Err(said) => (None, said),
    };
    rows.add(Figure {
        metric: "IS-002",
        what: "an allocation beyond the limit is refused".to_owned(),
        value,
        unit: "µs",
        bar: Bar::AtMost(stage.pick(100.0, 100_000.0)),
        detail,
    });
    Ok(())
}

/// More and less while a program runs.
pub(super) fn resize(stage: &Stage<'_>, rows: &mut Rows) -> Result<(), String> {
    let limit = stage.memory_limit();
    let mut slice = stage.slice(Limits::memory(limit))?;
    let mut tenant = stage.tenant(&slice)?;
    tenant.ask(&format!("alloc a {}", limit / 2))?;
    let half = format!("alloc b {}", limit / 2 + CHUNK);
    rows.claim("", "more than the limit is refused", tenant.must_lack_memory(&half));
    slice.change(|limits| limits.memory = Some(limit + CHUNK))?;
    let granted = tenant.ask(&half).map(drop);
    rows.claim("", "after the limit rose it is granted", granted);
    slice.change(|limits| limits.memory = Some(limit / 4))?;
    let shown = tenant.ask("info").and_then(|answer| numbers(&answer)).and_then(|[free, total]| {
        match (free as u64, total as u64) == (0, limit / 4) {
            true => Ok(()),
            false => Err(format!("{free} of {total} bytes are shown as free")),
        }
    });
    rows.claim("", "after it fell below what is held, nothing is free", shown);
    let more = format!("alloc c {STEP}");
    rows.claim("", "and nothing more is granted", tenant.must_lack_memory(&more));
    tenant.ask("free a")?;
    let _ = tenant.ask("free b");
    rows.claim("", "what was given back can be had again", tenant.ask(&more).map(drop));
    Ok(())
}

/// What a killed process held.
pub(super) fn killed(stage: &Stage<'_>, rows: &mut Rows) -> Result<(), String> {
    let limit = stage.memory_limit().min(4 * GIB);
    let slice = stage.slice(Limits::memory(limit))?;
    let (mut left, mut doomed) = (stage.tenant(&slice)?, stage.tenant(&slice)?);
    let before = stage.used()?;
    let most = limit / 8 * 7 / STEP * STEP;
    doomed.ask(&format!("alloc a {most}"))?;
    let line = format!("alloc a {most}");
    rows.claim("", "what a neighbour in the slice holds is refused", left.must_lack_memory(&line));
    doomed.kill()?;
    let begun = Instant::now();
    // A real driver takes its time to free what a dead process held.
    while stage.used()? > before && begun.elapsed() < Duration::from_secs(10) {
        thread::sleep(Duration::from_millis(10));
    }
    let freed_ms = begun.elapsed().as_millis();
    rows.claim("", "after SIGKILL it is granted", left.ask(&line).map(drop));
    rows.claim(
        "",
        "after SIGKILL the card is as before",
        match freed_ms < 10_000 {
            true => Ok(()),
            false => Err("NVML still showed it after 10 s".to_owned()),
        },
    );
    Ok(())
}
