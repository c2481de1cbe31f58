//! `cotenant job list`

use std::process::ExitCode;

use cotenant_api::{JobFilter, JobPage, JobRow, JobState};

use super::state;
use crate::args::job::JobListArgs;
use crate::commands::Ended;
use crate::commands::pool::failure::Failure;
use crate::commands::pool::link::Pool;
use crate::console::Console;
use crate::table::{Side, table_of};
use crate::words::{count, duration, now_ms, shortened};

/// Jobs on a page; the most that the contract allows.
const PAGE: usize = 1000;

/// Characters of a reason that are shown.
const REASON_CHARACTERS: usize = 60;

/// Lists jobs, the newest first.
pub(super) fn run(pool: &Pool, arguments: &JobListArgs, console: &Console) -> Ended {
    let most = if arguments.all { usize::MAX } else { arguments.limit as usize };
    let filter = JobFilter {
        tenant: arguments.tenant.as_ref().map(ToString::to_string),
        state: arguments.state.clone(),
        ..JobFilter::default()
    };
    let list = jobs(pool, filter, most)?;
    console.data(&list, || text(&list))?;
    let shown = list.jobs.len();
    if list.next_before.is_some() && !console.json {
        console.say(&format!("\n{shown} of {}; --all lists every one", count(list.total, "job")));
    }
    Ok(ExitCode::SUCCESS)
}

/// The newest jobs that the filter lets through, on one page.
fn jobs(pool: &Pool, filter: JobFilter, most: usize) -> Result<JobPage, Failure> {
    let ask = |before: Option<u64>, wanted: usize| {
        let limit = u32::try_from(wanted.min(PAGE)).ok();
        let filter = JobFilter { before, limit, ..filter.clone() };
        pool.ask("list jobs", |client| client.jobs(&filter))
    };
    let mut list = ask(None, most)?;
    while list.jobs.len() < most
        && let Some(before) = list.next_before
    {
        let page = ask(Some(before), most - list.jobs.len())?;
        // A page that does not go on would be asked for without end.
        list.next_before = page.next_before.filter(|&next| next < before && !page.jobs.is_empty());
        list.jobs.extend(page.jobs);
    }
    Ok(list)
}

fn text(list: &JobPage) -> String {
    if list.jobs.is_empty() {
        return "there are no such jobs".to_owned();
    }
    let columns = [
        ("job", Side::Right),
        ("name", Side::Left),
        ("tenant", Side::Left),
        ("state", Side::Left),
        ("for", Side::Right),
        ("asks for", Side::Left),
        ("waits for", Side::Left),
    ];
    let now = now_ms();
    let row = |job: &JobRow| {
        let waits = job.waits.as_deref().unwrap_or_default();
        vec![
            job.id.to_string(),
            job.name.clone(),
            job.tenant.clone(),
            state(job).to_owned(),
            duration(age_ms(job, now)),
            job.asks.clone(),
            shortened(waits, REASON_CHARACTERS),
        ]
    };
    table_of(&columns, &list.jobs.iter().map(row).collect::<Vec<_>>())
}

/// How long a job has waited or run, or, once it has ended, how long it ran.
fn age_ms(job: &JobRow, now: u64) -> u64 {
    let from = match job.state {
        JobState::Queued => Some(job.submitted_ms),
        JobState::Starting | JobState::Running | JobState::Stopping => {
            Some(job.started_ms.unwrap_or(job.submitted_ms))
        }
        JobState::Ended => job.started_ms,
    };
    let to = job.ended_ms.unwrap_or(now);
    from.map_or(0, |from| to.saturating_sub(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_of_what_the_job_does() {
        let check = |state, started_ms: Option<u64>, ended_ms: Option<u64>, expected: u64| {
            let job = JobRow {
                id: 1,
                name: "x".into(),
                tenant: "law".into(),
                kind: "command".into(),
                class: "offline".into(),
                priority: 0,
                state,
                outcome: None,
                asks: String::new(),
                waits: None,
                submitted_ms: 1_000,
                started_ms,
                ended_ms,
            };
            assert_eq!(age_ms(&job, 10_000), expected, "{job:?}");
        };
        check(JobState::Queued, None, None, 9_000);
        check(JobState::Queued, Some(2_000), None, 9_000);
        check(JobState::Starting, None, None, 9_000);
        check(JobState::Running, Some(4_000), None, 6_000);
        check(JobState::Running, Some(14_000), None, 0);
        check(JobState::Ended, Some(4_000), Some(9_000), 5_000);
        check(JobState::Ended, None, Some(9_000), 0);
    }
}
