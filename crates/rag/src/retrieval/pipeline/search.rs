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

use cotenant_index::dense::DenseError;
use cotenant_index::text::{Literal, LiteralKind};
use cotenant_index::{Hit, Slot};

use super::cost::Work;
use super::hints::{WordHints, after_both};
use super::mix::{Lists, Mix};
use super::source::{Probe, Retrievers};
use super::tuned::{Effort, NEVER, Rule, Tuned};

/// Reads a query together with documents, as a cross-encoder does.
pub trait Reranker {
    /// How well each document answers, more is better; one finite score for each, in order.
    fn scores(&self, query: &str, documents: &[Slot]) -> Vec<f32>;
}

/// What is asked.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The query as the user wrote it.
    pub text: &'a str,
    /// Its vector, made only once a stage needs it; `None` where there is no model.
    pub vector: &'a dyn Fn() -> Option<Vec<f32>>,
    /// Documents that are wanted.
    pub count: usize,
    /// A document that is no answer: the query itself.
    pub without: Option<Slot>,
}

/// How far a query went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// Words alone: no vector was made.
    Words,
    /// Words and a few candidates by vectors.
    Shallow,
    /// Many candidates of both.
    Deep,
    /// Every vector in f32.
    All,
}

/// What was found, and what it took.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// Best first.
    pub hits: Vec<Hit>,
    /// The work of all stages.
    pub work: Work,
    /// The last stage.
    pub reached: Reached,
}

/// Retrieval for one tenant.
#[derive(Clone, Copy)]
pub struct Pipeline<'a> {
    /// What is retrieved from.
    pub retrievers: &'a dyn Retrievers,
    /// What was learnt on the tenant's judged queries.
    pub tuned: &'a Tuned,
    /// Reads the best documents again.
    pub reranker: Option<&'a dyn Reranker>,
}

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
    fn width(self) -> Width {
        let codes = |candidates| Probe::Codes { candidates };
        match self {
            Self::Words => Width { depth: 0, probe: codes(0), reranked: 10 },
            Self::Shallow => Width { depth: 30, probe: codes(100), reranked: 20 },
            Self::Deep => Width { depth: 50, probe: codes(300), reranked: 50 },
            Self::All => Width { depth: 50, probe: Probe::All, reranked: 50 },
        }
    }
}

impl Pipeline<'_> {
    /// Answers a query, spending what the effort allows and the query needs.
    ///
    /// # Errors
    /// If the query's vector does not fit the documents' or is not finite.
    pub fn answer(&self, asked: &Asked<'_>, effort: Effort) -> Result<Answered, DenseError> {
        let mut search = Search::new(self.retrievers, asked);
        let reached = match effort {
            Effort::To(stage) => search.go_to(stage)?,
            Effort::Needed(rule) => self.descend(&mut search, rule)?,
        };
        let hits = search.finish(&self.tuned.mix, self.reranker, reached);
        Ok(Answered { hits, work: search.work, reached })
    }

    fn descend(&self, search: &mut Search<'_>, rule: Rule) -> Result<Reached, DenseError> {
        search.go_to(Reached::Words)?;
        let hints = search.word_hints();
        if self.tuned.after_words.loss(&hints) <= rule.words_loss_max {
            return Ok(Reached::Words);
        }
        if rule.shallow_loss_max <= NEVER {
            return search.go_to(Reached::Deep);
        }
        if search.go_to(Reached::Shallow)? == Reached::Words {
            return Ok(Reached::Words);
        }
        let hints = after_both(&hints, &search.lists.words, &search.lists.vectors);
        if self.tuned.after_shallow.loss(&hints) <= rule.shallow_loss_max {
            return Ok(Reached::Shallow);
        }
        search.go_to(Reached::Deep)
    }
}

/// One query, and what was found for it so far.
pub(super) struct Search<'a> {
    retrievers: &'a dyn Retrievers,
    asked: &'a Asked<'a>,
    pub lists: Lists,
    pub work: Work,
    /// Whether words were searched.
    has_words: bool,
    /// What the query's vector is, once it was asked for.
    vector: Option<Option<Vec<f32>>>,
}

