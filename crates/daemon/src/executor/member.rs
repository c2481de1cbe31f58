//! The last step before a job's program: into its control group, bound to its supervisor, and gone.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use cotenant_device::Cgroups;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use super::folder::RunFolder;
use super::supervise::InternalError;

/// Becomes the program of a member of the run in a folder. Comes back only if it cannot.
///
/// The process joins its control group before it becomes the program, so that nothing of the
/// program is ever outside, and dies with its supervisor, so that nothing runs unsupervised.
pub fn run_member(folder: &Path, number: u32, supervisor: u32) -> InternalError {
    match prepare(folder, number, supervisor) {
        Ok(mut command) => {
            let program = command.get_program().to_string_lossy().into_owned();
            let source = command.exec();
            InternalError::new(format!("start {program}"), source)
        }
        Err(error) => error,
    }
}

fn prepare(folder: &Path, number: u32, supervisor: u32) -> Result<Command, InternalError> {
    let bind = |source: rustix::io::Errno| {
        InternalError::new("bind to the supervisor".to_owned(), source.into())
    };
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(bind)?;
    let is_orphan = getppid().map(Pid::as_raw_nonzero).map(|pid| pid.get().unsigned_abs());
    if is_orphan != Some(supervisor) {
        return Err(InternalError::of("start a member: its supervisor is gone"));
    }
    let run = RunFolder::at(folder).read_run();
    let run = run.map_err(|error| InternalError::new("read run.json".to_owned(), error))?;
    let member = run.members.into_iter().find(|member| member.number == number);
    let member =
        member.ok_or_else(|| InternalError::of("start a member: there is none of this number"))?;
    if let Some(name) = &member.group {
        join(name)?;
    }
    let (program, arguments) = run
        .program
        .split_first()
        .ok_or_else(|| InternalError::of("start a member: it has no program"))?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&run.folder).env_clear().envs(&member.env);
    Ok(command)
}

fn join(name: &str) -> Result<(), InternalError> {
    let failed = |error: cotenant_device::CgroupError| {
        let what = format!("join control group {name}");
        InternalError::new(what, std::io::Error::other(error))
    };
    let groups = Cgroups::open().map_err(failed)?;
    let group = groups.find(name).map_err(failed)?;
    let group = group.ok_or_else(|| InternalError::of("join a control group: it is gone"))?;
    group.add(std::process::id()).map_err(failed)
}
