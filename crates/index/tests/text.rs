//! BM25 over any sequence of adds, removals, flushes and merges is that of a plain scorer over the
//! documents that are alive.

#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::collections::{BTreeMap, HashMap, HashSet};

use cotenant_index::text::{
    Bm25Options, DamagedText, TextBuffer, TextError, TextPart, TextSearch, TextSegment,
};
use cotenant_index::{Bytes, Hit, Slot};
use proptest::prelude::*;

/// Words that the stemmer leaves alone, so that the model needs none. The first are frequent.
const WORDS: [&str; 12] = ["a", "b", "c", "d", "ab", "ac", "ad", "bc", "bd", "cd", "abc", "bcd"];

#[derive(Clone, Debug)]
enum Step {
    Add(Vec<usize>),
    /// Many documents at once, so that lists have many blocks and windows; drawn by a seed.
    AddMany(u32, u64),
    /// The live document at this place, modulo their number.
    Remove(usize),
    RemoveMany(u64),
    Flush,
    Merge,
    Search(Vec<usize>, usize),
}

/// The same numbers from the same seed.
fn random(seed: u64, at: u64) -> u64 {
    let mut value = seed ^ at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// A text whose words are frequent and rare.
fn drawn_text(seed: u64, number: u64) -> String {
    let length = 1 + random(seed, number * 64) % 12;
    let words = (0..length).map(|at| {
        let draw = random(seed, number * 64 + 1 + at);
        // Halves the chance with each word.
        WORDS[(draw.leading_zeros() as usize).min(WORDS.len() - 1)]
    });
    words.collect::<Vec<_>>().join(" ")
}

fn text_of(words: &[usize]) -> String {
    words.iter().map(|&word| WORDS[word]).collect::<Vec<_>>().join(" ")
}

struct World {
    options: Bm25Options,
    buffer: TextBuffer,
    segments: Vec<TextSegment>,
    live: BTreeMap<u32, String>,
    next: u32,
}

impl World {
    fn add(&mut self, text: String) {
        self.next += 1 + self.next % 3;
        self.buffer.add(Slot(self.next), &text).unwrap();
        self.live.insert(self.next, text);
    }

    fn remove(&mut self, slot: u32) {
        let text = self.live.remove(&slot).unwrap();
        let mut removed = usize::from(self.buffer.remove(Slot(slot), &text).unwrap());
        for segment in &mut self.segments {
            removed += usize::from(segment.remove(Slot(slot), &text).unwrap());
        }
        assert_eq!(removed, 1, "slot {slot} is in one part");
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Add(words) => self.add(text_of(words)),
            Step::AddMany(count, seed) => {
                (0..*count).for_each(|at| self.add(drawn_text(*seed, at.into())));
            }
            Step::Remove(at) => {
                if let Some(slot) = self.live.keys().nth(at % self.live.len().max(1)).copied() {
                    self.remove(slot);
                }
            }
            Step::RemoveMany(seed) => {
                let is_gone = |slot: &&u32| random(*seed, u64::from(**slot)).is_multiple_of(3);
                let gone: Vec<u32> = self.live.keys().filter(is_gone).copied().collect();
                gone.into_iter().for_each(|slot| self.remove(slot));
            }
            Step::Flush => {
                let bytes = Bytes::from_vec(self.buffer.freeze());
                self.segments.push(TextSegment::open(bytes).unwrap());
                self.buffer = TextBuffer::new(self.options);
            }
            Step::Merge => {
                // Every second one, so that slots of the merged and the others interleave.
                let (mut merged, mut kept) = (Vec::new(), Vec::new());
                for (at, segment) in self.segments.drain(..).enumerate() {
                    if at % 2 == 0 { merged.push(segment) } else { kept.push(segment) }
                }
                let bytes = TextSegment::merge(&merged.iter().collect::<Vec<_>>(), self.options);
                kept.push(TextSegment::open(Bytes::from_vec(bytes)).unwrap());
                self.segments = kept;
            }
            Step::Search(words, k) => self.check(&text_of(words), *k),
        }
    }

    fn check(&self, query: &str, k: usize) {
        let mut parts = vec![TextPart::Buffer(&self.buffer)];
        parts.extend(self.segments.iter().map(TextPart::Segment));
        for options in [self.options, Bm25Options::new(1.5, 0.9).unwrap()] {
            for skipped in [0, 2] {
                let allowed = move |slot: Slot| skipped == 0 || !slot.0.is_multiple_of(skipped);
                let search = TextSearch { parts: &parts, options, allowed: &allowed };
                let mut expected = naive(&self.live, query, options);
                expected.retain(|&(slot, _)| allowed(Slot(slot)));
                assert_same(&search.best(query, k).hits, &expected, k);
            }
        }
    }
}

