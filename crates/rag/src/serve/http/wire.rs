//! What goes over the wire, in the words of the programs whose routes these are.

use cotenant_index::Document;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::experiments::TrialView;
use super::wire_tune::AdaptiveView;
use crate::index::with_title;

/// Texts, or token ids as `/tokenize` gives them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "the input must be a text, a list of texts, a list of token ids, or a list of such \
                 lists"
)]
pub(super) enum Input {
    /// One text.
    Text(String),
    /// Several.
    Texts(Vec<String>),
    /// The token ids of one text, its special ones included.
    Ids(Vec<u32>),
    /// Those of several.
    IdLists(Vec<Vec<u32>>),
}

/// One text or several.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "the inputs must be a text or a list of texts")]
pub(super) enum Texts {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Texts {
    pub(super) fn into_list(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        }
    }
}

/// `POST /v1/embeddings`
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct EmbeddingsRequest {
    /// What is embedded.
    pub(super) input: Input,
    /// The base model or an adapter; if not given, the tenant's own adapter, else the base model.
    pub(super) model: Option<String>,
    /// How vectors are written.
    #[serde(default)]
    pub(super) encoding_format: EncodingFormat,
    /// First values of each vector that are kept, and scaled to length 1 again.
    pub(super) dimensions: Option<usize>,
    /// Which of the model's prompts stands in front of each text.
    pub(super) prompt_name: Option<String>,
}

/// How vectors are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum EncodingFormat {
    /// Numbers.
    #[default]
    Float,
    /// The bytes of little-endian f32, in base64.
    Base64,
}

/// The answer to it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EmbeddingsResponse {
    /// `list`
    pub(super) object: &'static str,
    /// In the order of the input.
    pub(super) data: Vec<EmbeddingView>,
    /// Which model it was.
    pub(super) model: String,
    /// What it took.
    pub(super) usage: UsageView,
}

/// One vector.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EmbeddingView {
    /// `embedding`
    pub(super) object: &'static str,
    /// Which of the input.
    pub(super) index: usize,
    /// Its values.
    pub(super) embedding: VectorView,
}

/// A vector as numbers or in base64.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum VectorView {
    /// Numbers.
    Float(Vec<f32>),
    /// Base64 of little-endian f32.
    Base64(String),
}

/// What a request took.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct UsageView {
    /// Tokens, special ones included.
    pub(super) prompt_tokens: u64,
    /// The same.
    pub(super) total_tokens: u64,
}

/// `GET /v1/models`
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ModelList {
    /// `list`
    pub(super) object: &'static str,
    /// The base model first, then adapters by name.
    pub(super) data: Vec<ModelView>,
}

/// A model that can be asked for.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ModelView {
    /// What `model` takes.
    pub(super) id: String,
    /// `model`
    pub(super) object: &'static str,
    /// When the server started, in seconds since 1970.
    pub(super) created: u64,
    /// The tenant whose it is, or `cotenant`.
    pub(super) owned_by: String,
    /// The base model of an adapter.
    pub(super) parent: Option<String>,
    /// `embedder`, or `reranker` for an adapter that `/rerank` scores by; null for an adapter that
    /// was not read yet.
    pub(super) kind: Option<&'static str>,
}

/// LoRAX's way to name an adapter.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct Parameters {
    /// The base model or an adapter.
    pub(super) adapter_id: Option<String>,
}

/// From which end a text that is too long is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub(super) enum TruncationDirection {
    /// Its beginning goes; not supported.
    #[serde(alias = "left")]
    Left,
    /// Its end goes.
    #[default]
    #[serde(alias = "right")]
    Right,
}

/// `POST /embed`
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct EmbedRequest {
    /// What is embedded.
    pub(super) inputs: Input,
    /// Whether texts that are too long are cut (if not given, they are) or refused.
    pub(super) truncate: Option<bool>,
    /// From which end.
    #[serde(default)]
    pub(super) truncation_direction: TruncationDirection,
    /// Which of the model's prompts stands in front of each text.
    pub(super) prompt_name: Option<String>,
    /// Whether vectors are scaled to length 1.
    #[serde(default = "yes")]
    pub(super) normalize: bool,
    /// First values of each vector that are kept.
    pub(super) dimensions: Option<usize>,
    /// Which adapter; if not given, the tenant's own, else none.
    #[serde(default)]
    pub(super) parameters: Parameters,
}

