//! A cross-encoder: reads a query and a document together and says how well the one answers the other.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;

use cotenant_train::{TextError, Texts, Tokens};
use cotenant_transformer::{Adapter, HeadTape, TextIds, Tokenizer, random};

use super::embedder::{Embedder, NotEmbedded, OnDone};
use super::pipeline::{Reranker, RetrievalError};

/// Pairs whose rows are in memory at a time: 1.5 MiB of them at a width of 384.
const PAIRS_AT_A_TIME: usize = 1024;

/// A base model with an adapter that has a head, and how it reads texts.
pub struct CrossEncoder<'a> {
    /// The base model, and how much of the machine it may use.
    pub embedder: &'a Embedder,
    /// The base model's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The adapter; it must have a head.
    pub adapter: &'a Adapter,
    /// Written in front of each query.
    pub query_prefix: &'a str,
    /// Written in front of each document.
    pub document_prefix: &'a str,
    /// Most tokens of a query and a document together.
    pub tokens_max: usize,
}

impl Reranker for CrossEncoder<'_> {
    fn scores(&self, query: &str, texts: &[Cow<'_, str>]) -> Result<Vec<f32>, RetrievalError> {
        let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
        let failed = |error: TextError| RetrievalError::Reranker(error.reason);
        let scores = CrossEncoder::scores(self, query, &texts).map_err(failed)?;
        match scores.iter().all(|score| score.is_finite()) {
            true => Ok(scores),
            false => Err(RetrievalError::Reranker("a score is no number".to_owned())),
        }
    }
}

/// How likely a score says that a document answers, from 0 to 1: what published rerankers give.
pub(crate) fn sigmoid(score: f32) -> f32 {
    1.0 / (1.0 + (-score).exp())
}

impl CrossEncoder<'_> {
    /// How well each text answers a query: one score a text, in order; more is better. A score
    /// depends on query and text alone, and is finite unless the adapter's values are beyond use.
    ///
    /// # Errors
    /// If a text cannot be tokenised.
    pub fn scores(&self, query: &str, texts: &[&str]) -> Result<Vec<f32>, TextError> {
        let ids = |prefix: &str, text: &str| {
            let whole = format!("{prefix}{text}");
            let found = self.tokenizer.encode(&whole, self.tokens_max);
            found.map_err(|error| TextError { reason: error.to_string() })
        };
        let query = ids(self.query_prefix, query)?;
        let documents = texts.iter().map(|text| ids(self.document_prefix, text));
        let documents: Vec<Vec<u32>> = documents.collect::<Result<_, _>>()?;
        let join = |document: Vec<u32>| join(self.tokenizer, (&query, &document), self.tokens_max);
        let table = Joined(documents.into_iter().map(join).collect::<Result<_, _>>()?);
        let all: Vec<u32> = (0..table.0.len() as u32).collect();
        let scored =
            score(self.embedder, (&table, &all), self.adapter, &|_| ControlFlow::Continue(()));
        match scored {
            Ok(scores) => Ok(scores),
            Err(NotEmbedded::Text(error)) => Err(error),
            Err(NotEmbedded::Device(fault)) => Err(TextError { reason: fault.to_string() }),
            Err(NotEmbedded::Stopped) => unreachable!("nobody asks it to stop"),
        }
    }
}

fn join(
    tokenizer: &Tokenizer,
    (query, document): (&[u32], &[u32]),
    tokens_max: usize,
) -> Result<Tokens, TextError> {
    let joined = tokenizer.join(query, document, tokens_max);
    let TextIds { ids, first } = joined.map_err(|error| TextError { reason: error.to_string() })?;
    Ok(Tokens { ids: ids.into(), first })
}

/// The scores of a table's pairs under an adapter with a head, in the order of `ids`.
///
/// # Panics
/// If the adapter has no head.
pub(crate) fn score(
    embedder: &Embedder,
    (pairs, ids): (&dyn Texts, &[u32]),
    adapter: &Adapter,
    on_done: OnDone<'_>,
) -> Result<Vec<f32>, NotEmbedded> {
    let head = adapter.layout.head().expect("only rerankers come here");
    let mut tape = HeadTape::default();
    let mut scores = vec![0.0; ids.len()];
    for (ids, scores) in ids.chunks(PAIRS_AT_A_TIME).zip(scores.chunks_mut(PAIRS_AT_A_TIME)) {
        let rows = embedder.embed(pairs, ids, Some(adapter), on_done)?;
        head.scores(&adapter.values, &rows.values, &mut tape, scores);
    }
    Ok(scores)
}

/// Pairs of texts of another table, joined when they are asked for: text `i` is the pair `i`.
pub(crate) struct PairTexts {
    /// Where the two texts come from.
    pub inner: Arc<dyn Texts>,
    /// What joins them.
    pub tokenizer: Arc<Tokenizer>,
    /// The query and the document of each pair, as numbers of `inner`.
    pub pairs: Vec<(u32, u32)>,
    /// Most tokens of a pair.
    pub tokens_max: usize,
}

impl Texts for PairTexts {
    fn tokens(&self, text: u32) -> Result<Arc<[u32]>, TextError> {
        self.read(text).map(|tokens| tokens.ids)
    }

    fn read(&self, text: u32) -> Result<Tokens, TextError> {
        let (query, document) = self.pairs[text as usize];
        let (query, document) = (self.inner.tokens(query)?, self.inner.tokens(document)?);
        join(&self.tokenizer, (&query, &document), self.tokens_max)
    }

    fn is_ready(&self, text: u32) -> bool {
        let (query, document) = self.pairs[text as usize];
        self.inner.is_ready(query) && self.inner.is_ready(document)
    }

    fn key(&self, text: u32) -> u64 {
        let (query, document) = self.pairs[text as usize];
        let keys = [query, document].map(|text| self.inner.key(text));
        random::mix(&[keys[0], keys[1], self.tokens_max as u64])
    }

    fn announce(&self, upcoming: &[u32]) {
        let both = |&text: &u32| {
            let (query, document) = self.pairs[text as usize];
            [query, document]
        };
        self.inner.announce(&upcoming.iter().flat_map(both).collect::<Vec<u32>>());
    }
}

/// Pairs that are joined already.
struct Joined(Vec<Tokens>);

impl Texts for Joined {
    fn tokens(&self, text: u32) -> Result<Arc<[u32]>, TextError> {
        Ok(self.0[text as usize].ids.clone())
    }

    fn read(&self, text: u32) -> Result<Tokens, TextError> {
        Ok(self.0[text as usize].clone())
    }

    fn key(&self, text: u32) -> u64 {
        text.into()
    }
}
