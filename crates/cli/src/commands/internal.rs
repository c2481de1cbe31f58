//! What the daemon starts for a job; people have no use for it.

use std::process::ExitCode;

use super::Ended;
use crate::args::InternalCommand;

/// Does one of them.
pub(crate) fn run(command: &InternalCommand) -> Ended {
    match command {
        InternalCommand::Supervise { folder } => cotenant_daemon::supervise(folder)?,
        InternalCommand::Member { folder, number, supervisor } => {
            return Err(cotenant_daemon::run_member(folder, *number, *supervisor).into());
        }
    }
    Ok(ExitCode::SUCCESS)
}
