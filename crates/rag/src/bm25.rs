//! BM25 over texts in memory: for mining hard negatives and as the lexical baseline.
//!
//! Terms are runs of ASCII letters and digits or of other letters, lower-cased after a split of
//! `camelCase`, stemmed by the English Snowball stemmer; a run of Chinese characters gives its
//! characters and its pairs of neighbours. The weight is Lucene's,
//! `ln(1 + (N - df + 0.5) / (df + 0.5)) * tf / (tf + k1 * (1 - b + b * length / mean))`, added up
//! over the query's terms with repetition.

use std::collections::HashMap;

use rust_stemmers::{Algorithm, Stemmer};

/// How term frequency and length weigh.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bm25Options {
    /// How fast a repeated term stops counting.
    pub k1: f32,
    /// How much longer texts are discounted, 0 to 1.
    pub b: f32,
}

impl Default for Bm25Options {
    fn default() -> Self {
        Self { k1: 0.9, b: 0.4 }
    }
}

/// An immutable index over texts that are named by their position.
pub struct Bm25 {
    terms: HashMap<String, u32>,
    /// `postings[starts[t]..starts[t + 1]]` are the texts of term `t` with their weights.
    starts: Vec<usize>,
    postings: Vec<(u32, f32)>,
    texts: usize,
}

impl Bm25 {
    /// Indexes texts in order; the first is text 0.
    pub fn build<'a>(texts: impl IntoIterator<Item = &'a str>, options: &Bm25Options) -> Self {
        let mut analyzer = Analyzer::new();
        let mut terms: HashMap<String, u32> = HashMap::new();
        let mut counted: Vec<Vec<(u32, u32)>> = Vec::new();
        let mut lengths: Vec<u32> = Vec::new();
        for (text, words) in texts.into_iter().enumerate() {
            let mut length = 0;
            analyzer.each_term(words, |term| {
                length += 1;
                let next = terms.len() as u32;
                let id = match terms.get(term) {
                    Some(&id) => id,
                    None => *terms.entry(term.to_owned()).or_insert(next),
                };
                if id == next {
                    counted.push(Vec::new());
                }
                match counted[id as usize].last_mut() {
                    Some((last, count)) if *last == text as u32 => *count += 1,
                    _ => counted[id as usize].push((text as u32, 1)),
                }
            });
            lengths.push(length);
        }
        let mean = lengths.iter().map(|&length| u64::from(length)).sum::<u64>() as f32
            / lengths.len().max(1) as f32;
        let mut starts = vec![0];
        let mut postings = Vec::with_capacity(counted.iter().map(Vec::len).sum());
        for texts in counted {
            let (all, with) = (lengths.len() as f32, texts.len() as f32);
            let idf = (1.0 + (all - with + 0.5) / (with + 0.5)).ln();
            postings.extend(texts.into_iter().map(|(text, count)| {
                let length = lengths[text as usize] as f32 / mean;
                let discount = options.k1 * (1.0 - options.b + options.b * length);
                (text, idf * count as f32 / (count as f32 + discount))
            }));
            starts.push(postings.len());
        }
        Self { terms, starts, postings, texts: lengths.len() }
    }

    /// The best `k` texts that share a term with the query, with their scores, best first; equal
    /// scores are ordered by position.
    pub fn search(&self, query: &str, k: usize) -> Vec<(u32, f32)> {
        let mut scores = vec![0.0f32; self.texts];
        let mut touched = Vec::new();
        Analyzer::new().each_term(query, |term| {
            let Some(&term) = self.terms.get(term) else { return };
            let range = self.starts[term as usize]..self.starts[term as usize + 1];
            for &(text, weight) in &self.postings[range] {
                let score = &mut scores[text as usize];
                if *score == 0.0 {
                    touched.push(text);
                }
                *score += weight;
            }
        });
        let mut found: Vec<(u32, f32)> =
            touched.into_iter().map(|text| (text, scores[text as usize])).collect();
        let order = |one: &(u32, f32), other: &(u32, f32)| {
            other.1.total_cmp(&one.1).then(one.0.cmp(&other.0))
        };
        if k < found.len() {
            found.select_nth_unstable_by(k, order);
            found.truncate(k);
        }
        found.sort_unstable_by(order);
        found
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.texts
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.texts == 0
    }
}

/// Cuts texts into terms, reusing its buffers and the stems it has seen.
struct Analyzer {
    stemmer: Stemmer,
    stems: HashMap<String, String>,
}

