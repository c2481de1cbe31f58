//! What goes over the wire of online experiments, beside the request that begins one.

use cotenant_eval::experiment::{Effect, Recorded};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::serve::experiments::{ExperimentRequest, Standing, Stop, Variant};

/// What an experiment decided about a search.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::serve::http) struct TrialView {
    /// The experiment.
    pub(super) name: String,
    /// How the search was answered.
    pub(super) variant: Variant,
    /// What feedback on this search names; null once the experiment has stopped.
    pub(super) feedback_id: Option<String>,
}

/// How an experiment stands.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::serve::http) struct ExperimentView {
    /// The tenant.
    pub(super) tenant: String,
    /// What was asked for.
    pub(super) request: ExperimentRequest,
    /// Seconds since 1970.
    pub(super) started_s: u64,
    /// When it ends at the latest, in seconds since 1970.
    pub(super) ends_s: u64,
    /// How the metric does, as a share of its range.
    pub(super) metric: EffectView,
    /// How each guardrail does.
    pub(super) guardrails: Vec<GuardrailView>,
    /// How it ended; null while it runs.
    pub(super) stop: Option<Stop>,
}

/// How both variants do.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::serve::http) struct EffectView {
    /// Subjects of the control that have an outcome.
    pub(super) control_subjects: u64,
    /// The same of the treatment.
    pub(super) treatment_subjects: u64,
    /// Mean of the control; null before its first subject.
    pub(super) control: Option<f64>,
    /// Mean of the treatment; null before its first subject.
    pub(super) treatment: Option<f64>,
    /// Lower end of the difference; both ends hold whenever one looks.
    pub(super) low: f64,
    /// Upper end of the difference.
    pub(super) high: f64,
}

/// How a guardrail does.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::serve::http) struct GuardrailView {
    /// Its name.
    pub(super) name: String,
    /// How much worse it may surely get.
    pub(super) tolerance: f64,
    /// How both variants do.
    pub(super) effect: EffectView,
}

/// `POST /v1/feedback`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::serve::http) struct FeedbackRequest {
    /// The tenant; if not given, the one whose token it is, else `default`.
    pub(super) tenant: Option<String>,
    /// The `feedback_id` of a search's answer.
    pub(super) feedback_id: String,
    /// The rank of what was clicked, from 1; 0 where nothing was. For experiments without a
    /// `metric`.
    pub(super) clicked_rank: Option<u32>,
    /// The metric's number, for experiments that name its range.
    pub(super) value: Option<f64>,
    /// The number of the guardrail that is given, for experiments that have one.
    pub(super) guardrail: Option<f64>,
}

/// What became of feedback.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::serve::http) struct FeedbackView {
    /// Whether it counts.
    pub(super) result: FeedbackResult,
}

/// Whether feedback counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::serve::http) enum FeedbackResult {
    /// It does, and will after any restart.
    Counted,
    /// The user has an outcome already, and the first alone counts.
    Repeated,
    /// The experiment has stopped.
    TooLate,
}

impl ExperimentView {
    pub(super) fn new(tenant: String, standing: Standing) -> Self {
        let guardrails = standing.guardrails.into_iter().map(|(name, tolerance, effect)| {
            GuardrailView { name, tolerance, effect: effect.into() }
        });
        Self {
            tenant,
            request: standing.request,
            started_s: standing.started_s,
            ends_s: standing.ends_s,
            metric: standing.effect.into(),
            guardrails: guardrails.collect(),
            stop: standing.stop,
        }
    }
}

impl From<Effect> for EffectView {
    fn from(effect: Effect) -> Self {
        Self {
            control_subjects: effect.control_units,
            treatment_subjects: effect.treatment_units,
            control: effect.control,
            treatment: effect.treatment,
            low: effect.low,
            high: effect.high,
        }
    }
}

impl From<Recorded> for FeedbackResult {
    fn from(recorded: Recorded) -> Self {
        match recorded {
            Recorded::Counted => Self::Counted,
            Recorded::Repeated => Self::Repeated,
            Recorded::TooLate => Self::TooLate,
        }
    }
}
