//! Which states are on the device: pure decisions over sizes.
//!
//! Whoever is wanted last is put aside first, which brings the fewest (Belady, 1966): the order in
//! which tenants are next in a round is known, since the fair queue has it.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::TenantId;

/// A tenant's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// Bytes that it takes on the device.
    pub(super) bytes: usize,
    /// Whether it is on the device, or on its way to it.
    pub(super) is_there: bool,
}

/// What is moved, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Moves {
    pub(super) aside: Vec<TenantId>,
    pub(super) brought: Vec<TenantId>,
}

/// The moves after which all of `now` are on the device and, as far as `bytes_max` lasts, those that
/// are `next`, the soonest first. More is on the device only if `now` alone is more.
pub(super) fn moves(
    pages: &BTreeMap<TenantId, Page>,
    (now, next): (&[TenantId], &[TenantId]),
    bytes_max: usize,
) -> Moves {
    let mut chosen = BTreeSet::new();
    let mut bytes = 0_usize;
    let mut brought = Vec::new();
    for (at, tenant) in now.iter().chain(next).enumerate() {
        let Some(page) = pages.get(tenant).filter(|_| !chosen.contains(tenant)) else { continue };
        let sum = bytes.saturating_add(page.bytes);
        if at >= now.len() && sum > bytes_max {
            break;
        }
        bytes = sum;
        chosen.insert(*tenant);
        if !page.is_there {
            brought.push(*tenant);
        }
    }
    // Whoever is not chosen may stay while there is room, those that are next the longest.
    let soon = next.iter().filter(|tenant| !chosen.contains(*tenant));
    let staying: BTreeSet<TenantId> = soon
        .filter(|tenant| {
            let Some(page) = pages.get(*tenant).filter(|page| page.is_there) else { return false };
            let sum = bytes.saturating_add(page.bytes);
            let stays = sum <= bytes_max;
            bytes = if stays { sum } else { bytes };
            stays
        })
        .copied()
        .collect();
    let goes = |(tenant, page): &(&TenantId, &Page)| {
        page.is_there && !chosen.contains(*tenant) && !staying.contains(*tenant)
    };
    let aside = pages.iter().filter(goes).map(|(tenant, _)| *tenant).collect();
    Moves { aside, brought }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::{prop, proptest};

    use super::{Moves, Page, TenantId, moves};

    fn ids(numbers: &[u32]) -> Vec<TenantId> {
        numbers.iter().copied().map(TenantId).collect()
    }

    /// Tenants 0, 1, ... with so many bytes each; a star says that one is on the device.
    fn pages(text: &str) -> BTreeMap<TenantId, Page> {
        let page = |word: &str| Page {
            bytes: word.trim_end_matches('*').parse().unwrap(),
            is_there: word.ends_with('*'),
        };
        (0..).map(TenantId).zip(text.split(' ').map(page)).collect()
    }

    fn check(text: &str, now: &[u32], next: &[u32], bytes_max: usize, expected: (&[u32], &[u32])) {
        let found = moves(&pages(text), (&ids(now), &ids(next)), bytes_max);
        let expected = Moves { aside: ids(expected.0), brought: ids(expected.1) };
        assert_eq!(found, expected, "{text}: {now:?}, then {next:?}, in {bytes_max}");
    }

    #[test]
    fn whoever_is_wanted_is_brought_and_whoever_is_wanted_last_makes_room() {
        check("5 5 5", &[0], &[1, 2], 15, (&[], &[0, 1, 2]));
        check("5 5 5", &[0], &[1, 2], 10, (&[], &[0, 1]));
        check("5* 5* 5", &[0], &[1, 2], 10, (&[], &[]));
        check("5* 5* 5", &[2], &[0, 1], 10, (&[1], &[2]));
        check("5* 5* 5", &[2], &[1, 0], 10, (&[0], &[2]));
        // A round that is larger than the room goes nonetheless, alone.
        check("5* 50 5", &[1], &[0, 2], 10, (&[0], &[1]));
        // Behind one that does not fit, one that is there stays if it can.
        check("5* 8 3*", &[0], &[1, 2], 10, (&[], &[]));
        // Whoever is never wanted again goes first, though there is room.
        check("5* 5* 5*", &[0], &[1], 100, (&[2], &[]));
        check("5 5", &[0, 0], &[0, 1, 1], 10, (&[], &[0, 1]));
    }

    /// Tenants in turn, as the fair queue has them: as many are brought as must be.
    #[test]
    fn in_turn_no_more_are_brought_than_do_not_fit() {
        let (tenants, room) = (10_u32, 7_usize);
        let mut pages: BTreeMap<TenantId, Page> =
            (0..tenants).map(|id| (TenantId(id), Page { bytes: 1, is_there: false })).collect();
        let mut brought = Vec::new();
        for turn in 0..100 {
            let order: Vec<u32> = (0..tenants).map(|i| (turn + i) % tenants).collect();
            let found = moves(&pages, (&ids(&order[..1]), &ids(&order[1..])), room);
            found.aside.iter().for_each(|id| pages.get_mut(id).unwrap().is_there = false);
            found.brought.iter().for_each(|id| pages.get_mut(id).unwrap().is_there = true);
            brought.push(found.brought.len());
        }
        assert_eq!(brought[0], room);
        assert!(brought[1..].iter().all(|&count| count == 1), "one for one: {brought:?}");
    }

    proptest! {
        #[test]
        fn room_is_kept_and_nobody_who_is_wanted_is_put_aside(
            sizes in prop::collection::vec((1_usize..20, prop::bool::ANY), 1..12),
            now in prop::collection::vec(0_u32..12, 0..4),
            next in prop::collection::vec(0_u32..12, 0..12),
            bytes_max in 1_usize..100,
        ) {
            let pages: BTreeMap<TenantId, Page> = (0..)
                .map(TenantId)
                .zip(sizes.iter().map(|&(bytes, is_there)| Page { bytes, is_there }))
                .collect();
            let (now, next) = (ids(&now), ids(&next));
            let found = moves(&pages, (&now, &next), bytes_max);
            let mut after = pages.clone();
            for (moved, is_there) in [(&found.aside, false), (&found.brought, true)] {
                for id in moved {
                    let page = after.get_mut(id).unwrap();
                    assert_ne!(page.is_there, is_there, "{id} is moved for nothing");
                    page.is_there = is_there;
                }
            }
            let is_there = |id: &TenantId| after.get(id).is_none_or(|page| page.is_there);
            assert!(now.iter().all(is_there));
            let bytes: usize = after.values().filter(|page| page.is_there).map(|page| page.bytes).sum();
            let mut wanted: Vec<TenantId> = now.clone();
            wanted.sort_unstable();
            wanted.dedup();
            let least: usize = wanted.iter().filter_map(|id| pages.get(id)).map(|page| page.bytes).sum();
            assert!(bytes <= bytes_max.max(least), "{bytes} bytes of {bytes_max}");
        }
    }
}
