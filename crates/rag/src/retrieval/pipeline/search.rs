//! A query on its way down the stages.
//!
//! ```text
//! words, literals ──▶ sure enough? ──yes──────────────────────────────▶ fuse ─▶ rerank
//!                         │ no
//!                         ▼
//! encode, codes, few rescored ──▶ sure enough? ──yes──────────────────▶ fuse ─▶ rerank
//!   (left out by rules that never stop there)  │ no
//!                                              ▼
//!                               codes, many rescored ─────────────────▶ fuse ─▶ rerank
//! ```
//! A reranker reads the ten best first, and the rest of what the stage allows only where the query
//! needs that too ([`Tuned::has_read_enough`]).
//!
//! Who makes the query's vector elsewhere begins with [`Pipeline::begin`], lets go of what is
//! retrieved from until the vector is there, and ends with [`Pipeline::go_on`].

use std::borrow::Cow;

use cotenant_index::fusion::NAMED_MAX;
use cotenant_index::text::{Literal, LiteralKind};
use cotenant_index::{Hit, Slot};
use serde::{Deserialize, Serialize};

use super::blend::{Blend, FOUND_DEPTH, put_in_order};
use super::cost::Work;
use super::error::RetrievalError;
use super::hints::{WordHints, after_both};
use super::mix::{Lists, Mix};
use super::source::{Near, Probe, Retrievers};
use super::tuned::{Effort, NEVER, Tuned};

/// Reads a query together with documents, as a cross-encoder does.
pub trait Reranker {
    /// How well each text answers, more is better; one finite score for each, in order.
    ///
    /// # Errors
    /// If there are no scores.
    fn scores(&self, query: &str, texts: &[Cow<'_, str>]) -> Result<Vec<f32>, RetrievalError>;
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The query as the user wrote it.
    pub text: &'a str,
    /// Documents that are wanted.
    pub count: usize,
    /// A document that is no answer: the query itself.
    pub without: Option<Slot>,
}

/// How far a query went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reached {
    /// Words alone: no vector was made.
    #[serde(rename = "words")]
    Words,
    /// Words and a few candidates by vectors.
    #[serde(rename = "few_candidates")]
    Shallow,
    /// Many candidates of both.
    #[serde(rename = "many_candidates")]
    Deep,
    /// Every vector in f32.
    #[serde(rename = "full_depth")]
    All,
}

/// What was found, and what it took.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// Best first.
    pub hits: Vec<Hit>,
    /// What each retriever found.
    pub lists: Lists,
    /// The work of all stages.
    pub work: Work,
    /// The last stage.
    pub reached: Reached,
}

/// A query that was begun.
#[derive(Clone, Debug, PartialEq)]
pub enum Begun {
    /// It needs no vector.
    Answered(Answered),
    /// It needs its vector to go on.
    NeedsVector(Underway),
}

/// A query that waits for its vector. It holds as long as the documents stay as they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Underway {
    so_far: SoFar,
    /// What the answers by words told, if they were looked at.
    hints: Vec<f64>,
    effort: Effort,
}

/// Retrieval for one tenant.
#[derive(Clone, Copy)]
pub struct Pipeline<'a> {
    /// What is retrieved from.
    pub retrievers: &'a dyn Retrievers,
    /// What was learnt on the tenant's judged queries.
    pub tuned: &'a Tuned,
    /// Reads the best documents again, unless it was learnt that this does not help.
    pub reranker: Option<&'a dyn Reranker>,
}

/// Who reads the best documents again, and how much that counts.
#[derive(Clone, Copy)]
pub(super) struct Reread<'a> {
    pub reranker: &'a dyn Reranker,
    /// Where nothing was learnt, the reranker alone decides.
    pub blend: Option<Blend>,
    /// Whether these scores of the first that were found are enough, and the rest need not be read.
    pub is_enough: &'a dyn Fn(&[Hit], &[f32]) -> bool,
}

/// Documents that are read again before it is decided about the rest.
pub(crate) const READ_FIRST: usize = 10;

/// Most documents that are read again for a query.
pub const RERANKED_MAX: usize = 30;

/// Documents of the list by words, whatever the stage: more of them cost little, and asking again
/// would cost the whole search again.
const WORDS_DEPTH: usize = 50;

/// How wide a stage is.
struct Width {
    /// Documents of the list by vectors.
    depth: usize,
    probe: Probe,
    /// Documents that are reranked.
    reranked: usize,
}

impl Reached {
    /// Each, the cheapest first.
    pub const ALL: [Reached; 4] = [Self::Words, Self::Shallow, Self::Deep, Self::All];

