//! What the library costs a call: the same call with it and without, in turn.

use super::super::bar::Bar;
use super::super::report::{Figure, Rows};
use super::super::slice::Limits;
use super::super::stage::{GIB, Stage, Tenant, numbers};

/// Least and median of a call in the three ways to run: bare, whole card, a share of it.
struct Costs {
    least: [f64; 3],
    median: [f64; 3],
}

pub(super) fn run(stage: &Stage<'_>, rows: &mut Rows) -> Result<(), String> {
    let memory = Some(GIB.min(stage.memory_limit()));
    let whole = stage.slice(Limits { memory, ..Limits::fixed(1000) })?;
    stage.insist(&whole)?;
    let part = stage.slice(Limits { memory, ..Limits::fixed(999) })?;
    let mut tenants = [stage.bare()?, stage.tenant(&whole)?, stage.tenant(&part)?];
    let calls = stage.pick(20_000, 500);
    let set = costs(stage, &mut tenants, &format!("time set calls={calls}"))?;
    let info = costs(stage, &mut tenants, &format!("time info calls={}", calls / 20))?;
    // Fewer than a driver takes in before it makes the caller wait.
    let launch = costs(stage, &mut tenants, "time launch calls=300 rounds=15")?;
    let alloc = costs(stage, &mut tenants, "time alloc rounds=50")?;
    let free = costs(stage, &mut tenants, "time free rounds=50")?;
    let both = costs(stage, &mut tenants, &format!("time memory calls={}", calls / 200 + 5))?;
    let context = costs(stage, &mut tenants, &format!("time context rounds={}", stage.pick(4, 3)))?;
    // Noise of some hundred nanoseconds is larger than these on a driver that takes microseconds.
    let most = |ns: f64| Bar::AtMost(stage.pick(ns, 20_000.0));
    rows.add(set.more("OH-005", "a call that passes through (cuCtxSetCurrent)", most(30.0)));
    rows.add(launch.more("OH-005", "a launch (cuLaunchKernel)", most(60.0)));
    rows.add(info.more("OH-005", "cuMemGetInfo", Bar::Measured));
    rows.add(both.more("OH-007", "cuMemAlloc and cuMemFree together", Bar::Measured));
    rows.add(Figure {
        metric: "OH-008",
        what: "a launch with 99.9 % over one with the whole card".to_owned(),
        value: Some(launch.least[2] - launch.least[1]),
        unit: "ns",
        bar: Bar::Measured,
        detail: launch.said(),
    });
    rows.add(launch.in_us("OH-001", "a launch, the call alone"));
    rows.add(alloc.in_us("OH-002", "cuMemAlloc of 2 MiB"));
    rows.add(free.in_us("OH-003", "cuMemFree of it"));
    rows.add(Figure {
        metric: "OH-004",
        what: "a context more than on the bare driver (cuCtxCreate)".to_owned(),
        value: Some((context.median[1] - context.median[0]) / 1000.0),
        unit: "µs",
        bar: Bar::Measured,
        detail: format!("medians {:.0?} ns", context.median),
    });
    for (metric, what, why) in NOT_APPLYING {
        rows.cannot(metric, what, why);
    }
    Ok(())
}

/// Metrics of what the library does not have.
const NOT_APPLYING: [(&str, &str, &str); 2] = [
    ("OH-006", "waiting for a lock on shared memory", "no lock is shared between processes"),
    ("OH-009", "asking NVML", "the library never asks NVML; the pool does, for all slices at once"),
];

fn costs(stage: &Stage<'_>, tenants: &mut [Tenant; 3], line: &str) -> Result<Costs, String> {
    let mut costs = Costs { least: [f64::INFINITY; 3], median: [f64::INFINITY; 3] };
    for _ in 0..stage.pick(5, 2) {
        for (at, tenant) in tenants.iter_mut().enumerate() {
            let [least, median] = numbers(&tenant.ask(line)?)?;
            costs.least[at] = costs.least[at].min(least);
            costs.median[at] = costs.median[at].min(median);
        }
    }
    Ok(costs)
}

impl Costs {
    /// What the library adds: the dearer of both slices over the bare driver.
    fn more(&self, metric: &'static str, what: &str, bar: Bar) -> Figure {
        let value = self.least[1].max(self.least[2]) - self.least[0];
        let what = format!("{what}, more than the bare driver");
        Figure { metric, what, value: Some(value), unit: "ns", bar, detail: self.said() }
    }

    fn in_us(&self, metric: &'static str, what: &str) -> Figure {
        Figure {
            metric,
            what: format!("{what}, in a slice"),
            value: Some(self.median[1] / 1000.0),
            unit: "µs",
            bar: Bar::Measured,
            detail: format!("median; on the bare driver {:.3}", self.median[0] / 1000.0),
        }
    }

    fn said(&self) -> String {
        let [bare, whole, part] = self.least;
        format!("bare {bare:.1}, whole card {whole:.1}, 99.9 % {part:.1} ns")
    }
}
