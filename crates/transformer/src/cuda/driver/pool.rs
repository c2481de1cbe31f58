//! Memory that is kept to be taken again.
//!
//! Lists by size, and not the driver's own pools: a step takes and gives the same sizes again and
//! again, which a list answers without a call of the driver; a graph replays addresses, which the
//! driver's pools give only as nodes of the graph; and what programs on a shared card hold is then
//! what they asked for, so that the memory predicted for a job can be held against it.

use std::collections::BTreeMap;

/// The least that is taken, in bytes; also what every address is a multiple of.
const CLASS_MIN: u64 = 512;
/// Sizes between one power of two and the next, so that at most an eighth more is taken than asked.
const STEPS: u64 = 8;

/// The size in bytes that is taken for so many bytes.
pub(super) fn size_class(bytes: usize) -> u64 {
    let bytes = (bytes as u64).max(CLASS_MIN);
    let power = 1 << bytes.ilog2();
    bytes.next_multiple_of((power / STEPS).max(CLASS_MIN))
}

/// What is free, by size.
#[derive(Debug)]
pub(super) struct FreeList<T> {
    by_class: BTreeMap<u64, Vec<T>>,
}

impl<T> Default for FreeList<T> {
    fn default() -> Self {
        Self { by_class: BTreeMap::new() }
    }
}

impl<T> FreeList<T> {
    /// What was given last of exactly this size.
    pub(super) fn take(&mut self, class: u64) -> Option<T> {
        self.by_class.get_mut(&class)?.pop()
    }

    /// What was given first of exactly this size.
    pub(super) fn take_oldest(&mut self, class: u64) -> Option<T> {
        let items = self.by_class.get_mut(&class).filter(|items| !items.is_empty())?;
        Some(items.remove(0))
    }

    /// Keeps something of a size.
    pub(super) fn give(&mut self, class: u64, item: T) {
        self.by_class.entry(class).or_default().push(item);
    }

    /// Takes everything.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (u64, T)> + use<T> {
        let all = std::mem::take(&mut self.by_class);
        all.into_iter().flat_map(|(class, items)| items.into_iter().map(move |item| (class, item)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::{CLASS_MIN, FreeList, size_class};

    #[test]
    fn sizes_are_rounded_to_few_classes() {
        let cases = [
            (0, 512),
            (1, 512),
            (513, 1024),
            (4097, 4608),
            (1 << 20, 1 << 20),
            ((1 << 20) + 1, (1 << 20) + (1 << 17)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(size_class(bytes), expected, "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn a_class_holds_what_was_asked_and_little_more(bytes in 0..1_usize << 40, more in 0..1_usize << 30) {
            let class = size_class(bytes);
            let asked = (bytes as u64).max(1);
            prop_assert!(class >= asked);
            prop_assert!(class.is_multiple_of(CLASS_MIN));
            prop_assert!(class - asked < (asked / 8).max(CLASS_MIN));
            prop_assert!(size_class(class as usize) == class);
            prop_assert!(size_class(bytes + more) >= class);
        }
    }

    #[test]
    fn what_was_given_is_taken_by_its_size_alone() {
        let mut list = FreeList::default();
        list.give(512, 'a');
        list.give(512, 'b');
        list.give(1024, 'c');
        assert_eq!([list.take(512), list.take(2048)], [Some('b'), None]);
        list.give(512, 'd');
        assert_eq!([list.take_oldest(2048), list.take_oldest(512)], [None, Some('a')]);
        list.give(512, 'a');
        assert_eq!(list.drain().collect::<Vec<_>>(), [(512, 'd'), (512, 'a'), (1024, 'c')]);
        assert_eq!([list.take(512), list.take(1024)], [None, None]);
    }
}
