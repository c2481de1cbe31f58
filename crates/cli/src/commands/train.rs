//! `cotenant train`

use std::path::PathBuf;

use cotenant_rag::job::JobError;
use cotenant_rag::workspace::Workspace;

use super::training::{self, Order};
use super::{Ended, base};
use crate::args::TrainArgs;
use crate::console::Console;

/// Trains the tenants of a workspace file.
pub(crate) fn run(arguments: &TrainArgs, console: &Console) -> Ended {
    let mut workspace = Workspace::read(&arguments.workspace).map_err(JobError::from)?;
    workspace.limits = base::limits(workspace.limits, &arguments.machine);
    if let Some(device) = arguments.device {
        workspace.limits.device = device.choice();
    }
    training::keep(&mut workspace, &arguments.only)?;
    let stem = arguments.workspace.file_stem().unwrap_or("workspace".as_ref());
    let out = arguments.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(stem));
    let order = Order {
        workspace: &workspace,
        out: &out,
        resume: arguments.resume,
        compare: arguments.compare,
    };
    training::run(&order, console)
}
