//! `cotenant eval`

mod answers;
mod gains;
mod model;
mod runs;
mod stages;

use cotenant_rag::tracking::{Measured, Tracker, TrackingError};

use super::Ended;
use crate::args::eval::{EvalArgs, TrackingArgs};
use crate::console::Console;
use crate::words::{count, now_ms};

/// Measures whatever was given: data with a model, TREC runs, or answers.
pub(crate) fn run(arguments: &EvalArgs, console: &Console) -> Ended {
    match (arguments.runs.run.as_slice(), arguments.answers.answers.as_slice()) {
        ([], []) if arguments.stages.stages => stages::run(arguments, console),
        ([], []) => model::run(arguments, console),
        ([], files) => answers::run(files, arguments, console),
        (files, _) => runs::run(files, arguments, console),
    }
}

/// Keeps what was found in MLflow, if the user wants it there.
fn track(
    measured: Measured,
    arguments: &TrackingArgs,
    console: &Console,
) -> Result<(), TrackingError> {
    let Some(url) = &arguments.mlflow else { return Ok(()) };
    let (experiment, log) = (&arguments.mlflow_experiment, arguments.mlflow_log.clone());
    let sent = Tracker::from_environment(url, experiment, log).track(measured, now_ms())?;
    console.say(&format!("{} sent to {url}", count(sent as u64, "measurement")));
    Ok(())
}

/// The first of one or two files, and the second.
fn one_or_two<T: Clone>(files: &[T], what: &str) -> Result<(T, Option<T>), String> {
    match files {
        [one] => Ok((one.clone(), None)),
        [one, other] => Ok((one.clone(), Some(other.clone()))),
        _ => Err(format!(
            "compare {} {what}: two at most can be compared\nhint: compare them in pairs",
            files.len()
        )),
    }
}
