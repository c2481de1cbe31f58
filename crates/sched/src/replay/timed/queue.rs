//! What waits, and who is tried first: the lowest rank, and of equal ranks who came first.
//!
//! Jobs of one kind want the same, so of each kind only the first need be tried: if it has no room,
//! none of them has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::replay::timed::ratio::FRESH;

/// Jobs that wait, by their number in the stream.
#[derive(Debug, Default)]
pub(super) struct Queue {
    kinds: BTreeMap<u32, VecDeque<u32>>,
    /// The first jobs of the kinds that may have room: rank, job, kind.
    untried: BTreeSet<(u64, u32, u32)>,
    length: u64,
}

impl Queue {
    /// Adds a job, which came after all others.
    pub(super) fn push(&mut self, (job, kind): (u32, u32)) {
        let waiting = self.kinds.entry(kind).or_default();
        waiting.push_back(job);
        if waiting.len() == 1 {
            self.untried.insert((FRESH, job, kind));
        }
        self.length += 1;
    }

    /// The first job that is still to be tried, and its kind.
    pub(super) fn next(&mut self) -> Option<(u32, u32)> {
        self.untried.pop_first().map(|(_, job, kind)| (job, kind))
    }

    /// The job that will be the first of its kind when the first is gone.
    pub(super) fn second(&self, kind: u32) -> Option<u32> {
        self.kinds.get(&kind)?.get(1).copied()
    }

    /// Takes the first job of a kind out, and lets the next be tried, which has this rank.
    pub(super) fn remove_first(&mut self, kind: u32, rank: u64) {
        let Some(waiting) = self.kinds.get_mut(&kind) else { return };
        if let Some(job) = waiting.pop_front() {
            self.untried.retain(|&(_, other, _)| other != job);
            self.length -= 1;
        }
        match waiting.front() {
            Some(&job) => {
                self.untried.insert((rank, job, kind));
            }
            None => {
                self.kinds.remove(&kind);
            }
        }
    }

    /// Lets all be tried again, by these ranks.
    pub(super) fn retry(&mut self, ranks: impl Fn(u32) -> u64) {
        let firsts = self.kinds.iter().filter_map(|(&kind, jobs)| Some((*jobs.front()?, kind)));
        self.untried = firsts.map(|(job, kind)| (ranks(job), job, kind)).collect();
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
    fn jobs_are_tried_by_rank_and_order_and_kinds_without_room_once() {
        let mut queue = Queue::default();
        for job in [(0, 7), (1, 5), (2, 7), (3, 5)] {
            queue.push(job);
        }
        assert_eq!(queue.length(), 4);
        assert_eq!((queue.next(), queue.next(), queue.next()), (Some((0, 7)), Some((1, 5)), None));
        assert_eq!(queue.second(5), Some(3));
        queue.remove_first(5, FRESH);
        assert_eq!((queue.second(5), queue.next(), queue.next()), (None, Some((3, 5)), None));
        queue.retry(|_| FRESH);
        assert_eq!(queue.next(), Some((0, 7)));
        // The lower rank comes first, whoever came before.
        queue.retry(|job| if job == 3 { 1 } else { 2 });
        assert_eq!((queue.next(), queue.next()), (Some((3, 5)), Some((0, 7))));
        queue.retry(|_| FRESH);
        queue.remove_first(7, FRESH);
        queue.remove_first(7, FRESH);
        assert_eq!((queue.next(), queue.length()), (Some((3, 5)), 1));
        assert_eq!(queue.firsts().len(), 1);
    }
}
