//! What each kernel takes of a training round, beside the least that the card takes for what it moves
//! and computes.

use cotenant_transformer::KernelUse;

use super::super::place::{Place, Stage};
use super::super::rates::{Rates, floor_ms, rates_of};
use super::super::report::{Bar, Figure, Rows, short};
use super::speed;

/// Tenants of the round, all of which fit in it.
const TENANTS: u64 = 8;

pub(super) fn run<P: Place>(stage: &Stage<'_, P>, rows: &mut Rows) -> Result<(), String> {
    let opened = match speed::open(stage) {
        Ok(opened) => opened,
        Err(fault) => {
            rows.cannot("bf16", &stage.missing(fault)?);
            return Ok(());
        }
    };
    let mut run = speed::start(stage, &opened, TENANTS)?;
    let mut ran = Ok(());
    let Some(used) = stage.place.profiled(opened.encoder.backend(), || ran = run.round()) else {
        rows.cannot("kernels", "the processor has none");
        return Ok(());
    };
    ran?;
    let used = used.map_err(|fault| fault.to_string())?;
    if opened.notes.products.is_some() {
        let own = used.iter().find(|one| one.kernel.starts_with("linear"));
        let truth = own.map_or(Ok(()), |one| Err(format!("{} was launched", one.kernel)));
        rows.claim("cuBLASLt multiplies with all frozen weights", truth);
    }
    let rates = rates_of(&opened.notes.card);
    if rates.is_none() {
        rows.cannot("floors", &format!("the rates of {} are not known here", opened.notes.card));
    }
    let all: f64 = used.iter().map(|one| one.ms).sum();
    used.iter().for_each(|one| say(rows, one, (all, rates)));
    let what = format!("bf16, a round of {TENANTS} tenants, all kernels");
    let detail = "one after the other, each marked".to_owned();
    rows.add(Figure { what: &what, value: all, unit: "ms", bar: Bar::Measured, detail });
    Ok(())
}

/// A kernel's time, and of that the part in which the card could do it.
fn say(rows: &mut Rows, one: &KernelUse, (all, rates): (f64, Option<Rates>)) {
    let KernelUse { kernel, launches, ms, bytes, operations } = *one;
    let (bytes, operations) = (bytes as f64, operations as f64);
    let what = format!("bf16, a round of {TENANTS} tenants, {kernel}");
    let detail = format!(
        "{launches} launches, {} % of all, {} GFLOP, {} MB",
        short(ms / all * 100.0),
        short(operations / 1e9),
        short(bytes / 1e6)
    );
    rows.add(Figure { what: &what, value: ms, unit: "ms", bar: Bar::Measured, detail });
    let Some(rates) = rates else { return };
    let floor = floor_ms(rates, operations, bytes);
    let (what, detail) = (format!("{what}, of its floor"), format!("floor {} ms", short(floor)));
    let (value, unit) = (floor / ms * 100.0, "%");
    rows.add(Figure { what: &what, value, unit, bar: Bar::Measured, detail });
}