fn yes() -> bool {
    true
}

/// `POST /similarity`
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct SimilarityRequest {
    /// What is compared.
    pub(super) inputs: SimilarityInputs,
    /// How texts are read.
    #[serde(default)]
    pub(super) parameters: SimilarityParameters,
}

/// A text and those that it is compared with.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct SimilarityInputs {
    /// The text.
    pub(super) source_sentence: String,
    /// The others.
    pub(super) sentences: Vec<String>,
}

/// How texts are read.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct SimilarityParameters {
    /// Whether texts that are too long are cut (if not given, they are) or refused.
    pub(super) truncate: Option<bool>,
    /// Which of the model's prompts stands in front of each text.
    pub(super) prompt_name: Option<String>,
    /// Which adapter; if not given, the tenant's own, else none.
    pub(super) adapter_id: Option<String>,
}

/// `POST /rerank`
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct RerankRequest {
    /// What is looked for.
    pub(super) query: String,
    /// What is ordered.
    pub(super) texts: Vec<String>,
    /// Scores or cosines as they are, instead of those brought to 0 to 1.
    #[serde(default)]
    pub(super) raw_scores: bool,
    /// Whether the texts are in the answer.
    #[serde(default)]
    pub(super) return_text: bool,
    /// Whether texts that are too long are cut (if not given, they are) or refused.
    pub(super) truncate: Option<bool>,
    /// Which adapter; if not given, the tenant's own, else none.
    #[serde(default)]
    pub(super) parameters: Parameters,
}

/// A text in its place.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RankView {
    /// Which of the texts.
    pub(super) index: usize,
    /// How well it fits; more is better.
    pub(super) score: f32,
    /// The text, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
}

/// `POST /tokenize`
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct TokenizeRequest {
    /// One text or several.
    pub(super) inputs: Texts,
    /// Whether the model's special tokens are shown.
    #[serde(default = "yes")]
    pub(super) add_special_tokens: bool,
    /// Which of the model's prompts stands in front of each text.
    pub(super) prompt_name: Option<String>,
}

/// A token.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TokenView {
    /// Its id.
    pub(super) id: u32,
    /// What of the text it stands for; its piece of the vocabulary if it is special.
    pub(super) text: String,
    /// Whether the model puts it in front of or behind every text.
    pub(super) special: bool,
    /// Where it begins, in characters of the text with the prompt in front of it; null if it is
    /// special.
    pub(super) start: Option<usize>,
    /// Where it ends.
    pub(super) stop: Option<usize>,
}

/// `GET /info`
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct InfoView {
    /// The base model.
    pub(super) model_id: String,
    /// A hash of its files.
    pub(super) model_sha: String,
    /// The format of its products.
    pub(super) model_dtype: &'static str,
    /// What it does.
    pub(super) model_type: ModelTypeView,
    /// Requests that are answered at a time.
    pub(super) max_concurrent_requests: usize,
    /// Longest text, in tokens.
    pub(super) max_input_length: usize,
    /// Tokens of one forward.
    pub(super) max_batch_tokens: usize,
    /// Texts of one request.
    pub(super) max_client_batch_size: usize,
    /// Bytes of one body.
    pub(super) payload_limit: usize,
    /// Whether texts that are too long are cut where a request does not say.
    pub(super) auto_truncate: bool,
    /// How `/rerank` scores.
    pub(super) reranking: &'static str,
    /// Adapters that the caller may use.
    pub(super) adapters: usize,
    /// The program's version.
    pub(super) version: &'static str,
}

/// What a model does.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ModelTypeView {
    /// It embeds.
    pub(super) embedding: PoolingView,
}

/// How it embeds.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PoolingView {
    /// `mean` or `cls`
    pub(super) pooling: &'static str,
    /// Values of a vector.
    pub(super) dimensions: usize,
}

