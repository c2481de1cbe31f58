//! Splits a step's texts into runs of about equal size.

use std::ops::Range;

/// Cuts texts of these lengths, in their order, into the fewest runs of at most `tokens_max`
/// tokens each, and among those into the most even ones; a longer text is a run of its own.
pub(crate) fn split(lengths: &[usize], tokens_max: usize) -> Vec<Range<usize>> {
    let fewest = runs(lengths, tokens_max);
    let total: usize = lengths.iter().sum();
    // The smallest limit that needs no more runs: every limit below it needs more.
    let (mut low, mut high) = (total / fewest.len().max(1), tokens_max);
    while low < high {
        let middle = low + (high - low) / 2;
        if runs(lengths, middle).len() <= fewest.len() {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    if high < tokens_max { runs(lengths, high) } else { fewest }
}

fn runs(lengths: &[usize], tokens_max: usize) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let (mut start, mut tokens) = (0, 0);
    for (at, &length) in lengths.iter().enumerate() {
        if at > start && tokens + length > tokens_max {
            runs.push(start..at);
            (start, tokens) = (at, 0);
        }
        tokens += length;
    }
    if start < lengths.len() {
        runs.push(start..lengths.len());
    }
    runs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, proptest};

    use super::{runs, split};

    fn check(lengths: &[usize], tokens_max: usize, expected: &[usize]) {
        let sums: Vec<usize> =
            split(lengths, tokens_max).into_iter().map(|run| lengths[run].iter().sum()).collect();
        assert_eq!(sums, expected, "{lengths:?} at most {tokens_max}");
    }

    #[test]
    fn runs_are_few_and_even() {
        check(&[], 8, &[]);
        check(&[3, 3, 3], 8, &[6, 3]);
        check(&[4, 4, 4, 4, 1], 8, &[8, 8, 1]);
        check(&[2; 10], 16, &[10, 10]);
        check(&[100, 1, 1, 1, 1], 4, &[100, 4]);
        check(&[1, 100, 1, 1], 4, &[1, 100, 2]);
        check(&[50, 10, 10, 10, 50, 10], 64, &[60, 20, 60]);
    }

    proptest! {
        #[test]
        fn every_text_is_in_one_run_and_no_limit_does_with_fewer(
            lengths in prop::collection::vec(1usize..90, 0..60),
            tokens_max in 1usize..200,
        ) {
            let pieces = split(&lengths, tokens_max);
            let joined: Vec<usize> = pieces.iter().cloned().flatten().collect();
            assert_eq!(joined, (0..lengths.len()).collect::<Vec<_>>());
            assert_eq!(pieces.len(), runs(&lengths, tokens_max).len());
            for piece in pieces {
                let sum: usize = lengths[piece.clone()].iter().sum();
                assert!(piece.len() == 1 || sum <= tokens_max);
            }
        }
    }
}
