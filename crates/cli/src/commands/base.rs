//! Getting a base model into memory.

use std::error::Error;
use std::path::PathBuf;

use cotenant_rag::job::{BaseModel, JobError};
use cotenant_rag::models::Store;
use cotenant_rag::workspace::Limits;

use crate::args::{MachineArgs, PrecisionArg};
use crate::console::Console;
use crate::progress::Download;

/// Finds or fetches a base model and loads it.
pub(super) fn open(
    name: &str,
    limits: &Limits,
    console: &Console,
) -> Result<BaseModel, Box<dyn Error>> {
    let folder = find(name, console)?;
    Ok(BaseModel::open(&folder, name, limits.precision)?)
}

/// Finds or fetches a base model.
pub(super) fn find(name: &str, console: &Console) -> Result<PathBuf, Box<dyn Error>> {
    let store = Store::open().map_err(JobError::from)?;
    let bar = Download::new(console);
    let folder = store.pull(name, &mut |progress| bar.on_progress(&progress));
    Ok(folder.map_err(JobError::from)?)
}

/// What flags say goes before what the workspace says.
pub(super) fn limits(limits: Limits, machine: &MachineArgs) -> Limits {
    Limits {
        precision: machine.precision.map_or(limits.precision, PrecisionArg::choice),
        threads: machine.threads.map(usize::from).or(limits.threads),
        ..limits
    }
}