impl<'a> Search<'a> {
    /// Begins with what must stand in documents word for word.
    pub(super) fn new(retrievers: &'a dyn Retrievers, asked: &'a Asked<'a>) -> Self {
        let (lists, work) = (Lists::default(), Work::default());
        let mut search = Self { retrievers, asked, lists, work, has_words: false, vector: None };
        let depth = search.wanted(WORDS_DEPTH);
        let literals = Literal::all_of(asked.text);
        for kind in [LiteralKind::Code, LiteralKind::Phrase] {
            let of_kind = literals.iter().filter(|literal| literal.kind == kind).cloned();
            let of_kind: Vec<Literal> = of_kind.collect();
            if of_kind.is_empty() {
                continue;
            }
            let found = retrievers.holding(&of_kind, depth);
            search.work.texts += found.texts_read as u64;
            match kind {
                LiteralKind::Code => search.lists.codes = found.hits,
                LiteralKind::Phrase => search.lists.phrases = found.hits,
            }
        }
        search
    }

    /// Searches as widely as a stage does, and says how far that came: without a vector for the
    /// query, no further than words. What an earlier stage found by vectors is replaced, its work stays.
    pub(super) fn go_to(&mut self, stage: Reached) -> Result<Reached, DenseError> {
        let Width { depth, probe, .. } = stage.width();
        if !self.has_words {
            let words = self.retrievers.words(self.asked.text, self.wanted(WORDS_DEPTH));
            self.work.word_searches += 1;
            self.work.postings += words.postings_read;
            (self.lists.words, self.has_words) = (words.hits, true);
        }
        let mut reached = Reached::Words;
        if stage != Reached::Words
            && let Some(vector) = self.vector()
        {
            let near = self.retrievers.near(&vector, self.wanted(depth), probe)?;
            self.work.codes += near.cost.coarse;
            self.work.fine += near.cost.fine;
            self.work.full += near.cost.full;
            self.lists.vectors = near.hits;
            reached = stage;
        }
        if let Some(slot) = self.asked.without {
            self.lists.leave_out(slot);
        }
        Ok(reached)
    }

    /// What the answers by words tell.
    pub(super) fn word_hints(&self) -> Vec<f64> {
        let hints = WordHints {
            terms: &self.retrievers.terms(self.asked.text),
            hits: &self.lists.words,
            holding: self.lists.codes.len() + self.lists.phrases.len(),
            documents: self.retrievers.len(),
        };
        hints.values()
    }

    /// The lists become one, whose best are reranked.
    pub(super) fn finish(
        &mut self,
        mix: &Mix,
        reranker: Option<&dyn Reranker>,
        reached: Reached,
    ) -> Vec<Hit> {
        self.work.fused += self.lists.entries() as u64;
        // Words that count nothing beside vectors are all there is without them.
        let words = match reached {
            Reached::Words if mix.words == 0.0 => 1.0,
            Reached::Words | Reached::Shallow | Reached::Deep | Reached::All => mix.words,
        };
        let mix = Mix { words, ..*mix };
        let Some(reranker) = reranker else { return mix.fuse(&self.lists, self.asked.count) };
        let mut hits = mix.fuse(&self.lists, reached.width().reranked.max(self.asked.count));
        let again = hits.len().min(reached.width().reranked);
        let slots: Vec<Slot> = hits[..again].iter().map(|hit| hit.slot).collect();
        let scores = reranker.scores(self.asked.text, &slots);
        self.work.reranked += again as u64;
        for (hit, score) in hits.iter_mut().zip(scores) {
            hit.score = score;
        }
        hits[..again].sort_by(Hit::best_first);
        hits.truncate(self.asked.count);
        hits
    }

    /// Documents of a list that are asked for: one more where one will be left out.
    fn wanted(&self, depth: usize) -> usize {
        depth.max(self.asked.count) + usize::from(self.asked.without.is_some())
    }

    fn vector(&mut self) -> Option<Vec<f32>> {
        if self.vector.is_none() {
            let vector = (self.asked.vector)();
            self.work.encoded += u64::from(vector.is_some());
            self.vector = Some(vector);
        }
        self.vector.clone().flatten()
    }
}
