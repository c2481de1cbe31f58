//! Version 2: one hierarchy with all controllers.

use std::path::{Path, PathBuf};

use cotenant_types::Mebibytes;

use super::error::CgroupError;
use super::files;
use super::group::{GroupUse, kill_listed};
use super::limits::{CpuLimits, PERIOD_US};
use super::mounts::Mounts;

pub(super) const CONTROLLERS: [&str; 2] = ["cpu", "memory"];

/// The group beside those of jobs in which this process is.
const OWN: &str = "cotenant-self";

/// A group's folder, or that of the parent of all groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct V2(PathBuf);

impl V2 {
    /// The group that this process is in, or none where version 1 has the controllers.
    pub(super) fn find(mounts: &Mounts) -> Result<Option<Self>, CgroupError> {
        let Some(place) = mounts.v2() else {
            return Ok(None);
        };
        let own = match place.folder.file_name() {
            Some(name) if name == OWN => place.folder.parent().unwrap_or(&place.folder),
            _ => &place.folder,
        };
        let missing = missing_controllers(own, "cgroup.controllers")?;
        if !missing.is_empty() {
            let is_hybrid = missing.iter().all(|controller| mounts.v1(controller).is_some());
            let folder = own.to_owned();
            let missing = missing.join(", ");
            return if is_hybrid {
                Ok(None)
            } else {
                Err(CgroupError::Withheld { folder, missing })
            };
        }
        files::check_open(own)?;
        if !missing_controllers(own, "cgroup.subtree_control")?.is_empty() && !is_root(own) {
            let this = std::process::id();
            let others = files::pids(own)?.into_iter().filter(|&pid| pid != this).count();
            if others > 0 {
                return Err(CgroupError::Shared { folder: own.to_owned(), others });
            }
        }
        Ok(Some(Self(own.to_owned())))
    }

    pub(super) fn below(&self, name: &str) -> Self {
        Self(self.0.join(name))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the parent of all groups, and hands the controllers down to it and through it.
    pub(super) fn prepare(&self) -> Result<(), CgroupError> {
        let own = self.0.parent().unwrap_or(&self.0);
        if !missing_controllers(own, "cgroup.subtree_control")?.is_empty() {
            let this = std::process::id();
            if !is_root(own) && files::pids(own)?.contains(&this) {
                let beside = own.join(OWN);
                files::make_folder(&beside)?;
                files::write(&beside, "cgroup.procs", &this.to_string())?;
            }
            hand_down(own)?;
        }
        files::make_folder(&self.0)?;
        hand_down(&self.0)
    }

    pub(super) fn set(&self, name: &str, limits: &CpuLimits) -> Result<(), CgroupError> {
        self.set_memory(name, limits.memory_max)?;
        files::write(&self.0, "cpu.weight", &limits.weight().to_string())?;
        let quota = limits.quota_us().map_or_else(|| "max".to_owned(), |quota| quota.to_string());
        files::write(&self.0, "cpu.max", &format!("{quota} {PERIOD_US}"))
    }

    /// Where version 1 refuses a limit below what is in use, version 2 would kill; so that is
    /// looked at before. A job dies whole or not at all, and cannot flee into swap.
    fn set_memory(&self, name: &str, wished: Mebibytes) -> Result<(), CgroupError> {
        let used = Mebibytes(files::number(&self.0, "memory.current")?.div_ceil(1 << 20));
        if used > wished {
            return Err(CgroupError::MemoryInUse { name: name.to_owned(), used, wished });
        }
        for (file, value) in [("memory.swap.max", "0"), ("memory.oom.group", "1")] {
            if self.0.join(file).exists() {
                files::write(&self.0, file, value)?;
            }
        }
        files::write(&self.0, "memory.max", &wished.to_bytes().0.to_string())
    }

    pub(super) fn read_use(&self) -> Result<GroupUse, CgroupError> {
        let memory_bytes = files::number(&self.0, "memory.current")?;
        let memory_peak_bytes = match self.0.join("memory.peak").exists() {
            true => files::number(&self.0, "memory.peak")?,
            // Kernels before 5.19 keep no peak.
            false => memory_bytes,
        };
        Ok(GroupUse {
            cpu_usec: files::keyed(&self.0, "cpu.stat", "usage_usec")?,
            throttled_usec: files::keyed(&self.0, "cpu.stat", "throttled_usec")?,
            memory_bytes,
            memory_held_bytes: files::keyed(&self.0, "memory.stat", "anon")?
                + files::keyed(&self.0, "memory.stat", "shmem")?,
            memory_peak_bytes,
            oom_kills: files::keyed(&self.0, "memory.events", "oom_kill")?,
        })
    }

    /// Kills what is in the group now. Kernels before 5.14 must be told each process.
    pub(super) fn kill(
        &self,
        pids: &dyn Fn() -> Result<Vec<u32>, CgroupError>,
    ) -> Result<(), CgroupError> {
        if self.0.join("cgroup.kill").exists() {
            return files::write(&self.0, "cgroup.kill", "1");
        }
        kill_listed(pids)
    }
}

/// Controllers that the file does not name.
fn missing_controllers(folder: &Path, file: &str) -> Result<Vec<&'static str>, CgroupError> {
    let text = files::read(folder, file)?;
    let is_missing = |controller: &&str| !text.split_whitespace().any(|word| word == *controller);
    Ok(CONTROLLERS.into_iter().filter(is_missing).collect())
}

fn hand_down(folder: &Path) -> Result<(), CgroupError> {
    if missing_controllers(folder, "cgroup.subtree_control")?.is_empty() {
        return Ok(());
    }
    files::write(folder, "cgroup.subtree_control", "+cpu +memory")
}

/// The top of the whole hierarchy alone has no type, and may hold processes beside groups.
fn is_root(folder: &Path) -> bool {
    !folder.join("cgroup.type").exists()
}
