//! Where a slot's vector lies.

/// Slots in a page.
const PAGE: usize = 1024;
/// No place.
const NONE: u32 = u32::MAX;

/// Places by slot. Slots only grow, so pages of old ones empty and go; what remains is eight bytes
/// for each 1024 slots ever given.
#[derive(Default)]
pub(super) struct SlotMap {
    pages: Vec<Option<Box<Page>>>,
    len: usize,
}

struct Page {
    used: u32,
    places: [u32; PAGE],
}

impl SlotMap {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, slot: u32) -> Option<u32> {
        let page = self.pages.get(slot as usize / PAGE)?.as_ref()?;
        Some(page.places[slot as usize % PAGE]).filter(|&place| place != NONE)
    }

    /// Sets where a slot's vector lies, and says where it lay before.
    pub(super) fn insert(&mut self, slot: u32, place: u32) -> Option<u32> {
        let at = slot as usize / PAGE;
        if self.pages.len() <= at {
            self.pages.resize_with(at + 1, || None);
        }
        let page =
            self.pages[at].get_or_insert_with(|| Box::new(Page { used: 0, places: [NONE; PAGE] }));
        let before = std::mem::replace(&mut page.places[slot as usize % PAGE], place);
        if before == NONE {
            page.used += 1;
            self.len += 1;
            return None;
        }
        Some(before)
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<u32> {
        let entry = self.pages.get_mut(slot as usize / PAGE)?;
        let page = entry.as_mut()?;
        let before = std::mem::replace(&mut page.places[slot as usize % PAGE], NONE);
        if before == NONE {
            return None;
        }
        self.len -= 1;
        page.used -= 1;
        if page.used == 0 {
            *entry = None;
        }
        Some(before)
    }

    /// All slots, the lowest first.
    pub(super) fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        self.pages.iter().enumerate().flat_map(|(at, page)| {
            page.iter().flat_map(move |page| {
                let is_used = |&(_, &place): &(usize, &u32)| place != NONE;
                let slot = move |(within, _)| (at * PAGE + within) as u32;
                page.places.iter().enumerate().filter(is_used).map(slot)
            })
        })
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let pages = self.pages.iter().flatten().count();
        self.pages.capacity() * size_of::<Option<Box<Page>>>() + pages * size_of::<Page>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::SlotMap;

    proptest! {
        #[test]
        fn it_is_an_ordered_map(steps in vec((0u32..2, 0u32..3000, 0u32..100), 0..400)) {
            let (mut map, mut model) = (SlotMap::default(), BTreeMap::new());
            for (what, slot, place) in steps {
                if what == 0 {
                    prop_assert_eq!(map.insert(slot, place), model.insert(slot, place));
                } else {
                    prop_assert_eq!(map.remove(slot), model.remove(&slot));
                }
                prop_assert_eq!(map.get(slot), model.get(&slot).copied());
                prop_assert_eq!(map.len(), model.len());
            }
            prop_assert!(map.slots().eq(model.keys().copied()));
            if model.is_empty() {
                prop_assert!(map.memory_bytes() < 4096);
            }
        }
    }
}
