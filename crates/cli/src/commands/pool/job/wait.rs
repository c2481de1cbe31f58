//! Following a job to its end.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use cotenant_api::{JobState, JobView};

use super::state;
use crate::commands::Ended;
use crate::commands::pool::link::Pool;
use crate::console::Console;
use crate::words::{duration, plain};

/// Pause before the first question; each pause is twice the one before.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// Longest pause between two questions.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How a job ends that did what it should.
const SUCCEEDED: &str = "succeeded";

/// Waits for a job's end and shows the job; fails unless it succeeded.
pub(super) fn until_ended(pool: &Pool, submitted: JobView, console: &Console) -> Ended {
    let id = submitted.row.id;
    let what = format!("follow job {id}, which goes on");
    let mut view = submitted;
    let mut pause = PAUSE_MIN;
    console.say("waiting for its end; Ctrl-C leaves it as it is");
    while view.row.state != JobState::Ended {
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
        let next = pool.ask_patiently(&what, console, |client| client.job(id))?;
        if next.row.state != view.row.state {
            console.say(&format!("job {id} is {}", plain(state(&next.row))));
        }
        view = next;
    }
    console.data(&view, || end(&view))?;
    if view.row.outcome.as_deref() == Some(SUCCEEDED) {
        return Ok(ExitCode::SUCCESS);
    }
    console.say(&format!("what it said: cotenant job logs --stderr {id}"));
    Ok(ExitCode::FAILURE)
}

/// How a job ended, and how long it ran.
fn end(view: &JobView) -> String {
    let row = &view.row;
    let ran = match (row.started_ms, row.ended_ms) {
        (Some(from), Some(to)) => format!(" after {}", duration(to.saturating_sub(from))),
        _ => String::new(),
    };
    let exit = view.exit.as_ref().map(|exit| format!(" ({})", plain(exit)));
    format!("job {}: {}{ran}{}", row.id, plain(state(row)), exit.unwrap_or_default())
}
