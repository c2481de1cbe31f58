//! A job as a person writes it, in TOML or JSON; `resolve` checks it and makes it exact.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A job that somebody asks for. Amounts are per card and member unless they say `total`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JobRequest {
    /// What people call it; the program's name if absent. At most 128 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who pays for it; the token's tenant if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// A program and its arguments. Exactly one of `command` and `train` is given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// A workspace file whose tenants are trained fused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<String>,
    /// Where the program starts; the daemon's scratch folder for the job if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// What the program finds in its environment, beside its slice.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,

    /// Different cards for each member. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cards: Option<u32>,
    /// Processes that start together or not at all. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<u32>,
    /// Memory kept for it on each card: `6GiB`, `512MiB`, `25%` of the card, or `auto`: what earlier
    /// runs of this name took, or else `estimate`, with a tenth to spare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// The most memory it may reach on each card. Default: what is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<String>,
    /// Memory that it is foretold to take on each card, as `cotenant estimate` says; a job that may
    /// not reach so much is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<String>,
    /// Memory kept for it over all cards of a member, split evenly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_total: Option<String>,
    /// Compute kept for it on each card: `30%`, `12.5%` or `125‰`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute: Option<String>,
    /// The most compute it may reach on each card. Default: by policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute_limit: Option<String>,
    /// Compute kept for it over all cards of a member, split evenly: `240%` over three is 80%.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute_total: Option<String>,
    /// `fixed`, `burst` or `contend`. Default `fixed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// `binpack` or `spread`. Default `binpack`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// A neighbourhood that its cards must share: `nvlink`, `numa` or `rack`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same: Option<String>,
    /// A neighbourhood that its cards share where one has room: `nvlink`, `numa` or `rack`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefer: Option<String>,
    /// Parts of names of models that will do, such as `H100`; any if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// The weakest enforcement that will do, such as `mps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforced_by: Option<String>,

    /// `online` or `offline`. Default `offline`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Higher goes first among a tenant's jobs of a class; -1000 to 1000. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Longest time in seconds that it may run at a stretch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_limit_s: Option<u32>,
    /// Seconds after submission by which it must have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_s: Option<u32>,
    /// How often it is started again after it failed; at most 100. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// How it makes room for another; without it, it never has to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preempt: Option<PreemptRequest>,
    /// When it is taken to be idle; without it, it never is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<IdleRequest>,
    /// When it suffers from its neighbours, of an online job; without it, it never does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<WatermarkRequest>,
}

/// Marks above which neighbours that borrow give back; at least one is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WatermarkRequest {
    /// Milliseconds that its answers may take, as it reports them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u32>,
    /// The part of the compute kept for it that it may use, as it reports it, or as is seen where
    /// use is metered: `90%`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
}

/// How an online job fares now; what is absent is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LoadRequest {
    /// Milliseconds that its answers take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u32>,
    /// The part of the compute kept for it that it uses: `85%`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
}

/// What an operator wants of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeRequest {
    /// Whether new jobs stay away from it; those that run there go on.
    pub draining: bool,
}

/// How a job is asked to write a checkpoint and end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PreemptRequest {
    /// `SIGTERM`, `SIGINT`, `SIGUSR1` or `SIGUSR2`. Default `SIGTERM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Seconds until it is killed; at most 3600. Default 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_s: Option<u32>,
}

/// When a job's slice is taken back because it does nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdleRequest {
    /// Seconds without work after which it gets a notice; at least 10.
    pub after_s: u32,
    /// Seconds from the notice until its slice is taken back.
    pub notice_s: u32,
}

/// New amounts for a job that runs; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResizeRequest {
    /// Memory kept for it on each card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// The most memory it may reach on each card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<String>,
    /// Compute kept for it on each card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute: Option<String>,
    /// The most compute it may reach on each card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute_limit: Option<String>,
}

/// A tenant as an operator sets it; what is absent takes its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TenantRequest {
    /// The tenant whose share this one lives on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Its part among those with the same parent; 1 to 1,000,000. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Compute that it has first, in cards: `250%` is two and a half.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guaranteed_compute: Option<String>,
    /// Memory of cards that it has first, such as `40GiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guaranteed_memory: Option<String>,
    /// The most compute it may hold at a time; no limit if both limits are absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_compute: Option<String>,
    /// The most memory of cards it may hold at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_memory: Option<String>,
}
