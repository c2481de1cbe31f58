//! The part of the prefix cache that lies in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::PrefixKey;

/// Rows by key, up to a number of bytes.
#[derive(Debug)]
pub(super) struct Memory {
    bytes_max: usize,
    bytes: usize,
    /// Counts questions; the time by which entries age.
    now: u64,
    entries: HashMap<PrefixKey, Entry>,
    /// Keys by when they were last asked for or put.
    by_use: BTreeMap<u64, PrefixKey>,
}

#[derive(Debug)]
struct Entry {
    rows: Arc<[f32]>,
    used: u64,
}

/// An entry is stale once this many times as many questions passed as there are entries: a data
/// set up to twice as large as the cache asks for each text more often than that.
const STALE_ROUNDS: u64 = 4;

impl Memory {
    pub(super) fn new(bytes_max: usize) -> Self {
        let (entries, by_use) = (HashMap::new(), BTreeMap::new());
        Self { bytes_max, bytes: 0, now: 0, entries, by_use }
    }

    /// The rows of a key, which are then the youngest.
    pub(super) fn get(&mut self, key: PrefixKey) -> Option<Arc<[f32]>> {
        self.now += 1;
        let entry = self.entries.get_mut(&key)?;
        self.by_use.remove(&entry.used);
        entry.used = self.now;
        self.by_use.insert(self.now, key);
        Some(Arc::clone(&entry.rows))
    }

    /// Puts rows where there is room, or in the place of stale entries. Gives back what is not held
    /// after that: entries that made room, or these rows.
    pub(super) fn put(&mut self, key: PrefixKey, rows: Arc<[f32]>) -> Vec<(PrefixKey, Arc<[f32]>)> {
        let bytes = size_of_val(&*rows);
        let mut spilled = Vec::new();
        if self.entries.contains_key(&key) {
            return spilled;
        }
        while self.bytes + bytes > self.bytes_max {
            match self.pop_stale() {
                Some(stale) => spilled.push(stale),
                None => {
                    spilled.push((key, rows));
                    return spilled;
                }
            }
        }
        self.now += 1;
        self.bytes += bytes;
        self.by_use.insert(self.now, key);
        self.entries.insert(key, Entry { rows, used: self.now });
        spilled
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn pop_stale(&mut self) -> Option<(PrefixKey, Arc<[f32]>)> {
        let (&used, &key) = self.by_use.first_key_value()?;
        if self.now - used < STALE_ROUNDS * self.entries.len() as u64 {
            return None;
        }
        self.by_use.remove(&used);
        let entry = self.entries.remove(&key).expect("by_use names held entries only");
        self.bytes -= size_of_val(&*entry.rows);
        Some((key, entry.rows))
    }
}
