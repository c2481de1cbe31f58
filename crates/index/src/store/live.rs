//! Which slots hold a document that is there.

use super::codec::{Reader, u64_at};
use super::error::{DamagedFile, IndexError};
use super::folder::Folder;
use super::sealed::{FileEntry, FileKind, Sealed, SealedWriter};
use crate::hit::Slot;

/// A set of slots, a bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LiveSet {
    words: Vec<u64>,
    count: u64,
}

impl LiveSet {
    pub(crate) fn contains(&self, slot: Slot) -> bool {
        let word = self.words.get(slot.0 as usize / 64).copied().unwrap_or_default();
        word >> (slot.0 % 64) & 1 == 1
    }

    /// Whether it was not in it before.
    pub(crate) fn insert(&mut self, slot: Slot) -> bool {
        let at = slot.0 as usize / 64;
        if self.words.len() <= at {
            self.words.resize(at + 1, 0);
        }
        let is_new = !self.contains(slot);
        self.words[at] |= 1 << (slot.0 % 64);
        self.count += u64::from(is_new);
        is_new
    }

    /// Whether it was in it before.
    pub(crate) fn remove(&mut self, slot: Slot) -> bool {
        let is_there = self.contains(slot);
        if is_there {
            self.words[slot.0 as usize / 64] &= !(1 << (slot.0 % 64));
            self.count -= 1;
        }
        is_there
    }

    /// Those of its slots that are below `end`.
    pub(crate) fn below(&self, end: u32) -> Self {
        let mut words = self.words.clone();
        words.truncate((end as usize).div_ceil(64));
        if let Some(last) = words.get_mut(end as usize / 64) {
            *last &= (1 << (end % 64)) - 1;
        }
        Self { count: words.iter().map(|word| u64::from(word.count_ones())).sum(), words }
    }

    /// Number of slots.
    pub(crate) fn len(&self) -> u64 {
        self.count
    }

    /// All slots, the lowest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Slot> {
        self.words.iter().zip(0u32..).flat_map(|(&word, at)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros();
                rest &= rest.wrapping_sub(1);
                (bit < 64).then_some(Slot(at * 64 + bit))
            })
        })
    }

    /// Writes the set as a sealed file: the number of slots, then the words.
    pub(crate) fn save(&self, folder: &Folder, name: &str) -> Result<FileEntry, IndexError> {
        let mut file = SealedWriter::create(folder, name, FileKind::Live)?;
        file.put(&self.count.to_le_bytes())?;
        for words in self.words.chunks(1024) {
            let words: Vec<u64> = words.iter().map(|word| word.to_le()).collect();
            file.put(bytemuck::cast_slice(&words))?;
        }
        file.seal()
    }

    /// Reads a set whose slots must be below `end`.
    pub(crate) fn load(folder: &Folder, entry: &FileEntry, end: u32) -> Result<Self, IndexError> {
        Ok(Self::of_file(&Sealed::open(folder, entry, FileKind::Live)?, end)?)
    }

    pub(crate) fn of_file(file: &Sealed, end: u32) -> Result<Self, DamagedFile> {
        let bytes = file.read(0, file.len())?;
        let mut reader = Reader::new(bytes);
        let damaged = |reason: &str| DamagedFile::new(file.path(), reason);
        let count = reader.u64().ok_or_else(|| damaged("it has no count"))?;
        if !reader.len().is_multiple_of(8) || reader.len() / 8 > (end as usize).div_ceil(64) {
            return Err(damaged("it has more slots than were given"));
        }
        let words: Vec<u64> = (1..=reader.len() / 8).map(|at| u64_at(bytes, at)).collect();
        let set =
            Self { count: words.iter().map(|word| u64::from(word.count_ones())).sum(), words };
        if set.count != count || set.iter().last().is_some_and(|last| last.0 >= end) {
            return Err(damaged("it has other slots than it says"));
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((any::<bool>(), 0u32..300), 0..200)) {
            let (mut set, mut model) = (LiveSet::default(), BTreeSet::new());
            for (is_insert, slot) in steps {
                match is_insert {
                    true => assert_eq!(set.insert(Slot(slot)), model.insert(slot)),
                    false => assert_eq!(set.remove(Slot(slot)), model.remove(&slot)),
                }
            }
            prop_assert_eq!(set.len(), model.len() as u64);
            prop_assert!(set.iter().map(|slot| slot.0).eq(model.iter().copied()));
            prop_assert!((0..400).all(|slot| set.contains(Slot(slot)) == model.contains(&slot)));
            for end in [0, 1, 63, 64, 65, 128, 200, 299, 300, 400] {
                let below = set.below(end);
                prop_assert!(below.iter().map(|slot| slot.0).eq(model.range(..end).copied()));
                prop_assert_eq!(below.len(), model.range(..end).count() as u64);
            }
        }
    }
}
