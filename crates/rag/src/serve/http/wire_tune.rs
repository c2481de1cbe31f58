//! What goes over the wire about searches by need, and about what is learnt for them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a search with mode `adaptive` did.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AdaptiveView {
    /// How far the query went: `words`, `few_candidates`, `many_candidates` or `full_depth`.
    pub(super) stage: &'static str,
    /// Whether the query was embedded.
    pub(super) query_embedded: bool,
    /// Documents that the reranker read again.
    pub(super) reranked: u64,
    /// What was counted of its cost.
    pub(super) cost: CostView,
    /// How loaded the server was, from 0 to 1: the seconds that the texts which wait need, as a
    /// part of a quarter of a second.
    pub(super) load: f64,
    /// The part of full depth's nDCG@10 that was to be kept.
    pub(super) quality_floor: f64,
    /// `learnt`, or `default` where nothing that was learnt could be used.
    pub(super) rule: &'static str,
    /// Why that rule, for people.
    pub(super) why: String,
}

/// What work costs, in microseconds of one thread at constant prices.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CostView {
    /// What the index spent.
    pub(super) search_us: f64,
    /// With the model that embeds the query.
    pub(super) total_us: f64,
    /// What full depth takes on average, where that was learnt.
    pub(super) full_depth_us: Option<f64>,
}

/// `POST /v1/tune`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TuneRequest {
    /// The tenant; if not given, the one whose token it is, else `default`.
    pub(super) tenant: Option<String>,
    /// Queries whose answers are known, 20 to 1000.
    pub(super) queries: Vec<JudgedView>,
    /// An adapter that scores a query and a text together: what is found is read again by it, and
    /// how much that counts is learnt too, on 100 of the queries at most.
    pub(super) reranker: Option<String>,
}

/// A query whose answers are known.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct JudgedView {
    /// As a user would write it.
    pub(super) query: String,
    /// Documents by their ids, each with its grade: 0 for no answer, more for a better one, at most
    /// 1000.
    pub(super) relevant: BTreeMap<String, i64>,
}

/// What was learnt about searching a tenant's documents.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TunedView {
    /// The tenant.
    pub(super) tenant: String,
    /// Whether searches use it: not once the documents have been embedded anew.
    pub(super) in_use: bool,
    /// The same in words, a sentence each.
    pub(super) in_words: Vec<String>,
    /// The embedding with whose vectors it was learnt.
    pub(super) embedding: String,
    /// The reranker that it was learnt with, by name and content.
    pub(super) reranker: Option<String>,
    /// How much the reranker counts beside finding, of which the best has 1 and the last 0; with 0
    /// nothing is read again.
    pub(super) reranker_weight: Option<f32>,
    /// When, in seconds since 1970.
    pub(super) learnt_s: u64,
    /// Documents that there were.
    pub(super) documents: u64,
    /// Judged queries that it was learnt from.
    pub(super) queries: usize,
    /// Queries that were left out, since none of their answers was among the documents.
    pub(super) queries_left_out: u64,
    /// Judged documents that were not there.
    pub(super) documents_unknown: u64,
    /// How lists become one.
    pub(super) mix: MixView,
    /// What each stage buys, whatever the query.
    pub(super) stages: Vec<StageView>,
    /// What is spent as needed, on an idle server, one half loaded and a loaded one, with the usual
    /// floor of quality.
    pub(super) as_needed: Vec<AsNeededView>,
}

/// How lists become one.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MixView {
    /// `reciprocal_rank`, `min_max` or `z_score`.
    pub(super) way: &'static str,
    /// The constant of `reciprocal_rank`.
    pub(super) rrf_k: Option<f32>,
    /// How much words count.
    pub(super) words: f32,
    /// How much vectors count.
    pub(super) vectors: f32,
    /// How much documents count that hold a code of the query.
    pub(super) codes: f32,
}

/// What a stage buys.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StageView {
    /// `words`, `few_candidates`, `many_candidates` or `full_depth`.
    pub(super) stage: &'static str,
    /// Mean nDCG@10 of the judged queries.
    pub(super) ndcg10: f64,
    /// The same as a part of full depth's.
    pub(super) kept: f64,
    /// What the index spends on a query, in microseconds of one thread at constant prices.
    pub(super) search_us: f64,
    /// With the model that embeds the query.
    pub(super) total_us: f64,
}

/// What is spent as needed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AsNeededView {
    /// The load of the server.
    pub(super) load: f64,
    /// The floor of quality.
    pub(super) quality_floor: f64,
    /// The part of full depth's nDCG@10 that is kept, less three standard errors; 1 at full depth.
    pub(super) kept: f64,
    /// What a query costs on average, the model included, as a part of full depth.
    pub(super) cost_share: f64,
    /// Whether that is full depth for every query, since no rule keeps enough.
    pub(super) is_full_depth: bool,
}
