//! What waits, in the order in which it came.
//!
//! Jobs of one kind want the same, so of each kind only the first need be tried: if it has no room,
//! none of them has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Jobs that wait, by their number in the stream.
#[derive(Debug, Default)]
pub(super) struct Queue {
    kinds: BTreeMap<u32, VecDeque<u32>>,
    /// The first jobs of the kinds that may have room.
    untried: BTreeSet<(u32, u32)>,
    length: u64,
}

impl Queue {
    /// Adds a job, which came after all others.
    pub(super) fn push(&mut self, (job, kind): (u32, u32)) {
        let waiting = self.kinds.entry(kind).or_default();
        waiting.push_back(job);
        if waiting.len() == 1 {
            self.untried.insert((job, kind));
        }
        self.length += 1;
    }

    /// The first job that is still to be tried, and its kind.
    pub(super) fn next(&mut self) -> Option<(u32, u32)> {
        self.untried.pop_first()
    }

    /// Takes the first job of a kind out, and lets the next be tried.
    pub(super) fn remove_first(&mut self, kind: u32) {
        let Some(waiting) = self.kinds.get_mut(&kind) else { return };
        if let Some(job) = waiting.pop_front() {
            self.untried.remove(&(job, kind));
            self.length -= 1;
        }
        match waiting.front() {
            Some(&job) => {
                self.untried.insert((job, kind));
            }
            None => {
                self.kinds.remove(&kind);
            }
        }
    }

    /// Lets all be tried again.
    pub(super) fn retry(&mut self) {
        let firsts = self.kinds.iter().filter_map(|(&kind, jobs)| Some((*jobs.front()?, kind)));
        self.untried = firsts.collect();
    }

    /// The first jobs of each kind, in the order in which they came.
    pub(super) fn firsts(&self) -> BTreeSet<(u32, u32)> {
        self.kinds.iter().filter_map(|(&kind, jobs)| Some((*jobs.front()?, kind))).collect()
    }

    /// How many wait.
    pub(super) fn length(&self) -> u64 {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_tried_in_their_order_and_kinds_without_room_once() {
        let mut queue = Queue::default();
        for job in [(0, 7), (1, 5), (2, 7), (3, 5)] {
            queue.push(job);
        }
        assert_eq!(queue.length(), 4);
        assert_eq!((queue.next(), queue.next(), queue.next()), (Some((0, 7)), Some((1, 5)), None));
        queue.remove_first(5);
        assert_eq!((queue.next(), queue.next()), (Some((3, 5)), None));
        queue.retry();
        assert_eq!(queue.next(), Some((0, 7)));
        queue.remove_first(7);
        queue.remove_first(7);
        assert_eq!((queue.next(), queue.length()), (Some((3, 5)), 1));
        assert_eq!(queue.firsts().len(), 1);
    }
}
