//! Partitions that the pool's programs hold.

use std::collections::BTreeSet;
use std::path::PathBuf;

use cotenant_types::{CardId, MigPlace};
use nvml_wrapper::Nvml;

use super::error::PartitionError;
use super::record::{self, Lease};
use super::seen::{Content, MigSeen, SeenPartition, read};
use crate::nvidia::nvml::{MigCard, Refused};
use crate::settings::CardSettings;

/// The partitions of a pool. Whoever owns it is the only one that may use its record.
#[derive(Debug)]
pub struct Partitions {
    record: PathBuf,
    settings: CardSettings,
    leases: Vec<Lease>,
}

const MAKE: &str = "make a partition";
const DESTROY: &str = "destroy a partition";
const LIST: &str = "list partitions";

impl Partitions {
    /// Reads what an earlier run wrote down; touches no card.
    pub fn open(record: PathBuf, settings: CardSettings) -> Result<Self, PartitionError> {
        let leases = record::load(&record)?;
        Ok(Self { record, settings, leases })
    }

    /// Places that the pool holds, or made.
    pub fn ours(&self) -> Vec<(CardId, MigPlace)> {
        self.leases.iter().map(|lease| (lease.card.clone(), lease.place.clone())).collect()
    }

    /// Gets a partition for an owner and gives its identity, such as `MIG-4d1c…`.
    ///
    /// One that is there and free is used. Else it is made, if settings of cards may be changed.
    /// Asking again gives the same one.
    pub fn take(
        &mut self,
        owner: &str,
        card: &CardId,
        place: &MigPlace,
    ) -> Result<String, PartitionError> {
        let at = self.leases.iter().position(|one| one.card == *card && one.place == *place);
        let mine = match at.map(|at| &self.leases[at]) {
            Some(Lease { owner: Some(other), .. }) if other != owner => {
                let (card, owner) = (card.clone(), other.clone());
                let MigPlace { profile, start } = place.clone();
                return Err(PartitionError::Taken { card, profile, start, owner });
            }
            found => found.cloned(),
        };
        with_card(card, |mig| {
            self.sweep((card, place), mig);
            let seen = read(mig).map_err(|why| refusal((card, place), (LIST, why), None))?;
            match seen.partition(place) {
                Some(found) => self.take_existing((owner, mine), (card, found), (mig, &seen)),
                None => self.make((owner, card, place), (mig, &seen)),
            }
        })
    }

    /// Gives back what an owner holds; one that the pool made is destroyed, if settings of cards may
    /// be changed. One that cannot be destroyed now is tried again later.
    pub fn give_back(&mut self, owner: &str) -> Result<(), PartitionError> {
        self.release(|name| name == owner)
    }

    /// After a restart: keeps what these owners hold, and gives back what all others held.
    pub fn retain(&mut self, owners: &BTreeSet<String>) -> Result<(), PartitionError> {
        self.release(|name| !owners.contains(name))
    }

    /// Tries again to destroy what nobody holds any more.
    pub fn clear_left(&mut self) -> Result<(), PartitionError> {
        self.release(|_| false)
    }

