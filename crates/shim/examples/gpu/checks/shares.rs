//! Shares of compute, by the work that was done in a time.

use std::thread;
use std::time::{Duration, Instant};

use super::super::bar::Bar;
use super::super::clock::steady_ns;
use super::super::look::Looks;
use super::super::report::{Figure, Rows};
use super::super::slice::Limits;
use super::super::stage::{GIB, Load, Stage, numbers};

const US: u64 = 1000;
const MS: u64 = 1_000_000;

/// What a program submits: name, length of a kernel, kernels of a graph.
const KINDS: [(&str, u64, Option<u64>); 3] = [
    ("kernels of 0.1 ms", 100 * US, None),
    ("kernels of 20 ms", 20 * MS, None),
    ("graphs of 20 kernels of 0.1 ms", 100 * US, Some(20)),
];

const LIMITS: [u32; 4] = [100, 300, 500, 700];

pub(super) fn run(stage: &Stage<'_>, rows: &mut Rows) -> Result<(), String> {
    for (kind, kernel_ns, nodes) in KINDS {
        let load = stage.load(kernel_ns, nodes)?;
        let mut errors = Vec::new();
        for milli in LIMITS.into_iter().step_by(stage.pick(1, 2)) {
            let wanted = f64::from(milli) / 10.0;
            let (got, detail) = share_of(stage, load, milli)?;
            errors.push((got - wanted).abs() * 100.0 / wanted);
            rows.add(Figure {
                metric: "IS-003",
                what: format!("share at {wanted} %, {kind}"),
                value: Some(got),
                unit: "%",
                // Two per cent of the limit; on a machine that does other things, much less is right.
                bar: stage.pick(
                    Bar::around(wanted, wanted * 0.02),
                    Bar::Between(wanted * 0.5, wanted * 1.15),
                ),
                detail,
            });
        }
        rows.add(Figure {
            metric: "IS-003",
            what: format!("accuracy, {kind}"),
            value: Some(100.0 - errors.iter().sum::<f64>() / errors.len() as f64),
            unit: "%",
            bar: Bar::AtLeast(stage.pick(98.0, 65.0)),
            detail: "100 less the mean error in per cent of the limit".to_owned(),
        });
    }
    Ok(())
}

/// What a fixed tenant gets, and what NVML says of that.
fn share_of(stage: &Stage<'_>, load: Load, milli: u32) -> Result<(f64, String), String> {
    let slice = stage.slice(Limits::fixed(milli))?;
    let mut tenant = stage.tenant(&slice)?;
    load.prepare(&mut tenant)?;
    // What was not used at the start may be caught up, and is not measured. Of long kernels there
    // must be many, since one may fall on either side of an end.
    let is_long = load.bare_ns > 5e6;
    tenant.ask(&load.spend(stage.pick(if is_long { 2000 } else { 800 }, 300)))?;
    let ms = stage.pick(if is_long { 6000 } else { 2500 }, 700);
    let line = load.spend(ms);
    tenant.tell(&line)?;
    let mut looks = Looks::default();
    looks.watch(stage, Duration::from_millis(ms))?;
    let got = load.share(&tenant.answer(&line)?)?;
    let seen = match looks.percent(&tenant) {
        Some(percent) => format!("NVML's samples come to {percent:.1} %"),
        None => "NVML shows no samples of the process".to_owned(),
    };
    Ok((got, seen))
}

