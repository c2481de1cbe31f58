//! The contract as OpenAPI 3.1, put together from the routes and the wire types.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use super::experiments::{ExperimentView, FeedbackRequest, FeedbackView};
use super::route::{Audience, Method, Route};
use super::wire::{
    AddDocumentsRequest, CoverageView, DeleteDocumentsRequest, DocumentView, EmbedDocumentsRequest,
    EmbedRequest, EmbeddingsRequest, EmbeddingsResponse, InfoView, LoadAdapterRequest, ModelList,
    NamespaceView, OpenAiError, RankView, ReceiptView, RerankRequest, SearchRequest,
    SearchResponse, SimilarityRequest, TeiError, TokenView, TokenizeRequest, UnloadAdapterRequest,
};
use super::wire_tune::{TuneRequest, TunedView};
use crate::serve::experiments::ExperimentRequest;

/// What goes over the wire as a body.
enum Content {
    Nothing,
    Json(Value),
    Text,
}

/// The whole document.
pub fn openapi() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let mut paths = Map::new();
    for route in Route::ALL {
        let method = match route.method() {
            Method::Get => "get",
            Method::Post => "post",
            Method::Delete => "delete",
        };
        let path = paths.entry(route.path().replace("{*", "{")).or_insert_with(|| json!({}));
        path[method] = operation(route, &mut schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "cotenant serve",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "One base model and the adapters of many tenants.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
        "security": [{}, { "token": [] }],
    })
}

