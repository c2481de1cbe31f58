//! NVIDIA's compute-sanitizer over a small step of this program.

use std::env;
use std::process::Command;

use cotenant_transformer::TapeMode;

use super::super::place::{Place, Stage};
use super::super::report::Rows;
use super::super::scene::{self, Amount, ragged_tenant};
use super::super::work::{Batch, Buffers, PRECISIONS, pass, train};
use super::same::{ragged_batch, slopes};

const PROGRAM: &str = "compute-sanitizer";
const TOOLS: [&str; 3] = ["memcheck", "racecheck", "initcheck"];
/// What the sanitizer ends with if it finds anything.
const FOUND: i32 = 9;
/// What it says where it cannot look at a card, as in some sandboxes.
const BLIND: &str = "Device not supported";
/// The tool that can be asked about cuBLASLt's kernels, too. Before Compute Sanitizer 2026.1, as its
/// release notes say, the others took their barriers for none and did not see what Hopper's engine for
/// copies writes; there our own kernels multiply.
const KNOWS_CUBLASLT: &str = "memcheck";
const SEED: u64 = 17;

pub(super) fn run<P: Place>(stage: &Stage<'_, P>, rows: &mut Rows) -> Result<(), String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    if let Err(error) = Command::new(PROGRAM).arg("--version").output() {
        let why = format!("{PROGRAM} does not start: {error}");
        TOOLS.iter().for_each(|tool| rows.cannot(tool, &why));
        return Ok(());
    }
    for tool in TOOLS {
        let mut command = Command::new(PROGRAM);
        command.args(["--tool", tool, "--error-exitcode", &FOUND.to_string()]);
        command.arg(&program).arg("step").args(&stage.options.given);
        if tool != KNOWS_CUBLASLT {
            command.env("COTENANT_CUBLASLT", "none");
        }
        let output = command.output().map_err(|error| error.to_string())?;
        let talk = [output.stdout, output.stderr].concat();
        let talk = String::from_utf8_lossy(&talk);
        let truth = match output.status.success() {
            true => Ok(()),
            false if talk.contains(BLIND) && output.status.code() != Some(FOUND) => {
                rows.cannot(tool, BLIND);
                continue;
            }
            false => {
                let said: Vec<&str> = talk.lines().filter(|line| line.len() > 12).take(6).collect();
                Err(format!("{}: {}", output.status, said.join(" / ")))
            }
        };
        rows.claim(&format!("{tool} finds nothing in a step of every tape and format"), truth);
    }
    Ok(())
}

/// One small step: passes with each tape, and a round of the trainer, in each format.
pub(crate) fn step<P: Place>(stage: &Stage<'_, P>) -> Result<(), String> {
    let config = scene::small();
    let batch: Batch = ragged_batch(&config, 1)?;
    let slopes = slopes(&batch.packed, config.hidden);
    let amount = Amount { pairs: 4, batch: 4, steps: 1 };
    let tenants: Vec<_> =
        (0..3).map(|number| ragged_tenant(number, config.vocab, amount, SEED)).collect();
    for (precision, _) in PRECISIONS {
        let opened = stage.open(precision, (config.clone(), SEED));
        let opened = opened.map_err(|fault| fault.to_string())?;
        for mode in [TapeMode::Full, TapeMode::Light, TapeMode::Lean] {
            pass(&opened.encoder, (&batch, &slopes), (mode, &mut Buffers::default()))?;
        }
        train(&opened.encoder, &opened.limits, &tenants)?;
        // Kernels for linear layers run where nothing else multiplies.
        let alone = P::with_kernels_alone;
        let plain = stage.open_changed(alone, precision, (config.clone(), SEED));
        if let Some(plain) = plain.map_err(|fault| fault.to_string())? {
            pass(&plain.encoder, (&batch, &slopes), (TapeMode::Full, &mut Buffers::default()))?;
        }
    }
    Ok(())
}
