//! A program sees its slice in place of the card, and no other.

use std::process::Command;

use super::super::report::Rows;
use super::super::slice::Limits;
use super::super::stage::{MIB, Stage, numbers};

pub(super) fn run(stage: &Stage<'_>, rows: &mut Rows) -> Result<(), String> {
    let limit = stage.memory_limit();
    let slice = stage.slice(Limits::memory(limit))?;
    let mut tenant = stage.tenant(&slice)?;
    let taken = limit / 4 / (2 * MIB) * (2 * MIB);
    tenant.ask(&format!("alloc a {taken}"))?;
    let [total] = numbers(&tenant.ask("total")?)?;
    rows.claim("", "cuDeviceTotalMem is the limit", same(total, limit));
    let [free, total] = numbers(&tenant.ask("info")?)?;
    let both = same(total, limit).and_then(|()| same(free, limit - taken));
    rows.claim("", "cuMemGetInfo is the limit and what is left of it", both);
    let [total, used, free] = numbers(&tenant.ask("nvml memory 0")?)?;
    let sums = same(total, limit)
        .and_then(|()| same(used, taken))
        .and_then(|()| same(free, limit - taken));
    rows.claim("", "NVML says the same", sums);
    let outside = stage.facts.memory_bytes as f64;
    let outside = if outside > limit as f64 { Ok(()) } else { Err("the card is less".to_owned()) };
    rows.claim("", "outside the slice the card is whole", outside);
    Ok(())
}

/// The system's own program, in a slice.
pub(super) fn nvidia_smi(stage: &Stage<'_>, rows: &mut Rows) -> Result<(), String> {
    let what = "nvidia-smi shows the limit as the card's memory";
    let limit = stage.memory_limit();
    let slice = stage.slice(Limits::memory(limit))?;
    let mut command = Command::new("nvidia-smi");
    command.args(["--query-gpu=memory.total", "--format=csv,noheader,nounits", "--id=0"]);
    stage.put(&mut command, Some(&slice));
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => {
            rows.cannot("", what, &format!("nvidia-smi does not start: {error}"));
            return Ok(());
        }
    };
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let truth = match said.parse::<u64>() {
        Ok(shown_mib) if shown_mib == limit / MIB => Ok(()),
        Ok(shown_mib) => Err(format!("it shows {shown_mib} MiB, not {}", limit / MIB)),
        Err(_) => Err(format!("it says '{said}' and ends with {}", output.status)),
    };
    rows.claim("", what, truth);
    Ok(())
}

fn same(figure: f64, wanted: u64) -> Result<(), String> {
    match figure == wanted as f64 {
        true => Ok(()),
        false => Err(format!("{figure} bytes, not {wanted}")),
    }
}
