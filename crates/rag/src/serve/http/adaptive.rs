//! Searches that spend only what a query needs: words first, and the query's vector where the rule
//! that the tenant's judged queries gave asks for it.
//!
//! ```text
//! view ─ words ─ enough? ─yes─▶ answer
//!                  │ no: the view is let go, so that writes do not wait for the model
//!                  ▼
//!            embed the query ─▶ another view ─ did anybody write? ─no──▶ vectors ─▶ answer
//!                                                     │ yes: words again ─────┘
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use cotenant_index::filter::Filter;
use cotenant_index::fusion::Standing;
use cotenant_index::{AnswerRoom, Document, Hit, IndexError, Slot, View};

use super::documents::{blocking, of_index, of_not_done};
use super::fault::{Fault, Kind};
use super::search::{FOUND_BYTES_MAX, too_large, view_of_standing};
use super::shared::Shared;
use super::texts::Prompt;
use super::wire::{FoundView, SearchResponse};
use super::wire_tune::{AdaptiveView, CostView};
use crate::retrieval::pipeline::{
    Answered, Asked, Begun, Blend, Effort, FOUND_DEPTH, Pipeline, Prices, READ_FIRST, Reached,
    RetrievalError, Tuned, Underway, put_in_order,
};
use crate::serve::access::Caller;
use crate::serve::documents::{NotDone, Space};
use crate::serve::tuning::{Kept, Known};

/// The part of full depth's nDCG@10 that is kept if a request does not say.
pub(super) const FLOOR: f64 = 0.99;

/// What is asked of a tenant's documents.
pub(super) struct Question {
    pub(super) query: String,
    pub(super) limit: usize,
    pub(super) filter: Option<Filter>,
    /// The part of full depth's nDCG@10 that is kept.
    pub(super) floor: f64,
}

/// A question, and what of the server matters to it.
struct Inquiry {
    question: Question,
    /// How loaded the server is, from 0 to 1.
    load: f64,
    /// Values of a vector.
    width: usize,
}

/// How far a question is.
enum Step {
    Answer(Box<Found>),
    Embed(Box<Waiting>),
}

/// A query that waits for its vector.
struct Waiting {
    underway: Underway,
    /// What the documents and what was learnt of them were.
    revision: u64,
    known: Known,
}

/// A query that has its vector by now.
struct Ready {
    waiting: Waiting,
    vector: Vec<f32>,
    embedding: String,
}

/// What was found.
struct Found {
    answered: Answered,
    /// In the order of the hits.
    documents: Vec<(Hit, Document)>,
    embedding: Option<String>,
    known: Known,
    prices: Prices,
}

pub(super) async fn search(
    shared: &Shared,
    (caller, tenant): (&Caller, &str),
    (question, deadline): (Question, Instant),
) -> Result<SearchResponse, Fault> {
    let space = shared.space(caller, tenant).await?;
    let (load, width) = (shared.engine.load(), shared.model.width());
    let inquiry = Arc::new(Inquiry { question, load, width });
    let (asked, looked) = (inquiry.clone(), space.clone());
    let step = blocking(move || asked.ask(&looked, None)).await?;
    let waiting = match step.map_err(|why| of_retrieval(why, caller))? {
        Step::Answer(found) => return shared.end(*found, (caller, &inquiry), deadline).await,
        Step::Embed(waiting) => *waiting,
    };
    let Some((chosen, maker)) = shared.maker(&space, caller).await? else {
        return Err(of_not_done(NotDone::Switched, caller));
    };
    let query = (Prompt::Query, vec![inquiry.question.query.clone()]);
    let vectors = shared.embed_for_search(&chosen, query, deadline).await?;
    let vector = vectors.into_iter().next().expect("one query has one vector");
    let ready = Ready { waiting, vector, embedding: maker.embedding().to_owned() };
    let asked = inquiry.clone();
    let step = blocking(move || asked.ask(&space, Some(ready))).await?;
    match step.map_err(|why| of_retrieval(why, caller))? {
        Step::Answer(found) => shared.end(*found, (caller, &inquiry), deadline).await,
        Step::Embed(_) => Err(of_not_done(NotDone::Switched, caller)),
    }
}

