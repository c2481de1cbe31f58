//! Held-out splits that depend on the data alone.
//!
//! Every reader ends here: it hands over what it read, and gets back a data set in which no
//! training query shares its id or its text with a held-out one. What is held out is chosen by a
//! hash of a key (the query's id, the anchor's text, the page's path), so that it stays held out
//! when the data grows or is reordered.

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};

use super::error::Warning;
use super::model::{Dataset, Document, Example, Judged, Judgements, Query};

/// Fewest held-out queries of a split, where there are four times as many.
const HELD_OUT_MIN: usize = 20;
/// Most held-out queries of a split.
const HELD_OUT_MAX: usize = 200;
/// Part of the training queries that is held out, in hundredths.
const HELD_OUT_PERCENT: usize = 15;

/// A key of at most this part of a split is small: a split has at least so many, where it can.
const KEYS_MIN: usize = 5;

/// What a reader has read, before anything is held out.
#[derive(Default)]
pub(super) struct Draft {
    pub name: String,
    pub documents: Vec<Document>,
    pub queries: Vec<Query>,
    pub train: Vec<Example>,
    /// The training documents and gains of each query.
    pub gains: Vec<Vec<(u32, u32)>>,
    /// What a query is held out by; queries with one key are held out together.
    pub keys: Vec<String>,
    pub dev: Option<Judgements>,
    pub test: Option<Judgements>,
}

impl Draft {
    /// Holds out what is not held out yet and removes held-out queries from training.
    pub(super) fn finish(mut self, warnings: &mut Vec<Warning>) -> Dataset {
        let test = match self.test.take() {
            Some(test) => test,
            None => {
                let test = self.hold_out("test");
                warnings.push(Warning::TestHeldOut { queries: test.len() });
                test
            }
        };
        let mut leaks = self.remove_leaks(&test);
        let mut dev = match self.dev.take() {
            Some(dev) => dev,
            None => {
                let dev = self.hold_out("dev");
                warnings.push(Warning::DevHeldOut { queries: dev.len() });
                dev
            }
        };
        let measured = self.texts_of(&test);
        dev.queries.retain(|judged| !measured.contains(&self.text_of(judged.query)));
        leaks += self.remove_leaks(&dev);
        if leaks > 0 {
            warnings.push(Warning::LeaksRemoved { queries: leaks });
        }
        if self.train.is_empty() {
            warnings.push(Warning::NoTraining);
        }
        if test.is_empty() {
            warnings.push(Warning::NoTest);
        }
        let trained: HashSet<u32> = self.train.iter().map(Example::query).collect();
        let Self { name, documents, queries, train, gains: mut train_gains, .. } = self;
        // What is held out is nobody's to choose by.
        for (query, gains) in (0..).zip(&mut train_gains) {
            if !trained.contains(&query) {
                gains.clear();
            }
        }
        let leaves_out_own_id = false;
        Dataset { name, documents, queries, train, train_gains, dev, test, leaves_out_own_id }
    }

    /// Moves whole keys of training queries into a new split, in the order of their hashes.
    fn hold_out(&mut self, split: &str) -> Judgements {
        let mut groups: HashMap<&str, Vec<u32>> = HashMap::new();
        let trained: HashSet<u32> = self.train.iter().map(Example::query).collect();
        let usable =
            |query: &u32| trained.contains(query) && !self.gains[*query as usize].is_empty();
        for query in (0..self.queries.len() as u32).filter(usable) {
            groups.entry(&self.keys[query as usize]).or_default().push(query);
        }
        let target = held_out_count(groups.values().map(Vec::len).sum());
        let mut ordered: Vec<(u64, &str, Vec<u32>)> = groups
            .into_iter()
            .map(|(key, queries)| (stable_hash(split, key), key, queries))
            .collect();
        ordered.sort();
        let mut held: Vec<u32> = Vec::new();
        // Small keys first, so that no one page is most of a split; then what still fits.
        for is_small in [true, false] {
            for (_, _, queries) in &ordered {
                if held.len() >= target {
                    break;
                }
                let fits = queries.len() <= (target - held.len()).max(target / 3);
                if (queries.len() <= target / KEYS_MIN) == is_small && fits {
                    held.extend(queries);
                }
            }
        }
        held.sort_unstable();
        let judge = |&query: &u32| {
            let mut gains = self.gains[query as usize].clone();
            gains.sort_unstable();
            Judged { query, gains }
        };
        let queries = held.iter().map(judge).collect();
        let held: HashSet<u32> = held.into_iter().collect();
        self.train.retain(|example| !held.contains(&example.query()));
        Judgements { queries }
    }