fn operation(route: Route, schemas: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    responses.insert("200".into(), described("done", answer(route, schemas)));
    for (code, about) in failures(route) {
        let error = match route.path().starts_with("/v1/") {
            true => schemas.subschema_for::<OpenAiError>(),
            false => schemas.subschema_for::<TeiError>(),
        };
        responses.insert(code.into(), described(about, Content::Json(error.to_value())));
    }
    let mut operation = json!({
        "operationId": format!("{route:?}"),
        "summary": route.about(),
        "parameters": parameters(route),
        "responses": responses,
    });
    if let Some(schema) = question(route, schemas) {
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    operation
}

fn parameters(route: Route) -> Vec<Value> {
    let parameter = |name: &str, place: &str, about: &str| {
        let (required, schema) = (place == "path", json!({ "type": "string" }));
        json!({ "name": name, "in": place, "required": required, "description": about,
                "schema": schema })
    };
    let tenant = || {
        let about = "the tenant; if not given, the one whose token it is, else `default`";
        parameter("tenant", "query", about)
    };
    let id = || parameter("id", "path", "the document's id, which may have slashes");
    match route {
        Route::GetDocument | Route::DeleteDocument => vec![id(), tenant()],
        Route::ShowNamespace
        | Route::DropNamespace
        | Route::ShowTuned
        | Route::ForgetTuned
        | Route::ShowExperiment
        | Route::EndExperiment => vec![tenant()],
        Route::Embeddings
        | Route::Embed
        | Route::Similarity
        | Route::Rerank
        | Route::AddDocuments
        | Route::EmbedDocuments
        | Route::Search
        | Route::Tune => {
            let about = "milliseconds after which nobody waits for the answer; 30000 if not given";
            vec![parameter("x-deadline-ms", "header", about)]
        }
        Route::Health
        | Route::Info
        | Route::Metrics
        | Route::OpenApi
        | Route::Models
        | Route::Tokenize
        | Route::LoadAdapter
        | Route::UnloadAdapter
        | Route::DeleteDocuments
        | Route::BeginExperiment
        | Route::Feedback => Vec::new(),
    }
}

fn question(route: Route, schemas: &mut SchemaGenerator) -> Option<Value> {
    let schema = match route {
        Route::Embeddings => schemas.subschema_for::<EmbeddingsRequest>(),
        Route::Embed => schemas.subschema_for::<EmbedRequest>(),
        Route::Similarity => schemas.subschema_for::<SimilarityRequest>(),
        Route::Rerank => schemas.subschema_for::<RerankRequest>(),
        Route::Tokenize => schemas.subschema_for::<TokenizeRequest>(),
        Route::LoadAdapter => schemas.subschema_for::<LoadAdapterRequest>(),
        Route::UnloadAdapter => schemas.subschema_for::<UnloadAdapterRequest>(),
        Route::AddDocuments => schemas.subschema_for::<AddDocumentsRequest>(),
        Route::DeleteDocuments => schemas.subschema_for::<DeleteDocumentsRequest>(),
        Route::EmbedDocuments => schemas.subschema_for::<EmbedDocumentsRequest>(),
        Route::Search => schemas.subschema_for::<SearchRequest>(),
        Route::Tune => schemas.subschema_for::<TuneRequest>(),
        Route::BeginExperiment => schemas.subschema_for::<ExperimentRequest>(),
        Route::Feedback => schemas.subschema_for::<FeedbackRequest>(),
        Route::Health
        | Route::Info
        | Route::Metrics
        | Route::OpenApi
        | Route::Models
        | Route::ShowNamespace
        | Route::DropNamespace
        | Route::GetDocument
        | Route::DeleteDocument
        | Route::ShowTuned
        | Route::ForgetTuned
        | Route::ShowExperiment
        | Route::EndExperiment => return None,
    };
    Some(schema.to_value())
}

fn answer(route: Route, schemas: &mut SchemaGenerator) -> Content {
    let schema = match route {
        Route::Info => schemas.subschema_for::<InfoView>(),
        Route::Models => schemas.subschema_for::<ModelList>(),
        Route::Embeddings => schemas.subschema_for::<EmbeddingsResponse>(),
        Route::Embed => schemas.subschema_for::<Vec<Vec<f32>>>(),
        Route::Similarity => schemas.subschema_for::<Vec<f32>>(),
        Route::Rerank => schemas.subschema_for::<Vec<RankView>>(),
        Route::Tokenize => schemas.subschema_for::<Vec<Vec<TokenView>>>(),
        Route::AddDocuments | Route::DeleteDocuments | Route::DeleteDocument => {
            schemas.subschema_for::<ReceiptView>()
        }
        Route::ShowNamespace => schemas.subschema_for::<NamespaceView>(),
        Route::GetDocument => schemas.subschema_for::<DocumentView>(),
        Route::EmbedDocuments => schemas.subschema_for::<CoverageView>(),
        Route::Search => schemas.subschema_for::<SearchResponse>(),
        Route::Tune | Route::ShowTuned => schemas.subschema_for::<TunedView>(),
        Route::BeginExperiment | Route::ShowExperiment => schemas.subschema_for::<ExperimentView>(),
        Route::Feedback => schemas.subschema_for::<FeedbackView>(),
        Route::OpenApi => return Content::Json(json!({ "type": "object" })),
        Route::Metrics | Route::LoadAdapter | Route::UnloadAdapter => return Content::Text,
        Route::Health | Route::DropNamespace | Route::ForgetTuned | Route::EndExperiment => {
            return Content::Nothing;
        }
    };
    Content::Json(schema.to_value())
}

/// The errors that a route may answer with.
fn failures(route: Route) -> Vec<(&'static str, &'static str)> {
    let mut failures = vec![("429", "too much is asked now; Retry-After says when to try again")];
    if route.audience() != Audience::Public {
        failures.push(("401", "the server wants a token"));
    }
    failures.push(("403", "the caller may not do this"));
    if route.method() == Method::Post {
        failures.extend([
            ("400", "the body is not what it must be"),
            ("404", "there is no such model, or it is another tenant's"),
            ("413", "the body or its texts are too large"),
            ("415", "the body is not application/json"),
            ("424", "the model or adapter cannot do it"),
            ("503", "the server is ending, or the deadline has passed"),
        ]);
        if !route.path().starts_with("/v1/") {
            failures.push(("422", "a value cannot be used"));
        }
    }
    let is_of_tenant = ["/v1/documents", "/v1/tune"].iter().any(|it| route.path().starts_with(it));
    if is_of_tenant && route.method() != Method::Post {
        failures.extend([
            ("400", "a value cannot be used"),
            ("404", "there is no such document or tenant"),
            ("503", "the index cannot be used now"),
        ]);
    }
    if route.path() == "/v1/experiments" && route.method() != Method::Post {
        failures.extend([
            ("400", "a value cannot be used"),
            ("404", "the tenant has no experiment"),
            ("503", "the experiment cannot be had now"),
        ]);
    }
    if route.writes() {
        failures.push(("507", "there is no room for it; nothing was changed"));
    }
    if let Some(about) = conflict(route) {
        failures.push(("409", about));
    }
    failures.sort_unstable();
    failures
}

/// What of a route does not go with what is there.
fn conflict(route: Route) -> Option<&'static str> {
    match route {
        Route::LoadAdapter => Some("there is an adapter of that name"),
        Route::AddDocuments | Route::Search | Route::Tune => {
            Some("the documents' vectors are of another version of the adapter")
        }
        Route::ShowTuned => Some("what was learnt cannot be read"),
        Route::EmbedDocuments => Some("there are too many embeddings beside each other"),
        Route::BeginExperiment => Some("the tenant has an experiment already"),
        Route::Health
        | Route::Info
        | Route::Metrics
        | Route::OpenApi
        | Route::Models
        | Route::Embeddings
        | Route::Embed
        | Route::Similarity
        | Route::Rerank
        | Route::Tokenize
        | Route::UnloadAdapter
        | Route::ShowNamespace
        | Route::DropNamespace
        | Route::GetDocument
        | Route::DeleteDocument
        | Route::DeleteDocuments
        | Route::ForgetTuned
        | Route::ShowExperiment
        | Route::EndExperiment
        | Route::Feedback => None,
    }
}

fn described(about: &str, content: Content) -> Value {
    match content {
        Content::Nothing => json!({ "description": about }),
        Content::Json(schema) => json!({
            "description": about, "content": { "application/json": { "schema": schema } }
        }),
        Content::Text => json!({
            "description": about,
            "content": { "text/plain": { "schema": { "type": "string" } } },
        }),
    }
}
