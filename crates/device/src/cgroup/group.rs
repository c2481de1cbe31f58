//! One control group: its limits, its processes, its end.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::error::CgroupError;
use super::limits::CpuLimits;
use super::{Folders, files};

/// A control group that was made or found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    name: String,
    folders: Folders,
}

/// What the processes of a group have used, those that ended included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupUse {
    /// Microseconds of processor time since the group was made.
    pub cpu_usec: u64,
    /// Microseconds for which its processes were held back by the quota.
    pub throttled_usec: u64,
    /// Bytes that count against the memory limit now; files in the kernel's cache are among them.
    pub memory_bytes: u64,
    /// Bytes of that which cannot be given back to make room: not files in the kernel's cache.
    pub memory_held_bytes: u64,
    /// The most that counted; on kernels that keep no peak, what counts now.
    pub memory_peak_bytes: u64,
    /// Processes that were killed because the group was at its memory limit.
    pub oom_kills: u64,
}

/// Longest wait for killed processes to be gone.
const KILL_WAIT_MAX: Duration = Duration::from_secs(10);

/// Longest wait for a group without processes to be let go of.
const REMOVE_WAIT_MAX: Duration = Duration::from_secs(2);

/// Between two looks at something that is waited for.
pub(super) const POLL: Duration = Duration::from_millis(2);

impl Group {
    pub(super) fn new(name: &str, folders: Folders) -> Self {
        Self { name: name.to_owned(), folders }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its folder, where it is a group of version 2: by that, others know it.
    pub fn unified_folder(&self) -> Option<&Path> {
        match &self.folders {
            Folders::V1(_) => None,
            Folders::V2(folder) => Some(folder.path()),
        }
    }

    /// Changes the limits while processes run. A memory limit below what is in use is refused, and
    /// then processor time is held as before.
    pub fn set(&self, limits: &CpuLimits) -> Result<(), CgroupError> {
        match &self.folders {
            Folders::V1(folders) => folders.set(&self.name, limits),
            Folders::V2(folder) => folder.set(&self.name, limits),
        }
    }

    /// Moves a process into the group, with all its threads. What it has started already stays
    /// where it is, and so does memory that it has already.
    pub fn add(&self, pid: u32) -> Result<(), CgroupError> {
        let value = pid.to_string();
        let mut folders = self.folders.all().into_iter();
        folders.try_for_each(|folder| files::write(folder, "cgroup.procs", &value))
    }

    /// The processes in the group and in groups below it, which jobs may have made. Those of
    /// another process namespace have no number here and are left out.
    pub fn procs(&self) -> Result<Vec<u32>, CgroupError> {
        let mut pids = BTreeSet::new();
        for folder in self.tree()? {
            pids.extend(files::pids(&folder)?);
        }
        pids.remove(&0);
        Ok(pids.into_iter().collect())
    }

    /// What its processes have used.
    pub fn read_use(&self) -> Result<GroupUse, CgroupError> {
        match &self.folders {
            Folders::V1(folders) => folders.read_use(),
            Folders::V2(folder) => folder.read_use(),
        }
    }

    /// Kills every process of the group, and waits until there is none; a group that is gone has
    /// none. Blocks for at most about ten seconds.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        let end = Instant::now() + KILL_WAIT_MAX;
        loop {
            let left = self.procs()?.len();
            if left == 0 {
                return Ok(());
            }
            if Instant::now() >= end {
                let waited_ms = KILL_WAIT_MAX.as_millis() as u64;
                return Err(CgroupError::Alive { name: self.name.clone(), left, waited_ms });
            }
            let pids = || self.procs();
            let killed = match &self.folders {
                Folders::V1(folders) => folders.kill(&pids),
                Folders::V2(folder) => folder.kill(&pids),
            };
            match killed {
                Err(error) if !error.is_missing() => return Err(error),
                _ => thread::sleep(POLL),
            }
        }
    }

    /// Removes the group, which must have no process; one that is gone is fine. Blocks for at most
    /// about two seconds while the kernel still holds on to it.
    pub fn remove(&self) -> Result<(), CgroupError> {
        let end = Instant::now() + REMOVE_WAIT_MAX;
        loop {
            match self.remove_if_empty() {
                Err(error) if error.is_busy() && Instant::now() < end => thread::sleep(POLL),
                result => return result,
            }
        }
    }

    /// As [`Group::remove`], without a wait.
    pub(super) fn remove_if_empty(&self) -> Result<(), CgroupError> {
        self.tree()?.iter().try_for_each(|folder| files::remove_folder(folder))
    }

    /// The group's folders and all those below them, the deepest first.
    fn tree(&self) -> Result<Vec<PathBuf>, CgroupError> {
        let mut tree: Vec<PathBuf> = self.folders.all().into_iter().map(Path::to_owned).collect();
        let mut at = 0;
        while let Some(folder) = tree.get(at).cloned() {
            tree.extend(files::folders_in(&folder)?.into_iter().map(|name| folder.join(name)));
            at += 1;
        }
        tree.reverse();
        Ok(tree)
    }
}

/// Kills the processes that `pids` lists.
///
/// A number may be given to another process once its owner is gone. So each is held by a
/// descriptor first, and killed only if it is listed still: then the descriptor is of that process.
pub(super) fn kill_listed(
    pids: &dyn Fn() -> Result<Vec<u32>, CgroupError>,
) -> Result<(), CgroupError> {
    let mut held = Vec::new();
    for pid in pids()? {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let Some(number) = number else {
            continue;
        };
        let error = |errno: rustix::io::Errno| CgroupError::Kill { pid, source: errno.into() };
        match pidfd_open(number, PidfdFlags::empty()).map_err(error) {
            Ok(descriptor) => held.push((pid, descriptor)),
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error),
        }
    }
    let still: BTreeSet<u32> = pids()?.into_iter().collect();
    for (pid, descriptor) in held.into_iter().filter(|(pid, _)| still.contains(pid)) {
        let error = |errno: rustix::io::Errno| CgroupError::Kill { pid, source: errno.into() };
        match pidfd_send_signal(&descriptor, Signal::KILL).map_err(error) {
            Err(error) if !error.is_missing() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
