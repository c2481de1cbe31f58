//! The dev pool: a bounded set of documents on which adapters are compared while training.
//!
//! Embedding a whole corpus at every evaluation would cost many times the training. The pool holds
//! every answer to the dev queries and, per query, the documents that the base model and BM25 rank
//! highest: the ones that decide nDCG@10. It comes from the dev part of train alone.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use cotenant_train::Texts;
use cotenant_transformer::Adapter;

use crate::bm25::Bm25;
use crate::data::{Dataset, Judged, Judgements};
use crate::retrieval::{Embedder, NotEmbedded, Pace, Vectors, measure, unless};

/// Most queries of a pool; of more, as many are taken at even distances.
const QUERIES_MAX: usize = 200;

/// Most documents of a pool, unless its queries have more answers than that.
const DOCUMENTS_MAX: usize = 1000;

/// The documents and queries that an adapter is judged on.
#[derive(Clone, Debug, Default)]
pub(super) struct DevPool {
    judgements: Judgements,
    documents: Vec<u32>,
}

impl DevPool {
    /// Picks the pool from base rankings; `queries` has one row for each dev query.
    pub(super) fn new(
        dataset: &Dataset,
        bm25: &Bm25,
        queries: &Vectors,
        documents: &Vectors,
    ) -> Self {
        let dev = &dataset.dev.queries;
        let taken = dev.len().min(QUERIES_MAX);
        let places: Vec<usize> = (0..taken).map(|at| at * dev.len() / taken).collect();
        let judged: Vec<Judged> = places.iter().map(|&at| dev[at].clone()).collect();
        let answers = judged.iter().flat_map(|judged| judged.gains.iter().map(|gain| gain.0));
        let mut pool: BTreeSet<u32> = answers.collect();
        let depth = DOCUMENTS_MAX.saturating_sub(pool.len()) / (2 * taken.max(1));
        for (judged, &row) in judged.iter().zip(&places) {
            let text = &dataset.queries[judged.query as usize].text;
            pool.extend(bm25.search(text, depth));
            let found = documents.search(queries.row(row), depth);
            pool.extend(found.iter().map(|ranked| ranked.document));
        }
        let documents = pool.into_iter().collect();
        Self { judgements: Judgements { queries: judged }, documents }
    }

    /// nDCG@10 of an adapter on the dev queries.
    pub(super) fn score(
        &self,
        (dataset, texts): (&Dataset, &dyn Texts),
        (embedder, stop): (&Embedder, &AtomicBool),
        adapter: &Adapter,
    ) -> Result<f64, NotEmbedded> {
        let on_done = |_| unless(stop);
        let queries = self.judgements.queries.iter();
        let queries: Vec<u32> = queries.map(|judged| dataset.query_text(judged.query)).collect();
        let documents: Vec<u32> =
            self.documents.iter().map(|&document| dataset.document_text(document)).collect();
        let queries = embedder.embed(texts, &queries, Some(adapter), &on_done)?;
        let documents = embedder.embed(texts, &documents, Some(adapter), &on_done)?;
        let pool = (self.documents.as_slice(), &documents);
        let judgements = &self.judgements;
        let pace = Pace { threads: embedder.threads, stop };
        let found = measure(dataset, judgements, &queries, pool, pace);
        Ok(found.ok_or(NotEmbedded::Stopped)?.quality().ndcg10)
    }
}