/// Most stems that are remembered; past that they are computed again.
const STEMS_MAX: usize = 1 << 20;

impl Analyzer {
    fn new() -> Self {
        Self { stemmer: Stemmer::create(Algorithm::English), stems: HashMap::new() }
    }

    fn each_term(&mut self, text: &str, mut emit: impl FnMut(&str)) {
        let lower = split_camel_case(text);
        let mut rest = lower.as_str();
        while let Some(first) = rest.chars().next() {
            let class = Class::of(first);
            let end = rest.find(|c| Class::of(c) != class).unwrap_or(rest.len());
            let (run, after) = rest.split_at(end);
            rest = after;
            match class {
                Class::Gap => {}
                Class::Chinese => each_gram(run, &mut emit),
                Class::Word => self.each_stem(run, &mut emit),
            }
        }
    }

    fn each_stem(&mut self, word: &str, emit: &mut impl FnMut(&str)) {
        if let Some(stem) = self.stems.get(word) {
            return emit(stem);
        }
        let stem = self.stemmer.stem(word).into_owned();
        emit(&stem);
        if self.stems.len() < STEMS_MAX {
            self.stems.insert(word.to_owned(), stem);
        }
    }
}

/// Each character, then each pair of neighbours.
fn each_gram(run: &str, emit: &mut impl FnMut(&str)) {
    let mut bounds: Vec<usize> = run.char_indices().map(|(at, _)| at).collect();
    bounds.push(run.len());
    for width in [1, 2] {
        for ends in bounds.windows(width + 1) {
            emit(&run[ends[0]..ends[width]]);
        }
    }
}

/// What a character belongs to.
#[derive(Clone, Copy, PartialEq)]
enum Class {
    Gap,
    Word,
    Chinese,
}

impl Class {
    fn of(character: char) -> Self {
        match character {
            '\u{4e00}'..='\u{9fff}' => Class::Chinese,
            _ if character.is_alphanumeric() => Class::Word,
            _ => Class::Gap,
        }
    }
}

/// Lower-cased, with a space between a lower-case letter or digit and a capital behind it.
fn split_camel_case(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    let mut before = ' ';
    for character in text.chars() {
        let turns = before.is_ascii_lowercase() || before.is_ascii_digit();
        if turns && character.is_ascii_uppercase() {
            out.push(' ');
        }
        out.extend(character.to_lowercase());
        before = character;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> Vec<String> {
        let mut out = Vec::new();
        Analyzer::new().each_term(text, |term| out.push(term.to_owned()));
        out
    }

    #[test]
    fn texts_become_terms() {
        let check = |text: &str, expected: &[&str]| assert_eq!(terms(text), expected, "{text:?}");
        check("Running runs, ran.", &["run", "run", "ran"]);
        check("parseJSONFile2Text", &["pars", "jsonfile2", "text"]);
        check("snake_case", &["snake", "case"]);
        check("经营者", &["经", "营", "者", "经营", "营者"]);
        check("Rust语言", &["rust", "语", "言", "语言"]);
        check("", &[]);
        check(" -- ", &[]);
    }

    #[test]
    fn ties_go_to_the_earlier_text() {
        let texts = ["apple pie", "banana", "apple pie", "apple pie"];
        let index = Bm25::build(texts, &Bm25Options::default());
        let ids = |k| index.search("apple", k).iter().map(|hit| hit.0).collect::<Vec<_>>();
        assert_eq!(ids(2), [0, 2]);
        assert_eq!(ids(9), [0, 2, 3]);
        assert!(ids(0).is_empty());
        assert!(index.search("cherry", 3).is_empty());
        assert!(Bm25::build([], &Bm25Options::default()).search("apple", 3).is_empty());
    }

    #[test]
    fn scores_are_the_formula() {
        let index = Bm25::build(["a b b", "b c"], &Bm25Options { k1: 0.9, b: 0.4 });
        let weight = |df: f32, tf: f32, length: f32| {
            let idf = (1.0 + (2.0 - df + 0.5) / (df + 0.5)).ln();
            idf * tf / (tf + 0.9 * (1.0 - 0.4 + 0.4 * length / 2.5))
        };
        let expected = [(0, weight(1.0, 1.0, 3.0) + 2.0 * weight(2.0, 2.0, 3.0))];
        let found = index.search("a b b", 1);
        assert_eq!(found[0].0, expected[0].0);
        assert!((found[0].1 - expected[0].1).abs() < 1e-6, "{found:?} {expected:?}");
    }
}