/// From the change of a limit until what is done in a short span follows it.
pub(super) fn response(stage: &Stage<'_>, rows: &mut Rows) -> Result<(), String> {
    let load = stage.load(MS, None)?;
    let mut slice = stage.slice(Limits::fixed(200))?;
    let mut tenant = stage.tenant(&slice)?;
    let window_ms = stage.pick(50, 150);
    tenant.ask(&load.spend(stage.pick(1500, 500)))?;
    for (before, after) in [(200, 600), (600, 200)] {
        let window = |tenant: &mut super::super::stage::Tenant| {
            tenant.ask(&load.spend(window_ms)).and_then(|answer| load.share(&answer))
        };
        let mut shares = Vec::new();
        for _ in 0..4 {
            shares.push(window(&mut tenant)?);
        }
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        let off = stage.pick(0.1, 0.4);
        let is_near = |share: f64, milli: u32| {
            (share * 10.0 - f64::from(milli)).abs() <= f64::from(milli) * off
        };
        slice.change(|limits| (limits.request, limits.limit) = (after, after))?;
        let (begun, mut felt_ms) = (Instant::now(), None);
        while felt_ms.is_none() && begun.elapsed() < Duration::from_secs(3) {
            if is_near(window(&mut tenant)?, after) {
                felt_ms = Some(begun.elapsed().as_secs_f64() * 1000.0);
            }
        }
        rows.add(Figure {
            metric: "IS-004",
            what: format!("from {} to {} %, until it is felt", before / 10, after / 10),
            value: felt_ms.filter(|_| is_near(mean, before)),
            unit: "ms",
            bar: Bar::AtMost(stage.pick(150.0, 1500.0)),
            detail: format!("seen by spans of {window_ms} ms; {mean:.1} % before"),
        });
    }
    Ok(())
}

/// Work that was not done while an online neighbour needed the card.
pub(super) fn hold(stage: &Stage<'_>, rows: &mut Rows) -> Result<(), String> {
    let load = stage.load(MS, None)?;
    let mut slice = stage.slice(Limits::burst(500))?;
    let mut tenant = stage.tenant(&slice)?;
    tenant.ask(&load.spend(300))?;
    let (line, hold_ms) = (load.spend(1500), 500u64);
    tenant.tell(&line)?;
    thread::sleep(Duration::from_millis(400));
    let until_ns = steady_ns() + hold_ms * MS;
    slice.change(|limits| limits.hold_until_ns = until_ns)?;
    let answer = tenant.answer(&line)?;
    let [_, wall_ns] = numbers(&answer)?;
    let lost_ms = (100.0 - load.share(&answer)?) / 100.0 * wall_ns / 1e6;
    rows.add(Figure {
        metric: "",
        what: format!("work left undone by a hold of {hold_ms} ms"),
        value: Some(lost_ms),
        unit: "ms",
        bar: stage.around(hold_ms as f64, 25.0, 200.0),
        detail: "more is a hold that ends late, less one that is felt late".to_owned(),
    });
    Ok(())
}

/// The same work in a burst slice and on the bare card, in turn.
pub(super) fn alone(stage: &Stage<'_>, rows: &mut Rows) -> Result<(), String> {
    let slice = stage.slice(Limits { memory: Some(GIB), ..Limits::burst(300) })?;
    stage.insist(&slice)?;
    let kinds =
        [("kernels of 5 ms", 5 * MS, None), KINDS[2], ("kernels of 0.05 ms", 50 * US, None)];
    // A busy machine does not keep a card at work with the smallest.
    for (kind, kernel_ns, nodes) in kinds.into_iter().take(stage.pick(3, 2)) {
        let load = stage.load(kernel_ns, nodes)?;
        let mut slower = Vec::new();
        let (mut bare, mut held) = (stage.bare()?, stage.tenant(&slice)?);
        load.prepare(&mut bare)?;
        load.prepare(&mut held)?;
        held.ask(&load.spend(stage.pick(500, 200)))?;
        for _ in 0..stage.pick(5, 3) {
            let line = load.spend(stage.pick(800, 250));
            let [free, in_slice] = [&mut bare, &mut held].map(|tenant| tenant.ask(&line));
            let (free, in_slice) = (load.share(&free?)?, load.share(&in_slice?)?);
            slower.push((free - in_slice) * 100.0 / free);
        }
        slower.sort_by(f64::total_cmp);
        rows.add(Figure {
            metric: "OH-010",
            what: format!("slower than the bare card, {kind}"),
            value: Some(slower[slower.len() / 2]),
            unit: "%",
            bar: Bar::AtMost(stage.pick(1.0, 25.0)),
            detail: format!("median of {}; {slower:.1?}", slower.len()),
        });
    }
    Ok(())
}
