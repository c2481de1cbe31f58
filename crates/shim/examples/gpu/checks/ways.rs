//! Every way to memory that the driver has, however its functions are looked up.

use super::super::report::Rows;
use super::super::slice::Limits;
use super::super::stage::{MIB, Stage, Tenant};

const WAYS: [&str; 8] = ["plain", "pitch", "managed", "async", "pool", "vmm", "array", "mipmap"];

const LOOKUPS: [&str; 3] = ["lookup dlsym", "lookup address 11080", "lookup address 12040 own"];

pub(super) fn run(stage: &Stage<'_>, rows: &mut Rows) -> Result<(), String> {
    let limit = stage.memory_limit();
    let slice = stage.slice(Limits::memory(limit))?;
    for lookup in LOOKUPS {
        for way in WAYS {
            // A tenant each, so that what one leaves does not hide another's answer.
            let mut tenant = stage.tenant(&slice)?;
            tenant.ask(lookup)?;
            let what = format!("{way}, by {lookup}: half is granted, as much again refused");
            rows.claim("", &what, held(&mut tenant, way, limit));
        }
    }
    Ok(())
}

/// A little more than half is granted, but not twice; when it was given back, it is granted again.
fn held(tenant: &mut Tenant, way: &str, limit: u64) -> Result<(), String> {
    let half = limit / 2 / (2 * MIB) * (2 * MIB) + 8 * MIB;
    // The levels of a mipmapped array come to a third more than its first.
    let bytes = if way == "mipmap" { half - half / 4 } else { half };
    for turn in ["the first time", "again"] {
        let at = |said: String| format!("{turn}: {said}");
        tenant.ask(&format!("alloc a {bytes} {way}")).map_err(at)?;
        tenant.must_lack_memory(&format!("alloc b {half} {way}")).map_err(at)?;
        tenant.ask("free a").map_err(at)?;
        // Pools keep what they have until somebody waits.
        tenant.ask("sync").map_err(at)?;
    }
    Ok(())
}
