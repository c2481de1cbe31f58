//! Vectors, similarities and tokens, as text-embeddings-inference has them.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::body::Body;
use super::fault::{Fault, Kind};
use super::gate::CountedFor;
use super::shared::{Chosen, Shared, deadline};
use super::texts::{Length, Prompt, Reading, Shape, TEXTS_MAX, TooLong, Vectors};
use super::wire::{
    EmbedRequest, Input, SimilarityRequest, TokenView, TokenizeRequest, TruncationDirection,
};
use crate::retrieval::dot;
use crate::serve::access::Caller;

pub(super) const UNIT: Shape = Shape { length: Length::Unit, dimensions: None };

pub(super) async fn embed(
    State(shared): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Body(request): Body<EmbedRequest>,
) -> Result<Response, Fault> {
    let begun = Instant::now();
    let deadline = deadline(&headers)?;
    if request.truncation_direction == TruncationDirection::Left {
        let message = "texts are cut at their end; truncation_direction Left is not supported";
        return Err(Fault::invalid(message));
    }
    let chosen = shared.choose(&caller, request.parameters.adapter_id.as_deref()).await?;
    let prompt = Prompt::Named(request.prompt_name.as_deref());
    let reading = Reading { prompt, too_long: TooLong::of(request.truncate) };
    let texts = shared.read(&chosen, request.inputs, reading).await?;
    let length = if request.normalize { Length::Unit } else { Length::AsIs };
    let shape = Shape { length, dimensions: request.dimensions };
    let mut vectors = shared.embed(&chosen, texts, (shape, deadline)).await?;
    let rows = std::mem::take(&mut vectors.rows);
    Ok(answer(&rows, &vectors, (chosen, begun)))
}

pub(super) async fn similarity(
    State(shared): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Body(request): Body<SimilarityRequest>,
) -> Result<Response, Fault> {
    let begun = Instant::now();
    let deadline = deadline(&headers)?;
    let parameters = request.parameters;
    let chosen = shared.choose(&caller, parameters.adapter_id.as_deref()).await?;
    let prompt = Prompt::Named(parameters.prompt_name.as_deref());
    let reading = Reading { prompt, too_long: TooLong::of(parameters.truncate) };
    let inputs = request.inputs;
    check_count(inputs.sentences.len(), "sentence")?;
    let all = [inputs.source_sentence].into_iter().chain(inputs.sentences).collect();
    let texts = shared.read(&chosen, Input::Texts(all), reading).await?;
    let vectors = shared.embed(&chosen, texts, (UNIT, deadline)).await?;
    let (first, others) = vectors.rows.split_first().expect("the source sentence is the first");
    let scores: Vec<f32> = others.iter().map(|row| dot(first, row)).collect();
    Ok(answer(&scores, &vectors, (chosen, begun)))
}

pub(super) async fn tokenize(
    State(shared): State<Shared>,
    caller: Caller,
    Body(request): Body<TokenizeRequest>,
) -> Result<Json<Vec<Vec<TokenView>>>, Fault> {
    let chosen = shared.choose(&caller, None).await?;
    let prompt = Prompt::Named(request.prompt_name.as_deref());
    let mut texts = shared.placed(&chosen, request.inputs.into_list(), prompt).await?;
    if !request.add_special_tokens {
        texts.iter_mut().for_each(|tokens| tokens.retain(|token| !token.special));
    }
    Ok(Json(texts))
}

pub(super) fn check_count(count: usize, what: &str) -> Result<(), Fault> {
    match count {
        0 => Err(Fault::new(Kind::Empty, format!("there is no {what} to compare with"))),
        // One more is what they are compared with.
        TEXTS_MAX.. => Err(Fault::new(
            Kind::TooLarge,
            format!("there are {count} {what}s, and a request takes fewer than {TEXTS_MAX}"),
        )),
        _ => Ok(()),
    }
}

pub(super) fn answer(
    body: &impl Serialize,
    vectors: &Vectors,
    (chosen, begun): (Chosen, Instant),
) -> Response {
    let mut response = (vectors.headers(begun), Json(body)).into_response();
    response.extensions_mut().insert(CountedFor(chosen.tenant));
    response
}