    /// Drops training examples whose query is held out, or reads like one, or whose answer does (as
    /// where each pair stands in both directions); says how many queries.
    fn remove_leaks(&mut self, held: &Judgements) -> usize {
        let ids: HashSet<u32> = held.queries.iter().map(|judged| judged.query).collect();
        let texts = self.texts_of(held);
        let mirrors = |example: &Example| {
            let (Example::Pair { positive: answer, .. } | Example::Scored { right: answer, .. }) =
                example;
            texts.contains(&as_compared(&self.documents[*answer as usize].search_text()))
        };
        let leaks = |example: &&Example| {
            let query = example.query();
            ids.contains(&query) || texts.contains(&self.text_of(query)) || mirrors(example)
        };
        let leaking: HashSet<u32> = self.train.iter().filter(leaks).map(Example::query).collect();
        self.train.retain(|example| !leaking.contains(&example.query()));
        leaking.len()
    }

    fn texts_of(&self, judgements: &Judgements) -> HashSet<String> {
        judgements.queries.iter().map(|judged| self.text_of(judged.query)).collect()
    }

    fn text_of(&self, query: u32) -> String {
        as_compared(&self.queries[query as usize].text)
    }
}

/// How many of `queries` training queries one split holds out: 15 %, at least 20 and at most 200,
/// and never more than a quarter.
fn held_out_count(queries: usize) -> usize {
    let part = (queries * HELD_OUT_PERCENT).div_ceil(100);
    part.clamp(HELD_OUT_MIN, HELD_OUT_MAX).min(queries / 4)
}

/// A hash of a text that is the same on every machine and in every version.
pub(super) fn stable_hash(purpose: &str, key: &str) -> u64 {
    let mut hasher = Sha256::new();
    hasher.update(purpose.as_bytes());
    hasher.update([0]);
    hasher.update(key.as_bytes());
    let digest = hasher.finalize();
    u64::from_be_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}

/// A text as leaks are compared: case and spaces do not matter.
fn as_compared(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(queries: usize) -> Draft {
        let mut draft = Draft::default();
        for at in 0..queries as u32 {
            draft.documents.push(Document { id: format!("d{at}"), ..Document::default() });
            draft.queries.push(Query { id: format!("q{at}"), text: format!("Question {at}") });
            draft.train.push(Example::Pair { query: at, positive: at, negatives: vec![] });
            draft.gains.push(vec![(at, 1)]);
            draft.keys.push(format!("q{at}"));
        }
        draft
    }

    #[test]
    fn held_out_parts_are_bounded() {
        let check = |queries, expected| assert_eq!(held_out_count(queries), expected, "{queries}");
        check(0, 0);
        check(3, 0);
        check(4, 1);
        check(40, 10);
        check(100, 20);
        check(200, 30);
        check(10_000, 200);
    }

    #[test]
    fn splits_are_disjoint_and_stay_when_data_is_reordered() {
        let mut warnings = Vec::new();
        let one = draft(200).finish(&mut warnings);
        assert_eq!((one.test.len(), one.dev.len(), one.train.len()), (30, 26, 144));
        assert_eq!(
            warnings,
            [Warning::TestHeldOut { queries: 30 }, Warning::DevHeldOut { queries: 26 }]
        );
        let held = |set: &Dataset| -> HashSet<String> {
            let all = set.test.queries.iter().chain(&set.dev.queries);
            all.map(|judged| set.queries[judged.query as usize].id.clone()).collect()
        };
        assert_eq!(held(&one).len(), 56);
        let mut reordered = draft(200);
        reordered.queries.reverse();
        reordered.keys.reverse();
        assert_eq!(held(&reordered.finish(&mut Vec::new())), held(&one));
    }

    #[test]
    fn queries_that_read_like_held_out_ones_are_not_trained() {
        let mut draft = draft(100);
        draft.queries[1].text = "  question   0 ".to_owned();
        draft.test = Some(Judgements { queries: vec![Judged { query: 0, gains: vec![(0, 1)] }] });
        draft.dev = Some(Judgements { queries: vec![Judged { query: 1, gains: vec![(1, 1)] }] });
        let mut warnings = Vec::new();
        let set = draft.finish(&mut warnings);
        assert_eq!(set.train.len(), 98);
        assert!(set.dev.is_empty(), "the dev query reads like the test query");
        assert_eq!(warnings, [Warning::LeaksRemoved { queries: 2 }]);
    }

    #[test]
    fn a_key_is_held_out_as_a_whole() {
        let mut draft = draft(120);
        for (at, key) in draft.keys.iter_mut().enumerate() {
            *key = format!("page{}", at / 6);
        }
        let set = draft.finish(&mut Vec::new());
        let pages = |queries: Vec<u32>| -> HashSet<u32> {
            queries.into_iter().map(|query| query / 6).collect()
        };
        let held = |part: &Judgements| pages(part.queries.iter().map(|one| one.query).collect());
        let (train, dev, test) = (
            pages(set.train.iter().map(Example::query).collect()),
            held(&set.dev),
            held(&set.test),
        );
        assert!(train.is_disjoint(&dev) && train.is_disjoint(&test) && dev.is_disjoint(&test));
        assert!(
            set.test.len() >= 20 && set.dev.len() >= 12,
            "{} {}",
            set.test.len(),
            set.dev.len()
        );
    }
}
