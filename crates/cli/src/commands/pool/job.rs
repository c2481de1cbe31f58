//! `cotenant job`

mod cancel;
mod list;
mod logs;
mod request;
mod show;
mod submit;
mod wait;

use std::process::ExitCode;

use cotenant_api::{JobRow, JobState, LoadRequest, ResizeRequest};

use super::link::Pool;
use crate::args::job::{JobArgs, JobCommand, ReportArgs, ResizeArgs};
use crate::commands::Ended;
use crate::console::Console;
use crate::words::plain;

/// Submits, shows and changes jobs.
pub(super) fn run(arguments: &JobArgs, console: &Console) -> Ended {
    let pool = Pool::open(&arguments.pool)?;
    match &arguments.command {
        JobCommand::Submit(submit) => submit::run(&pool, submit, console),
        JobCommand::List(list) => list::run(&pool, list, console),
        JobCommand::Show { job } => show::show(&pool, job.id, console),
        JobCommand::Logs(logs) => logs::run(&pool, logs, console),
        JobCommand::Cancel { jobs } => cancel::run(&pool, jobs, console),
        JobCommand::Explain { job } => show::explain(&pool, job.id, console),
        JobCommand::Resize(arguments) => resize(&pool, arguments, console),
        JobCommand::Report(arguments) => report(&pool, arguments, console),
    }
}

fn resize(pool: &Pool, arguments: &ResizeArgs, console: &Console) -> Ended {
    let ResizeArgs { job, amounts } = arguments;
    let wanted = ResizeRequest {
        memory: amounts.memory.clone(),
        memory_limit: amounts.memory_limit.clone(),
        compute: amounts.compute.clone(),
        compute_limit: amounts.compute_limit.clone(),
    };
    let what = format!("resize job {}", job.id);
    let view = pool.ask(&what, |client| client.resize(job.id, &wanted))?;
    console.data(&view, || format!("job {} asks for {} now", job.id, plain(&view.row.asks)))?;
    Ok(ExitCode::SUCCESS)
}

fn report(pool: &Pool, arguments: &ReportArgs, console: &Console) -> Ended {
    let ReportArgs { id, load } = arguments;
    let said = LoadRequest { latency_ms: load.latency_ms, usage: load.usage.clone() };
    let what = format!("report how job {id} fares");
    pool.ask(&what, |client| client.report_load(*id, &said))?;
    console.data(&said, || format!("job {id}: taken in"))?;
    Ok(ExitCode::SUCCESS)
}

/// Where a job is in its life, in a word: once it has ended, how.
fn state(row: &JobRow) -> &str {
    match (row.state, &row.outcome) {
        (JobState::Queued, _) => "queued",
        (JobState::Starting, _) => "starting",
        (JobState::Running, _) => "running",
        (JobState::Stopping, _) => "stopping",
        (JobState::Ended, Some(outcome)) => outcome,
        (JobState::Ended, None) => "ended",
    }
}
