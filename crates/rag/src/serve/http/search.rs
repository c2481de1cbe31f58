//! Searching a tenant's documents.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use cotenant_index::filter::Filter;
use cotenant_index::fusion::{Fusion, Standing};
use cotenant_index::limits::FOUND_MAX;
use cotenant_index::{Answer, Found, Query, Weights};

use super::body::Body;
use super::documents::{blocking, of_index, of_not_done, tenant};
use super::fault::Fault;
use super::shared::{Shared, deadline};
use super::texts::{Length, Prompt, Reading, Shape, TooLong};
use super::wire::{
    DocumentView, FoundView, Input, SearchMode, SearchRequest, SearchResponse, SearchSettings,
    StandingView,
};
use crate::serve::access::Caller;

/// Most documents of one answer.
const LIMIT_MAX: usize = 1000;

/// What makes a search, without its vector.
struct Asked {
    query: String,
    limit: usize,
    depth: usize,
    mode: SearchMode,
    filter: Option<Filter>,
    fusion: Fusion,
    weights: Weights,
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
    let mut asked = asked(&request)?;
    let turn = shared.enrol(&tenant, request.user.as_deref())?;
    if let Some(turn) = &turn {
        request.vary(turn.settings());
        asked = self::asked(&request)?;
    }
    let found = find(&shared, (&caller, &tenant), (asked, deadline)).await;
    match turn {
        Some(turn) => shared.conclude(turn, found).await.map(Json),
        None => found.map(Json),
    }
}

async fn find(
    shared: &Shared,
    (caller, tenant): (&Caller, &str),
    (asked, deadline): (Asked, Instant),
) -> Result<SearchResponse, Fault> {
    let space = shared.space(caller, tenant).await?;
    let maker = match asked.mode {
        SearchMode::Text => None,
        SearchMode::Hybrid | SearchMode::Dense => shared.maker(&space, caller).await?,
    };
    let Some((chosen, maker)) = maker else {
        if asked.mode == SearchMode::Dense {
            let message = "the documents have no vectors\nhint: search with mode \"text\"";
            return Err(Fault::invalid(message));
        }
        let found = blocking(move || space.namespace.search(&asked.query(None))).await?;
        let answer = found.map_err(|error| of_index(&error, caller))?;
        return Ok(response(answer, None));
    };
    let reading = Reading { prompt: Prompt::Query, too_long: TooLong::Cut };
    let texts = shared.read(&chosen, Input::Text(asked.query.clone()), reading).await?;
    let shape = Shape { length: Length::Unit, dimensions: None };
    let vectors = shared.embed(&chosen, texts, (shape, deadline)).await?;
    let embedding = maker.embedding().to_owned();
    let searched = embedding.clone();
    let found = blocking(move || {
        let query = asked.query(vectors.rows.first().map(Vec::as_slice));
        space.search(&query, Some(&searched))
    });
    let answer = found.await?.map_err(|why| of_not_done(why, caller))?;
    Ok(response(answer, Some(embedding)))
}

/// Checks how an experiment's searches are to be answered.
pub(super) fn check_settings(settings: &SearchSettings) -> Result<(), Fault> {
    let mut request = SearchRequest { limit: 1, ..SearchRequest::default() };
    request.vary(settings);
    asked(&request).map(drop)
}

/// Checks a request as far as that needs no documents.
#[cfg(feature = "fuzzing")]
pub(super) fn check(request: &SearchRequest) -> Result<(), Fault> {
    asked(request).map(drop)
}

fn asked(request: &SearchRequest) -> Result<Asked, Fault> {
    let default = Query::default();
    let limit = request.limit;
    if !(1..=LIMIT_MAX).contains(&limit) {
        let message = format!("limit is {limit}, and must be from 1 to {LIMIT_MAX}");
        return Err(Fault::invalid(message));
    }
    let filter = request.filter.as_ref().map(Filter::parse).transpose();
    let filter = filter.map_err(|error| Fault::invalid(format!("the filter: {error}")))?;
    let fusion = match request.rrf_k {
        None => default.fusion,
        Some(k) if k.is_finite() && k >= 0.0 => Fusion::ReciprocalRank { k },
        Some(k) => return Err(Fault::invalid(format!("rrf_k is {k}, and must be 0 or more"))),
    };
    let weights = request.weights.map(|it| Weights { dense: it.dense, text: it.text });
    let weights = weights.unwrap_or(default.weights);
    let is_weight = |weight: f32| weight.is_finite() && weight >= 0.0;
    if !is_weight(weights.dense) || !is_weight(weights.text) {
        return Err(Fault::invalid("each of the weights must be 0 or more"));
    }
    let depth = request.depth.unwrap_or(default.depth);
    if depth > FOUND_MAX {
        return Err(Fault::invalid(format!("depth is {depth}, and must be at most {FOUND_MAX}")));
    }
    let (query, mode) = (request.query.clone(), request.mode);
    Ok(Asked { query, limit, depth, mode, filter, fusion, weights })
}

impl SearchRequest {
    /// Answers as a variant of an experiment does.
    fn vary(&mut self, settings: &SearchSettings) {
        self.mode = settings.mode.unwrap_or(self.mode);
        self.depth = settings.depth.or(self.depth);
        self.rrf_k = settings.rrf_k.or(self.rrf_k);
        self.weights = settings.weights.or(self.weights);
    }
}

impl Asked {
    fn query<'a>(&'a self, vector: Option<&'a [f32]>) -> Query<'a> {
        Query {
            vector,
            text: (self.mode != SearchMode::Dense).then_some(&*self.query),
            filter: self.filter.as_ref(),
            count: self.limit,
            depth: self.depth,
            fusion: self.fusion,
            weights: self.weights,
            ..Query::default()
        }
    }
}

fn response(answer: Answer, embedding: Option<String>) -> SearchResponse {
    let standing = |it: Standing| StandingView { rank: it.rank, score: it.score };
    let view = |found: Found| FoundView {
        document: DocumentView {
            id: found.document.id,
            text: found.document.text,
            metadata: found.document.metadata,
        },
        score: found.score,
        dense: found.dense.map(standing),
        words: found.text.map(standing),
    };
    let cost = answer.dense_cost;
    SearchResponse {
        results: answer.found.into_iter().map(view).collect(),
        embedding,
        vectors_compared: cost.full + cost.fine + cost.coarse,
        postings_read: answer.postings_read,
        experiment: None,
    }
}
