//! ROUGE: how much of a reference an answer repeats.

use super::ngrams::{counts, shared};
use super::words::{Language, Stemming, ascii_words, numbered, stemmed, words};

/// An answer beside what it should have said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// A text that is right.
    pub reference: &'a str,
    /// The text to be measured.
    pub answer: &'a str,
}

/// What an answer shares with a reference, as shares of one and of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Overlap {
    /// Shared over all of the answer.
    pub precision: f64,
    /// Shared over all of the reference.
    pub recall: f64,
    /// The harmonic mean of both; 0 if both are.
    pub f1: f64,
}

/// ROUGE of one answer (C.-Y. Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rouge {
    /// Single words (ROUGE-1).
    pub one: Overlap,
    /// Pairs of words (ROUGE-2).
    pub two: Overlap,
    /// The longest common subsequence of words (ROUGE-L over the whole text).
    pub longest: Overlap,
}

impl Rouge {
    /// Compares an answer with its reference.
    ///
    /// English is what the package rouge-score 0.1.2 computes. That package drops every letter
    /// beyond ASCII, so Chinese is counted by [`words`] instead: what the package computes
    /// if it is given that tokenizer.
    ///
    /// Takes time in proportion to the product of both lengths; bound them before.
    pub fn new(pair: Pair<'_>, language: Language, stemming: Stemming) -> Self {
        let cut = |text| cut_words(text, language, stemming);
        let [reference, answer] = [pair.reference, pair.answer].map(cut);
        let [reference, answer] = numbered(&reference, &answer);
        let runs = |length| {
            let [theirs, ours] = [&reference, &answer].map(|words| counts(words, length));
            let all = [&theirs, &ours].map(|counts| counts.values().sum::<usize>());
            Overlap::of(shared(&theirs, &ours), all)
        };
        let longest = longest_common(&reference, &answer);
        let longest = Overlap::of(longest, [reference.len(), answer.len()]);
        Self { one: runs(1), two: runs(2), longest }
    }
}

impl Overlap {
    /// Of so many shared, among all of the reference and all of the answer.
    fn of(shared: usize, [reference, answer]: [usize; 2]) -> Self {
        let recall = shared as f64 / reference.max(1) as f64;
        let precision = shared as f64 / answer.max(1) as f64;
        let sum = precision + recall;
        let f1 = if sum > 0.0 { 2.0 * precision * recall / sum } else { 0.0 };
        Self { precision, recall, f1 }
    }
}

fn cut_words(text: &str, language: Language, stemming: Stemming) -> Vec<String> {
    let cut = match language {
        Language::English => ascii_words(text),
        Language::Chinese => words(text),
    };
    match stemming {
        Stemming::None => cut,
        Stemming::Porter => cut.into_iter().map(stemmed).collect(),
    }
}

/// The length of the longest common subsequence, with one row of the table in memory.
fn longest_common(left: &[u32], right: &[u32]) -> usize {
    let mut row = vec![0usize; right.len() + 1];
    for word in left {
        let mut diagonal = 0;
        for (place, other) in right.iter().enumerate() {
            let above = row[place + 1];
            row[place + 1] = if word == other { diagonal + 1 } else { above.max(row[place]) };
            diagonal = above;
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_are_as_counted_by_hand() {
        let rouge = |reference, answer| {
            Rouge::new(Pair { reference, answer }, Language::English, Stemming::None)
        };
        assert_eq!(rouge("", "cat"), Rouge::default());
        let rouge = rouge("the cat sat on the mat", "the cat on the mat");
        assert_eq!((rouge.one.precision, rouge.one.recall), (1.0, 5.0 / 6.0));
        assert_eq!((rouge.two.precision, rouge.two.recall), (3.0 / 4.0, 3.0 / 5.0));
        assert_eq!((rouge.longest.precision, rouge.longest.recall), (1.0, 5.0 / 6.0));
    }
}
