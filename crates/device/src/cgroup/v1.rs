//! Version 1: a hierarchy for each controller, and a folder of the same name in each.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cotenant_types::Mebibytes;

use super::error::CgroupError;
use super::files;
use super::group::{GroupUse, POLL, kill_listed};
use super::limits::{CORE_SHARES, CpuLimits, PERIOD_US};
use super::mounts::Mounts;

pub(super) const CONTROLLERS: [&str; 4] = ["cpu", "cpuacct", "memory", "freezer"];

/// Longest wait until all processes of a group stand still.
const FREEZE_WAIT_MAX: Duration = Duration::from_millis(500);

/// A group's folders, or those of the parent of all groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct V1 {
    cpu: PathBuf,
    cpuacct: PathBuf,
    memory: PathBuf,
    freezer: PathBuf,
}

impl V1 {
    /// The groups that this process is in.
    pub(super) fn find(mounts: &Mounts) -> Result<Self, CgroupError> {
        let missing = CONTROLLERS.into_iter().filter(|controller| mounts.v1(controller).is_none());
        let missing: Vec<&str> = missing.collect();
        if !missing.is_empty() {
            return Err(CgroupError::Unmounted(missing.join(", ")));
        }
        let folder = |controller| mounts.v1(controller).map(|place| place.folder.clone());
        let folder = |controller| folder(controller).expect("none is missing");
        let found = Self {
            cpu: folder("cpu"),
            cpuacct: folder("cpuacct"),
            memory: folder("memory"),
            freezer: folder("freezer"),
        };
        found.all().into_iter().try_for_each(files::check_open)?;
        Ok(found)
    }

    pub(super) fn below(&self, name: &str) -> Self {
        Self {
            cpu: self.cpu.join(name),
            cpuacct: self.cpuacct.join(name),
            memory: self.memory.join(name),
            freezer: self.freezer.join(name),
        }
    }

    /// Every folder once: `cpu` and `cpuacct` are often one hierarchy. Memory comes first, so that
    /// a process that moves is held to its limit before it is anything else.
    pub(super) fn all(&self) -> Vec<&Path> {
        let all = [&self.memory, &self.cpu, &self.cpuacct, &self.freezer];
        let mut seen = BTreeSet::new();
        all.into_iter().filter(|folder| seen.insert(*folder)).map(PathBuf::as_path).collect()
    }

    /// Makes the parent of all groups and weighs it. Beside what else the machine runs, all jobs
    /// together count as a process for each core, and not as one process.
    pub(super) fn prepare(&self, cores: u32) -> Result<(), CgroupError> {
        files::make_folder(&self.cpu)?;
        let shares = (u64::from(cores) * CORE_SHARES).clamp(2, 262_144);
        files::write(&self.cpu, "cpu.shares", &shares.to_string())
    }

    pub(super) fn set(&self, name: &str, limits: &CpuLimits) -> Result<(), CgroupError> {
        self.set_memory(name, limits.memory_max)?;
        files::write(&self.cpu, "cpu.shares", &limits.shares().to_string())?;
        files::write(&self.cpu, "cpu.cfs_period_us", &PERIOD_US.to_string())?;
        let quota = limits.quota_us().map_or_else(|| "-1".to_owned(), |quota| quota.to_string());
        files::write(&self.cpu, "cpu.cfs_quota_us", &quota)
    }

    /// Swap counts as memory where the kernel counts it, so that a job cannot flee there. The sum
    /// may never be below the memory alone: it is raised first and lowered last.
    fn set_memory(&self, name: &str, memory: Mebibytes) -> Result<(), CgroupError> {
        let bytes = memory.to_bytes().0.min(i64::MAX as u64);
        let (alone, sum) = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes");
        let is_raised = files::number(&self.memory, alone)? < bytes;
        let has_swap = self.memory.join(sum).exists();
        let order = if is_raised { [sum, alone] } else { [alone, sum] };
        for file in order.into_iter().filter(|&file| file == alone || has_swap) {
            match files::write(&self.memory, file, &bytes.to_string()) {
                Err(error) if error.is_busy() => return Err(self.memory_in_use(name, memory)?),
                other => other?,
            }
        }
        Ok(())
    }

    fn memory_in_use(&self, name: &str, wished: Mebibytes) -> Result<CgroupError, CgroupError> {
        let used =
            Mebibytes(files::number(&self.memory, "memory.usage_in_bytes")?.div_ceil(1 << 20));
        Ok(CgroupError::MemoryInUse { name: name.to_owned(), used, wished })
    }

    pub(super) fn read_use(&self) -> Result<GroupUse, CgroupError> {
        Ok(GroupUse {
            cpu_usec: files::number(&self.cpuacct, "cpuacct.usage")? / 1000,
            throttled_usec: files::keyed(&self.cpu, "cpu.stat", "throttled_time")? / 1000,
            memory_bytes: files::number(&self.memory, "memory.usage_in_bytes")?,
            memory_held_bytes: files::keyed(&self.memory, "memory.stat", "total_rss")?
                + files::keyed(&self.memory, "memory.stat", "total_shmem")?,
            memory_peak_bytes: files::number(&self.memory, "memory.max_usage_in_bytes")?,
            oom_kills: files::keyed(&self.memory, "memory.oom_control", "oom_kill")?,
        })
    }

    /// Kills what is in the group now. It is stopped for that, so that nothing new is started
    /// meanwhile; where it cannot be stopped in time it is killed all the same.
    pub(super) fn kill(
        &self,
        pids: &dyn Fn() -> Result<Vec<u32>, CgroupError>,
    ) -> Result<(), CgroupError> {
        let state = "freezer.state";
        let is_there = self.freezer.is_dir();
        if is_there {
            files::write(&self.freezer, state, "FROZEN")?;
            let end = Instant::now() + FREEZE_WAIT_MAX;
            while files::read(&self.freezer, state)?.trim() != "FROZEN" && Instant::now() < end {
                std::thread::sleep(POLL);
            }
        }
        let killed = kill_listed(pids);
        if is_there {
            files::write(&self.freezer, state, "THAWED")?;
        }
        killed
    }
}