impl Shared {
    /// Answers with what was found, in the order that the reranker has a part in with which it was
    /// learnt to search.
    async fn end(
        &self,
        mut found: Found,
        (caller, inquiry): (&Caller, &Inquiry),
        deadline: Instant,
    ) -> Result<SearchResponse, Fault> {
        if let Some(kept) = found.known.learnt().cloned()
            && let Some(reranker) = kept.rereader()
        {
            let chosen = self.reranker(caller, reranker).await?;
            let most = found.answered.reached.reread().min(found.documents.len());
            let first = most.min(READ_FIRST);
            let read = |documents: &[(Hit, Document)]| {
                let texts = documents.iter().map(|(_, document)| document.text.clone());
                let asked = (inquiry.question.query.clone(), texts.collect());
                self.reread(&chosen, asked, deadline)
            };
            let mut scores = read(&found.documents[..first]).await?;
            let (effort, hits) = (inquiry.effort(&found.known), &found.answered.hits);
            if most > first && !kept.tuned.has_read_enough(effort, hits, &scores) {
                scores.extend(read(&found.documents[first..most]).await?);
            }
            found.reorder(&scores, kept.tuned.blend);
        }
        found.documents.truncate(inquiry.question.limit);
        Ok(inquiry.response(found))
    }
}

impl Found {
    /// The documents in the order of finding and reading.
    fn reorder(&mut self, scores: &[f32], blend: Option<Blend>) {
        put_in_order(&mut self.answered.hits, scores, blend);
        let mut by_slot: HashMap<Slot, Document> =
            self.documents.drain(..).map(|(hit, document)| (hit.slot, document)).collect();
        let hits = self.answered.hits.iter();
        let documents = hits.filter_map(|hit| Some((*hit, by_slot.remove(&hit.slot)?)));
        self.documents.extend(documents);
        self.answered.work.reranked += scores.len() as u64;
    }
}

impl Inquiry {
    /// Asks as far as the query gets, with its vector or without.
    fn ask(&self, space: &Space, ready: Option<Ready>) -> Result<Step, RetrievalError> {
        let view = space.namespace.view(self.question.filter.as_ref())?;
        let known = space.known(&view);
        let untaught = Tuned::untaught(Prices::for_dimensions(self.width));
        let tuned = known.learnt().map_or(&untaught, |kept| &kept.tuned);
        let reads_again = known.learnt().is_some_and(|kept| kept.rereader().is_some());
        let limit = self.question.limit;
        let count = if reads_again { limit.max(FOUND_DEPTH) } else { limit };
        let asked = Asked { text: &self.question.query, count, without: None };
        let pipeline = Pipeline { retrievers: &view, tuned, reranker: None };
        let begin = || pipeline.begin(&asked, self.effort(&known));
        let answered = match ready {
            Some(ready) => {
                check_embedding(&view, &ready.embedding)?;
                let Waiting { underway, revision, known: before } = ready.waiting;
                // What was found by words holds as long as nobody wrote or learnt.
                let holds = revision == view.revision() && before == known;
                let spent = underway.spent();
                let begun = if holds { Begun::NeedsVector(underway) } else { begin()? };
                let mut answered = match begun {
                    Begun::Answered(answered) => answered,
                    Begun::NeedsVector(underway) => {
                        pipeline.go_on(&asked, underway, Some(&ready.vector))?
                    }
                };
                if !holds {
                    answered.work += spent;
                }
                answered.work.encoded = 1;
                answered
            }
            None => match begin()? {
                Begun::Answered(answered) => answered,
                Begun::NeedsVector(underway) if view.embedding().is_none() => {
                    pipeline.go_on(&asked, underway, None)?
                }
                Begun::NeedsVector(underway) => {
                    let revision = view.revision();
                    return Ok(Step::Embed(Box::new(Waiting { underway, revision, known })));
                }
            },
        };
        // Whatever was found beyond them is there for its score.
        let shown = if reads_again { limit.max(answered.reached.reread()) } else { limit };
        let mut documents = Vec::with_capacity(shown.min(answered.hits.len()));
        let mut room = AnswerRoom::new(FOUND_BYTES_MAX);
        for hit in answered.hits.iter().take(shown) {
            let document = view.document_within(hit.slot, &mut room)?;
            documents.extend(document.map(|document| (*hit, document)));
        }
        let is_by_vectors = answered.reached != Reached::Words;
        let embedding = view.embedding().filter(|_| is_by_vectors).map(|spec| spec.name.clone());
        let prices = tuned.prices;
        Ok(Step::Answer(Box::new(Found { answered, documents, embedding, known, prices })))
    }