/// Every live document's score by the formula, for those that share a term, best first.
fn naive(live: &BTreeMap<u32, String>, query: &str, options: Bm25Options) -> Vec<(u32, f64)> {
    let texts: Vec<(u32, Vec<&str>)> =
        live.iter().map(|(&slot, text)| (slot, text.split_whitespace().collect())).collect();
    let (k1, b) = (f64::from(options.k1()), f64::from(options.b()));
    let all = texts.len() as f64;
    let mean = texts.iter().map(|(_, words)| words.len()).sum::<usize>() as f64 / all;
    let mut scores: HashMap<u32, f64> = HashMap::new();
    for term in query.split_whitespace() {
        let with = texts.iter().filter(|(_, words)| words.contains(&term)).count() as f64;
        let rarity = (1.0 + (all - with + 0.5) / (with + 0.5)).ln();
        for (slot, words) in &texts {
            let frequency = words.iter().filter(|word| **word == term).count() as f64;
            if frequency > 0.0 {
                let discount = k1 * (1.0 - b + b * words.len() as f64 / mean);
                *scores.entry(*slot).or_default() += rarity * (frequency / (frequency + discount));
            }
        }
    }
    let mut scores: Vec<(u32, f64)> = scores.into_iter().collect();
    scores.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
    scores
}

