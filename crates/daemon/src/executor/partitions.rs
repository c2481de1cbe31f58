//! Members that have a partition of a card in MIG mode, or that the driver itself holds.
//!
//! A partition is taken before its member starts, and given back when its run has ended; what a
//! daemon before this one took is found again by its record. A limit of the driver is one of the
//! member's control group, and goes with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use cotenant_device::{CardSettings, Cgroups, DriverLimits, Group, Partitions, set_driver_limits};
use cotenant_sched::Run;
use cotenant_types::{Card, CardId, CardKind, MemberSlices, MigPlace, Rung, Slice};

use super::folder::{self, RunFolder};
use super::said::{MemberOf, member_name, say, whole};

/// How often it is tried to destroy a partition whose job has ended.
const TRIES_MAX: u32 = 20;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// The partitions of the pool's members, for the executor and its watchers.
#[derive(Clone)]
pub(crate) struct Partitioned(Arc<Mutex<Result<Partitions, String>>>);

impl Partitioned {
    /// What the record in a file says; if it cannot be read, no member gets a partition, and each is
    /// told why.
    pub(crate) fn open(record: PathBuf, settings: CardSettings) -> Self {
        let opened = Partitions::open(record, settings).map_err(|error| whole(&error));
        Self(Arc::new(Mutex::new(opened)))
    }

    /// Places that the pool holds or made, and why they are not known if they are not.
    pub(crate) fn ours(&self) -> Result<Vec<(CardId, MigPlace)>, String> {
        self.lock().as_ref().map(Partitions::ours).map_err(Clone::clone)
    }

    /// Gets the partitions of a member; gives what programs know each by. Where one cannot be had,
    /// those that were are given back.
    pub(super) fn take(
        &self,
        member: MemberOf<'_>,
        (slices, cards): (&[Slice], &BTreeMap<CardId, Card>),
    ) -> Result<BTreeMap<CardId, String>, String> {
        let name = member_name(member.run, member.number);
        let mut taken = BTreeMap::new();
        let mut lock = self.lock();
        for slice in slices {
            let Some(place) = &slice.mig else { continue };
            let id = match cards.get(&slice.card).map(|card| card.kind) {
                Some(CardKind::Nvidia) => {
                    let partitions = lock.as_mut().map_err(|why| why.clone())?;
                    partitions.take(&name, &slice.card, place).map_err(|error| {
                        // The first error is the news; what stays is tried again later.
                        let _ = partitions.give_back(&name);
                        whole(&error)
                    })?
                }
                // A partition of a card that is not there has no other name than its card's.
                Some(CardKind::Sim | CardKind::Cpu) | None => slice.card.to_string(),
            };
            taken.insert(slice.card.clone(), id);
        }
        Ok(taken)
    }

    /// Gives back what the members of a run that has ended had. A card may take a moment to notice
    /// that a process is gone, so that a refusal is no news before some tries.
    pub(super) fn leave(&self, run: &Run, folder: &RunFolder) {
        let members = folder.read_run().map(|file| file.members).unwrap_or_default();
        for member in members {
            let mut outcome = self.give_back(run, member.number);
            for _ in 0..TRIES_MAX {
                if outcome.is_ok() {
                    break;
                }
                thread::sleep(PAUSE);
                outcome = self.clear_left();
            }
            if let Err(why) = outcome {
                say(&folder.log("stderr", member.number), &why);
            }
        }
    }

    fn clear_left(&self) -> Result<(), String> {
        match self.lock().as_mut() {
            Ok(partitions) => partitions.clear_left().map_err(|error| whole(&error)),
            Err(_) => Ok(()),
        }
    }

    /// Gives back what members of a run have that will never begin.
    pub(super) fn leave_members(&self, run: &Run, numbers: impl Iterator<Item = u32>) {
        for number in numbers {
            // Nobody ran in it, so that nothing keeps it; if something does, it is tried again.
            let _ = self.give_back(run, number);
        }
    }

    fn give_back(&self, run: &Run, number: u32) -> Result<(), String> {
        let name = member_name(run, number);
        match self.lock().as_mut() {
            Ok(partitions) => partitions.give_back(&name).map_err(|error| whole(&error)),
            Err(_) => Ok(()),
        }
    }

    /// After a restart: keeps what runs have that have not ended, and gives back all else.
    pub(super) fn adopt(&self, runs: &Path) {
        let mut alive = BTreeSet::new();
        for (_, file) in folder::alive(runs) {
            alive.extend(file.members.iter().map(|member| member_name(&file.run, member.number)));
        }
        if let Ok(partitions) = self.lock().as_mut() {
            // What cannot be destroyed now is tried again when its place is wanted.
            let _ = partitions.retain(&alive);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Result<Partitions, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds a member to those of its slices that the driver holds, through its control group, which is
/// made if there is none. Gives the group's name; none if the driver is to hold nothing.
pub(super) fn hold_by_driver(name: &str, member: &MemberSlices) -> Result<Option<String>, String> {
    if member.slices.iter().all(|slice| slice.enforced_by != Rung::Driver) {
        return Ok(None);
    }
    let groups = Cgroups::open().map_err(|error| whole(&error))?;
    let group = groups.create_unlimited(name).map_err(|error| whole(&error))?;
    if let Err(why) = limit(&group, member) {
        // Nothing of the run begins, so that nothing is in it.
        let _ = group.remove();
        return Err(why);
    }
    Ok(Some(name.to_owned()))
}

/// Gives the limits that the driver holds a member to their new values.
pub(super) fn resize_by_driver(group: &Group, member: &MemberSlices) -> Result<(), String> {
    limit(group, member)
}

fn limit(group: &Group, member: &MemberSlices) -> Result<(), String> {
    let held = member.slices.iter().filter(|slice| slice.enforced_by == Rung::Driver);
    for slice in held {
        let folder = group.unified_folder().ok_or_else(|| {
            "the driver limits control groups of version 2 alone, and this machine has version 1; \
             ask for another enforcement, such as mps or intercept"
                .to_owned()
        })?;
        let limits = DriverLimits { request: slice.memory.request, limit: slice.memory.limit };
        set_driver_limits(&slice.card, folder, limits).map_err(|error| whole(&error))?;
    }
    Ok(())
}
