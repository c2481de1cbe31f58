//! What a tenant asks an experiment to be, as it goes over the wire and stands in its file.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::serve::http::SearchSettings;

/// `POST /v1/experiments`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExperimentRequest {
    /// The tenant; if not given, the one whose token it is, else `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<String>,
    /// Its name.
    pub(crate) name: String,
    /// How searches are answered that get the control: what it names takes the place of what they
    /// ask for.
    pub(crate) control: SearchSettings,
    /// The same for the treatment.
    pub(crate) treatment: SearchSettings,
    /// What is to be improved; if not given, one over the rank of what was clicked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metric: Option<RangeView>,
    /// What must not get worse.
    #[serde(default)]
    pub(crate) guardrails: GuardrailsView,
    /// How many thousandths of the subjects get the treatment: 10 to 990.
    #[serde(default = "half")]
    pub(crate) treatment_per_mille: u32,
    /// In how many of a thousand experiments without any difference it may stop as if there were
    /// one: 1 to 500.
    #[serde(default = "twentieth")]
    pub(crate) false_stops_per_mille: u32,
    /// The smallest difference of the metric that anybody cares for, as a share of its range; once
    /// the true one is surely smaller, it ends. With 0 it never ends so.
    #[serde(default)]
    pub(crate) relevant_difference: f64,
    /// After so many subjects it ends without an answer: at most 250000.
    #[serde(default = "many")]
    pub(crate) subjects_max: usize,
    /// After so many hours it ends without an answer: at most 8784.
    #[serde(default = "fortnight")]
    pub(crate) hours_max: u32,
}

/// The range of a number that feedback carries.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RangeView {
    /// The worst that it can be.
    pub(crate) worst: f64,
    /// The best that it can be; less than the worst where less is better.
    pub(crate) best: f64,
}

/// What must not get worse.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GuardrailsView {
    /// The share of searches that are answered in time, as the server measures it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency: Option<LatencyView>,
    /// The share of searches that are answered at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) errors: Option<ErrorsView>,
    /// A number that feedback carries as `guardrail`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) given: Option<GivenView>,
}

/// The share of searches that are answered in time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LatencyView {
    /// What in time is, in milliseconds.
    pub(crate) within_ms: u32,
    /// By how much the share may surely fall, from 0 to 1.
    pub(crate) tolerance: f64,
}

/// The share of searches that are answered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorsView {
    /// By how much the share may surely fall, from 0 to 1.
    pub(crate) tolerance: f64,
}

/// A number that feedback carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GivenView {
    /// What people call it.
    pub(crate) name: String,
    /// The worst that it can be.
    pub(crate) worst: f64,
    /// The best that it can be; less than the worst where less is better.
    pub(crate) best: f64,
    /// By how much it may surely get worse, as a share of its range.
    pub(crate) tolerance: f64,
}

fn half() -> u32 {
    500
}

fn twentieth() -> u32 {
    50
}

fn many() -> usize {
    100_000
}

fn fortnight() -> u32 {
    14 * 24
}
