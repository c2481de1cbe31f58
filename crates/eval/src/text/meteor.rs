//! METEOR: words in common, and whether they stand in the same order.

use std::collections::HashMap;

use super::porter::stem;

/// Weight of precision against recall in the mean; recall counts nine times.
const ALPHA: f64 = 0.9;
/// How steeply the penalty grows with the number of chunks.
const BETA: f64 = 3.0;
/// The largest penalty.
const GAMMA: f64 = 0.5;

/// METEOR of an answer's words against the reference that it suits best, in `[0, 1]`.
///
/// By A. Lavie and A. Agarwal, "METEOR: An Automatic Metric for MT Evaluation with High Levels of
/// Correlation with Human Judgments", 2007, with the matches and numbers of nltk: first equal words,
/// then equal stems. Synonyms of WordNet, nltk's third kind of match, are left out: a metric should
/// not depend on a dictionary that may be there or not. 0 without references.
///
/// Words are compared in lower case; [`words`](super::words) cuts a text into them.
pub fn meteor(references: &[Vec<String>], answer: &[String]) -> f64 {
    let answer: Vec<String> = answer.iter().map(|word| word.to_lowercase()).collect();
    references.iter().map(|reference| single(reference, &answer)).fold(0.0, f64::max)
}

fn single(reference: &[String], answer: &[String]) -> f64 {
    let pairs = aligned(reference, answer);
    if pairs.is_empty() {
        return 0.0;
    }
    let matches = pairs.len() as f64;
    let precision = matches / answer.len() as f64;
    let recall = matches / reference.len() as f64;
    let mean = precision * recall / (ALPHA * precision + (1.0 - ALPHA) * recall);
    let penalty = GAMMA * (chunks(&pairs) as f64 / matches).powf(BETA);
    (1.0 - penalty) * mean
}

/// Pairs of places `(answer, reference)` that match, by their place in the answer.
fn aligned(reference: &[String], answer: &[String]) -> Vec<(usize, usize)> {
    let mut left: Vec<(usize, String)> = answer.iter().cloned().enumerate().collect();
    let lower = reference.iter().map(|word| word.to_lowercase());
    let mut right: Vec<(usize, String)> = lower.enumerate().collect();
    let mut pairs = take_equal(&mut left, &mut right);
    for (_, word) in left.iter_mut().chain(&mut right) {
        *word = stem(word);
    }
    pairs.extend(take_equal(&mut left, &mut right));
    pairs.sort_unstable();
    pairs
}

/// Takes pairs of equal words out of both lists, from the last word of the answer to the first,
/// each with the last place of the reference that is free.
fn take_equal(
    answer: &mut Vec<(usize, String)>,
    reference: &mut Vec<(usize, String)>,
) -> Vec<(usize, usize)> {
    let mut free: HashMap<String, Vec<usize>> = HashMap::new();
    for (place, word) in reference.iter() {
        free.entry(word.clone()).or_default().push(*place);
    }
    let mut pairs = Vec::new();
    for (place, word) in answer.iter().rev() {
        if let Some(other) = free.get_mut(word).and_then(Vec::pop) {
            pairs.push((*place, other));
        }
    }
    // Pairs run from last to first, so that a search by the answer's place is in reverse.
    answer.retain(|(place, _)| pairs.binary_search_by(|pair| place.cmp(&pair.0)).is_err());
    let mut taken: Vec<usize> = pairs.iter().map(|pair| pair.1).collect();
    taken.sort_unstable();
    reference.retain(|(place, _)| taken.binary_search(place).is_err());
    pairs
}

/// Runs of matches that stand side by side in both texts.
fn chunks(pairs: &[(usize, usize)]) -> usize {
    let goes_on = |pair: &&[(usize, usize)]| pair[1] == (pair[0].0 + 1, pair[0].1 + 1);
    pairs.len() - pairs.windows(2).filter(goes_on).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::words;

    #[test]
    fn order_and_stems_count() {
        let score = |reference: &str, answer: &str| meteor(&[words(reference)], &words(answer));
        // One chunk of three: penalty 0.5 / 27.
        assert!((score("the cats sat", "the cat sat") - (1.0 - 0.5 / 27.0)).abs() < 1e-12);
        // Three chunks of three: the whole penalty.
        assert!((score("a b c", "c b a") - 0.5).abs() < 1e-12);
        assert_eq!(score("a b", "c d"), 0.0);
        assert_eq!((score("", "a"), score("a", ""), meteor(&[], &words("a"))), (0.0, 0.0, 0.0));
        let two = [words("no such"), words("a b")];
        assert_eq!(meteor(&two, &words("a b")), score("a b", "a b"));
    }
}
