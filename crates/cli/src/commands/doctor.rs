//! `cotenant doctor`

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use cotenant_device::preload_library;
use cotenant_doctor::{Interrupts, Order, Output, Report, Watched, diagnose, watch};
use serde::Serialize;

use super::Ended;
use crate::args::doctor::DoctorArgs;
use crate::console::Console;

/// What programs read.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    report: Report,
    /// How the program ended; none if it runs still, or was killed.
    exit_code: Option<i32>,
    /// The signal that killed it.
    signal: Option<i32>,
}

/// Watches a program and says why its card idles; ends as the program does.
pub(crate) fn run(arguments: &DoctorArgs, console: &Console) -> Ended {
    let interrupts = Interrupts::default();
    let noted = interrupts.clone();
    // Where it cannot be had, Ctrl-C ends this program too, without a report.
    if let Err(error) = ctrlc::set_handler(move || noted.note()) {
        console.say(&format!("signals are not passed on: {error}"));
    }
    let (program, rest) = arguments.program.split_first().expect("the arguments insist on one");
    let order = Order {
        program: program.clone(),
        arguments: rest.to_vec(),
        library: preload_library(),
        output: if console.json { Output::ToStandardError } else { Output::AsEver },
        longest: arguments.seconds.map(|seconds| Duration::from_secs(u64::from(seconds))),
    };
    let Watched { observed, mut running } = watch(&order, &interrupts)?;
    let diagnosis = diagnose(&observed, u32::from(arguments.min_share) * 10);
    let ended = running.status()?;
    let told = Told {
        report: diagnosis.report(),
        exit_code: ended.and_then(|status| status.code()),
        signal: ended.and_then(|status| status.signal()),
    };
    console.data(&told, || diagnosis.text())?;
    Ok(code(running.wait()?))
}

/// As shells say it: what the program ended with, or 128 and the signal that killed it.
fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(u8::try_from(code.unwrap_or(1)).unwrap_or(1))
}
