//! `cotenant job submit`

use std::path::Path;
use std::process::ExitCode;

use cotenant_api::JobState;

use super::{request, state, wait};
use crate::args::job::SubmitArgs;
use crate::commands::pool::link::Pool;
use crate::commands::{Ended, estimate};
use crate::console::Console;
use crate::words::plain;

/// Submits a job and says how to go on, or waits for its end.
pub(super) fn run(pool: &Pool, arguments: &SubmitArgs, console: &Console) -> Ended {
    let mut wanted = request::request(arguments)?;
    if wanted.wants_auto_memory()
        && wanted.estimate.is_none()
        && let Some(workspace) = &wanted.train
    {
        let foretold = estimate::foretell(Path::new(workspace), console)?;
        console.say(&format!("the training is foretold to take {foretold}"));
        wanted.estimate = Some(foretold.to_string());
    }
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
