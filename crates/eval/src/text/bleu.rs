//! BLEU: shared runs of one to four words, with a penalty for short answers.

use std::ops::AddAssign;

use super::bleu_words::bleu_words;
use super::ngrams::counts;
use super::words::Language;

/// Longest run of words that is counted.
const RUN_WORDS_MAX: usize = 4;

/// What BLEU counts in one answer, or in many: counts add up.
///
/// By K. Papineni and others, "BLEU: a Method for Automatic Evaluation of Machine Translation",
/// 2002, with the cuts, the closest reference length and the smoothing (`exp`) that sacrebleu uses
/// unless told otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bleu {
    answer_words: usize,
    reference_words: usize,
    /// Runs of the answers that a reference has, by length.
    shared: [usize; RUN_WORDS_MAX],
    /// All runs of the answers, by length.
    all: [usize; RUN_WORDS_MAX],
}

impl Bleu {
    /// Counts one answer against its references; without a reference nothing is shared.
    pub fn new(references: &[&str], answer: &str, language: Language) -> Self {
        let answer = bleu_words(answer, language);
        let references: Vec<Vec<String>> =
            references.iter().map(|text| bleu_words(text, language)).collect();
        let (answer, references) = numbered(&answer, &references);
        let (mut shared, mut all) = ([0; RUN_WORDS_MAX], [0; RUN_WORDS_MAX]);
        for length in 1..=RUN_WORDS_MAX {
            let theirs: Vec<_> = references.iter().map(|words| counts(words, length)).collect();
            for (run, count) in counts(&answer, length) {
                let most = theirs.iter().filter_map(|counts| counts.get(run)).max();
                all[length - 1] += count;
                shared[length - 1] += most.map_or(0, |most| count.min(*most));
            }
        }
        let lengths = references.iter().map(Vec::len);
        let closest = lengths.min_by_key(|length| (length.abs_diff(answer.len()), *length));
        let reference_words = closest.unwrap_or(0);
        Self { answer_words: answer.len(), reference_words, shared, all }
    }

    /// BLEU of everything that was counted, in `[0, 1]`: sacrebleu's `corpus_bleu` over 100.
    pub fn score(&self) -> f64 {
        self.over(RUN_WORDS_MAX)
    }

    /// BLEU of one answer, in `[0, 1]`: runs longer than the answer are left out, as
    /// sacrebleu's `sentence_bleu` does.
    pub fn sentence_score(&self) -> f64 {
        self.over(self.all.iter().filter(|all| **all > 0).count())
    }

    /// The geometric mean of the precisions of runs up to a length, with the penalty.
    fn over(&self, longest: usize) -> f64 {
        if self.shared.iter().all(|shared| *shared == 0) || self.all[longest - 1] == 0 {
            return 0.0;
        }
        let mut smooth = 1.0;
        let mut logarithms = 0.0;
        for (shared, all) in self.shared.iter().zip(&self.all).take(longest) {
            let shared = if *shared == 0 {
                smooth *= 2.0;
                1.0 / smooth
            } else {
                *shared as f64
            };
            logarithms += (shared / *all as f64).ln();
        }
        let (answer, reference) = (self.answer_words as f64, self.reference_words as f64);
        let penalty = if answer < reference { 1.0 - reference / answer } else { 0.0 };
        (penalty + logarithms / longest as f64).exp()
    }
}

impl AddAssign for Bleu {
    fn add_assign(&mut self, other: Self) {
        self.answer_words += other.answer_words;
        self.reference_words += other.reference_words;
        for length in 0..RUN_WORDS_MAX {
            self.shared[length] += other.shared[length];
            self.all[length] += other.all[length];
        }
    }
}

/// The words of all texts as numbers, the same number for the same word.
fn numbered(answer: &[String], references: &[Vec<String>]) -> (Vec<u32>, Vec<Vec<u32>>) {
    let all: Vec<String> = references.concat();
    let [answer, mut all] = super::words::numbered(answer, &all);
    let mut split = Vec::new();
    for words in references {
        let rest = all.split_off(words.len());
        split.push(std::mem::replace(&mut all, rest));
    }
    (answer, split)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precisions_and_penalty_are_as_counted_by_hand() {
        let bleu = Bleu::new(&["the cat sat on the mat"], "the cat sat on", Language::English);
        assert_eq!(bleu.shared, [4, 3, 2, 1]);
        assert!((bleu.score() - (1.0f64 - 6.0 / 4.0).exp()).abs() < 1e-12);
        // No pair of words is shared: 1/2 of one run is smoothed in, then 1/4, of one each.
        let bleu = Bleu::new(&["a b"], "b a c", Language::English);
        assert_eq!((bleu.shared, bleu.all), ([2, 0, 0, 0], [3, 2, 1, 0]));
        let expected = (2.0 / 3.0 * 1.0 / 4.0 * 1.0 / 4.0f64).powf(1.0 / 3.0);
        assert!((bleu.sentence_score() - expected).abs() < 1e-12);
        assert_eq!(bleu.score(), 0.0);
    }

    #[test]
    fn counts_of_answers_add_up() {
        let one = Bleu::new(&["a b c d e"], "a b c d", Language::English);
        let mut sum = one;
        sum += one;
        assert_eq!((sum.answer_words, sum.reference_words, sum.all), (8, 10, [8, 6, 4, 2]));
        assert_eq!(sum.score(), one.score());
        assert_eq!(Bleu::default().sentence_score(), 0.0);
    }
}
