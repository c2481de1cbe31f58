//! What a pipeline retrieves from.

use std::borrow::Cow;

use cotenant_index::dense::{
    self, Codes, Dense, DenseError, DenseSpec, Kind, Metric, SearchArgs, SearchCost,
};
use cotenant_index::text::{
    Bm25Options, Exact, ExactFound, Literal, QueryTerm, TextBuffer, TextFound, TextPart,
    TextSearch, TextSegment,
};
use cotenant_index::{Bytes, Hit, Slot};

use super::cost::Work;
use super::error::RetrievalError;
use crate::retrieval::Vectors;

/// Seed of the codes' rotation: any will do, and always the same one gives always the same answer.
const ROTATION_SEED: u64 = 7;

/// Most texts that are read for one literal.
const LITERAL_TEXTS_MAX: usize = 200;

/// How thoroughly vectors are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// First in whatever way is quick, as by one bit a dimension or by a walk through a graph, and
    /// then so many of them again.
    Some {
        /// Vectors that are compared again.
        candidates: u32,
    },
    /// All in f32.
    All,
}

/// Documents whose vectors are near, best first, and what finding them took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Near {
    /// Best first.
    pub hits: Vec<Hit>,
    /// What it took.
    pub work: Work,
}

/// The retrievers of one tenant. Hits are best first, as [`Hit::best_first`] has it.
///
/// Each method fails if its answer would not be right, as where a file is damaged.
pub trait Retrievers {
    /// Number of documents.
    fn documents(&self) -> Result<u64, RetrievalError>;

    /// The `k` best documents by BM25.
    fn words(&self, query: &str, k: usize) -> Result<TextFound, RetrievalError>;

    /// The terms of a query that some document holds.
    fn terms(&self, query: &str) -> Result<Vec<QueryTerm>, RetrievalError>;

    /// The `k` best documents in which one of the literals stands.
    fn holding(&self, literals: &[Literal], k: usize) -> Result<ExactFound, RetrievalError>;

    /// The `k` documents whose vectors are nearest to the query's; fails also if that does not fit
    /// the documents' or is not finite.
    fn near(&self, vector: &[f32], k: usize, probe: Probe) -> Result<Near, RetrievalError>;

    /// The text of a document; `None` if it has gone.
    fn text(&self, slot: Slot) -> Result<Option<Cow<'_, str>>, RetrievalError>;
}

/// Documents in memory that do not change; slot `i` is document `i`.
pub struct Collection {
    texts: Vec<String>,
    words: TextSegment,
    codes: Dense,
    vectors: Vectors,
}

impl Collection {
    /// Documents with one vector each. No text may be longer than [`crate::data::TEXT_BYTES_MAX`].
    ///
    /// # Errors
    /// If a vector is not finite, or has no dimensions.
    ///
    /// # Panics
    /// If there are more vectors than texts, or fewer.
    pub fn new(texts: Vec<String>, vectors: Vectors) -> Result<Self, RetrievalError> {
        assert_eq!(texts.len(), vectors.len(), "each text has a vector");
        let mut buffer = TextBuffer::new(Bm25Options::default());
        let mut codes = Dense::new(DenseSpec {
            dimensions: vectors.width,
            metric: Metric::Cosine,
            kind: Kind::Codes(Codes::default()),
            seed: ROTATION_SEED,
        })?;
        for ((at, slot), text) in (0..).map(Slot).enumerate().zip(&texts) {
            buffer.add(slot, text).expect("slots ascend, and a reader cuts long texts");
            codes.insert(slot, vectors.row(at))?;
        }
        let bytes = Bytes::from_vec(buffer.freeze());
        let words = TextSegment::open(bytes).expect("what was just written is whole");
        Ok(Self { texts, words, codes, vectors })
    }

    fn search<T>(&self, with: impl FnOnce(&TextSearch<'_>) -> T) -> T {
        let parts = &[TextPart::Segment(&self.words)];
        with(&TextSearch { parts, options: Bm25Options::default(), allowed: &|_| true })
    }
}

impl dense::Originals for Vectors {
    fn vector(&self, slot: Slot) -> Option<Cow<'_, [f32]>> {
        let at = slot.0 as usize;
        (at < self.len()).then(|| self.row(at).into())
    }
}

impl Retrievers for Collection {
    fn documents(&self) -> Result<u64, RetrievalError> {
        Ok(self.texts.len() as u64)
    }

    fn words(&self, query: &str, k: usize) -> Result<TextFound, RetrievalError> {
        Ok(self.search(|search| search.best(query, k)))
    }

    fn terms(&self, query: &str) -> Result<Vec<QueryTerm>, RetrievalError> {
        Ok(self.search(|search| search.terms(query)))
    }

    fn holding(&self, literals: &[Literal], k: usize) -> Result<ExactFound, RetrievalError> {
        let text_of = |slot: Slot| self.texts.get(slot.0 as usize).map(|text| text.as_str().into());
        let exact = Exact { k, texts_max: LITERAL_TEXTS_MAX, text_of: &text_of };
        Ok(self.search(|search| search.exact(literals, exact)))
    }

    fn near(&self, vector: &[f32], k: usize, probe: Probe) -> Result<Near, RetrievalError> {
        let candidates = match probe {
            Probe::Some { candidates } => candidates,
            Probe::All => {
                let (expected, found) = (self.vectors.width, vector.len());
                if expected != found {
                    return Err(DenseError::Dimensions { expected, found }.into());
                }
                if let Some(at) = vector.iter().position(|value| !value.is_finite()) {
                    return Err(DenseError::NotFinite { at }.into());
                }
                let ranked = self.vectors.search(vector, k).into_iter();
                let hits = ranked.map(|one| Hit { slot: Slot(one.document), score: one.score });
                let work = Work { full: self.vectors.len() as u64, ..Work::default() };
                return Ok(Near { hits: hits.collect(), work });
            }
        };
        let found = self.codes.search(&SearchArgs {
            query: vector,
            k,
            effort: Some(candidates),
            allowed: None,
            originals: Some(&self.vectors),
        })?;
        let SearchCost { full, fine, coarse } = found.cost;
        Ok(Near { hits: found.hits, work: Work { full, fine, codes: coarse, ..Work::default() } })
    }

    fn text(&self, slot: Slot) -> Result<Option<Cow<'_, str>>, RetrievalError> {
        Ok(self.texts.get(slot.0 as usize).map(|text| text.as_str().into()))
    }
}