/// `POST /v1/load_lora_adapter`
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct LoadAdapterRequest {
    /// Its name: TENANT or TENANT/WORD.
    pub(super) lora_name: String,
    /// Its folder on the server, as PEFT writes it.
    pub(super) lora_path: String,
    /// Whether it may take the place of one of its name.
    #[serde(default)]
    pub(super) load_inplace: bool,
    /// Whether it stays in memory until it is unloaded.
    #[serde(default)]
    pub(super) pinned: bool,
}

/// `POST /v1/unload_lora_adapter`
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct UnloadAdapterRequest {
    /// Its name.
    pub(super) lora_name: String,
}

/// An error of the routes below `/v1`, as OpenAI writes it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct OpenAiError {
    /// The error.
    pub(super) error: OpenAiErrorBody,
}

/// What is in it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct OpenAiErrorBody {
    /// What happened, for people.
    pub(super) message: String,
    /// Its family.
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    /// Always null.
    pub(super) param: Option<String>,
    /// What happened, for programs.
    pub(super) code: &'static str,
}

/// An error of the other routes, as text-embeddings-inference writes it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TeiError {
    /// What happened, for people.
    pub(super) error: String,
    /// Its family.
    pub(super) error_type: &'static str,
}

/// Whose documents, in a query.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TenantQuery {
    /// The tenant; if not given, the one whose token it is, else `default`.
    pub(super) tenant: Option<String>,
}

/// `POST /v1/documents`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddDocumentsRequest {
    /// The tenant; if not given, the one whose token it is, else `default`.
    pub(super) tenant: Option<String>,
    /// What embeds them where there are none yet; if not given, the tenant's own adapter, else the
    /// base model.
    pub(super) model: Option<String>,
    /// The documents.
    pub(super) documents: Vec<DocumentView>,
}

/// A document.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DocumentView {
    /// Its name within the tenant; as `_id` too, as the lines of a BEIR corpus have it.
    #[serde(alias = "_id")]
    pub(super) id: String,
    /// Stands in front of the text, and in the metadata as `title` unless that has one; a document
    /// that is shown has it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<String>,
    /// What is searched.
    pub(super) text: String,
    /// What filters look at.
    #[serde(default)]
    pub(super) metadata: Map<String, Value>,
}

impl DocumentView {
    /// The document, without a vector.
    pub(super) fn into_document(self) -> Document {
        let Self { id, title, text, mut metadata } = self;
        let text = match title.filter(|title| !title.is_empty()) {
            Some(title) => with_title(title, text, &mut metadata),
            None => text,
        };
        Document { id, text, metadata, vector: None }
    }
}

impl From<Document> for DocumentView {
    fn from(document: Document) -> Self {
        let Document { id, text, metadata, .. } = document;
        Self { id, title: None, text, metadata }
    }
}

/// What became of documents.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ReceiptView {
    /// New ones.
    pub(super) added: u64,
    /// Those in whose place another one came.
    pub(super) replaced: u64,
    /// Those that went.
    pub(super) deleted: u64,
}

/// A tenant's documents as a whole.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct NamespaceView {
    /// The tenant.
    pub(super) tenant: String,
    /// Documents.
    pub(super) documents: u64,
    /// The embedding that searches use: a model and a hash of it.
    pub(super) embedding: Option<String>,
    /// How its vectors are searched.
    pub(super) kind: Option<&'static str>,
    /// Memory of what searches them, in bytes.
    pub(super) memory_bytes: u64,
    /// Bytes on disk.
    pub(super) disk_bytes: u64,
    /// Why the work behind writes failed when it was tried last; null if it did not. Nothing that
    /// was acknowledged is lost, and it is tried again after the next write.
    pub(super) failure: Option<String>,
}

/// `POST /v1/delete_documents`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteDocumentsRequest {
    /// The tenant; if not given, the one whose token it is, else `default`.
    pub(super) tenant: Option<String>,
    /// Their ids; unknown ones are no error.
    pub(super) ids: Vec<String>,
}

/// `POST /v1/embed_documents`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EmbedDocumentsRequest {
    /// The tenant; if not given, the one whose token it is, else `default`.
    pub(super) tenant: Option<String>,
    /// What embeds them; if not given, the tenant's own adapter, else the base model.
    pub(super) model: Option<String>,
}

