//! How long jobs are expected to run, learned from those that have ended.

use std::collections::BTreeMap;

/// Below so many, the lifetimes of a kind say too little, and those of all jobs stand in.
const KNOWN_MIN: usize = 4;

/// Lifetimes of jobs that have ended, sorted.
#[derive(Debug, Default)]
pub(super) struct Lifetimes {
    kinds: BTreeMap<u32, Vec<u64>>,
    all: Vec<u64>,
}

impl Lifetimes {
    /// Learns from a job that has ended.
    pub(super) fn learn(&mut self, kind: u32, lifetime_s: u64) {
        for known in [self.kinds.entry(kind).or_default(), &mut self.all] {
            let at = known.partition_point(|&other| other < lifetime_s);
            known.insert(at, lifetime_s);
        }
    }

    /// How much longer a job is expected to run that has run so long: the median of the kind's longer
    /// lifetimes; as long again if none is known.
    pub(super) fn left(&self, kind: u32, age_s: u64) -> u64 {
        let longer = |known: &[u64]| {
            let known = &known[known.partition_point(|&lifetime| lifetime <= age_s)..];
            (known.len() >= KNOWN_MIN).then(|| known[known.len() / 2] - age_s)
        };
        let of_kind = self.kinds.get(&kind).and_then(|known| longer(known));
        of_kind.or_else(|| longer(&self.all)).unwrap_or(age_s).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_the_median_of_longer_lifetimes() {
        let mut lifetimes = Lifetimes::default();
        assert_eq!((lifetimes.left(1, 0), lifetimes.left(1, 50)), (1, 50));
        for lifetime in [40, 10, 30, 20, 1000] {
            lifetimes.learn(1, lifetime);
        }
        assert_eq!(lifetimes.left(1, 0), 30);
        assert_eq!(lifetimes.left(1, 10), 30);
        // Fewer than four were longer.
        assert_eq!(lifetimes.left(1, 20), 20);
        // Of a kind that nobody has seen, all jobs tell.
        assert_eq!(lifetimes.left(2, 0), 30);
    }
}
