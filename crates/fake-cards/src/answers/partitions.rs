//! Partitions of a card, made and destroyed by NVML's rules.

use super::facts::{Compute, Partition, Profile, User};
use crate::cards::Cards;
use crate::world::World;

/// A partition as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionFacts {
    /// Its number on the card.
    pub id: u32,
    /// Its profile.
    pub profile: Profile,
    /// Its first slot.
    pub start: u32,
    /// Its compute instances.
    pub computes: Vec<ComputeFacts>,
    /// Processes on it, with the bytes that each has.
    pub users: Vec<(u32, u64)>,
}

/// A compute instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComputeFacts {
    /// Its number in its partition.
    pub id: u32,
    /// Compute slices.
    pub slices: u32,
    /// Its identity.
    pub uuid: [u8; 16],
}

/// Why partitions stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionRefused {
    /// The card is not in MIG mode.
    Mode,
    /// There is no such profile, place or partition.
    Unknown,
    /// Others lie there, or there are as many as there may be.
    Room,
    /// Processes use it, or compute instances are in it.
    Busy,
}

impl Cards {
    /// A card's profile by NVML's number for it.
    #[must_use]
    pub fn profile(&self, card: usize, index: usize) -> Option<Profile> {
        let world = self.now();
        let profile = world.real_cards().get(card)?.answers.profiles.get(index).copied()?;
        (profile.is_offered == 1).then_some(profile)
    }

    /// A card's profile by its id.
    #[must_use]
    pub fn profile_of_id(&self, card: usize, id: u32) -> Option<Profile> {
        let world = self.now();
        let place = place_of(&world, card, id)?;
        Some(world.cards[card].answers.profiles[place])
    }

    /// A card's partitions; none if there is no such card.
    #[must_use]
    pub fn partitions(&self, card: usize) -> Vec<PartitionFacts> {
        let world = self.now();
        let Some(found) = world.real_cards().get(card) else { return Vec::new() };
        let answers = &found.answers;
        let there = (0u32..).zip(&answers.partitions).filter(|(_, one)| one.is_there == 1);
        let facts = |(id, one): (u32, &Partition)| {
            let computes = (0u32..).zip(&one.computes).filter(|(_, compute)| compute.serial > 0);
            let compute = |(id, compute): (u32, &Compute)| ComputeFacts {
                id,
                slices: compute.slices as u32,
                uuid: uuid_of(&found.uuid, compute.serial),
            };
            let users = one.users.iter().filter(|user| user.pid > 0);
            PartitionFacts {
                id,
                profile: answers.profiles[one.profile as usize],
                start: one.start as u32,
                computes: computes.map(compute).collect(),
                users: users.map(|user| (user.pid as u32, user.bytes)).collect(),
            }
        };
        there.map(facts).collect()
    }

    /// Makes a partition at a slot, or at the first that is free.
    ///
    /// # Errors
    /// If the card is not in MIG mode, or there is no room.
    pub fn make_partition(
        &self,
        card: usize,
        profile_id: u32,
        start: Option<u32>,
    ) -> Result<u32, PartitionRefused> {
        let mut world = self.now();
        let place = place_of(&world, card, profile_id).ok_or(PartitionRefused::Unknown)?;
        let answers = &mut world.cards[card].answers;
        if answers.told.mig_mode == 0 {
            return Err(PartitionRefused::Mode);
        }
        let profile = answers.profiles[place];
        let there = || answers.partitions.iter().filter(|one| one.is_there == 1);
        let mut taken = 0u64;
        for one in there() {
            taken |= slots(answers.profiles[one.profile as usize].width, one.start);
        }
        let count = there().filter(|one| one.profile == place as u64).count() as u64;
        let is_free = |start: &u64| taken & slots(profile.width, *start) == 0;
        let mut starts = (0..32).filter(|&start| profile.may_begin_at(start));
        let start = match start.map(u64::from) {
            Some(wanted) if !profile.may_begin_at(wanted) => return Err(PartitionRefused::Unknown),
            Some(wanted) => Some(wanted).filter(is_free),
            None => starts.find(is_free),
        };
        let id = answers.partitions.iter().position(|one| one.is_there == 0);
        match (start, id) {
            (Some(start), Some(id)) if count < profile.count => {
                let profile = place as u64;
                answers.partitions[id] =
                    Partition { is_there: 1, profile, start, ..Partition::default() };
                Ok(id as u32)
            }
            _ => Err(PartitionRefused::Room),
        }
    }

