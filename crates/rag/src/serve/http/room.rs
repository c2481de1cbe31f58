//! Room that all requests share, of which no tenant takes what others need.
//!
//! A tenant may take as much as is then still free, so that one takes half of it, two a third each,
//! and there is always room for who comes next; the queue of texts does the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// An amount of something: requests, or KiB of what they carry.
pub(crate) struct Room {
    max: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by: HashMap<Arc<str>, usize>,
}

/// A part of it, given back in the end.
pub(super) struct Part {
    taken: Arc<Mutex<Taken>>,
    tenant: Option<Arc<str>>,
    amount: usize,
}

impl Room {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, taken: Arc::default() }
    }

    /// A part, if there is room for it; who is no tenant may take all of it.
    pub(super) fn take(&self, tenant: Option<&Arc<str>>, amount: usize) -> Option<Part> {
        let mut taken = lock(&self.taken);
        let free = self.max.checked_sub(taken.all.checked_add(amount)?)?;
        if let Some(tenant) = tenant {
            let own = taken.by.get(tenant).copied().unwrap_or(0) + amount;
            if own > free {
                return None;
            }
            taken.by.insert(tenant.clone(), own);
        }
        taken.all += amount;
        Some(Part { taken: self.taken.clone(), tenant: tenant.cloned(), amount })
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().expect("no thread panicked")
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.all -= self.amount;
        let Some(tenant) = &self.tenant else { return };
        if let Some(own) = taken.by.get_mut(tenant) {
            *own -= self.amount;
            if *own == 0 {
                taken.by.remove(tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_leaves_room_for_who_comes_next() {
        let room = Room::new(80);
        let mut parts = Vec::new();
        let mut fill = |name: &str| {
            let name: Arc<str> = name.into();
            let before = parts.len();
            while let Some(part) = room.take(Some(&name), 1) {
                parts.push(part);
            }
            parts.len() - before
        };
        assert_eq!([fill("a"), fill("b"), fill("c")], [40, 20, 10]);
        let rest = room.take(None, 10);
        assert!(rest.is_some() && room.take(None, 1).is_none());
        drop((rest, parts));
        assert!(lock(&room.taken).by.is_empty());
        assert!(room.take(None, 81).is_none() && room.take(None, 80).is_some());
    }
}