    /// Its name in files and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::Shallow => "few_candidates",
            Self::Deep => "many_candidates",
            Self::All => "full_depth",
        }
    }

    /// Documents that are read again, where there is a reranker.
    pub fn reread(self) -> usize {
        self.width().reranked
    }

    fn width(self) -> Width {
        let some = |candidates| Probe::Some { candidates };
        match self {
            Self::Words => Width { depth: 0, probe: some(0), reranked: READ_FIRST },
            Self::Shallow => Width { depth: 30, probe: some(100), reranked: 20 },
            Self::Deep => Width { depth: 50, probe: some(300), reranked: RERANKED_MAX },
            Self::All => Width { depth: 50, probe: Probe::All, reranked: RERANKED_MAX },
        }
    }
}

impl Underway {
    /// What it took so far.
    pub fn spent(&self) -> Work {
        self.so_far.work
    }
}

impl Pipeline<'_> {
    /// Answers a query, spending what the effort allows and the query needs. The vector is asked
    /// for once a stage needs it; `None` where there is no model, and words are all there is.
    ///
    /// # Errors
    /// If what is retrieved from cannot answer, as where the vector does not fit.
    pub fn answer(
        &self,
        asked: &Asked<'_>,
        effort: Effort,
        vector: &dyn Fn() -> Option<Vec<f32>>,
    ) -> Result<Answered, RetrievalError> {
        match self.begin(asked, effort)? {
            Begun::Answered(answered) => Ok(answered),
            Begun::NeedsVector(underway) => self.go_on(asked, underway, vector().as_deref()),
        }
    }

    /// Goes as far as a query gets without its vector.
    ///
    /// # Errors
    /// If what is retrieved from cannot answer.
    pub fn begin(&self, asked: &Asked<'_>, effort: Effort) -> Result<Begun, RetrievalError> {
        let mut search = self.search(asked);
        let mut hints = Vec::new();
        let is_enough = match effort {
            Effort::To(stage) => stage == Reached::Words,
            Effort::Needed(rule) => {
                search.find_words()?;
                hints = search.word_hints()?;
                self.tuned.after_words.loss(&hints) <= rule.words_loss_max
            }
        };
        if is_enough {
            return Ok(Begun::Answered(self.end(search, (effort, Reached::Words))?));
        }
        Ok(Begun::NeedsVector(Underway { so_far: search.so_far, hints, effort }))
    }

    /// Ends a query that needs its vector; without one, words are all there is.
    ///
    /// # Errors
    /// As [`Pipeline::answer`].
    pub fn go_on(
        &self,
        asked: &Asked<'_>,
        underway: Underway,
        vector: Option<&[f32]>,
    ) -> Result<Answered, RetrievalError> {
        let Underway { so_far, hints, effort } = underway;
        let mut search = Search { so_far, ..self.search(asked) };
        let Some(vector) = vector else { return self.end(search, (effort, Reached::Words)) };
        let reached = match effort {
            Effort::To(stage) => search.go_to(stage, vector)?,
            Effort::Needed(rule) if rule.shallow_loss_max <= NEVER => {
                search.go_to(Reached::Deep, vector)?
            }
            Effort::Needed(rule) => {
                search.go_to(Reached::Shallow, vector)?;
                let lists = &search.so_far.lists;
                let hints = after_both(&hints, &lists.words, &lists.vectors);
                match self.tuned.after_shallow.loss(&hints) <= rule.shallow_loss_max {
                    true => Reached::Shallow,
                    false => search.go_to(Reached::Deep, vector)?,
                }
            }
        };
        self.end(search, (effort, reached))
    }

    fn search<'s>(&'s self, asked: &'s Asked<'s>) -> Search<'s> {
        Search { retrievers: self.retrievers, asked, so_far: SoFar::default() }
    }

    fn end(
        &self,
        mut search: Search<'_>,
        (effort, reached): (Effort, Reached),
    ) -> Result<Answered, RetrievalError> {
        search.find_words()?;
        let blend = self.tuned.blend;
        let is_enough =
            |hits: &[Hit], reread: &[f32]| self.tuned.has_read_enough(effort, hits, reread);
        let reranker = self.reranker.filter(|_| blend.is_none_or(Blend::counts));
        let reread = reranker.map(|reranker| Reread { reranker, blend, is_enough: &is_enough });
        let hits = search.finish(&self.tuned.mix, reread, reached)?;
        let SoFar { lists, work, .. } = search.so_far;
        Ok(Answered { hits, lists, work, reached })
    }
}

/// What was found for a query so far, and what that took.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SoFar {
    pub lists: Lists,
    pub work: Work,
    /// Whether words and literals were searched.
    has_words: bool,
}

impl SoFar {
    /// The same, and a list by vectors in place of an earlier one, whose work stays.
    pub(super) fn with(&self, near: &Near, without: Option<Slot>) -> Self {
        let mut next = self.clone();
        next.lists.vectors.clone_from(&near.hits);
        next.work += near.work;
        next.work.encoded = 1;
        if let Some(slot) = without {
            next.lists.leave_out(slot);
        }
        next
    }
}

