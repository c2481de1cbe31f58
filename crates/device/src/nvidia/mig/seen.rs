//! What NVML says of a card in MIG mode: its profiles, and the partitions that there are.

use std::collections::BTreeSet;

use cotenant_types::{Mebibytes, MigPlace, MigProfile, Share};

use crate::nvidia::nvml::{Instance, MigCard, PROFILES, RawProfile, Refused};

/// A card in MIG mode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MigSeen {
    /// Smallest first; of equals the plainest first.
    pub(crate) profiles: Vec<SeenProfile>,
    /// By their first slot.
    pub(crate) partitions: Vec<SeenPartition>,
}

/// A profile, and what NVML makes it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeenProfile {
    pub(crate) id: u32,
    pub(crate) slices: u32,
    pub(crate) profile: MigProfile,
}

/// A partition that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeenPartition {
    /// Its number on the card.
    pub(crate) id: u32,
    pub(crate) place: MigPlace,
    /// Slots that it covers, one bit each.
    pub(crate) mask: u32,
    pub(crate) content: Content,
    /// Processes that use it.
    pub(crate) users: Vec<u32>,
}

/// What is in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// One compute instance with all of it: the identity that programs see.
    Whole(String),
    /// No compute instance, so that no program can use it.
    Empty,
    /// Several, or one with a part.
    Split,
}

/// Reads a card.
pub(crate) fn read(card: MigCard<'_>) -> Result<MigSeen, Refused> {
    let mut raw = Vec::new();
    for index in 0..PROFILES {
        raw.extend(card.profile(index)?);
    }
    let all = raw.iter().map(|profile| profile.multiprocessors).max().unwrap_or(0);
    let mut profiles: Vec<SeenProfile> = Vec::new();
    for one in &raw {
        profiles.extend(seen_profile(one, all, &card.placements(one.id)?));
    }
    profiles.sort_by_key(|one| {
        let profile = &one.profile;
        (profile.width, profile.memory, profile.compute, profile.name.len(), one.id)
    });
    let devices: Vec<Device> = devices(card);
    let mut partitions = Vec::new();
    for profile in &profiles {
        for instance in card.instances(profile.id)? {
            partitions.push(seen_partition(card, (profile, &instance), &devices)?);
        }
    }
    partitions.sort_by_key(|one| one.place.start);
    Ok(MigSeen { profiles, partitions })
}

impl MigSeen {
    pub(crate) fn profile(&self, name: &str) -> Option<&SeenProfile> {
        self.profiles.iter().find(|one| one.profile.name == name)
    }

    pub(crate) fn partition(&self, place: &MigPlace) -> Option<&SeenPartition> {
        self.partitions.iter().find(|one| one.place == *place)
    }
}

/// A profile whose places NVML told; nothing if there are none.
fn seen_profile(raw: &RawProfile, all: u32, places: &[(u32, u32)]) -> Option<SeenProfile> {
    let width = u8::try_from(places.first()?.1).ok().filter(|width| (1..=32).contains(width))?;
    let of_width = places.iter().filter(|(_, size)| *size == u32::from(width));
    let starts = of_width.filter_map(|(start, _)| u8::try_from(*start).ok());
    let starts: BTreeSet<u8> = starts.filter(|start| start + width <= 32).collect();
    let per_mille = u64::from(raw.multiprocessors) * 1000 / u64::from(all.max(1));
    let compute = u32::try_from(per_mille).ok().and_then(|it| Share::from_per_mille(it).ok())?;
    let profile = MigProfile {
        name: name_of(raw),
        memory: Mebibytes(raw.memory_mib),
        compute,
        width,
        starts: starts.into_iter().collect(),
        count_max: u8::try_from(raw.count).unwrap_or(u8::MAX),
    };
    Some(SeenProfile { id: raw.id, slices: raw.slices, profile })
}

