//! Hard negatives: documents that look like an answer to BM25 or to the base model, and are not.
//!
//! A candidate that the base model finds almost as near as the known answer may well be an answer
//! nobody labelled, so candidates above a part of the answer's cosine are left out (the relative
//! margin of NV-Retriever, arXiv:2407.15831).

use std::sync::atomic::{AtomicBool, Ordering};

use crate::bm25::Bm25;
use crate::data::{Dataset, Example};
use crate::retrieval::Vectors;
use crate::workspace::{NegativesConfig, NegativesSource};

/// What candidates are found with.
pub struct Miner<'a> {
    /// The tenant's texts and examples.
    pub dataset: &'a Dataset,
    /// Over the documents' search texts.
    pub bm25: &'a Bm25,
    /// Base embeddings of `dataset.documents`.
    pub documents: &'a Vectors,
    /// Base embeddings of `dataset.queries`; rows of queries that are not trained may be zero.
    pub queries: &'a Vectors,
    /// Looked at before each example: once true, nothing is mined.
    pub stop: &'a AtomicBool,
}

impl Miner<'_> {
    /// The examples, pairs with `per_example` mined negatives beside those they had. Only what
    /// training knows is used: judgements of held-out queries are never looked at. `None` if stopped.
    pub fn mine(&self, config: &NegativesConfig, per_example: usize) -> Option<Vec<Example>> {
        let positives = self.dataset.train_positives();
        let mut known: Option<(u32, Vec<u32>)> = None;
        let mut examples = self.dataset.train.clone();
        for example in &mut examples {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            let Example::Pair { query, positive, negatives } = example else { continue };
            if per_example == 0 {
                continue;
            }
            let candidates = match &known {
                Some((of, candidates)) if of == query => candidates,
                _ => &known.insert((*query, self.candidates(*query, config))).1,
            };
            let answer = self.cosine(*query, *positive);
            let limit = answer - (1.0 - config.margin) * answer.abs();
            let relevant = &positives[*query as usize];
            let chosen = candidates.iter().copied().filter(|document| {
                relevant.binary_search(document).is_err()
                    && !negatives.contains(document)
                    && self.cosine(*query, *document) <= limit
            });
            let chosen: Vec<u32> = chosen.take(per_example).collect();
            negatives.extend(chosen);
        }
        Some(examples)
    }

    /// Documents by rank, the retrievers in turn, each document once.
    fn candidates(&self, query: u32, config: &NegativesConfig) -> Vec<u32> {
        let text = &self.dataset.queries[query as usize].text;
        let by_term = || self.bm25.search(text, config.depth);
        let by_vector = || {
            let found = self.documents.search(self.queries.row(query as usize), config.depth);
            found.into_iter().map(|ranked| ranked.document).collect()
        };
        let lists: Vec<Vec<u32>> = match config.source {
            NegativesSource::Bm25 => vec![by_term()],
            NegativesSource::Base => vec![by_vector()],
            NegativesSource::Both => vec![by_vector(), by_term()],
        };
        let mut candidates = Vec::new();
        for rank in 0..config.depth {
            for document in lists.iter().filter_map(|list| list.get(rank)) {
                if !candidates.contains(document) {
                    candidates.push(*document);
                }
            }
        }
        candidates
    }

    fn cosine(&self, query: u32, document: u32) -> f32 {
        let (query, document) = (query as usize, document as usize);
        crate::retrieval::dot(self.queries.row(query), self.documents.row(document))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Document, Query};

    /// Four documents on a circle, the first relevant, the second a twin of it.
    fn check((per_example, config): (usize, NegativesConfig), expected: &[u32]) {
        let texts = ["red apple pie", "red apple tart", "green apple", "blue sky"];
        let documents = texts.iter().map(|text| Document {
            id: (*text).into(),
            text: (*text).into(),
            ..Document::default()
        });
        let dataset = Dataset {
            documents: documents.collect(),
            queries: vec![Query { id: "q".into(), text: "apple pie".into() }],
            train: vec![Example::Pair { query: 0, positive: 0, negatives: Vec::new() }],
            ..Dataset::default()
        };
        let bm25 = Bm25::build(texts, Default::default());
        let documents = Vectors { values: vec![0.9, 0.1, 0.89, 0.1, 0.5, 0.5, 0.6, 0.0], width: 2 };
        let queries = Vectors { values: vec![1.0, 0.0], width: 2 };
        let stop = AtomicBool::new(false);
        let (documents, queries) = (&documents, &queries);
        let miner = Miner { dataset: &dataset, bm25: &bm25, documents, queries, stop: &stop };
        let mined = miner.mine(&config, per_example).expect("nobody stops it");
        let Example::Pair { negatives, .. } = &mined[0] else { panic!("a pair stays a pair") };
        assert_eq!(negatives, expected, "{config:?}");
        stop.store(true, Ordering::Relaxed);
        assert_eq!(miner.mine(&config, per_example), None, "asked to stop");
    }

    #[test]
    fn near_misses_are_taken_and_twins_of_the_answer_are_not() {
        let config = |per_example, source, margin| {
            (per_example, NegativesConfig { per_example: None, source, margin, depth: 4 })
        };
        check(config(0, NegativesSource::Both, 0.95), &[]);
        check(config(1, NegativesSource::Base, 0.95), &[3]);
        check(config(2, NegativesSource::Base, 0.95), &[3, 2]);
        check(config(2, NegativesSource::Base, 1.0), &[1, 3]);
        check(config(9, NegativesSource::Bm25, 0.95), &[2]);
        check(config(9, NegativesSource::Both, 0.95), &[2, 3]);
    }
}
