//! Which adapters stay in memory: those used last, within a number of bytes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Adapters that are looked at for room that nobody needs, so that looking stays cheap.
const LOOKED_AT_MAX: usize = 64;

/// Names and sizes of what is in memory; the adapters themselves are elsewhere.
#[derive(Debug)]
pub(super) struct Lru {
    bytes_max: u64,
    bytes: u64,
    /// Those of them that stay.
    pinned: u64,
    /// Uses so far.
    clock: u64,
    held: HashMap<Arc<str>, Held>,
    /// What may go, the longest unused first.
    by_use: BTreeMap<u64, Arc<str>>,
}

#[derive(Debug)]
struct Held {
    bytes: u64,
    used: u64,
    keep: Keep,
}

/// Whether an adapter may be put out for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// It may, if it was not used for longest.
    #[default]
    WhileUsed,
    /// It stays until it is unloaded.
    Pinned,
}

/// What became of an adapter that was brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Brought {
    /// It is held; these went for it.
    Held(Vec<Arc<str>>),
    /// There is no room for it beside what is pinned.
    NoRoom,
}

impl Lru {
    pub(super) fn new(bytes_max: u64) -> Self {
        let (held, by_use) = (HashMap::new(), BTreeMap::new());
        Self { bytes_max, bytes: 0, pinned: 0, clock: 0, held, by_use }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number held.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Notes a use of what is held.
    pub(super) fn touch(&mut self, name: &str) {
        let Some(held) = self.held.get_mut(name) else { return };
        self.clock += 1;
        if let Some(name) = self.by_use.remove(&held.used) {
            self.by_use.insert(self.clock, name);
        }
        held.used = self.clock;
    }

    /// Takes an adapter in, in place of one of its name; what was not used for longest makes room.
    pub(super) fn bring(&mut self, name: &Arc<str>, bytes: u64, keep: Keep) -> Brought {
        let own = self.held.get(name).filter(|held| held.keep == Keep::Pinned);
        let pinned = self.pinned - own.map_or(0, |held| held.bytes);
        if pinned.saturating_add(bytes) > self.bytes_max {
            return Brought::NoRoom;
        }
        self.remove(name);
        let mut gone = Vec::new();
        while self.bytes + bytes > self.bytes_max {
            let (_, name) = self.by_use.pop_first().expect("pinned ones leave room for it");
            let held = self.held.remove(&name).expect("what may go is held");
            self.bytes -= held.bytes;
            gone.push(name);
        }
        self.clock += 1;
        self.bytes += bytes;
        self.held.insert(name.clone(), Held { bytes, used: self.clock, keep });
        match keep {
            Keep::WhileUsed => drop(self.by_use.insert(self.clock, name.clone())),
            Keep::Pinned => self.pinned += bytes,
        }
        Brought::Held(gone)
    }

    /// Whether it is held.
    pub(super) fn holds(&self, name: &str) -> bool {
        self.held.contains_key(name)
    }

    /// The size of what is held.
    pub(super) fn bytes_of(&self, name: &str) -> Option<u64> {
        self.held.get(name).map(|held| held.bytes)
    }

    /// What would go for so many bytes if only some may, the longest unused first; `None` if that is
    /// not enough among the first few.
    pub(super) fn room(&self, bytes: u64, may_go: impl Fn(&str) -> bool) -> Option<Vec<Arc<str>>> {
        let mut free = self.bytes_max.saturating_sub(self.bytes);
        let mut gone = Vec::new();
        let few = self.by_use.values().take(LOOKED_AT_MAX);
        let mut few = few.filter(|name| may_go(name));
        while free < bytes {
            let name = few.next()?;
            free += self.held[name].bytes;
            gone.push(name.clone());
        }
        Some(gone)
    }

    /// Forgets an adapter.
    pub(super) fn remove(&mut self, name: &str) {
        if let Some(held) = self.held.remove(name) {
            self.bytes -= held.bytes;
            match held.keep {
                Keep::WhileUsed => drop(self.by_use.remove(&held.used)),
                Keep::Pinned => self.pinned -= held.bytes,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first_and_pinned_ones_stay() {
        let mut lru = Lru::new(100);
        let name = |name: &str| -> Arc<str> { name.into() };
        let bring = |lru: &mut Lru, it: &str, bytes, keep| match lru.bring(&name(it), bytes, keep) {
            Brought::Held(gone) => gone.iter().map(|name| name.to_string()).collect(),
            Brought::NoRoom => vec!["no room".to_owned()],
        };
        use Keep::{Pinned, WhileUsed};
        let none: [&str; 0] = [];
        assert_eq!(bring(&mut lru, "a", 40, WhileUsed), none);
        assert_eq!(bring(&mut lru, "b", 40, Pinned), none);
        assert_eq!(bring(&mut lru, "c", 20, WhileUsed), none);
        lru.touch("a");
        assert_eq!(bring(&mut lru, "d", 20, WhileUsed), ["c"]);
        assert_eq!(bring(&mut lru, "e", 60, WhileUsed), ["a", "d"]);
        assert_eq!(bring(&mut lru, "f", 61, WhileUsed), ["no room"]);
        assert_eq!((lru.bytes(), lru.len()), (100, 2), "whom there is no room for puts nobody out");
        // In place of itself.
        assert_eq!(bring(&mut lru, "b", 100, WhileUsed), ["e"]);
        lru.remove("b");
        assert_eq!((lru.bytes(), lru.len(), lru.by_use.len()), (0, 0, 0));
    }

    proptest! {
        #[test]
        fn it_does_what_a_list_in_order_of_use_does(
            steps in prop::collection::vec((0u8..8, 0u8..4, 1u64..60), 1..200)
        ) {
            let mut lru = Lru::new(100);
            // The longest unused first: name, bytes, keep.
            let mut list: Vec<(Arc<str>, u64, Keep)> = Vec::new();
            for (name, what, bytes) in steps {
                let name: Arc<str> = name.to_string().into();
                let at = list.iter().position(|held| held.0 == name);
                match what {
                    0 => {
                        lru.remove(&name);
                        list.retain(|held| held.0 != name);
                    }
                    1 => {
                        lru.touch(&name);
                        if let Some(at) = at {
                            let held = list.remove(at);
                            list.push(held);
                        }
                    }
                    _ => {
                        let keep = if what == 2 { Keep::WhileUsed } else { Keep::Pinned };
                        let pinned: u64 = list
                            .iter()
                            .filter(|held| held.2 == Keep::Pinned && held.0 != name)
                            .map(|held| held.1)
                            .sum();
                        let brought = lru.bring(&name, bytes, keep);
                        if pinned + bytes > 100 {
                            prop_assert_eq!(brought, Brought::NoRoom);
                            continue;
                        }
                        list.retain(|held| held.0 != name);
                        let mut gone = Vec::new();
                        while list.iter().map(|held| held.1).sum::<u64>() + bytes > 100 {
                            let at = list.iter().position(|held| held.2 == Keep::WhileUsed);
                            gone.push(list.remove(at.unwrap()).0);
                        }
                        list.push((name, bytes, keep));
                        prop_assert_eq!(brought, Brought::Held(gone));
                    }
                }
                prop_assert_eq!(lru.bytes(), list.iter().map(|held| held.1).sum::<u64>());
                prop_assert_eq!(lru.len(), list.len());
            }
        }
    }
}
