//! Control groups: processor time and memory of a job on a CPU card, held by the kernel.
//!
//! Version 2 is used where its hierarchy has the controllers `cpu` and `memory`, else version 1
//! with its hierarchies `cpu`, `cpuacct`, `memory` and `freezer`. Every group lies in one folder
//! below the group that this process is in, so that whatever holds this process holds its jobs:
//!
//! ```text
//! version 1, in each hierarchy           version 2
//! <own group>/cotenant/job-7-1           <own group>/cotenant/job-7-1
//!                                        <own group>/cotenant-self      this process
//! ```
//!
//! Version 2 lets a group either hold processes or share out its controllers. So this process
//! moves into a group beside its jobs when the first group is made; if its own group holds
//! other processes too, it has no right to move them, and there are no groups to be had.

mod error;
mod files;
mod group;
mod limits;
mod mounts;
mod v1;
mod v2;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

pub use error::CgroupError;
pub use group::{Group, GroupUse};
pub use limits::CpuLimits;
pub(crate) use mounts::Mounts;
use v1::V1;
use v2::V2;

/// The control groups of this process's jobs.
#[derive(Clone, Debug)]
pub struct Cgroups {
    parent: Folders,
}

/// What control groups can do here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Which of the kernel's two forms.
    pub version: Version,
    /// Controllers that are used.
    pub controllers: Vec<&'static str>,
}

/// The kernel's two forms of control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy for each controller.
    One,
    /// One hierarchy for all.
    Two,
}

/// Where a group lies.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Folders {
    V1(V1),
    V2(V2),
}

/// The folder of every group.
const PARENT: &str = "cotenant";

/// How often a group is tried to be made while somebody else removes its empty parent.
const TRIES_MAX: u32 = 4;

impl Cgroups {
    /// Whether groups can be made, and of what form; changes nothing.
    pub fn probe() -> Result<Capability, CgroupError> {
        let cgroups = Self::open()?;
        let (version, controllers) = match cgroups.parent {
            Folders::V1(_) => (Version::One, v1::CONTROLLERS.to_vec()),
            Folders::V2(_) => (Version::Two, v2::CONTROLLERS.to_vec()),
        };
        Ok(Capability { version, controllers })
    }

    /// Finds the place for groups; changes nothing.
    pub fn open() -> Result<Self, CgroupError> {
        let mounts = Mounts::read()
            .map_err(|source| CgroupError::Read { file: "/proc/self/mountinfo".into(), source })?;
        Self::within(&mounts)
    }

    fn within(mounts: &Mounts) -> Result<Self, CgroupError> {
        let parent = match V2::find(mounts)? {
            Some(own) => Folders::V2(own),
            None => Folders::V1(V1::find(mounts)?),
        };
        Ok(Self { parent: parent.below(PARENT) })
    }

    /// Makes a group with these limits; one that is there gets the limits.
    ///
    /// A name has up to 96 letters a-z and A-Z, digits, `-` and `_`.
    pub fn create(&self, name: &str, limits: &CpuLimits) -> Result<Group, CgroupError> {
        let group = self.make(name, limits.cores)?;
        match group.set(limits) {
            Ok(()) => Ok(group),
            Err(error) => {
                // The first error is the news; a group with processes in it stays.
                let _ = group.remove_if_empty();
                Err(error)
            }
        }
    }

    /// Makes a group of version 2 without limits of its own, for others to limit; one that is there
    /// stays as it is.
    pub fn create_unlimited(&self, name: &str) -> Result<Group, CgroupError> {
        match &self.parent {
            Folders::V1(_) => Err(CgroupError::NotUnified { name: name.to_owned() }),
            Folders::V2(_) => self.make(name, 0),
        }
    }

    /// Makes a group; what all groups of version 1 may have together follows from the cores.
    fn make(&self, name: &str, cores: u32) -> Result<Group, CgroupError> {
        check_name(name)?;
        let folders = self.parent.below(name);
        for left in (0..TRIES_MAX).rev() {
            let prepared = match &self.parent {
                Folders::V1(parent) => parent.prepare(cores),
                Folders::V2(parent) => parent.prepare(),
            };
            let made =
                prepared.and_then(|()| folders.all().into_iter().try_for_each(files::make_folder));
            match made {
                Ok(()) => break,
                Err(error) if left > 0 && error.is_missing() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Group::new(name, folders))
    }

    /// The group of that name, if there is one: that of a job which an earlier run has started.
    pub fn find(&self, name: &str) -> Result<Option<Group>, CgroupError> {
        check_name(name)?;
        let folders = self.parent.below(name);
        let is_there = folders.all().iter().any(|folder| folder.is_dir());
        Ok(is_there.then(|| Group::new(name, folders)))
    }

    /// Names of the groups that begin with the prefix, whether or not somebody remembers them.
    pub fn list(&self, prefix: &str) -> Result<Vec<String>, CgroupError> {
        let mut names = BTreeSet::new();
        for folder in self.parent.all() {
            for name in files::folders_in(folder)? {
                if name.starts_with(prefix) && check_name(&name).is_ok() {
                    names.insert(name);
                }
            }
        }
        Ok(names.into_iter().collect())
    }

    /// Removes the folder of all groups if no group is left, as a program does that ends.
    pub fn leave_no_trace(&self) {
        for folder in self.parent.all() {
            // A folder with a group in it refuses, and that is what is wanted.
            let _ = fs::remove_dir(folder);
        }
    }
}

impl Folders {
    fn below(&self, name: &str) -> Self {
        match self {
            Folders::V1(folders) => Folders::V1(folders.below(name)),
            Folders::V2(folder) => Folders::V2(folder.below(name)),
        }
    }

    /// Every folder once.
    fn all(&self) -> Vec<&Path> {
        match self {
            Folders::V1(folders) => folders.all(),
            Folders::V2(folder) => vec![folder.path()],
        }
    }
}

/// Most letters of a group's name.
const NAME_LEN_MAX: usize = 96;

/// Files without a dot in their name that version 1 keeps in every folder.
const TAKEN: [&str; 3] = ["tasks", "notify_on_release", "release_agent"];

fn check_name(name: &str) -> Result<(), CgroupError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let fits = (1..=NAME_LEN_MAX).contains(&name.len());
    match fits && name.bytes().all(is_plain) && !TAKEN.contains(&name) {
        true => Ok(()),
        false => Err(CgroupError::Name(name.chars().take(NAME_LEN_MAX).collect())),
    }
}

#[cfg(test)]
mod tests;
