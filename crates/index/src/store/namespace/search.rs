//! Finding documents.

use std::cell::RefCell;
use std::sync::OnceLock;

use roaring::RoaringBitmap;

use super::Namespace;
use super::state::State;
use crate::dense::{Allowed, SearchArgs, SearchCost};
use crate::filter::{Filter, Plan, PlanOptions};
use crate::fusion::{Fusion, Ranked, Standing};
use crate::hit::{Hit, Slot};
use crate::store::document::{self, Document};
use crate::store::embedding::Vectors;
use crate::store::error::{DamagedFile, IndexError, check_limit};
use crate::store::limits::FOUND_MAX;
use crate::text::{Bm25Options, TextSearch};

/// What is searched for, by a vector, by words, or by both.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// A vector under the active embedding: `[dimensions]`.
    pub vector: Option<&'a [f32]>,
    /// Words.
    pub text: Option<&'a str>,
    /// What the metadata of a document must hold.
    pub filter: Option<&'a Filter>,
    /// How many documents are wanted, at most [`FOUND_MAX`].
    pub count: usize,
    /// How many of each retriever are looked at before their answers become one, where there are
    /// two; at most [`FOUND_MAX`], and never fewer than `count`.
    pub depth: usize,
    /// How much the search by vectors is to spend, as its kind understands it; `None` for what is
    /// usual.
    pub effort: Option<u32>,
    /// How two answers become one.
    pub fusion: Fusion,
    /// How much the search by vectors counts then, and the search by words.
    pub weights: Weights,
}

/// How much each retriever counts; only the ratio matters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// The search by vectors.
    pub dense: f32,
    /// The search by words.
    pub text: f32,
}

/// What was found, and what that took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Best first; of equal ones the one that was written first.
    pub found: Vec<Found>,
    /// Vectors that were compared.
    pub dense_cost: SearchCost,
    /// Entries of word lists that were read.
    pub postings_read: u64,
}

/// A document that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The document.
    pub document: Document,
    /// How well it fits: the fused score where there are two retrievers, else that of the one.
    pub score: f32,
    /// Where the search by vectors has it.
    pub dense: Option<Standing>,
    /// Where the search by words has it.
    pub text: Option<Standing>,
}

impl Default for Query<'_> {
    /// The ten best, by ranks of a hundred of each retriever.
    fn default() -> Self {
        Self {
            vector: None,
            text: None,
            filter: None,
            count: 10,
            depth: 100,
            effort: None,
            fusion: Fusion::ReciprocalRank { k: 60.0 },
            weights: Weights { dense: 1.0, text: 1.0 },
        }
    }
}

impl Namespace {
    /// The documents that fit best, best first. Without a vector and words nothing is found.
    pub fn search(&self, query: &Query<'_>) -> Result<Answer, IndexError> {
        for value in [query.count, query.depth] {
            check_limit(|| "the search".to_owned(), (value, FOUND_MAX), "documents")?;
        }
        let state = self.read()?;
        let passing = Passing::new(&state, query.filter)?;
        let mut answer = Answer::default();
        let is_hybrid = query.vector.is_some() && query.text.is_some();
        let depth = if is_hybrid { query.depth.max(query.count) } else { query.count };
        let dense = state.search_vectors(query, depth, &passing, &mut answer)?;
        let text = state.search_words(query, depth, &passing, &mut answer);
        passing.finish()?;
        let fused = match is_hybrid {
            true => query.fuse(&dense, &text),
            false => alone(if query.vector.is_some() { &dense } else { &text }),
        };
        for (hit, standing) in fused {
            let Some(document) = state.document(hit.slot)? else { continue };
            let [dense, text] = match (is_hybrid, query.vector) {
                (true, _) => standing,
                (false, Some(_)) => [standing[0], None],
                (false, None) => [None, standing[0]],
            };
            answer.found.push(Found { document, score: hit.score, dense, text });
        }
        Ok(answer)
    }
}

impl Query<'_> {
    fn fuse(&self, dense: &[Hit], text: &[Hit]) -> Vec<(Hit, [Option<Standing>; 2])> {
        let lists = [
            Ranked { hits: dense, weight: self.weights.dense },
            Ranked { hits: text, weight: self.weights.text },
        ];
        let fused = self.fusion.fuse(&lists, self.count).into_iter();
        fused.map(|one| (one.hit, [one.standings[0], one.standings[1]])).collect()
    }
}

