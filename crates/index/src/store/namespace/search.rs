//! Finding documents.

use super::state::State;
use super::Namespace;
use crate::hit::Hit;
use crate::store::document::{self, Document};
use crate::store::error::IndexError;
use crate::store::limits::FOUND_MAX;

/// What is searched for.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// A vector under the active embedding: `[dimensions]`.
    pub vector: Option<&'a [f32]>,
    /// How many documents are wanted, at most [`FOUND_MAX`].
    pub count: usize,
}

/// Where a retriever has a document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// Its place, the first is 1.
    pub rank: usize,
    /// How well it fits, in the retriever's own measure.
    pub score: f32,
}

/// A document that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The document.
    pub document: Document,
    /// Where the search by vectors has it.
    pub dense: Option<Ranked>,
}

impl Namespace {
    /// The documents that fit best, best first.
    pub fn search(&self, query: &Query<'_>) -> Result<Vec<Found>, IndexError> {
        if query.count > FOUND_MAX {
            let (value, max) = (query.count as u64, FOUND_MAX as u64);
            let what = "the search".to_owned();
            return Err(IndexError::TooLarge { what, value, max, unit: "documents" });
        }
        let state = self.read()?;
        let hits = state.dense(query)?;
        let found = hits.into_iter().zip(1..).map(|(hit, rank)| -> Result<_, IndexError> {
            let document = state.document(hit.slot)?;
            let dense = Some(Ranked { rank, score: hit.score });
            Ok(document.map(|document| Found { document, dense }))
        });
        found.filter_map(Result::transpose).collect()
    }
}

impl State {
    fn dense(&self, query: &Query<'_>) -> Result<Vec<Hit>, IndexError> {
        let (Some(embedding), Some(values)) = (self.active(), query.vector) else {
            return Ok(Vec::new());
        };
        let values = document::vector(&"the query", values, &embedding.spec)?;
        let mut hits = Vec::new();
        for slot in embedding.covered().iter() {
            let Some(vector) = embedding.vector(slot)? else { continue };
            let score = vector.iter().zip(&values).map(|(a, b)| a * b).sum();
            hits.push(Hit { slot, score });
        }
        hits.sort_unstable_by(Hit::best_first);
        hits.truncate(query.count);
        Ok(hits)
    }
}
