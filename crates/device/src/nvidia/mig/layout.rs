//! Which partitions of a card the pool may plan with.

use std::collections::BTreeSet;

use cotenant_types::{Mebibytes, MigGeometry, MigPlace, MigProfile};

use super::seen::{Content, MigSeen, SeenPartition};
use crate::settings::CardSettings;

/// What is offered of a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Profiles that could be had, each with where.
    pub(crate) geometry: MigGeometry,
    /// The most memory that they have together.
    pub(crate) memory: Mebibytes,
    /// What of the card is left out, and why.
    pub(crate) remarks: Vec<String>,
}

/// What may be planned with on a card, where `ours` are places that the pool holds or made.
///
/// With permission that is whatever does not touch a partition of somebody else, and such a
/// partition itself if it is whole and free. Without, it is what there is, whole and free.
pub(crate) fn offer(seen: &MigSeen, settings: CardSettings, ours: &BTreeSet<MigPlace>) -> Offer {
    let foreign: Vec<(&SeenPartition, Option<String>)> = seen
        .partitions
        .iter()
        .filter(|one| !ours.contains(&one.place))
        .map(|one| (one, obstacle(one, settings)))
        .collect();
    let is_usable = |profile: &MigProfile, start: u8| {
        let place = MigPlace { profile: profile.name.clone(), start };
        let is_free = foreign.iter().all(|(one, obstacle)| {
            let touches = one.mask & profile.mask(start) != 0;
            !touches || (one.place == place && obstacle.is_none())
        });
        match settings {
            CardSettings::MayChange => is_free,
            CardSettings::Keep => is_free && seen.partition(&place).is_some(),
        }
    };
    let mut profiles = Vec::new();
    for one in &seen.profiles {
        let usable = one.profile.starts.iter().filter(|&&start| is_usable(&one.profile, start));
        let starts: Vec<u8> = usable.copied().collect();
        let most = u8::try_from(starts.len()).unwrap_or(u8::MAX);
        if most > 0 {
            let count_max = one.profile.count_max.min(most);
            profiles.push(MigProfile { starts, count_max, ..one.profile.clone() });
        }
    }
    let ends = seen.profiles.iter().flat_map(|one| {
        one.profile.starts.iter().map(|start| start.saturating_add(one.profile.width))
    });
    let slots = ends.max().unwrap_or(0);
    let of = |profile: &MigProfile| profile.memory.0 * u64::from(profile.count_max);
    let memory = match settings {
        CardSettings::Keep => profiles.iter().map(of).sum(),
        CardSettings::MayChange => profiles.iter().map(of).max().unwrap_or(0),
    };
    let remarks = foreign.into_iter().filter_map(|(one, obstacle)| {
        let MigPlace { profile, start } = &one.place;
        Some(format!("its partition {profile} at slot {start} stays as it is: {}", obstacle?))
    });
    Offer {
        geometry: MigGeometry { slots, profiles },
        memory: Mebibytes(memory),
        remarks: remarks.collect(),
    }
}

/// Why somebody else's partition cannot be used.
fn obstacle(one: &SeenPartition, settings: CardSettings) -> Option<String> {
    match (&one.content, one.users.as_slice(), settings) {
        (_, [_, ..], _) => Some(format!("{} use it", processes(&one.users))),
        (Content::Split, [], _) => Some("it has several compute instances, or a small one".into()),
        (Content::Empty, [], CardSettings::Keep) => Some(format!(
            "it has no compute instance; make one as root with: nvidia-smi mig -gi {} -cci",
            one.id
        )),
        (Content::Empty, [], CardSettings::MayChange) | (Content::Whole(_), [], _) => None,
    }
}

/// Processes in words.
pub(super) fn processes(pids: &[u32]) -> String {
    let numbers: Vec<String> = pids.iter().take(SHOWN_MAX).map(u32::to_string).collect();
    let more = if pids.len() > SHOWN_MAX { " and others" } else { "" };
    format!("processes {}{more}", numbers.join(", "))
}

