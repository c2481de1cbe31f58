//! `cotenant job cancel`

use std::process::ExitCode;

use cotenant_api::{JobState, JobView};

use super::state;
use crate::commands::Ended;
use crate::commands::pool::link::Pool;
use crate::console::Console;
use crate::words::plain;

/// Ends jobs; one that cannot be ended does not keep the others.
pub(super) fn run(pool: &Pool, jobs: &[u64], console: &Console) -> Ended {
    let mut code = ExitCode::SUCCESS;
    for &id in jobs {
        match pool.ask(&format!("cancel job {id}"), |client| client.cancel(id)) {
            Ok(view) => console.data(&view, || text(&view))?,
            Err(error) => {
                console.failed(&error);
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

fn text(view: &JobView) -> String {
    let JobView { row, .. } = view;
    match row.state {
        JobState::Ended => format!("job {} has ended: {}", row.id, plain(state(row))),
        JobState::Queued | JobState::Starting | JobState::Running | JobState::Stopping => {
            format!("job {} is {}", row.id, state(row))
        }
    }
}
