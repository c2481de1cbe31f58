//! Embeddings and models, as OpenAI has them.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

use super::body::Body;
use super::fault::Fault;
use super::gate::CountedFor;
use super::shared::{Shared, deadline};
use super::texts::{Length, Prompt, Reading, Shape, TooLong};
use super::wire::{
    EmbeddingView, EmbeddingsRequest, EmbeddingsResponse, EncodingFormat, ModelList, ModelView,
    UsageView, VectorView,
};
use crate::serve::access::{Caller, owner};
use crate::serve::adapters::Makes;

pub(super) async fn embeddings(
    State(shared): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Body(request): Body<EmbeddingsRequest>,
) -> Result<Response, Fault> {
    let begun = Instant::now();
    let deadline = deadline(&headers)?;
    let chosen = shared.choose(&caller, request.model.as_deref()).await?;
    let prompt = Prompt::Named(request.prompt_name.as_deref());
    let reading = Reading { prompt, too_long: TooLong::Cut };
    let texts = shared.read(&chosen, request.input, reading).await?;
    let shape = Shape { length: Length::Unit, dimensions: request.dimensions };
    let vectors = shared.embed(&chosen, texts, (shape, deadline)).await?;
    let headers = vectors.headers(begun);
    let usage = UsageView { prompt_tokens: vectors.tokens, total_tokens: vectors.tokens };
    let view = |(index, row): (usize, Vec<f32>)| EmbeddingView {
        object: "embedding",
        index,
        embedding: match request.encoding_format {
            EncodingFormat::Float => VectorView::Float(row),
            EncodingFormat::Base64 => VectorView::Base64(base64(&row)),
        },
    };
    let data = vectors.rows.into_iter().enumerate().map(view).collect();
    let answer = EmbeddingsResponse { object: "list", data, model: chosen.name, usage };
    let mut response = (headers, Json(answer)).into_response();
    response.extensions_mut().insert(CountedFor(chosen.tenant));
    Ok(response)
}

pub(super) async fn models(State(shared): State<Shared>, caller: Caller) -> Json<ModelList> {
    let base = &shared.model.name;
    let view = |id: &str, owned_by: &str, makes: Option<Makes>| ModelView {
        id: id.to_owned(),
        object: "model",
        created: shared.started_s,
        owned_by: owned_by.to_owned(),
        parent: None,
        kind: makes.map(|makes| match makes {
            Makes::Embeddings => "embedder",
            Makes::Scores => "reranker",
        }),
    };
    let names = shared.adapters.names();
    let names = names.iter().filter(|(name, _)| caller.may_use_adapter(name));
    let adapters = names.map(|(name, makes)| ModelView {
        parent: Some(base.clone()),
        ..view(name, owner(name), *makes)
    });
    let base = view(base, "cotenant", Some(Makes::Embeddings));
    Json(ModelList { object: "list", data: [base].into_iter().chain(adapters).collect() })
}

/// The bytes of little-endian f32, in base64 (RFC 4648, with padding).
fn base64(values: &[f32]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let word = three.iter().fold(0_u32, |word, &byte| word << 8 | u32::from(byte));
        let word = word << (8 * (3 - three.len()));
        for at in 0..4 {
            match at <= three.len() {
                true => text.push(LETTERS[(word >> (18 - 6 * at) & 63) as usize].into()),
                false => text.push('='),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_written_as_numpy_reads_them() {
        // base64.b64encode(numpy.array([...], "<f4"))
        assert_eq!(base64(&[]), "");
        assert_eq!(base64(&[1.0]), "AACAPw==");
        assert_eq!(base64(&[1.0, -2.5]), "AACAPwAAIMA=");
        assert_eq!(base64(&[0.1, 0.2, 0.3]), "zczMPc3MTD6amZk+");
    }
}
