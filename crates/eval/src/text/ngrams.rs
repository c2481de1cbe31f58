//! Runs of words, counted.

use std::collections::HashMap;

/// How often each run of `length` words stands in a text.
pub(crate) fn counts(words: &[u32], length: usize) -> HashMap<&[u32], usize> {
    let mut counts = HashMap::new();
    for run in words.windows(length) {
        *counts.entry(run).or_insert(0) += 1;
    }
    counts
}

/// How many runs two texts share, each counted as often as the text that has it less often.
pub(crate) fn shared(left: &HashMap<&[u32], usize>, right: &HashMap<&[u32], usize>) -> usize {
    left.iter().filter_map(|(run, count)| right.get(run).map(|other| *count.min(other))).sum()
}