    /// Destroys a partition without processes or compute instances.
    ///
    /// # Errors
    /// If it has some, or is not there.
    pub fn destroy_partition(&self, card: usize, id: u32) -> Result<(), PartitionRefused> {
        let mut world = self.now();
        let partition = partition_of(&mut world, card, id)?;
        let has_computes = partition.computes.iter().any(|compute| compute.serial > 0);
        if has_computes || is_used(partition) {
            return Err(PartitionRefused::Busy);
        }
        *partition = Partition::default();
        Ok(())
    }

    /// Makes a compute instance of so many slices in a partition.
    ///
    /// # Errors
    /// If there is no room for it, or no such partition.
    pub fn make_compute(&self, card: usize, id: u32, slices: u32) -> Result<u32, PartitionRefused> {
        let mut world = self.now();
        let partition = *partition_of(&mut world, card, id)?;
        let answers = &mut world.cards[card].answers;
        let all = answers.profiles[partition.profile as usize].slices;
        let taken: u64 = partition.computes.iter().map(|compute| compute.slices).sum();
        let place = partition.computes.iter().position(|compute| compute.serial == 0);
        match place {
            Some(place) if slices > 0 && taken + u64::from(slices) <= all => {
                answers.serial += 1;
                let made = Compute { serial: answers.serial, slices: u64::from(slices) };
                answers.partitions[id as usize].computes[place] = made;
                Ok(place as u32)
            }
            _ => Err(PartitionRefused::Room),
        }
    }

    /// Destroys a compute instance that no process uses.
    ///
    /// # Errors
    /// If one does, or it is not there.
    pub fn destroy_compute(
        &self,
        card: usize,
        id: u32,
        compute: u32,
    ) -> Result<(), PartitionRefused> {
        let mut world = self.now();
        let partition = partition_of(&mut world, card, id)?;
        if is_used(partition) {
            return Err(PartitionRefused::Busy);
        }
        let found = partition.computes.get_mut(compute as usize);
        let found = found.filter(|compute| compute.serial > 0).ok_or(PartitionRefused::Unknown)?;
        *found = Compute::default();
        Ok(())
    }

    /// A test says that processes use a partition, each with so many bytes.
    ///
    /// # Errors
    /// If there is no such partition.
    pub fn use_partition(
        &self,
        card: usize,
        id: u32,
        users: &[(u32, u64)],
    ) -> Result<(), PartitionRefused> {
        let mut world = self.now();
        let partition = partition_of(&mut world, card, id)?;
        partition.users = Default::default();
        for (place, &(pid, bytes)) in partition.users.iter_mut().zip(users) {
            *place = User { pid: u64::from(pid), bytes };
        }
        Ok(())
    }
}

fn place_of(world: &World, card: usize, id: u32) -> Option<usize> {
    let profiles = &world.real_cards().get(card)?.answers.profiles;
    profiles.iter().position(|profile| profile.is_offered == 1 && profile.id == u64::from(id))
}

fn partition_of(
    world: &mut World,
    card: usize,
    id: u32,
) -> Result<&mut Partition, PartitionRefused> {
    let found = (card < world.cards_len()).then(|| &mut world.cards[card].answers.partitions);
    let found = found.and_then(|partitions| partitions.get_mut(id as usize));
    found.filter(|one| one.is_there == 1).ok_or(PartitionRefused::Unknown)
}

fn is_used(partition: &Partition) -> bool {
    partition.users.iter().any(|user| user.pid > 0)
}

fn slots(width: u64, start: u64) -> u64 {
    ((1u64 << width.min(32)) - 1) << start.min(31)
}

/// An identity that no other compute instance has.
fn uuid_of(card: &[u8; 16], serial: u64) -> [u8; 16] {
    let mut uuid = *card;
    uuid[4..6].copy_from_slice(&0xc0deu16.to_be_bytes());
    uuid[14] = uuid[15];
    uuid[15] = serial as u8;
    uuid[13] = (serial >> 8) as u8;
    uuid
}