    fn release(&mut self, is_gone: impl Fn(&str) -> bool) -> Result<(), PartitionError> {
        let mut first = None;
        let before = std::mem::take(&mut self.leases);
        let mut is_changed = false;
        for lease in before {
            let is_over = lease.owner.as_deref().is_none_or(&is_gone);
            if !is_over {
                self.leases.push(lease);
                continue;
            }
            is_changed = true;
            if !lease.is_made {
                continue;
            }
            let is_allowed = self.settings == CardSettings::MayChange;
            let outcome = is_allowed
                .then(|| with_card(&lease.card, |mig| destroy((&lease.card, &lease.place), mig)));
            match outcome {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    first.get_or_insert(error);
                    self.leases.push(Lease { owner: None, ..lease });
                }
                None => self.leases.push(Lease { owner: None, ..lease }),
            }
        }
        if is_changed {
            self.store()?;
        }
        first.map_or(Ok(()), Err)
    }

    /// Destroys what nobody holds any more on a card, so that it is in nobody's way. What is still
    /// in use stays: whoever needs its place is told so.
    fn sweep(&mut self, (card, wanted): (&CardId, &MigPlace), mig: MigCard<'_>) {
        if self.settings == CardSettings::MayChange {
            self.leases.retain(|lease| {
                let is_left = lease.owner.is_none() && lease.is_made && lease.card == *card;
                let is_in_the_way = is_left && lease.place != *wanted;
                !(is_in_the_way && destroy((card, &lease.place), mig).is_ok())
            });
        }
    }

    fn take_existing(
        &mut self,
        (owner, mine): (&str, Option<Lease>),
        (card, found): (&CardId, &SeenPartition),
        (mig, seen): (MigCard<'_>, &MigSeen),
    ) -> Result<String, PartitionError> {
        let place = &found.place;
        let MigPlace { profile, start } = place.clone();
        // What a program left behind that has ended is no more ours than a stranger's.
        let is_held = mine.as_ref().is_some_and(|lease| lease.owner.is_some());
        if !is_held && !found.users.is_empty() {
            let (card, users) = (card.clone(), found.users.clone());
            return Err(PartitionError::Busy { card, profile, start, users });
        }
        let is_made = mine.as_ref().is_some_and(|lease| lease.is_made);
        match (&found.content, self.settings) {
            (Content::Whole(uuid), _) => {
                self.hold(owner, (card, place), is_made)?;
                Ok(uuid.clone())
            }
            (Content::Split, _) => {
                Err(PartitionError::Split { card: card.clone(), profile, start })
            }
            (Content::Empty, CardSettings::Keep) => {
                Err(PartitionError::Empty { card: card.clone(), profile, start, id: found.id })
            }
            (Content::Empty, CardSettings::MayChange) => {
                self.hold(owner, (card, place), is_made)?;
                let completed = complete((card, place), (mig, seen));
                if completed.is_err() {
                    // It is whose it was before.
                    self.drop_lease(card, place)?;
                    self.leases.extend(mine);
                    self.store()?;
                }
                completed
            }
        }
    }

    fn make(
        &mut self,
        (owner, card, place): (&str, &CardId, &MigPlace),
        (mig, seen): (MigCard<'_>, &MigSeen),
    ) -> Result<String, PartitionError> {
        let MigPlace { profile, start } = place.clone();
        let Some(found) = seen.profile(&profile) else {
            let names = seen.profiles.iter().map(|one| one.profile.name.as_str());
            let known = names.collect::<Vec<_>>().join(", ");
            return Err(PartitionError::Profile { card: card.clone(), profile, known });
        };
        if self.settings == CardSettings::Keep {
            // A lease whose partition somebody destroyed is worth nothing.
            self.drop_lease(card, place)?;
            return Err(PartitionError::Forbidden { card: card.clone(), profile, start });
        }
        // From here on, whoever finds it after a crash knows that it is ours.
        self.hold(owner, (card, place), true)?;
        let size = u32::from(found.profile.width);
        let made = match mig.create(found.id, (u32::from(start), size)) {
            Ok(_) => complete((card, place), (mig, seen)),
            Err(why) => Err(refusal((card, place), (MAKE, why), Some(seen))),
        };
        if made.is_err() {
            let is_gone = destroy((card, place), mig).is_ok();
            self.leases.retain(|one| one.card != *card || one.place != *place);
            if !is_gone {
                // What is left of it is nobody's, and is destroyed later.
                let (card, place) = (card.clone(), place.clone());
                self.leases.push(Lease { owner: None, card, is_made: true, place });
            }
            self.store()?;
        }
        made
    }

    /// Writes down that an owner holds a partition.
    fn hold(
        &mut self,
        owner: &str,
        (card, place): (&CardId, &MigPlace),
        is_made: bool,
    ) -> Result<(), PartitionError> {
        self.leases.retain(|one| one.card != *card || one.place != *place);
        let (owner, card, place) = (Some(owner.to_owned()), card.clone(), place.clone());
        self.leases.push(Lease { owner, card, is_made, place });
        self.store()
    }

    fn drop_lease(&mut self, card: &CardId, place: &MigPlace) -> Result<(), PartitionError> {
        self.leases.retain(|one| one.card != *card || one.place != *place);
        self.store()
    }

    fn store(&self) -> Result<(), PartitionError> {
        record::store(&self.record, &self.leases)
    }
}

/// Does something with a card that must be in MIG mode.
fn with_card<T>(
    card: &CardId,
    act: impl FnOnce(MigCard<'_>) -> Result<T, PartitionError>,
) -> Result<T, PartitionError> {
    let said = |error: nvml_wrapper::error::NvmlError| PartitionError::Driver {
        card: card.clone(),
        why: error.to_string(),
    };
    let nvml = Nvml::init().map_err(said)?;
    let device = nvml.device_by_uuid(card.as_str()).map_err(said)?;
    match device.mig_mode() {
        Ok(mode) if mode.current != 0 => {}
        Ok(mode) if mode.pending != 0 => {
            return Err(PartitionError::Pending { card: card.clone() });
        }
        Ok(_) => return Err(PartitionError::Mode { card: card.clone() }),
        Err(error) => return Err(said(error)),
    }
    act(MigCard::new(&nvml, &device))
}

/// Gives a partition the compute instance that has all of it, unless it has that already, and finds
/// what programs know it by.
fn complete(
    (card, place): (&CardId, &MigPlace),
    (mig, before): (MigCard<'_>, &MigSeen),
) -> Result<String, PartitionError> {
    let failed = |why| refusal((card, place), (MAKE, why), Some(before));
    let profile = before.profile(&place.profile).ok_or_else(|| failed(Refused::NotFound))?;
    let instances = mig.instances(profile.id).map_err(failed)?;
    let instance = instances.iter().find(|one| one.start == u32::from(place.start));
    let instance = instance.ok_or_else(|| failed(Refused::NotFound))?;
    mig.create_whole_compute(instance, profile.slices).map_err(failed)?;
    let device = mig.devices().into_iter().find(|device| device.instance == instance.id);
    let uuid = device.and_then(|device| device.device.uuid().ok());
    uuid.ok_or_else(|| failed(Refused::NotFound))
}

/// Destroys a partition and what is in it; one that is gone is fine.
fn destroy((card, place): (&CardId, &MigPlace), mig: MigCard<'_>) -> Result<(), PartitionError> {
    let seen = read(mig).map_err(|why| refusal((card, place), (LIST, why), None))?;
    let (Some(found), Some(profile)) = (seen.partition(place), seen.profile(&place.profile)) else {
        return Ok(());
    };
    if !found.users.is_empty() {
        return Err(refusal((card, place), (DESTROY, Refused::InUse), Some(&seen)));
    }
    let failed = |why| refusal((card, place), (DESTROY, why), Some(&seen));
    let instances = mig.instances(profile.id).map_err(failed)?;
    let Some(instance) = instances.iter().find(|one| one.id == found.id) else { return Ok(()) };
    for compute in mig.computes(instance).map_err(failed)? {
        mig.destroy_compute(&compute).map_err(failed)?;
    }
    mig.destroy(instance).map_err(failed)
}

/// A refusal of the driver, in words that say what to do.
fn refusal(
    (card, place): (&CardId, &MigPlace),
    (doing, why): (&'static str, Refused),
    seen: Option<&MigSeen>,
) -> PartitionError {
    let card = card.clone();
    let MigPlace { profile, start } = place.clone();
    match why {
        Refused::NoPermission => PartitionError::Root { card, doing },
        Refused::Missing(_) => PartitionError::Unsupported { card, doing, why: why.to_string() },
        Refused::InUse => {
            let found = seen.and_then(|seen| seen.partition(place));
            let users = found.map(|found| found.users.clone()).unwrap_or_default();
            PartitionError::Busy { card, profile, start, users }
        }
        Refused::NoRoom => {
            let there = seen.into_iter().flat_map(|seen| &seen.partitions);
            let named =
                there.map(|one| format!("{} at slot {}", one.place.profile, one.place.start));
            let others = named.collect::<Vec<_>>().join(", ");
            let others = if others.is_empty() { "none".to_owned() } else { others };
            PartitionError::Room { card, profile, start, others }
        }
        Refused::NotSupported | Refused::NotFound | Refused::Lost | Refused::Code(_) => {
            PartitionError::Failed { card, doing, why: why.to_string() }
        }
    }
}