/// One query and where it is asked.
pub(super) struct Search<'a> {
    pub retrievers: &'a dyn Retrievers,
    pub asked: &'a Asked<'a>,
    pub so_far: SoFar,
}

impl Search<'_> {
    /// Finds by words, unless that was done: what must stand in documents word for word, and BM25.
    pub(super) fn find_words(&mut self) -> Result<(), RetrievalError> {
        if self.so_far.has_words {
            return Ok(());
        }
        let depth = self.wanted(WORDS_DEPTH);
        let SoFar { lists, work, has_words } = &mut self.so_far;
        let literals = Literal::all_of(self.asked.text);
        for kind in [LiteralKind::Code, LiteralKind::Phrase] {
            let of_kind = literals.iter().filter(|literal| literal.kind == kind).cloned();
            let of_kind: Vec<Literal> = of_kind.collect();
            if of_kind.is_empty() {
                continue;
            }
            let found = self.retrievers.holding(&of_kind, depth.max(NAMED_MAX + 1))?;
            work.texts += found.texts_read as u64;
            match kind {
                LiteralKind::Code => lists.codes = found.hits,
                LiteralKind::Phrase => lists.phrases = found.hits,
            }
        }
        let words = self.retrievers.words(self.asked.text, depth)?;
        work.word_searches += 1;
        work.postings += words.postings_read;
        (lists.words, *has_words) = (words.hits, true);
        if let Some(slot) = self.asked.without {
            lists.leave_out(slot);
        }
        Ok(())
    }

    /// Searches as widely as a stage does.
    fn go_to(&mut self, stage: Reached, vector: &[f32]) -> Result<Reached, RetrievalError> {
        self.find_words()?;
        let near = self.near(stage, vector)?;
        self.so_far = self.so_far.with(&near, self.asked.without);
        Ok(stage)
    }

    /// What a stage finds by vectors.
    pub(super) fn near(&self, stage: Reached, vector: &[f32]) -> Result<Near, RetrievalError> {
        let Width { depth, probe, .. } = stage.width();
        self.retrievers.near(vector, self.wanted(depth), probe)
    }

    /// What the answers by words tell.
    pub(super) fn word_hints(&self) -> Result<Vec<f64>, RetrievalError> {
        let lists = &self.so_far.lists;
        let hints = WordHints {
            terms: &self.retrievers.terms(self.asked.text)?,
            hits: &lists.words,
            holding: lists.codes.len() + lists.phrases.len(),
            documents: self.retrievers.documents()?,
        };
        Ok(hints.values())
    }

    /// The lists become one, whose best are reranked.
    pub(super) fn finish(
        &mut self,
        mix: &Mix,
        reread: Option<Reread<'_>>,
        reached: Reached,
    ) -> Result<Vec<Hit>, RetrievalError> {
        let SoFar { lists, work, .. } = &mut self.so_far;
        work.fused += lists.entries() as u64;
        // Words that count nothing beside vectors are all there is without them.
        let words = match reached {
            Reached::Words if mix.words == 0.0 => 1.0,
            Reached::Words | Reached::Shallow | Reached::Deep | Reached::All => mix.words,
        };
        let mix = Mix { words, ..*mix };
        let Some(Reread { reranker, blend, is_enough }) = reread else {
            return Ok(mix.fuse(lists, self.asked.count));
        };
        let mut hits = mix.fuse(lists, FOUND_DEPTH.max(self.asked.count));
        let most = reached.reread().min(hits.len());
        let first = most.min(READ_FIRST);
        let mut scores = self.read_again(reranker, &hits[..first])?;
        if most > first && !is_enough(&hits, &scores) {
            scores.extend(self.read_again(reranker, &hits[first..most])?);
        }
        put_in_order(&mut hits, &scores, blend);
        hits.truncate(self.asked.count);
        Ok(hits)
    }

    /// Reads documents again.
    pub(super) fn read_again(
        &mut self,
        reranker: &dyn Reranker,
        hits: &[Hit],
    ) -> Result<Vec<f32>, RetrievalError> {
        let text = |hit: &Hit| Ok(self.retrievers.text(hit.slot)?.unwrap_or_default());
        let texts: Vec<Cow<'_, str>> =
            hits.iter().map(text).collect::<Result<_, RetrievalError>>()?;
        let scores = reranker.scores(self.asked.text, &texts)?;
        self.so_far.work.reranked += hits.len() as u64;
        Ok(scores)
    }

    /// Documents of a list that are asked for: one more where one will be left out.
    fn wanted(&self, depth: usize) -> usize {
        depth.max(self.asked.count) + usize::from(self.asked.without.is_some())
    }
}