/// Scores are the model's to 1e-5, and so is the order, but among documents whose scores in the
/// model differ by less than that. What ties in the model ties, and then the lower slot is first.
fn assert_same(hits: &[Hit], expected: &[(u32, f64)], k: usize) {
    assert_eq!(hits.len(), expected.len().min(k), "{hits:?} {expected:?}");
    assert!(hits.is_sorted_by(|one, other| one.best_first(other).is_lt()), "{hits:?}");
    let model: HashMap<u32, f64> = expected.iter().copied().collect();
    let near = |score: f64| 1e-5 * score.max(1.0);
    for hit in hits {
        let score = model[&hit.slot.0];
        assert!(
            (f64::from(hit.score) - score).abs() <= near(score),
            "{hit:?} should score {score}"
        );
    }
    for pair in hits.windows(2) {
        let (one, other) = (model[&pair[0].slot.0], model[&pair[1].slot.0]);
        assert!(one + near(one) >= other, "{pair:?} score {one} and {other}");
    }
    let mut found: HashMap<u64, &Hit> = HashMap::new();
    for hit in hits {
        let tied = found.entry(model[&hit.slot.0].to_bits()).or_insert(hit);
        assert_eq!(tied.score, hit.score, "{tied:?} and {hit:?} tie in the model");
    }
    let Some(last) = hits.last() else { return };
    let is_found: HashSet<u32> = hits.iter().map(|hit| hit.slot.0).collect();
    for &(slot, score) in expected.iter().filter(|(slot, _)| !is_found.contains(slot)) {
        let lowest = model[&last.slot.0];
        assert!(score <= lowest + near(lowest), "{slot} with {score} is missing");
        if let Some(tied) = found.get(&score.to_bits()) {
            let is_behind = tied.score == last.score && last.slot.0 < slot;
            assert!(is_behind, "{slot} is missing and ties with {tied:?}; the last is {last:?}");
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let words = || prop::collection::vec(0..WORDS.len(), 0..6);
    let step = prop_oneof![
        4 => words().prop_map(Step::Add),
        1 => (1..9000u32, any::<u64>()).prop_map(|(count, seed)| Step::AddMany(count, seed)),
        3 => any::<usize>().prop_map(Step::Remove),
        1 => any::<u64>().prop_map(Step::RemoveMany),
        2 => Just(Step::Flush),
        1 => Just(Step::Merge),
        4 => (words(), 0..30usize).prop_map(|(words, k)| Step::Search(words, k)),
    ];
    prop::collection::vec(step, 1..25)
}

fn run_all(options: Bm25Options, steps: &[Step]) {
    let mut world = World {
        options,
        buffer: TextBuffer::new(options),
        segments: Vec::new(),
        live: BTreeMap::new(),
        next: 0,
    };
    steps.iter().for_each(|step| world.run(step));
    for query in ["a", "abc bcd", "a b c d ab abc abc zzz", ""] {
        [0, 1, 10, 1000].into_iter().for_each(|k| world.check(query, k));
    }
}

proptest! {
    // A failure prints its seed and the steps.
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_equals_a_plain_scorer(steps in steps(), k1 in 0.0f32..2.0, b in 0.0f32..=1.0) {
        run_all(Bm25Options::new(k1, b).unwrap(), &steps);
    }
}

#[test]
fn a_part_without_documents_is_a_part() {
    run_all(Bm25Options::default(), &[]);
    run_all(Bm25Options::default(), &[Step::Flush, Step::Merge, Step::Flush, Step::Merge]);
    let all_gone = [Step::Add(vec![0]), Step::Flush, Step::Remove(0), Step::Merge];
    run_all(Bm25Options::default(), &all_gone);
    run_all(Bm25Options::default(), &[Step::Add(vec![]), Step::Flush, Step::Add(vec![])]);
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let mut buffer = TextBuffer::new(Bm25Options::default());
    buffer.add(Slot(5), "red apple").unwrap();
    let refused = buffer.add(Slot(5), "green apple").unwrap_err();
    assert_eq!(refused, TextError::NotAscending { slot: 5, last: 5 });
    let mut segment = TextSegment::open(Bytes::from_vec(buffer.freeze())).unwrap();
    for other in ["red", "red apple apple", "red pear", ""] {
        let expected = Err(TextError::OtherText { slot: 5 });
        assert_eq!(buffer.remove(Slot(5), other), expected, "{other}");
        assert_eq!(segment.remove(Slot(5), other), expected, "{other}");
    }
    assert!(buffer.contains(Slot(5)) && segment.contains(Slot(5)));
    assert_eq!(buffer.remove(Slot(4), "red apple"), Ok(false));
    assert_eq!(segment.remove(Slot(6), "red apple"), Ok(false));
    for expected in [true, false] {
        assert_eq!(buffer.remove(Slot(5), "apples; Red"), Ok(expected), "terms are what counts");
        assert_eq!(segment.remove(Slot(5), "red apple"), Ok(expected));
    }
    assert!(buffer.is_empty() && segment.is_empty() && segment.removed_len() == 1);
}

#[test]
fn a_damaged_segment_is_an_error() {
    let mut buffer = TextBuffer::new(Bm25Options::default());
    for at in 0..300 {
        buffer.add(Slot(at), &drawn_text(3, at.into())).unwrap();
    }
    let bytes = buffer.freeze();
    let open = |bytes: Vec<u8>| TextSegment::open(Bytes::from_vec(bytes)).map(|one| one.len());
    assert_eq!(open(bytes.clone()), Ok(300));
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(open(flipped).is_err(), "byte {at}");
    }
    for length in (0..bytes.len()).chain([bytes.len() + 1]) {
        let mut cut = bytes.clone();
        cut.resize(length, 0);
        assert!(open(cut).is_err(), "{length} bytes");
    }
    let mut newer = bytes.clone();
    newer[8] = 2;
    assert_eq!(open(newer), Err(DamagedText::Version { found: 2, expected: 1 }));
}