    /// What the query may spend. A rule was learnt without filters, and says nothing of searches
    /// under one.
    fn effort(&self, known: &Known) -> Effort {
        match known.learnt() {
            Some(kept) if self.question.filter.is_none() => {
                kept.tuned.effort(self.load, self.question.floor)
            }
            Some(_) | None => Effort::To(Reached::All),
        }
    }

    fn response(&self, found: Found) -> SearchResponse {
        let Found { answered, documents, embedding, known, prices } = found;
        let (lists, work) = (&answered.lists, answered.work);
        let view = |(hit, document): (Hit, Document)| FoundView {
            document: document.into(),
            score: hit.score,
            dense: standing(&lists.vectors, hit.slot).map(view_of_standing),
            words: standing(&lists.words, hit.slot).map(view_of_standing),
            phrases: standing(&lists.phrases, hit.slot).map(view_of_standing),
            codes: standing(&lists.codes, hit.slot).map(view_of_standing),
        };
        let (rule, why) = self.why(&known);
        let adaptive = AdaptiveView {
            stage: answered.reached.name(),
            query_embedded: work.encoded > 0,
            reranked: work.reranked,
            cost: CostView {
                search_us: work.search_us(&prices),
                total_us: work.total_us(&prices),
                full_depth_us: known.learnt().map(|kept| kept.tuned.full_cost_us),
            },
            load: self.load,
            quality_floor: self.question.floor,
            rule,
            why,
        };
        SearchResponse {
            results: documents.into_iter().map(view).collect(),
            embedding,
            vectors_compared: work.vectors(),
            postings_read: work.postings,
            adaptive: Some(adaptive),
            experiment: None,
        }
    }

    /// Which rule was taken, and why.
    fn why(&self, known: &Known) -> (&'static str, String) {
        let untaught = |why: &str| {
            let hint = "every query goes to full depth\nhint: POST /v1/tune with judged queries";
            ("default", format!("{why}: {hint}"))
        };
        match known {
            Known::Nothing => untaught("nothing was learnt for this tenant"),
            Known::Stale(kept) => untaught(&format!(
                "what was learnt is of vectors of {}, which are not in use any more",
                kept.embedding
            )),
            Known::Unreadable { why } => {
                untaught(&format!("what was learnt cannot be used ({why})"))
            }
            Known::Learnt(_) if self.question.filter.is_some() => {
                let why = "rules were learnt without filters, and say nothing of a search under \
                           one: it goes to full depth";
                ("default", why.to_owned())
            }
            Known::Learnt(kept) => ("learnt", self.why_learnt(kept)),
        }
    }

    fn why_learnt(&self, kept: &Kept) -> String {
        let queries = kept.tuned.queries;
        match kept.tuned.effort(self.load, self.question.floor) {
            Effort::Needed(rule) => format!(
                "of {queries} judged queries this rule kept at least {:.3} of full depth's nDCG@10 \
                 for {:.3} of its cost",
                rule.quality,
                rule.cost_us / kept.tuned.full_cost_us
            ),
            Effort::To(_) => format!(
                "no rule kept enough of {queries} judged queries: every query goes to full depth"
            ),
        }
    }
}

fn check_embedding(view: &View<'_>, embedding: &str) -> Result<(), RetrievalError> {
    match view.embedding().is_some_and(|spec| spec.name == embedding) {
        true => Ok(()),
        false => Err(RetrievalError::Switched { asked: embedding.to_owned() }),
    }
}

/// Where a list has a document.
fn standing(list: &[Hit], slot: Slot) -> Option<Standing> {
    let found = (1..).zip(list).find(|(_, hit)| hit.slot == slot);
    found.map(|(rank, hit)| Standing { rank, score: hit.score })
}

/// Why there is no answer.
pub(super) fn of_retrieval(error: RetrievalError, caller: &Caller) -> Fault {
    match error {
        RetrievalError::Index(error @ IndexError::TooLarge { .. }) => too_large(&error),
        RetrievalError::Index(error) => of_index(&error, caller),
        RetrievalError::Switched { .. } => of_not_done(NotDone::Switched, caller),
        RetrievalError::Stopped => {
            let message = "this took longer than its deadline\n\
                           hint: give it more time with x-deadline-ms, or less to do";
            Fault::new(Kind::Unavailable, message)
        }
        RetrievalError::Vectors(error) => Fault::invalid(error),
        RetrievalError::Reranker(_) => Fault::new(Kind::Backend, error),
    }
}

#[cfg(test)]
mod tests {
    use cotenant_index::dense::Metric;
    use cotenant_index::{EmbeddingSpec, Storage};
    use serde_json::json;

