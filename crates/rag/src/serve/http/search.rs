//! Searching a tenant's documents.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use cotenant_index::filter::Filter;
use cotenant_index::fusion::{Fusion, Standing};
use cotenant_index::limits::FOUND_MAX;
use cotenant_index::{Answer, Found, IndexError, Query, Weights};

use super::adaptive::{self, Question};
use super::body::Body;
use super::documents::{blocking, of_not_done, tenant};
use super::fault::{Fault, Kind};
use super::shared::{Shared, deadline};
use super::texts::Prompt;
use super::wire::{
    FoundView, SearchMode, SearchRequest, SearchResponse, SearchSettings, StandingView,
};
use crate::serve::access::Caller;
use crate::serve::documents::NotDone;
use crate::serve::meters::Searched;

/// Most documents of one answer.
const LIMIT_MAX: usize = 1000;
/// Most bytes of their texts and metadata together: as many as a body may bring.
pub(super) const FOUND_BYTES_MAX: usize = 32 << 20;

/// By what all of a search goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Both,
    Vectors,
    Words,
}

/// What makes a search, without its vector.
struct Asked {
    query: String,
    limit: usize,
    depth: usize,
    by: By,
    filter: Option<Filter>,
    fusion: Fusion,
    weights: Weights,
}

/// How a search will go, once its request was checked.
enum Planned {
    /// One retriever or both, to a depth.
    Fixed(Asked),
    /// As far as the query needs.
    Adaptive(Question),
}

pub(super) async fn search(
    State(shared): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Body(mut request): Body<SearchRequest>,
) -> Result<Json<SearchResponse>, Fault> {
    let deadline = deadline(&headers)?;
    let tenant = tenant(&caller, request.tenant.clone())?;
    // What is wrong with a request is so whatever an experiment makes of it.
    let mut planned = planned(&request)?;
    let turn = shared.enrol(&tenant, request.user.as_deref())?;
    if let Some(turn) = &turn {
        request.vary(turn.settings());
        planned = self::planned(&request)?;
    }
    let mode = request.mode;
    let found = match planned {
        Planned::Fixed(asked) => find(&shared, (&caller, &tenant), (asked, deadline)).await,
        Planned::Adaptive(question) => {
            adaptive::search(&shared, (&caller, &tenant), (question, deadline)).await
        }
    };
    if let Ok(response) = &found {
        shared.meters.on_search(&tenant, searched(mode, response));
    }
    match turn {
        Some(turn) => shared.conclude(turn, found).await.map(Json),
        None => found.map(Json),
    }
}

/// What a search did, as its answer says it.
fn searched(mode: SearchMode, response: &SearchResponse) -> Searched {
    let by_vectors = response.embedding.is_some();
    let (name, reached, words_searched, query_embedded) = match (mode, &response.adaptive) {
        (SearchMode::Dense, _) => ("dense", "vectors", false, by_vectors),
        (SearchMode::Text, _) => ("text", "words", true, false),
        (SearchMode::Hybrid, _) if by_vectors => ("hybrid", "full_depth", true, true),
        (SearchMode::Hybrid, _) => ("hybrid", "words", true, false),
        (SearchMode::Adaptive, None) => ("adaptive", "words", true, false),
        (SearchMode::Adaptive, Some(view)) => ("adaptive", view.stage, true, view.query_embedded),
    };
    Searched {
        mode: name,
        reached,
        words_searched,
        query_embedded,
        vectors_searched: by_vectors,
        postings: response.postings_read,
        vectors: response.vectors_compared,
    }
}

async fn find(
    shared: &Shared,
    (caller, tenant): (&Caller, &str),
    (asked, deadline): (Asked, Instant),
) -> Result<SearchResponse, Fault> {
    let space = shared.space(caller, tenant).await?;
    let maker = match asked.by {
        By::Words => None,
        By::Both | By::Vectors => shared.maker(&space, caller).await?,
    };
    let Some((chosen, maker)) = maker else {
        if asked.by == By::Vectors {
            let message = "the documents have no vectors\nhint: search with mode \"text\"";
            return Err(Fault::invalid(message));
        }
        let found = blocking(move || space.namespace.search(&asked.query(None))).await?;
        let answer = found.map_err(|error| of_search(error.into(), caller))?;
        return Ok(response(answer, None));
    };
    let vectors = shared
        .embed_for_search(&chosen, (Prompt::Query, vec![asked.query.clone()]), deadline)
        .await?;
    let embedding = maker.embedding().to_owned();
    let searched = embedding.clone();
    let found = blocking(move || {
        let query = asked.query(vectors.first().map(Vec::as_slice));
        space.search(&query, Some(&searched))
    });
    let answer = found.await?.map_err(|why| of_search(why, caller))?;
    Ok(response(answer, Some(embedding)))
}

