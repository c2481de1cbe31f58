//! Why control groups refuse.

use std::io;
use std::path::PathBuf;

use cotenant_types::Mebibytes;
use rustix::io::Errno;
use thiserror::Error;

/// Why something about control groups was not done.
#[derive(Debug, Error)]
pub enum CgroupError {
    /// The kernel, or a container, shows no such hierarchy.
    #[error("the kernel's control groups for {0} are not mounted")]
    Unmounted(String),
    /// Version 2 is mounted, but its controllers are not handed down to this process.
    #[error(
        "the control group {folder} does not have the controllers {missing}; run this program as \
         a system service with Delegate=yes"
    )]
    Withheld {
        /// The group that this process is in.
        folder: PathBuf,
        /// Controllers that it lacks.
        missing: String,
    },
    /// The folder may not be written.
    #[error(
        "the control group {folder} may not be changed by this program; run it as root, under \
         systemd with Delegate=yes, or in a container with writable control groups"
    )]
    Closed {
        /// The group that this process is in.
        folder: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The group of this process holds others, so that version 2 cannot divide it.
    #[error(
        "the control group {folder} holds {others} other processes; give this program a group of \
         its own, for example by systemd-run --scope -p Delegate=yes"
    )]
    Shared {
        /// The group that this process is in.
        folder: PathBuf,
        /// Processes in it that are not this one.
        others: usize,
    },
    /// Version 1 is there, and something needs version 2.
    #[error(
        "the control group '{name}' must be one of version 2, and this machine has version 1; start \
         it with the kernel option systemd.unified_cgroup_hierarchy=1"
    )]
    NotUnified {
        /// The group.
        name: String,
    },
    /// A name that cannot be a group's.
    #[error("{0:?} cannot name a control group; write 1 to 96 of a-z, A-Z, 0-9, '-' and '_'")]
    Name(String),
    /// A file of a group cannot be read.
    #[error("the file {file} of a control group cannot be read")]
    Read {
        /// The file.
        file: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// A file of a group does not hold what it should.
    #[error("the file {file} of a control group holds {text:?}, which is no number")]
    Form {
        /// The file.
        file: PathBuf,
        /// What it holds.
        text: String,
    },
    /// A file of a group cannot be written.
    #[error("{value:?} cannot be written to the file {file} of a control group")]
    Write {
        /// The file.
        file: PathBuf,
        /// What was to be written.
        value: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// A folder cannot be made or removed.
    #[error("the control group {folder} cannot be made or removed")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The new limit is below what is in use.
    #[error(
        "the control group '{name}' uses {used} of memory, so that its limit cannot be {wished}; \
         stop the job or leave it more"
    )]
    MemoryInUse {
        /// The group.
        name: String,
        /// What it uses.
        used: Mebibytes,
        /// The limit that was wished for.
        wished: Mebibytes,
    },
    /// Killed processes are still there.
    #[error(
        "the control group '{name}' still has {left} processes {waited_ms} ms after they were \
         killed; they may hang in a driver or a file system"
    )]
    Alive {
        /// The group.
        name: String,
        /// Processes in it.
        left: usize,
        /// How long it was waited for them.
        waited_ms: u64,
    },
    /// A process cannot be signalled.
    #[error("process {pid} of a control group cannot be killed")]
    Kill {
        /// The process.
        pid: u32,
        /// What the kernel says.
        source: io::Error,
    },
}

impl CgroupError {
    /// Whether the group, or the process, was not there.
    pub(super) fn is_missing(&self) -> bool {
        self.errno().is_some_and(|errno| [Errno::NOENT, Errno::NODEV, Errno::SRCH].contains(&errno))
    }

    /// Whether something is in use that cannot be while it changes.
    pub(super) fn is_busy(&self) -> bool {
        self.errno() == Some(Errno::BUSY)
    }

    fn errno(&self) -> Option<Errno> {
        match self {
            CgroupError::Closed { source, .. }
            | CgroupError::Read { source, .. }
            | CgroupError::Write { source, .. }
            | CgroupError::Folder { source, .. }
            | CgroupError::Kill { source, .. } => Errno::from_io_error(source),
            CgroupError::Unmounted(_)
            | CgroupError::Withheld { .. }
            | CgroupError::Shared { .. }
            | CgroupError::Name(_)
            | CgroupError::Form { .. }
            | CgroupError::MemoryInUse { .. }
            | CgroupError::NotUnified { .. }
            | CgroupError::Alive { .. } => None,
        }
    }
}
