//! What one tenant does wrong, and what the other notices of it.

use super::super::report::Rows;
use super::super::slice::Limits;
use super::super::stage::{GIB, MIB, Stage};

const SECRET: u32 = 0x5eed_1234;

pub(super) fn run(stage: &Stage<'_>, rows: &mut Rows) -> Result<(), String> {
    let limits = Limits { memory: Some(GIB.min(stage.memory_limit())), ..Limits::fixed(400) };
    let (first, second) = (stage.slice(limits)?, stage.slice(limits)?);
    stage.insist(&first)?;
    let (mut one, mut other) = (stage.tenant(&first)?, stage.tenant(&second)?);
    one.ask(&format!("alloc a {}", 2 * MIB))?;
    one.ask(&format!("fill a {SECRET}"))?;
    let place = one.ask("where a")?;
    let read = one.ask(&format!("peek {place}"))?;
    let own = if read == SECRET.to_string() { Ok(()) } else { Err(format!("it reads {read}")) };
    rows.claim("", "a tenant reads what it wrote", own);
    // Reading nothing breaks a context on some drivers, so this one is spent on it.
    let foreign = match stage.tenant(&second)?.ask(&format!("peek {place}")) {
        Ok(read) if read == SECRET.to_string() => Err("it reads the other's number".to_owned()),
        Ok(_) | Err(_) => Ok(()),
    };
    rows.claim("IS-005", "a tenant does not read another's memory", foreign);
    let what = "a kernel that breaks its context leaves the other slice at work";
    match one.ask("fault") {
        Err(said) if said.contains("runs no code") => rows.cannot("IS-010", what, &said),
        Ok(_) => rows.claim("IS-010", what, Err("the kernel broke nothing".to_owned())),
        Err(said) => {
            let on = other.ask("launch 1000 count=10").and_then(|_| other.ask("sync"));
            let on = on.and_then(|_| other.ask(&format!("alloc b {}", 2 * MIB)));
            let on = on.map(drop).map_err(|error| format!("after '{said}': {error}"));
            rows.claim("IS-010", what, on);
            let again = stage.tenant(&first)?.ask("launch 1000").map(drop);
            rows.claim("IS-010", "the next program of the broken one's slice works", again);
        }
    }
    Ok(())
}
