//! `cotenant job submit`

use std::process::ExitCode;

use cotenant_api::JobState;

use super::{request, state, wait};
use crate::args::job::SubmitArgs;
use crate::commands::Ended;
use crate::commands::pool::link::Pool;
use crate::console::Console;
use crate::words::plain;

/// Submits a job and says how to go on, or waits for its end.
pub(super) fn run(pool: &Pool, arguments: &SubmitArgs, console: &Console) -> Ended {
    let wanted = request::request(arguments)?;
    let view = pool.submit(&wanted, arguments.key.as_deref(), console)?;
    let id = view.row.id;
    let submitted = format!("job {id} is {}", plain(state(&view.row)));
    if arguments.wait {
        console.say(&submitted);
        return wait::until_ended(pool, view, console);
    }
    console.data(&view, || submitted)?;
    console.say(&format!("what it prints: cotenant job logs -f {id}"));
    if view.row.state == JobState::Queued {
        console.say(&format!("why it waits: cotenant job explain {id}"));
    }
    Ok(ExitCode::SUCCESS)
}