/// Most processes that are named.
const SHOWN_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use cotenant_types::Share;

    use super::super::seen::SeenProfile;
    use super::*;

    /// A card with eight slots, and partitions such as `1g@6 free`.
    fn seen(partitions: &[&str]) -> MigSeen {
        let profile = |name: &str, width: u8, starts: &[u8], count_max, memory| SeenProfile {
            id: u32::from(width),
            slices: u32::from(width),
            profile: MigProfile {
                name: name.to_owned(),
                memory: Mebibytes(memory),
                compute: Share::from_per_mille(100).unwrap(),
                width,
                starts: starts.to_vec(),
                count_max,
            },
        };
        let profiles = vec![
            profile("1g", 1, &[0, 1, 2, 3, 4, 5, 6], 7, 10),
            profile("3g", 4, &[0, 4], 2, 40),
            profile("7g", 8, &[0], 1, 80),
        ];
        let partition = |text: &&str| {
            let (place, state) = text.split_once(' ').unwrap();
            let (name, start) = place.split_once('@').unwrap();
            let start = start.parse().unwrap();
            let found = profiles.iter().find(|one| one.profile.name == name).unwrap();
            let (content, users) = match state {
                "free" => (Content::Whole("MIG-1".into()), vec![]),
                "busy" => (Content::Whole("MIG-1".into()), vec![7, 9]),
                "empty" => (Content::Empty, vec![]),
                "split" => (Content::Split, vec![]),
                other => panic!("{other}"),
            };
            let mask = found.profile.mask(start);
            let place = MigPlace { profile: name.to_owned(), start };
            SeenPartition { id: 3, place, mask, content, users }
        };
        let partitions = partitions.iter().map(partition).collect();
        MigSeen { profiles, partitions }
    }

    #[test]
    fn what_is_offered_follows_from_what_is_there_and_from_permission() {
        let check = |settings, partitions: &[&str], ours: &[(&str, u8)], expected: &str| {
            let place = |&(name, start): &(&str, u8)| MigPlace { profile: name.into(), start };
            let offer = offer(&seen(partitions), settings, &ours.iter().map(place).collect());
            assert_eq!(offer.geometry.slots, 8);
            let profiles = offer.geometry.profiles.iter().map(|one| {
                let starts: Vec<String> = one.starts.iter().map(u8::to_string).collect();
                format!("{}x{}@{}", one.count_max, one.name, starts.join("/"))
            });
            let mut lines: Vec<String> = profiles.collect();
            lines.push(offer.memory.to_string());
            lines.extend(offer.remarks);
            assert_eq!(lines.join(" "), expected, "{settings:?} {partitions:?} {ours:?}");
        };
        let (keep, change) = (CardSettings::Keep, CardSettings::MayChange);
        check(change, &[], &[], "7x1g@0/1/2/3/4/5/6 2x3g@0/4 1x7g@0 80MiB");
        check(keep, &[], &[], "0MiB");
        check(keep, &["1g@6 free", "3g@0 free"], &[], "1x1g@6 1x3g@0 50MiB");
        // Somebody else's that is free may be used, and nothing may be made over it.
        check(change, &["3g@4 free"], &[], "4x1g@0/1/2/3 2x3g@0/4 80MiB");
        let busy = "its partition 3g at slot 4 stays as it is: processes 7, 9 use it";
        check(change, &["3g@4 busy"], &[], &format!("4x1g@0/1/2/3 1x3g@0 40MiB {busy}"));
        check(keep, &["3g@4 busy", "1g@1 free"], &[], &format!("1x1g@1 10MiB {busy}"));
        // Our own goes when it is not needed any more, and counts as ours while it is used.
        check(change, &["3g@4 busy"], &[("3g", 4)], "7x1g@0/1/2/3/4/5/6 2x3g@0/4 1x7g@0 80MiB");
        check(keep, &["3g@4 busy"], &[("3g", 4)], "1x3g@4 40MiB");
        let split = "its partition 1g at slot 0 stays as it is: it has several compute instances, \
                     or a small one";
        check(keep, &["1g@0 split"], &[], &format!("0MiB {split}"));
        let empty = "its partition 3g at slot 0 stays as it is: it has no compute instance; make \
                     one as root with: nvidia-smi mig -gi 3 -cci";
        check(keep, &["3g@0 empty"], &[], &format!("0MiB {empty}"));
        check(change, &["3g@0 empty"], &[], "3x1g@4/5/6 2x3g@0/4 80MiB");
    }
}