/// Why a search has no answer.
fn of_search(why: NotDone, caller: &Caller) -> Fault {
    match why {
        NotDone::Index(error @ IndexError::TooLarge { .. }) => too_large(&error),
        other => of_not_done(other, caller),
    }
}

/// An answer would be larger than one may be.
pub(super) fn too_large(error: &IndexError) -> Fault {
    Fault::new(Kind::TooLarge, format!("{error}\nhint: ask for fewer documents by limit"))
}

/// Checks how an experiment's searches are to be answered.
pub(super) fn check_settings(settings: &SearchSettings) -> Result<(), Fault> {
    check(&SearchRequest {
        limit: 1,
        mode: settings.mode.unwrap_or_default(),
        depth: settings.depth,
        rrf_k: settings.rrf_k,
        weights: settings.weights,
        quality_floor: settings.quality_floor,
        ..SearchRequest::default()
    })
}

/// Checks a request as far as that needs no documents.
pub(super) fn check(request: &SearchRequest) -> Result<(), Fault> {
    planned(request).map(drop)
}

fn planned(request: &SearchRequest) -> Result<Planned, Fault> {
    let by = match request.mode {
        SearchMode::Hybrid => By::Both,
        SearchMode::Dense => By::Vectors,
        SearchMode::Text => By::Words,
        SearchMode::Adaptive => return question(request).map(Planned::Adaptive),
    };
    asked(request, by).map(Planned::Fixed)
}

fn asked(request: &SearchRequest, by: By) -> Result<Asked, Fault> {
    let default = Query::default();
    if request.quality_floor.is_some() {
        let message = "quality_floor is for mode \"adaptive\" alone";
        return Err(Fault::invalid(message));
    }
    let (limit, filter) = (checked_limit(request)?, filter(request)?);
    let fusion = match request.rrf_k {
        None => default.fusion,
        Some(k) if k.is_finite() && k >= 0.0 => Fusion::ReciprocalRank { k },
        Some(k) => return Err(Fault::invalid(format!("rrf_k is {k}, and must be 0 or more"))),
    };
    let weights = request.weights.map(|it| Weights {
        dense: it.dense,
        text: it.text,
        codes: it.codes.unwrap_or(default.weights.codes),
    });
    let weights = weights.unwrap_or(default.weights);
    let is_weight = |weight: f32| weight.is_finite() && weight >= 0.0;
    if ![weights.dense, weights.text, weights.codes].into_iter().all(is_weight) {
        return Err(Fault::invalid("each of the weights must be 0 or more"));
    }
    if weights.dense.max(weights.text) <= 0.0 {
        return Err(Fault::invalid("of the weights dense and text one must be above 0"));
    }
    let depth = request.depth.unwrap_or(default.depth);
    if depth > FOUND_MAX {
        return Err(Fault::invalid(format!("depth is {depth}, and must be at most {FOUND_MAX}")));
    }
    let query = request.query.clone();
    Ok(Asked { query, limit, depth, by, filter, fusion, weights })
}

/// What a search by need asks; how retrievers are mixed was learnt.
fn question(request: &SearchRequest) -> Result<Question, Fault> {
    if request.depth.is_some() || request.rrf_k.is_some() || request.weights.is_some() {
        let message = "mode \"adaptive\" takes no depth, rrf_k or weights: it uses what was learnt";
        return Err(Fault::invalid(message));
    }
    let floor = request.quality_floor.unwrap_or(adaptive::FLOOR);
    if !(0.0..=1.0).contains(&floor) {
        let message = format!("quality_floor is {floor}, and must be from 0 to 1");
        return Err(Fault::invalid(message));
    }
    let (limit, filter) = (checked_limit(request)?, filter(request)?);
    Ok(Question { query: request.query.clone(), limit, filter, floor })
}

