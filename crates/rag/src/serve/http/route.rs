//! Every route, once: the server mounts these, and the contract is made from these.

/// The path of a tenant's documents.
const DOCUMENTS: &str = "/v1/documents";

/// The path of what was learnt about searching them.
const TUNE: &str = "/v1/tune";

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
    AddDocuments,
    ShowNamespace,
    DropNamespace,
    GetDocument,
    DeleteDocument,
    DeleteDocuments,
    EmbedDocuments,
    Search,
    Tune,
    ShowTuned,
    ForgetTuned,
    BeginExperiment,
    ShowExperiment,
    EndExperiment,
    Feedback,
}

/// How a route is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
    Delete,
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
    pub(super) const ALL: [Route; 27] = [
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
        Route::AddDocuments,
        Route::ShowNamespace,
        Route::DropNamespace,
        Route::GetDocument,
        Route::DeleteDocument,
        Route::DeleteDocuments,
        Route::EmbedDocuments,
        Route::Search,
        Route::Tune,
        Route::ShowTuned,
        Route::ForgetTuned,
        Route::BeginExperiment,
        Route::ShowExperiment,
        Route::EndExperiment,
        Route::Feedback,
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
            Route::AddDocuments | Route::ShowNamespace | Route::DropNamespace => DOCUMENTS,
            Route::GetDocument | Route::DeleteDocument => "/v1/documents/{*id}",
            Route::DeleteDocuments => "/v1/delete_documents",
            Route::EmbedDocuments => "/v1/embed_documents",
            Route::Search => "/v1/search",
            Route::Tune | Route::ShowTuned | Route::ForgetTuned => TUNE,
            Route::BeginExperiment | Route::ShowExperiment | Route::EndExperiment => {
                "/v1/experiments"
            }
            Route::Feedback => "/v1/feedback",
        }
    }

    /// A route of a path; those that share one are asked by the same callers.
    pub(super) fn of_path(path: &str) -> Option<Self> {
        let below = path.strip_prefix(DOCUMENTS).and_then(|rest| rest.strip_prefix('/'));
        match below {
            Some(id) if !id.is_empty() => Some(Route::GetDocument),
            Some(_) | None => Self::ALL.into_iter().find(|route| route.path() == path),
        }
    }

    pub(super) fn method(self) -> Method {
        match self {
            Route::Health
            | Route::Info
            | Route::Metrics
            | Route::OpenApi
            | Route::Models
            | Route::ShowNamespace
            | Route::GetDocument
            | Route::ShowTuned
            | Route::ShowExperiment => Method::Get,
            Route::DropNamespace
            | Route::DeleteDocument
            | Route::ForgetTuned
            | Route::EndExperiment => Method::Delete,
            Route::Embeddings
            | Route::Embed
            | Route::Similarity
            | Route::Rerank
            | Route::Tokenize
            | Route::LoadAdapter
            | Route::UnloadAdapter
            | Route::AddDocuments
            | Route::DeleteDocuments
            | Route::EmbedDocuments
            | Route::Search
            | Route::Tune
            | Route::BeginExperiment
            | Route::Feedback => Method::Post,
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
            | Route::Tokenize
            | Route::AddDocuments
            | Route::ShowNamespace
            | Route::DropNamespace
            | Route::GetDocument
            | Route::DeleteDocument
            | Route::DeleteDocuments
            | Route::EmbedDocuments
            | Route::Search
            | Route::Tune
            | Route::ShowTuned
            | Route::ForgetTuned
            | Route::BeginExperiment
            | Route::ShowExperiment
            | Route::EndExperiment
            | Route::Feedback => Audience::Tenants,
        }
    }

    /// Whether it writes to the server's disk.
    pub(super) fn writes(self) -> bool {
        match self {
            Route::AddDocuments
            | Route::DropNamespace
            | Route::DeleteDocument
            | Route::DeleteDocuments
            | Route::EmbedDocuments
            | Route::BeginExperiment
            | Route::EndExperiment
            | Route::Feedback
            | Route::Tune
            | Route::ForgetTuned => true,
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
            | Route::LoadAdapter
            | Route::UnloadAdapter
            | Route::ShowNamespace
            | Route::GetDocument
            | Route::Search
            | Route::ShowExperiment
            | Route::ShowTuned => false,
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
            Route::Rerank => "Order texts by a reranker's scores, or by cosines with a query",
            Route::Tokenize => "Show the tokens of texts",
            Route::LoadAdapter => "Load an adapter from a folder of the server, as vLLM does",
            Route::UnloadAdapter => "Forget an adapter, as vLLM does",
            Route::AddDocuments => "Embed documents and add them, in place of those of their ids",
            Route::ShowNamespace => "How many documents a tenant has, and what embeds them",
            Route::DropNamespace => "Drop all documents of a tenant",
            Route::GetDocument => "A document",
            Route::DeleteDocument => "Delete a document",
            Route::DeleteDocuments => "Delete documents",
            Route::EmbedDocuments => {
                "Embed all documents by another model beside the one in use, and switch to it"
            }
            Route::Search => "Find documents by meaning, by words, by both, or as a query needs",
            Route::Tune => "Learn from judged queries how far a query must go, and keep it",
            Route::ShowTuned => "What was learnt, and what each stage buys",
            Route::ForgetTuned => "Forget what was learnt",
            Route::BeginExperiment => "Compare two ways to search on a tenant's users",
            Route::ShowExperiment => "How a tenant's experiment stands, and why it stopped",
            Route::EndExperiment => "End a tenant's experiment and forget it",
            Route::Feedback => "Say what came of a search that an experiment decided about",
        }
    }
}
