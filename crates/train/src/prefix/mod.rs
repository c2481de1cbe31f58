//! The cache of frozen prefixes: what the encoder computes below the lowest adapted layer.
//!
//! Those rows depend on the base model and a text's tokens only, so tenants and epochs share them.
//! They are kept as computed, so a hit gives the same bits as a miss. An epoch asks for each text
//! once, in a new order each time; the plain rule "evict what was not used for longest" would
//! then throw away most entries just before they are needed. So a full cache admits a text only in
//! place of one that nobody has asked for in a long while.

mod disk;
mod memory;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use cotenant_transformer::Text;

use crate::hash::Hasher;
use crate::spec::{LimitsError, PrefixLimits};
use disk::Disk;
use memory::Memory;

/// Names the rows of one text at one layer of one base model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PrefixKey {
    /// Two unrelated hashes of model and tokens: 128 bits, so that no two texts ever meet.
    pub(crate) text: [u64; 2],
    /// The layer that the rows enter.
    pub(crate) layer: u32,
}

/// What the cache did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrefixCounters {
    /// Texts found in memory.
    pub memory_hits: u64,
    /// Texts found on disk.
    pub disk_hits: u64,
    /// Texts that were computed.
    pub misses: u64,
    /// Bytes held in memory.
    pub memory_bytes: u64,
    /// Bytes held on disk.
    pub disk_bytes: u64,
    /// Files that were damaged or could not be written; each is a miss, nothing worse.
    pub disk_faults: u64,
}

/// Rows by text and layer, in memory and on disk, both bounded.
#[derive(Debug)]
pub(crate) struct PrefixCache {
    fingerprint: u64,
    memory: Mutex<Memory>,
    disk: Option<Disk>,
    memory_hits: AtomicU64,
    disk_hits: AtomicU64,
    misses: AtomicU64,
}

impl PrefixCache {
    /// The cache for a base model, or `None` if the limits turn it off.
    pub(crate) fn open(
        limits: &PrefixLimits,
        fingerprint: u64,
    ) -> Result<Option<Self>, LimitsError> {
        if !limits.is_on() {
            return Ok(None);
        }
        let open = |folder: &Path| {
            let failed = |source| LimitsError::Folder { folder: folder.into(), source };
            Disk::open(folder, limits.disk_bytes_max).map_err(failed)
        };
        let disk = limits.on_disk().map(open).transpose()?;
        let memory = Mutex::new(Memory::new(limits.memory_bytes_max));
        let (memory_hits, disk_hits, misses) = Default::default();
        Ok(Some(Self { fingerprint, memory, disk, memory_hits, disk_hits, misses }))
    }