/// How far another embedding is.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CoverageView {
    /// The embedding: a model and a hash of it.
    pub(super) embedding: String,
    /// Documents that have a vector of it.
    pub(super) covered: u64,
    /// All documents.
    pub(super) documents: u64,
    /// Whether searches use it; if not, the deadline came first, and asking again goes on.
    pub(super) active: bool,
}

/// `POST /v1/search`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchRequest {
    /// The tenant; if not given, the one whose token it is, else `default`.
    pub(super) tenant: Option<String>,
    /// What is looked for.
    pub(super) query: String,
    /// Documents that are wanted, at most 1000.
    #[serde(default = "ten")]
    pub(super) limit: usize,
    /// By what documents are found.
    #[serde(default)]
    pub(super) mode: SearchMode,
    /// What their metadata must hold: `{"year": {"gte": 2020}}`.
    pub(super) filter: Option<Value>,
    /// Documents of each retriever that are looked at before their orders become one.
    pub(super) depth: Option<usize>,
    /// The constant of reciprocal-rank fusion; 60 if not given.
    pub(super) rrf_k: Option<f32>,
    /// How much each retriever counts in it.
    pub(super) weights: Option<WeightsView>,
    /// With mode `adaptive`, the part of full depth's nDCG@10 that is kept, from 0 to 1; 0.99 if not
    /// given.
    pub(super) quality_floor: Option<f64>,
    /// Who asks, at most 256 bytes: the tenant's experiment, where it has one, answers all searches
    /// of a user in the same way.
    pub(super) user: Option<String>,
}

/// What two variants of an experiment may differ in: what is named takes the place of what a
/// search asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchSettings {
    /// By what documents are found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mode: Option<SearchMode>,
    /// Documents of each retriever that are looked at before their orders become one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) depth: Option<usize>,
    /// The constant of reciprocal-rank fusion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rrf_k: Option<f32>,
    /// How much each retriever counts in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) weights: Option<WeightsView>,
    /// With mode `adaptive`, the part of full depth's nDCG@10 that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) quality_floor: Option<f64>,
}

fn ten() -> usize {
    10
}

/// By what documents are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SearchMode {
    /// Both, fused by ranks; documents that hold what the query quotes come first.
    #[default]
    Hybrid,
    /// The nearest vectors.
    Dense,
    /// The words of the query, by BM25.
    Text,
    /// Words first, and vectors as far as the query needs them by what was learnt for the tenant.
    Adaptive,
}

/// How much each retriever counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WeightsView {
    /// The search by vectors.
    pub(super) dense: f32,
    /// The search by words.
    pub(super) text: f32,
    /// Documents that hold a code of the query, such as a part number, letter by letter; 0.2 if not
    /// given.
    pub(super) codes: Option<f32>,
}

/// The answer to a search.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SearchResponse {
    /// Best first.
    pub(super) results: Vec<FoundView>,
    /// The embedding that was searched, if one was.
    pub(super) embedding: Option<String>,
    /// Vectors that were compared.
    pub(super) vectors_compared: u64,
    /// Entries of word lists that were read.
    pub(super) postings_read: u64,
    /// With mode `adaptive`, how far the query went and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) adaptive: Option<AdaptiveView>,
    /// What the tenant's experiment decided, where the search named a user and there is one.
    pub(super) experiment: Option<TrialView>,
}

/// A document that was found.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FoundView {
    /// The document.
    #[serde(flatten)]
    pub(super) document: DocumentView,
    /// How well it fits: fused, or that of the one retriever.
    pub(super) score: f32,
    /// Where the search by vectors has it.
    pub(super) dense: Option<StandingView>,
    /// Where the search by words has it.
    pub(super) words: Option<StandingView>,
    /// Where it stands among those that hold a quoted phrase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) phrases: Option<StandingView>,
    /// Where it stands among those that hold a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) codes: Option<StandingView>,
}

/// A place in the list of one retriever.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StandingView {
    /// From 1.
    pub(super) rank: u32,
    /// As the retriever gave it.
    pub(super) score: f32,
}