fn checked_limit(request: &SearchRequest) -> Result<usize, Fault> {
    let limit = request.limit;
    match (1..=LIMIT_MAX).contains(&limit) {
        true => Ok(limit),
        false => {
            Err(Fault::invalid(format!("limit is {limit}, and must be from 1 to {LIMIT_MAX}")))
        }
    }
}

fn filter(request: &SearchRequest) -> Result<Option<Filter>, Fault> {
    let filter = request.filter.as_ref().map(Filter::parse).transpose();
    filter.map_err(|error| Fault::invalid(format!("the filter: {error}")))
}

impl SearchRequest {
    /// Answers as a variant of an experiment does.
    fn vary(&mut self, settings: &SearchSettings) {
        if let Some(mode) = settings.mode {
            // What the caller asked for belongs to the caller's mode, and another may not take it.
            let is_other = (mode == SearchMode::Adaptive) != (self.mode == SearchMode::Adaptive);
            if is_other {
                (self.depth, self.rrf_k, self.weights, self.quality_floor) = Default::default();
            }
            self.mode = mode;
        }
        // A variant that names no mode changes what the caller's mode takes, and breaks no search.
        match self.mode {
            SearchMode::Adaptive => {
                self.quality_floor = settings.quality_floor.or(self.quality_floor);
            }
            SearchMode::Hybrid | SearchMode::Dense | SearchMode::Text => {
                self.depth = settings.depth.or(self.depth);
                self.rrf_k = settings.rrf_k.or(self.rrf_k);
                self.weights = settings.weights.or(self.weights);
            }
        }
    }
}

impl Asked {
    fn query<'a>(&'a self, vector: Option<&'a [f32]>) -> Query<'a> {
        Query {
            vector,
            text: (self.by != By::Vectors).then_some(&*self.query),
            filter: self.filter.as_ref(),
            count: self.limit,
            depth: self.depth,
            fusion: self.fusion,
            weights: self.weights,
            bytes_max: FOUND_BYTES_MAX,
            ..Query::default()
        }
    }
}

fn response(answer: Answer, embedding: Option<String>) -> SearchResponse {
    let view = |found: Found| FoundView {
        document: found.document.into(),
        score: found.score,
        dense: found.dense.map(view_of_standing),
        words: found.text.map(view_of_standing),
        phrases: found.phrases.map(view_of_standing),
        codes: found.codes.map(view_of_standing),
    };
    let cost = answer.dense_cost;
    SearchResponse {
        results: answer.found.into_iter().map(view).collect(),
        embedding,
        vectors_compared: cost.full + cost.fine + cost.coarse,
        postings_read: answer.postings_read,
        adaptive: None,
        experiment: None,
    }
}

pub(super) fn view_of_standing(standing: Standing) -> StandingView {
    StandingView { rank: standing.rank, score: standing.score }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn varied(request: Value, settings: Value) -> SearchRequest {
        let mut request: SearchRequest = serde_json::from_value(request).unwrap();
        let settings: SearchSettings = serde_json::from_value(settings).unwrap();
        check_settings(&settings).unwrap();
        request.vary(&settings);
        check(&request).unwrap();
        request
    }

    #[test]
    fn a_variant_breaks_no_search_whatever_mode_it_asks_for() {
        for mode in ["hybrid", "dense", "text", "adaptive"] {
            for settings in [
                json!({}),
                json!({ "depth": 20, "rrf_k": 10, "weights": { "dense": 1, "text": 2 } }),
                json!({ "mode": "adaptive", "quality_floor": 0.9 }),
                json!({ "mode": "text", "depth": 20 }),
            ] {
                let varied = varied(json!({ "query": "x", "mode": mode }), settings.clone());
                let takes_depth = varied.mode != SearchMode::Adaptive;
                let depth = settings["depth"].as_u64().filter(|_| takes_depth);
                assert_eq!(varied.depth, depth.map(|depth| depth as usize), "{mode} {settings}");
            }
        }
        for settings in [json!({ "quality_floor": 0.9 }), json!({ "mode": "adaptive", "depth": 3 })]
        {
            let settings = serde_json::from_value(settings).unwrap();
            assert!(check_settings(&settings).is_err(), "{settings:?}");
        }
    }
}
