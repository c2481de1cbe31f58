//! What a pipeline retrieves from.

use std::borrow::Cow;

use cotenant_index::dense::{self, Codes, Dense, DenseError, DenseSpec, Kind, Metric, SearchArgs};
use cotenant_index::text::{
    Bm25Options, Exact, ExactFound, Literal, QueryTerm, TextBuffer, TextFound, TextPart,
    TextSearch, TextSegment,
};
use cotenant_index::{Bytes, Hit, Slot};

use crate::retrieval::Vectors;

/// Seed of the codes' rotation: any will do, and always the same one gives always the same answer.
const ROTATION_SEED: u64 = 7;

/// Most texts that are read for one literal.
const LITERAL_TEXTS_MAX: usize = 200;

/// How thoroughly vectors are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// All by one bit a dimension, then so many of them in 8 bits, then the best in f32.
    Codes {
        /// Vectors that are compared again.
        candidates: u32,
    },
    /// All in f32.
    All,
}

/// The retrievers of one tenant. Hits are best first, as [`Hit::best_first`] has it.
pub trait Retrievers {
    /// Number of documents.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `k` best documents by BM25.
    fn words(&self, query: &str, k: usize) -> TextFound;

    /// The terms of a query that some document holds.
    fn terms(&self, query: &str) -> Vec<QueryTerm>;

    /// The `k` best documents in which one of the literals stands.
    fn holding(&self, literals: &[Literal], k: usize) -> ExactFound;

    /// The `k` documents whose vectors are nearest to the query's.
    ///
    /// # Errors
    /// If the vector does not fit the documents' or is not finite.
    fn near(&self, vector: &[f32], k: usize, probe: Probe) -> Result<dense::Found, DenseError>;
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
    pub fn new(texts: Vec<String>, vectors: Vectors) -> Result<Self, DenseError> {
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

    /// The text of a document, if there is such a one.
    pub fn text(&self, slot: Slot) -> Option<&str> {
        self.texts.get(slot.0 as usize).map(String::as_str)
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
    fn len(&self) -> usize {
        self.texts.len()
    }

    fn words(&self, query: &str, k: usize) -> TextFound {
        self.search(|search| search.best(query, k))
    }

    fn terms(&self, query: &str) -> Vec<QueryTerm> {
        self.search(|search| search.terms(query))
    }

    fn holding(&self, literals: &[Literal], k: usize) -> ExactFound {
        let text_of = |slot: Slot| self.text(slot).map(Into::into);
        let exact = Exact { k, texts_max: LITERAL_TEXTS_MAX, text_of: &text_of };
        self.search(|search| search.exact(literals, exact))
    }

    fn near(&self, vector: &[f32], k: usize, probe: Probe) -> Result<dense::Found, DenseError> {
        let candidates = match probe {
            Probe::Codes { candidates } => candidates,
            Probe::All => {
                let (expected, found) = (self.vectors.width, vector.len());
                if expected != found {
                    return Err(DenseError::Dimensions { expected, found });
                }
                if let Some(at) = vector.iter().position(|value| !value.is_finite()) {
                    return Err(DenseError::NotFinite { at });
                }
                let ranked = self.vectors.search(vector, k).into_iter();
                let hits = ranked.map(|one| Hit { slot: Slot(one.document), score: one.score });
                let full = self.vectors.len() as u64;
                let cost = dense::SearchCost { full, ..Default::default() };
                return Ok(dense::Found { hits: hits.collect(), cost });
            }
        };
        self.codes.search(&SearchArgs {
            query: vector,
            k,
            effort: Some(candidates),
            allowed: None,
            originals: Some(&self.vectors),
        })
    }
}
