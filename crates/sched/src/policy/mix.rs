//! What jobs are expected: the kinds of a history of jobs, and how often each came.

use std::collections::BTreeMap;

use crate::policy::node::Demand;

/// Of a history, the kinds that cover so many per cent of the jobs stand for all of them.
const COVERED_PERCENT: u64 = 95;

/// Kinds of jobs and how often each came.
#[derive(Clone, Debug, Default)]
pub struct Mix {
    kinds: BTreeMap<Demand, u64>,
    target: Vec<(Demand, u64)>,
}

/// What tells one target kind from another, in the order that breaks ties between equal counts: the
/// memory of the host does not, and models do as they were written.
type TargetKey<'a> = (u64, u32, u32, &'a str, u64);

impl Mix {
    /// The mix of jobs, each with its models as they were written.
    pub fn of<'a>(jobs: impl Iterator<Item = (&'a Demand, &'a str)>) -> Self {
        Self::counted(jobs.map(|job| (job, 1)))
    }

    /// The same of jobs of which each came so often, at least once.
    pub(crate) fn counted<'a>(jobs: impl Iterator<Item = ((&'a Demand, &'a str), u64)>) -> Self {
        let mut kinds = BTreeMap::new();
        let mut groups: BTreeMap<TargetKey<'a>, (u64, &'a Demand)> = BTreeMap::new();
        for ((demand, models), count) in jobs {
            *kinds.entry(demand.clone()).or_default() += count;
            let Demand { cpu_milli, compute, cards, card_memory_mib, .. } = *demand;
            let key = (cpu_milli, compute, cards, models, card_memory_mib);
            groups.entry(key).or_insert((0, demand)).0 += count;
        }
        Self { kinds, target: target(groups) }
    }

    /// Every kind, and how many jobs were of it.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (&Demand, u64)> {
        self.kinds.iter().map(|(demand, count)| (demand, *count))
    }

    /// The most frequent kinds that cover 95 % of the jobs, whatever memory of the host they want.
    pub(crate) fn target(&self) -> &[(Demand, u64)] {
        &self.target
    }
}

fn target(groups: BTreeMap<TargetKey<'_>, (u64, &Demand)>) -> Vec<(Demand, u64)> {
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by(|(one, (more, _)), (other, (count, _))| (count, other).cmp(&(more, one)));
    let jobs: u64 = groups.iter().map(|(_, (count, _))| count).sum();
    let mut covered = 0;
    let missing = |&(_, (count, _)): &(TargetKey<'_>, (u64, &Demand))| {
        let is_missing = covered * 100 < jobs * COVERED_PERCENT;
        covered += count;
        is_missing
    };
    let kept = groups.into_iter().take_while(missing);
    kept.map(|(_, (count, demand))| (Demand { memory_mib: 0, ..demand.clone() }, count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fleet::Models;

    fn share(compute: u32) -> Demand {
        Demand {
            cpu_milli: 1000,
            memory_mib: u64::from(compute),
            cards: 1,
            compute,
            card_memory_mib: 0,
            models: Models::ANY,
        }
    }

    #[test]
    fn the_target_is_the_shortest_list_that_covers_enough() {
        let check = |counts: &[(u32, usize)], expected: &[(u32, u64)]| {
            let jobs: Vec<Demand> = counts
                .iter()
                .flat_map(|&(compute, count)| std::iter::repeat_n(share(compute), count))
                .collect();
            let mix = Mix::of(jobs.iter().map(|job| (job, "")));
            let found: Vec<_> = mix.target().iter().map(|(job, n)| (job.compute, *n)).collect();
            assert_eq!(found, expected);
            assert_eq!(mix.kinds().map(|(_, count)| count as usize).sum::<usize>(), jobs.len());
        };
        check(&[], &[]);
        check(&[(100, 95), (200, 5)], &[(100, 95)]);
        check(&[(100, 94), (200, 6)], &[(100, 94), (200, 6)]);
        // Of two that are as frequent, the larger comes first.
        check(&[(100, 40), (200, 40), (300, 1)], &[(200, 40), (100, 40)]);
    }

    #[test]
    fn models_count_as_they_are_written() {
        let job = share(500);
        let written = ["", "", "T4|T4", "T4"];
        let mix = Mix::of(written.iter().map(|models| (&job, *models)));
        assert_eq!(mix.target().len(), 3);
    }
}
