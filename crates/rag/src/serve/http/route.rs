//! Every route, once: the server mounts these, and the contract is made from these.

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Health,
    Info,
    Metrics,
    OpenApi,
    Models,
    Embeddings,
    Embed,
    Similarity,
    Rerank,
    Tokenize,
    LoadAdapter,
    UnloadAdapter,
}

/// How a route is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
}

/// Who may ask a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// Everybody, with a token or without.
    Public,
    /// Who has a token, where there are tokens.
    Tenants,
    /// The administrator, where there are tokens.
    Admin,
}

impl Route {
    pub(super) const ALL: [Route; 12] = [
        Route::Health,
        Route::Info,
        Route::Metrics,
        Route::OpenApi,
        Route::Models,
        Route::Embeddings,
        Route::Embed,
        Route::Similarity,
        Route::Rerank,
        Route::Tokenize,
        Route::LoadAdapter,
        Route::UnloadAdapter,
    ];

    pub(super) fn path(self) -> &'static str {
        match self {
            Route::Health => "/health",
            Route::Info => "/info",
            Route::Metrics => "/metrics",
            Route::OpenApi => "/openapi.json",
            Route::Models => "/v1/models",
            Route::Embeddings => "/v1/embeddings",
            Route::Embed => "/embed",
            Route::Similarity => "/similarity",
            Route::Rerank => "/rerank",
            Route::Tokenize => "/tokenize",
            Route::LoadAdapter => "/v1/load_lora_adapter",
            Route::UnloadAdapter => "/v1/unload_lora_adapter",
        }
    }

    pub(super) fn of_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|route| route.path() == path)
    }

    pub(super) fn method(self) -> Method {
        match self {
            Route::Health | Route::Info | Route::Metrics | Route::OpenApi | Route::Models => {
                Method::Get
            }
            Route::Embeddings
            | Route::Embed
            | Route::Similarity
            | Route::Rerank
            | Route::Tokenize
            | Route::LoadAdapter
            | Route::UnloadAdapter => Method::Post,
        }
    }

    pub(super) fn audience(self) -> Audience {
        match self {
            Route::Health => Audience::Public,
            Route::LoadAdapter | Route::UnloadAdapter => Audience::Admin,
            Route::Info
            | Route::Metrics
            | Route::OpenApi
            | Route::Models
            | Route::Embeddings
            | Route::Embed
            | Route::Similarity
            | Route::Rerank
            | Route::Tokenize => Audience::Tenants,
        }
    }

    pub(super) fn about(self) -> &'static str {
        match self {
            Route::Health => "Whether the server answers",
            Route::Info => "What is served, and its limits",
            Route::Metrics => "Figures for Prometheus; a tenant sees its own",
            Route::OpenApi => "This contract",
            Route::Models => "The base model and the adapters that the caller may use",
            Route::Embeddings => "Embed texts or token ids, as OpenAI does",
            Route::Embed => "Embed texts, as text-embeddings-inference does",
            Route::Similarity => "Cosines of one text with others",
            Route::Rerank => "Order texts by the cosine of their embeddings with a query's",
            Route::Tokenize => "Show the tokens of texts",
            Route::LoadAdapter => "Load an adapter from a folder of the server, as vLLM does",
            Route::UnloadAdapter => "Forget an adapter, as vLLM does",
        }
    }

}
