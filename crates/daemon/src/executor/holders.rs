//! All that holds members to their slices of NVIDIA cards.

use std::path::Path;

use cotenant_sched::Run;

use super::folder::RunFolder;
use super::intercepted::Intercepted;
use super::partitions::Partitioned;
use super::served::Served;

/// What holds members to their slices, for the executor, its watchers and the meter.
#[derive(Clone)]
pub(crate) struct Holders {
    /// By MPS.
    pub(crate) served: Served,
    /// By the preload library.
    pub(crate) intercepted: Intercepted,
    /// By partitions.
    pub(crate) partitioned: Partitioned,
}

impl Holders {
    /// Lets go of the members of a run that has ended.
    pub(super) fn leave(&self, run: &Run, folder: &RunFolder) {
        let members = folder.read_run().map(|file| file.members).unwrap_or_default();
        let numbers: Vec<u32> = members.iter().map(|member| member.number).collect();
        self.served.leave(run, numbers.iter().copied());
        self.intercepted.leave(run, numbers.into_iter());
        self.partitioned.leave(run, folder);
    }

    /// Lets go of members of a run that will never begin, whether or not it was written down.
    pub(super) fn leave_members(&self, run: &Run, numbers: impl Iterator<Item = u32> + Clone) {
        self.served.leave(run, numbers.clone());
        self.intercepted.leave(run, numbers.clone());
        self.partitioned.leave_members(run, numbers);
    }

    /// After a restart: keeps the members of runs that have not ended, and lets go of all others.
    pub(super) fn adopt(&self, runs: &Path) {
        self.served.adopt(runs);
        self.intercepted.adopt(runs);
        self.partitioned.adopt(runs);
    }
}