    /// The key of a text's tokens and their types at a layer.
    pub(crate) fn key<'a>(&self, text: impl Into<Text<'a>>, layer: usize) -> PrefixKey {
        let Text { tokens, first } = text.into();
        let text = [1, 2].map(|seed| {
            let mut hasher = Hasher::new(self.fingerprint ^ seed);
            tokens.iter().for_each(|&token| hasher.word(token.into()));
            hasher.word(tokens.len() as u64);
            // Smaller than the number before it, so that no text of one more token is taken for it.
            if first < tokens.len() {
                hasher.word(first as u64);
            }
            hasher.finish()
        });
        PrefixKey { text, layer: layer as u32 }
    }

    /// Copies a text's rows to `rows` (`[tokens, hidden]`) if they are held.
    pub(crate) fn get(&self, key: PrefixKey, rows: &mut [f32]) -> bool {
        let held = self.memory().get(key);
        if let Some(held) = held.filter(|held| held.len() == rows.len()) {
            rows.copy_from_slice(&held);
            self.memory_hits.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        let found = self.disk.as_ref().is_some_and(|disk| disk.get(key, rows));
        let counter = if found { &self.disk_hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Keeps a text's rows if there is room for them.
    pub(crate) fn put(&self, key: PrefixKey, rows: &[f32]) {
        let spilled = self.memory().put(key, rows.into());
        if let Some(disk) = &self.disk {
            spilled.iter().for_each(|(key, rows)| disk.put(*key, rows));
        }
    }

    /// What the cache did so far.
    pub(crate) fn counters(&self) -> PrefixCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (disk_bytes, disk_faults) = self.disk.as_ref().map_or((0, 0), Disk::usage);
        PrefixCounters {
            memory_hits: read(&self.memory_hits),
            disk_hits: read(&self.disk_hits),
            misses: read(&self.misses),
            memory_bytes: self.memory().bytes() as u64,
            disk_bytes,
            disk_faults,
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().expect("no code panics while it holds this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::{Path, PrefixCache, PrefixCounters, PrefixLimits, Text};

    fn open(memory_texts: usize, folder: Option<&Path>) -> PrefixCache {
        let limits = PrefixLimits {
            memory_bytes_max: memory_texts * 16,
            folder: folder.map(Into::into),
            disk_bytes_max: 1 << 20,
        };
        PrefixCache::open(&limits, 7).unwrap().unwrap()
    }

    /// Asks for texts in turn, putting what is missing, and checks every answer.
    fn ask(cache: &PrefixCache, texts: impl IntoIterator<Item = u32>) {
        for text in texts {
            let rows = [text as f32, 0.1, -0.0, 1e-30];
            let mut found = [0.0; 4];
            let key = cache.key(&[101, text, 102][..], 4);
            if cache.get(key, &mut found) {
                assert_eq!(found.map(f32::to_bits), rows.map(f32::to_bits));
            } else {
                cache.put(key, &rows);
            }
        }
    }

    fn hits(cache: &PrefixCache) -> [u64; 3] {
        let PrefixCounters { memory_hits, disk_hits, misses, .. } = cache.counters();
        [memory_hits, disk_hits, misses]
    }

    #[test]
    fn a_full_memory_keeps_serving_what_it_holds_from_epoch_to_epoch() {
        let cache = open(6, None);
        for epoch in 0..5 {
            ask(&cache, (0..10).map(|i| (i * 7 + epoch) % 10));
        }
        assert_eq!(hits(&cache), [24, 0, 26]);
        assert_eq!(cache.counters().memory_bytes, 96);
    }

    #[test]
    fn texts_of_tenants_who_left_make_room() {
        let cache = open(6, None);
        ask(&cache, 0..6);
        (0..8).for_each(|_| ask(&cache, 100..106));
        let before = hits(&cache);
        ask(&cache, 100..106);
        assert_eq!(hits(&cache)[0] - before[0], 6);
    }

    #[test]
    fn what_memory_refuses_is_found_on_disk_also_by_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let cache = open(6, Some(folder.path()));
        ask(&cache, 0..10);
        ask(&cache, 0..10);
        assert_eq!(hits(&cache), [6, 4, 10]);
        let next = open(0, Some(folder.path()));
        ask(&next, 6..10);
        assert_eq!(hits(&next), [0, 4, 0]);
    }

    #[test]
    fn keys_tell_models_layers_and_cuts_apart() {
        let cache = open(1, None);
        let whole = &[1, 2, 3][..];
        let key = cache.key(whole, 4);
        assert_eq!(key, cache.key(Text { tokens: whole, first: 3 }, 4));
        let typed = |first| cache.key(Text { tokens: whole, first }, 4);
        assert_eq!(typed(1), typed(1));
        assert_ne!(typed(1), typed(2));
        let limits = PrefixLimits { memory_bytes_max: 1, ..PrefixLimits::default() };
        let other = PrefixCache::open(&limits, 8).unwrap().unwrap();
        let different = [
            cache.key(whole, 5),
            cache.key(&whole[..2], 4),
            other.key(whole, 4),
            typed(1),
            typed(0),
        ];
        for different in different {
            assert_ne!(key, different);
        }
        assert!(PrefixCache::open(&PrefixLimits::default(), 8).unwrap().is_none());
    }
}