/// The answer of a lone retriever, with its own scores.
fn alone(hits: &[Hit]) -> Vec<(Hit, [Option<Standing>; 2])> {
    let standing = |rank, score| [Some(Standing { rank, score }), None];
    (1..).zip(hits).map(|(rank, hit)| (*hit, standing(rank, hit.score))).collect()
}

/// Which documents may be found.
struct Passing<'a> {
    state: &'a State,
    /// All that pass, where they are known.
    slots: Option<RoaringBitmap>,
    /// What is asked for each document otherwise.
    filter: Option<&'a Filter>,
    /// What was wrong with a document that was asked for.
    damaged: RefCell<Option<DamagedFile>>,
}

impl<'a> Passing<'a> {
    fn new(state: &'a State, filter: Option<&'a Filter>) -> Result<Self, DamagedFile> {
        let all = Self { state, slots: None, filter: None, damaged: RefCell::default() };
        let Some(filter) = filter else { return Ok(all) };
        Ok(match state.columns()?.plan(filter, PlanOptions::default()) {
            Plan::All => all,
            Plan::Few(slots) | Plan::Many(slots) => Self { slots: Some(slots), ..all },
            Plan::Check(slots) => {
                let asked = Self { filter: Some(filter), ..all };
                let passing = slots.iter().filter(|&slot| asked.allows(Slot(slot))).collect();
                Self { slots: Some(passing), filter: None, ..asked }
            }
            Plan::Ask { .. } => Self { filter: Some(filter), ..all },
        })
    }

    fn allows(&self, slot: Slot) -> bool {
        if let Some(slots) = &self.slots {
            return slots.contains(slot.0);
        }
        let Some(filter) = self.filter else { return self.state.live.contains(slot) };
        match self.state.metadata(slot) {
            Ok(metadata) => metadata.is_some_and(|metadata| filter.matches(&metadata)),
            Err(damaged) => {
                self.damaged.replace(Some(damaged));
                false
            }
        }
    }

    /// About how many there are.
    fn about(&self) -> Option<usize> {
        match (&self.slots, self.filter) {
            (Some(slots), _) => Some(slots.len() as usize),
            (None, Some(_)) => None,
            (None, None) => Some(self.state.live.len() as usize),
        }
    }

    /// Whether all documents could be looked at.
    fn finish(&self) -> Result<(), DamagedFile> {
        self.damaged.take().map_or(Ok(()), Err)
    }
}

impl State {
    fn search_vectors(
        &self,
        query: &Query<'_>,
        depth: usize,
        passing: &Passing<'_>,
        answer: &mut Answer,
    ) -> Result<Vec<Hit>, IndexError> {
        let Some(values) = query.vector else { return Ok(Vec::new()) };
        let embedding = self.active().ok_or_else(|| {
            IndexError::invalid("a search by a vector", "needs a namespace with an embedding")
        })?;
        let values = document::vector(&"the query", values, &embedding.spec)?;
        let vectors = Vectors { embedding, damaged: OnceLock::new() };
        let found = embedding.dense().search(&SearchArgs {
            query: &values,
            k: depth,
            effort: query.effort,
            allowed: Some(Allowed { test: &|slot| passing.allows(slot), about: passing.about() }),
            originals: Some(&vectors),
        });
        if let Some(damaged) = vectors.damaged.into_inner() {
            return Err(damaged.into());
        }
        let found = found.map_err(|error| IndexError::invalid("the search", error.to_string()))?;
        answer.dense_cost = found.cost;
        Ok(found.hits)
    }

    fn search_words(
        &self,
        query: &Query<'_>,
        depth: usize,
        passing: &Passing<'_>,
        answer: &mut Answer,
    ) -> Vec<Hit> {
        let Some(words) = query.text else { return Vec::new() };
        let parts = self.text_parts();
        let allowed = |slot: Slot| passing.allows(slot);
        let options = Bm25Options::default();
        let found = TextSearch { parts: &parts, options, allowed: &allowed }.best(words, depth);
        answer.postings_read = found.postings_read;
        found.hits
    }
}