    use super::*;
    use crate::serve::documents::Documents;

    const WIDTH: usize = 4;

    fn spec(name: &str) -> EmbeddingSpec {
        let (metric, storage, kind) = (Metric::Cosine, Storage::F32, None);
        EmbeddingSpec { name: name.to_owned(), dimensions: WIDTH, metric, storage, kind }
    }

    fn document(id: &str, text: &str) -> Document {
        let vector = Some(vec![1.0, id.len() as f32, 0.0, 0.5]);
        Document { id: id.to_owned(), text: text.to_owned(), vector, ..Document::default() }
    }

    /// A rule by which words are looked at and are never enough.
    fn kept() -> Kept {
        let untaught = Tuned::untaught(Prices::for_dimensions(WIDTH));
        let mut tuned = serde_json::to_value(untaught).unwrap();
        tuned["rules"] = json!([{
            "words_loss_max": -1.0, "shallow_loss_max": 1.0, "reading_loss_max": -9.0,
            "quality": 1.0, "cost_us": 1.0
        }]);
        tuned["full_cost_us"] = json!(2.0);
        Kept {
            embedding: "one".to_owned(),
            reranker: None,
            learnt_s: 0,
            documents: 2,
            queries_left_out: 0,
            documents_unknown: 0,
            stages: Vec::new(),
            tuned: serde_json::from_value(tuned).unwrap(),
        }
    }

    /// What is found for "ship" where something happens while the query is embedded.
    fn found_after(meanwhile: impl FnOnce(&Space)) -> Result<Found, RetrievalError> {
        let folder = tempfile::tempdir().unwrap();
        let documents = Documents::open(&folder.path().join("index")).unwrap();
        let space = documents.space_or_new("law", &spec("one")).unwrap();
        space.namespace.add(&[document("a", "a ship"), document("bb", "a sail")]).unwrap();
        space.keep(&kept()).unwrap();
        let (query, limit, filter) = ("ship".to_owned(), 10, None);
        let question = Question { query, limit, filter, floor: 0.99 };
        let inquiry = Inquiry { question, load: 0.5, width: WIDTH };
        let Step::Embed(waiting) = inquiry.ask(&space, None)? else {
            panic!("words are never enough");
        };
        meanwhile(&space);
        let (vector, embedding) = (vec![1.0, 1.0, 0.0, 0.5], "one".to_owned());
        let ready = Ready { waiting: *waiting, vector, embedding };
        match inquiry.ask(&space, Some(ready))? {
            Step::Answer(found) => Ok(*found),
            Step::Embed(_) => panic!("it has its vector"),
        }
    }

    fn ids(found: &Found) -> Vec<&str> {
        found.documents.iter().map(|(_, document)| document.id.as_str()).collect()
    }

    #[test]
    fn an_answer_is_of_one_moment_whoever_writes_while_the_query_is_embedded() {
        let found = found_after(|_| {}).unwrap();
        assert_eq!(ids(&found), ["a", "bb"]);
        assert_eq!(
            (found.answered.reached, found.answered.work.word_searches),
            (Reached::Shallow, 1)
        );
        assert_eq!(found.answered.work.encoded, 1);

        let found = found_after(|space| {
            space.namespace.delete(&["a"]).unwrap();
            space.namespace.add(&[document("ccc", "ship ship")]).unwrap();
        });
        let found = found.unwrap();
        assert_eq!(ids(&found), ["ccc", "bb"], "{:?}", found.answered);
        assert_eq!(found.answered.lists.words.len(), 1, "what has gone is in no list");
        assert_eq!(found.answered.work.word_searches, 2, "what was in vain is counted");
        assert_eq!(found.answered.work.encoded, 1);
    }

    #[test]
    fn a_vector_is_compared_with_none_of_another_embedding() {
        let switched = found_after(|space| {
            space.namespace.begin_embedding(&spec("two")).unwrap();
            let vectors = ["a", "bb"].map(|id| (id, vec![0.5; WIDTH]));
            space.namespace.put_vectors("two", &vectors).unwrap();
            space.namespace.switch_embedding("two").unwrap();
        });
        assert!(matches!(switched, Err(RetrievalError::Switched { .. })));
    }

    #[test]
    fn what_is_forgotten_meanwhile_is_not_used() {
        let found = found_after(|space| space.forget().unwrap()).unwrap();
        assert_eq!((found.answered.reached, found.known), (Reached::All, Known::Nothing));
    }
}
