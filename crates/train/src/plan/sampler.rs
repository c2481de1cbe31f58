//! Which examples form the batches of an epoch: a shuffle by counter, then first fit.
//!
//! Within a batch of pairs no text appears twice as anchor or positive, because every other
//! positive of the batch counts as a negative. First fit gives the same batches as
//! sentence-transformers' `NO_DUPLICATES` sampler, which takes the first examples that fit and
//! scans the rest again, but in one pass.

use std::collections::{HashMap, HashSet};

use cotenant_transformer::random;

use crate::spec::Example;

/// What the batches of an epoch depend on besides the examples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampler {
    /// Examples in a full batch.
    pub(crate) batch: usize,
    /// Hard negatives used of an example.
    pub(crate) negatives_max: usize,
    /// Decides the order.
    pub(crate) seed: u64,
}

impl Sampler {
    /// The batches of an epoch, as indices of examples. Each example is in one batch, except in
    /// batches with nothing to compare (one pair without negatives), which are left out.
    pub(crate) fn batches(&self, examples: &[Example], epoch: u32) -> Vec<Vec<u32>> {
        let mut filling = Filling::new(self.batch);
        for index in self.order(examples.len(), epoch) {
            filling.place(index, &examples[index as usize]);
        }
        let mut batches = filling.batches;
        batches.retain(|batch| self.compares(batch, examples));
        batches
    }

    /// The places of an example's hard negatives that are used in an epoch: all `negatives`, or a
    /// draw of `negatives_max`.
    pub(crate) fn negatives(&self, negatives: usize, example: u32, epoch: u32) -> Vec<usize> {
        let mut order: Vec<usize> = (0..negatives).collect();
        let taken = self.negatives_max.min(negatives);
        if taken < negatives {
            for i in 0..taken {
                let keys = [self.seed, NEGATIVES, u64::from(epoch), u64::from(example), i as u64];
                let left = (negatives - i) as u64;
                order.swap(i, i + (random::mix(&keys) % left) as usize);
            }
        }
        order.truncate(taken);
        order
    }

    fn order(&self, examples: usize, epoch: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..examples as u32).collect();
        for i in (1..examples).rev() {
            let bits = random::mix(&[self.seed, ORDER, u64::from(epoch), i as u64]);
            order.swap(i, (bits % (i as u64 + 1)) as usize);
        }
        order
    }

    fn compares(&self, batch: &[u32], examples: &[Example]) -> bool {
        batch.iter().any(|&index| match &examples[index as usize] {
            Example::Pair { negatives, .. } => {
                batch.len() >= 2 || (!negatives.is_empty() && self.negatives_max > 0)
            }
            Example::Scored { .. } => batch.len() >= 2,
            // A candidate is compared with others of its own question alone.
            Example::Choice { wrong, .. } => !wrong.is_empty() && self.negatives_max > 0,
        })
    }
}

/// Keeps draws for different purposes apart.
const ORDER: u64 = 0x6F72_6465_7200;
const NEGATIVES: u64 = 0x6E65_6761_7469;

/// Batches while examples are placed.
struct Filling {
    size: usize,
    batches: Vec<Vec<u32>>,
    /// Every batch below is full.
    open: usize,
    /// Which text is in which batch.
    holds: HashSet<(u32, usize)>,
    /// Every batch below is full or holds the text.
    lowest: HashMap<u32, usize>,
}

impl Filling {
    fn new(size: usize) -> Self {
        let (holds, lowest) = (HashSet::new(), HashMap::new());
        Self { size, batches: Vec::new(), open: 0, holds, lowest }
    }

