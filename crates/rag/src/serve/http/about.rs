//! What is served, whether it answers, and what it has done.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use cotenant_transformer::Pooling;

use super::body::BODY_BYTES_MAX;
use super::gate::REQUESTS_MAX;
use super::shared::Shared;
use super::texts::TEXTS_MAX;
use super::wire::{InfoView, ModelTypeView, PoolingView};
use crate::serve::access::Caller;
use crate::serve::meters::Now;

const METRICS_KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn health() {}

pub(super) async fn info(State(shared): State<Shared>, caller: Caller) -> Json<InfoView> {
    let model = &shared.model;
    let names = shared.adapters.names();
    let pooling = match model.folder.pooling() {
        Pooling::Mean => "mean",
        Pooling::Cls => "cls",
    };
    Json(InfoView {
        model_id: model.name.clone(),
        model_sha: model.digest.clone(),
        model_dtype: model.precision_name(),
        model_type: ModelTypeView { embedding: PoolingView { pooling, dimensions: model.width() } },
        max_concurrent_requests: REQUESTS_MAX,
        max_input_length: model.folder.tokens_max(),
        max_batch_tokens: shared.batch_tokens,
        max_client_batch_size: TEXTS_MAX,
        payload_limit: BODY_BYTES_MAX,
        auto_truncate: true,
        reranking: "a reranker's scores where adapter_id names one, else cosines of embeddings",
        adapters: names.iter().filter(|(name, _)| caller.may_use_adapter(name)).count(),
        version: env!("CARGO_PKG_VERSION"),
    })
}

pub(super) async fn metrics(State(shared): State<Shared>, caller: Caller) -> Response {
    let adapters = shared.adapters.held();
    let index_failing = shared.documents.as_ref().map_or_else(Vec::new, |it| it.failing());
    let now = Now { waiting_tokens: shared.engine.waiting_tokens(), adapters, index_failing };
    let only = caller.tenant().map(|tenant| &**tenant);
    let text = shared.meters.text(&now, only);
    ([(header::CONTENT_TYPE, METRICS_KIND)], text).into_response()
}
