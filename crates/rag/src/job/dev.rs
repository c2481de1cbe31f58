//! The dev pool: a bounded set of documents on which adapters are compared while training.
//!
//! Embedding a whole corpus at every evaluation would cost many times the training. The pool holds
//! every answer to the dev queries and, per query, the documents that the base model and BM25 rank
//! highest: the ones that decide nDCG@10. It comes from the dev part of train alone.

use cotenant_train::{TextError, Texts};
use cotenant_transformer::Adapter;

use crate::bm25::Bm25;
use crate::data::Dataset;
use crate::retrieval::{Embedder, Vectors, measure};

/// Most documents of a pool, unless the dev queries have more answers than that.
const DOCUMENTS_MAX: usize = 1000;

/// The documents and queries that an adapter is judged on.
#[derive(Clone, Debug, Default)]
pub(super) struct DevPool {
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
        let mut pool: Vec<u32> = dev
            .iter()
            .flat_map(|judged| judged.gains.iter().map(|&(document, _)| document))
            .collect();
        let room = DOCUMENTS_MAX.saturating_sub(pool.len());
        let depth = (room / (2 * dev.len().max(1))).max(3);
        for (judged, row) in dev.iter().zip(0..) {
            let text = &dataset.queries[judged.query as usize].text;
            pool.extend(bm25.search(text, depth).iter().map(|&(document, _)| document));
            let found = documents.search(queries.row(row), depth);
            pool.extend(found.iter().map(|ranked| ranked.document));
        }
        pool.sort_unstable();
        pool.dedup();
        Self { documents: pool }
    }

    /// nDCG@10 of an adapter on the dev queries.
    pub(super) fn score(
        &self,
        dataset: &Dataset,
        texts: &dyn Texts,
        embedder: &Embedder,
        adapter: &Adapter,
    ) -> Result<f64, TextError> {
        let queries: Vec<u32> =
            dataset.dev.queries.iter().map(|judged| dataset.query_text(judged.query)).collect();
        let documents: Vec<u32> =
            self.documents.iter().map(|&document| dataset.document_text(document)).collect();
        let queries = embedder.embed(texts, &queries, Some(adapter), &|_| ())?;
        let documents = embedder.embed(texts, &documents, Some(adapter), &|_| ())?;
        let pool = (self.documents.as_slice(), &documents);
        Ok(measure(dataset, &dataset.dev, &queries, pool, embedder.threads).quality().ndcg10)
    }
}