    /// Puts an example into the first batch with room and without its texts.
    fn place(&mut self, index: u32, example: &Example) {
        let texts = match example {
            Example::Pair { anchor, positive, .. } => [Some(*anchor), Some(*positive)],
            Example::Scored { .. } | Example::Choice { .. } => [None, None],
        };
        while self.is_full(self.open) {
            self.open += 1;
        }
        let mut at = self.open;
        for text in texts.into_iter().flatten() {
            at = at.max(self.lowest_for(text));
        }
        let clashes = |filling: &Self, at| {
            texts.iter().flatten().any(|&text| filling.holds.contains(&(text, at)))
        };
        while self.is_full(at) || clashes(self, at) {
            at += 1;
        }
        if at >= self.batches.len() {
            self.batches.resize_with(at + 1, Vec::new);
        }
        self.batches[at].push(index);
        self.holds.extend(texts.into_iter().flatten().map(|text| (text, at)));
    }

    fn lowest_for(&mut self, text: u32) -> usize {
        let mut at = self.lowest.get(&text).copied().unwrap_or(0).max(self.open);
        while self.is_full(at) || self.holds.contains(&(text, at)) {
            at += 1;
        }
        self.lowest.insert(text, at);
        at
    }

    fn is_full(&self, at: usize) -> bool {
        self.batches.get(at).is_some_and(|batch| batch.len() >= self.size)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop, proptest};

    use super::{Example, Sampler};

    fn pair(anchor: u32, positive: u32) -> Example {
        Example::Pair { anchor, positive, negatives: Vec::new() }
    }

    /// The scan that sentence-transformers does, written down as it is described.
    fn naive(sampler: &Sampler, examples: &[Example], epoch: u32) -> Vec<Vec<u32>> {
        let mut left = sampler.order(examples.len(), epoch);
        let mut batches = Vec::new();
        while !left.is_empty() {
            let (mut batch, mut texts, mut later) = (Vec::new(), Vec::new(), Vec::new());
            for index in left {
                let Example::Pair { anchor, positive, .. } = examples[index as usize] else {
                    unreachable!("only pairs here")
                };
                let clash = texts.contains(&anchor) || texts.contains(&positive);
                if clash || batch.len() == sampler.batch {
                    later.push(index);
                } else {
                    texts.extend([anchor, positive]);
                    batch.push(index);
                }
            }
            batches.push(batch);
            left = later;
        }
        batches.retain(|batch| batch.len() > 1);
        batches
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn first_fit_is_the_no_duplicates_scan(
            texts in prop::collection::vec((0u32..12, 0u32..30), 1..80),
            batch in 1usize..9,
            seed in any::<u64>(),
        ) {
            let examples: Vec<Example> = texts.iter().map(|&(a, p)| pair(a, p + 8)).collect();
            let sampler = Sampler { batch, negatives_max: 4, seed };
            let batches = sampler.batches(&examples, 3);
            assert_eq!(batches, naive(&sampler, &examples, 3));
        }
    }

    #[test]
    fn epochs_differ_and_cover_every_example_once() {
        let examples: Vec<Example> = (0..100).map(|i| pair(i, 100 + i)).collect();
        let sampler = Sampler { batch: 32, negatives_max: 0, seed: 7 };
        let (first, second) = (sampler.batches(&examples, 0), sampler.batches(&examples, 1));
        assert_ne!(first, second);
        for epoch in [first, second] {
            assert_eq!(epoch.iter().map(Vec::len).collect::<Vec<_>>(), [32, 32, 32, 4]);
            let mut all = epoch.concat();
            all.sort_unstable();
            assert_eq!(all, (0..100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn one_anchor_with_many_positives_is_placed_in_linear_time() {
        let examples: Vec<Example> = (1..50_000).map(|i| pair(0, i)).collect();
        let sampler = Sampler { batch: 8, negatives_max: 0, seed: 1 };
        assert!(sampler.batches(&examples, 0).is_empty(), "one pair has nothing to compare with");
    }

    #[test]
    fn negatives_are_drawn_without_repetition_and_anew_each_epoch() {
        let sampler = Sampler { batch: 8, negatives_max: 5, seed: 1 };
        let draw = |epoch| sampler.negatives(20, 3, epoch);
        assert_ne!(draw(0), draw(1));
        let mut once = draw(0);
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), 5);
        let all = Sampler { negatives_max: 20, ..sampler };
        assert_eq!(all.negatives(20, 3, 0), (0..20).collect::<Vec<_>>());
    }
}
