//! Finding documents.

use super::Namespace;
use super::view::{AnswerRoom, View};
use crate::dense::SearchCost;
use crate::filter::Filter;
use crate::fusion::{Fused, Fusion, NAMED_MAX, Ranked, Standing, named, put_first};
use crate::hit::Hit;
use crate::store::document::Document;
use crate::store::error::{IndexError, check_limit};
use crate::store::limits::FOUND_MAX;
use crate::text::{Literal, LiteralKind};

/// How much a list of documents counts at least that come first in any case: this orders them.
const FIRST_WEIGHT_MIN: f32 = 0.2;

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
    /// Most bytes of texts and metadata that are found together; with more it is an error.
    pub bytes_max: usize,
}

/// How much each retriever counts; only the ratio matters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// The search by vectors.
    pub dense: f32,
    /// The search by words.
    pub text: f32,
    /// Documents in which codes of the query, such as part numbers, stand letter by letter.
    pub codes: f32,
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
    /// Texts that were read to see whether something stands there word for word.
    pub texts_read: u64,
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
    /// Where it stands among those that hold a quoted phrase.
    pub phrases: Option<Standing>,
    /// Where it stands among those that hold a code.
    pub codes: Option<Standing>,
}

impl Default for Weights {
    /// Vectors and words alike, and codes a fifth of either.
    fn default() -> Self {
        Self { dense: 1.0, text: 1.0, codes: 0.2 }
    }
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
            weights: Weights::default(),
            bytes_max: usize::MAX,
        }
    }
}

impl Namespace {
    /// The documents that fit best, best first. Without a vector and words nothing is found.
    ///
    /// Where there are words, documents that hold a phrase which they quote come before all others,
    /// and then those that a code names (see [`Literal`] and [`named`]) unless codes count nothing.
    /// By a vector and words together, those that hold a code are a list of their own.
    pub fn search(&self, query: &Query<'_>) -> Result<Answer, IndexError> {
        for value in [query.count, query.depth] {
            check_limit(|| "the search".to_owned(), (value, FOUND_MAX), "documents")?;
        }
        let view = self.view(query.filter)?;
        let mut answer = Answer::default();
        let is_hybrid = query.vector.is_some() && query.text.is_some();
        let depth = if is_hybrid { query.depth.max(query.count) } else { query.count };
        let mut lists = Lists::default();
        if let Some(vector) = query.vector {
            let found = view.nearest(vector, depth, query.effort)?;
            (answer.dense_cost, lists.dense) = (found.cost, found.hits);
        }
        if let Some(words) = query.text {
            let found = view.words(words, depth)?;
            (answer.postings_read, lists.text) = (found.postings_read, found.hits);
        }
        if let Some(words) = query.text {
            answer.texts_read = lists.find_literals(&view, words, depth)?;
        }
        let mut room = AnswerRoom::new(query.bytes_max);
        for fused in lists.fuse(query, is_hybrid) {
            let document = view.document_within(fused.hit.slot, &mut room)?;
            let Some(document) = document else { continue };
            let [dense, text, phrases, codes] = standings(&fused);
            let score = match is_hybrid {
                true => fused.hit.score,
                false => dense.or(text).map_or(0.0, |standing| standing.score),
            };
            answer.found.push(Found { document, score, dense, text, phrases, codes });
        }
        Ok(answer)
    }
}

/// What each retriever found, best first.
#[derive(Default)]
struct Lists {
    dense: Vec<Hit>,
    text: Vec<Hit>,
    phrases: Vec<Hit>,
    codes: Vec<Hit>,
}

impl Lists {
    /// Looks for what the words want word for word, and says how many texts that read.
    fn find_literals(
        &mut self,
        view: &View<'_>,
        words: &str,
        depth: usize,
    ) -> Result<u64, IndexError> {
        let (phrases, codes): (Vec<Literal>, Vec<Literal>) = Literal::all_of(words)
            .into_iter()
            .partition(|literal| literal.kind == LiteralKind::Phrase);
        let mut texts_read = 0;
        for (literals, list) in [(phrases, &mut self.phrases), (codes, &mut self.codes)] {
            if !literals.is_empty() {
                let found = view.holding(&literals, depth.max(NAMED_MAX + 1))?;
                texts_read += found.texts_read as u64;
                *list = found.hits;
            }
        }
        Ok(texts_read)
    }

    /// The best of all, with where each stands in each list. A lone retriever keeps its order,
    /// whatever the fusion, behind what stands there word for word.
    fn fuse(&self, query: &Query<'_>, is_hybrid: bool) -> Vec<Fused> {
        let Weights { dense, text, codes } = query.weights;
        let ranked = |hits, weight| Ranked { hits, weight };
        // A list that counts nothing must not bring its documents in.
        let codes_counting: &[Hit] = if codes > 0.0 { &self.codes } else { &[] };
        let named = named(codes_counting);
        let (fusion, holding, [dense, text, phrases, codes]) = match is_hybrid {
            true => {
                let weights = [dense, text, codes.max(FIRST_WEIGHT_MIN), codes];
                (query.fusion, codes_counting, weights)
            }
            false => (Fusion::ReciprocalRank { k: 0.0 }, named, [1.0; 4]),
        };
        let lists = [
            ranked(&self.dense, dense),
            ranked(&self.text, text),
            ranked(&self.phrases, phrases),
            ranked(holding, codes),
        ];
        let fused = put_first(fusion.fuse(&lists, usize::MAX), named);
        let mut fused = put_first(fused, &self.phrases);
        fused.truncate(query.count);
        fused
    }
}

/// Where a document stands in each list; a lone retriever's has two.
fn standings(fused: &Fused) -> [Option<Standing>; 4] {
    let mut standings = [None; 4];
    for (standing, found) in standings.iter_mut().zip(&fused.standings) {
        *standing = *found;
    }
    standings
}