/// The driver's name without what it begins with; older drivers tell none, and there it is made as
/// they show it: slices, memory rounded up, and what the profile has more or less than others.
fn name_of(raw: &RawProfile) -> String {
    if let Some(name) = raw.name.as_deref().map(str::trim).filter(|name| !name.is_empty()) {
        return name.strip_prefix("MIG ").unwrap_or(name).to_owned();
    }
    let suffix = match raw.index {
        7 | 8 => "+me",
        10..=12 => "+gfx",
        13 | 14 => "-me",
        15 | 16 => "+me.all",
        _ => "",
    };
    format!("{}g.{}gb{suffix}", raw.slices, raw.memory_mib.div_ceil(1024))
}

/// A compute instance as programs see it, and who uses it.
struct Device {
    instance: u32,
    compute: u32,
    uuid: String,
    users: Vec<u32>,
}

fn devices(card: MigCard<'_>) -> Vec<Device> {
    let named = card.devices().into_iter().filter_map(|found| {
        let running = found.device.running_compute_processes().unwrap_or_default();
        let served = found.device.mps_running_compute_processes().unwrap_or_default();
        let pids: BTreeSet<u32> =
            running.iter().chain(&served).map(|process| process.pid).collect();
        Some(Device {
            instance: found.instance,
            compute: found.compute,
            uuid: found.device.uuid().ok()?,
            users: pids.into_iter().collect(),
        })
    });
    named.collect()
}

fn seen_partition<'n>(
    card: MigCard<'n>,
    (profile, instance): (&SeenProfile, &Instance<'n>),
    devices: &[Device],
) -> Result<SeenPartition, Refused> {
    let start = u8::try_from(instance.start).unwrap_or(u8::MAX);
    let ours = || devices.iter().filter(|device| device.instance == instance.id);
    let content = match card.computes(instance)?.as_slice() {
        [] => Content::Empty,
        [one] if one.slices >= profile.slices => {
            let device = ours().find(|device| device.compute == one.id);
            device.map_or(Content::Split, |device| Content::Whole(device.uuid.clone()))
        }
        _ => Content::Split,
    };
    let users: BTreeSet<u32> = ours().flat_map(|device| &device.users).copied().collect();
    Ok(SeenPartition {
        id: instance.id,
        place: MigPlace { profile: profile.profile.name.clone(), start },
        mask: profile.profile.mask(start),
        content,
        users: users.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(index: u32, slices: u32, memory_mib: u64, name: Option<&str>) -> RawProfile {
        let name = name.map(str::to_owned);
        RawProfile { index, id: 0, name, slices, count: 7, memory_mib, multiprocessors: 16 }
    }

    #[test]
    fn names_are_those_that_drivers_show() {
        let check = |raw: RawProfile, expected: &str| assert_eq!(name_of(&raw), expected);
        check(raw(0, 1, 9984, Some("MIG 1g.10gb")), "1g.10gb");
        check(raw(7, 1, 9984, Some("1g.10gb+me")), "1g.10gb+me");
        check(raw(0, 1, 4864, None), "1g.5gb");
        check(raw(7, 1, 4864, None), "1g.5gb+me");
        check(raw(4, 7, 81_152, Some(" ")), "7g.80gb");
    }

    #[test]
    fn places_are_taken_from_the_driver_and_bounded() {
        let shown = |places: &[(u32, u32)]| {
            let seen = seen_profile(&raw(0, 1, 9984, None), 132, places)?;
            Some((seen.profile.width, seen.profile.starts, seen.profile.compute.per_mille()))
        };
        assert_eq!(shown(&[(4, 4), (0, 4)]), Some((4, vec![0, 4], 121)));
        assert_eq!(shown(&[]), None);
        assert_eq!(shown(&[(0, 0)]), None);
        assert_eq!(shown(&[(0, 900)]), None);
        assert_eq!(shown(&[(0, 2), (31, 2), (3, 7)]), Some((2, vec![0], 121)));
    }
}
