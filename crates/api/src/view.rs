//! What the pool shows of itself. Amounts carry their unit in the name; times are milliseconds
//! since 1970-01-01 UTC.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::request::JobRequest;

/// Where a job is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It waits for its slices, or for its next attempt.
    Queued,
    /// Its slices are its own and its program is being started.
    Starting,
    /// Its program runs.
    Running,
    /// Its program was told to end.
    Stopping,
    /// It will never run again.
    Ended,
}

/// A job in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobRow {
    /// Its number.
    pub id: u64,
    /// What people call it.
    pub name: String,
    /// Who pays for it.
    pub tenant: String,
    /// `command` or `train`.
    pub kind: String,
    /// `online` or `offline`.
    pub class: String,
    /// Higher goes first.
    pub priority: i32,
    /// Where it is in its life.
    pub state: JobState,
    /// How it ended: `succeeded`, `failed`, `cancelled`, `timed-out`, `out-of-memory`, `missed`
    /// (its deadline), `reclaimed` (it was idle) or `lost`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// What it asks for, in words: `2 cards, 6GiB and 30% of each`.
    pub asks: String,
    /// Why it waits, in words, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// When it was submitted.
    pub submitted_ms: u64,
    /// When it last began to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<u64>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
}

/// A page of jobs, the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<JobRow>,
    /// Jobs in all that the filter lets through, on this and other pages.
    pub total: u64,
    /// What to give as `before` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_before: Option<u64>,
}

/// A job, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobView {
    /// What a list shows of it.
    #[serde(flatten)]
    pub row: JobRow,
    /// What was asked for; values of `env` are shown to nobody.
    pub request: JobRequest,
    /// Starts so far.
    pub generation: u32,
    /// Attempts left after failures.
    pub retries_left: u32,
    /// What it holds, member by member; empty unless it is starting, running or stopping.
    pub members: Vec<MemberView>,
    /// How its program ended, in words, once it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<String>,
    /// The most memory of a card that its last measured run had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_memory_mib: Option<u64>,
    /// What it last used of all its cards together, while it runs: compute may be more than a
    /// thousand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<UseView>,
    /// What it used over the last minutes, the oldest first, where that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<UseView>,
    /// What happened to it, the oldest first; at most 200 events.
    pub life: Vec<EventView>,
}

/// One process group of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemberView {
    /// Its machine.
    pub node: String,
    /// Its slices.
    pub slices: Vec<SliceView>,
}

/// A job's part of a card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SliceView {
    /// The job.
    pub job: u64,
    /// Its tenant.
    pub tenant: String,
    /// The card.
    pub card: String,
    /// Memory kept for the job.
    pub memory_mib: u64,
    /// The most that it may reach.
    pub memory_limit_mib: u64,
    /// Compute kept for the job.
    pub compute_per_mille: u32,
    /// The most that it may reach.
    pub compute_limit_per_mille: u32,
    /// Whether the card is the job's alone.
    pub whole: bool,
    /// What holds the job to it.
    pub enforced_by: String,
    /// Its partition, such as `3g.40gb@4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mig: Option<String>,
    /// What the job last used of the card, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<UseView>,
}

/// What something uses now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UseView {
    /// When this was read.
    pub at_ms: u64,
    /// Compute in use.
    pub compute_per_mille: u32,
    /// Memory in use.
    pub memory_mib: u64,
    /// Temperature in degrees Celsius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<u32>,
    /// Power in milliwatts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_mw: Option<u64>,
}

/// A card and who holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CardView {
    /// Its name.
    pub id: String,
    /// Its machine.
    pub node: String,
    /// Its place in the machine.
    pub index: u32,
    /// `nvidia`, `cpu` or `sim`.
    pub kind: String,
    /// Its maker's name for it.
    pub model: String,
    /// Memory that jobs may have.
    pub memory_mib: u64,
    /// Processor cores, of a CPU card.
    pub cores: u32,
    /// The rack of its machine; empty if unknown.
    pub rack: String,
    /// `ok`, `draining`, or why it is lost.
    pub health: String,
    /// What can hold a slice of it, best first.
    pub rungs: Vec<String>,
    /// Its slices.
    pub slices: Vec<SliceView>,
    /// What it last used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<UseView>,
    /// What it used over the last minutes, the oldest first, where that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<UseView>,
}

/// Cards of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CardPage {
    /// The cards, by node and index.
    pub cards: Vec<CardView>,
    /// Cards in all.
    pub total: u64,
    /// What to give as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_after: Option<String>,
}

/// A machine of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Whether new jobs stay away from it.
    pub draining: bool,
    /// Its cards that can be used, once it is not drained.
    pub cards: u64,
    /// Its cards that it no longer names.
    pub cards_lost: u64,
    /// Jobs that hold slices of its cards.
    pub jobs: u64,
}

/// Every machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeList {
    /// The machines, by name.
    pub nodes: Vec<NodeView>,
}

/// Why a job waits, or that it does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainView {
    /// The job.
    pub id: u64,
    /// Where it is in its life.
    pub state: JobState,
    /// What stands in its way; empty if nothing does.
    pub reasons: Vec<ReasonView>,
}

/// One thing that stands in a job's way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReasonView {
    /// A stable word for it, such as `quota` or `memory`.
    pub code: String,
    /// What it is, in words.
    pub message: String,
    /// What would help, in words.
    pub help: Vec<String>,
    /// The figures behind the words.
    pub facts: BTreeMap<String, serde_json::Value>,
}

/// A tenant, what it may have and what it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantView {
    /// Its name.
    pub name: String,
    /// The tenant whose share it lives on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Its part among those with the same parent.
    pub weight: u32,
    /// What it has first.
    pub guaranteed: AmountView,
    /// The most it may hold at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<AmountView>,
    /// What it and those below it hold.
    pub used: AmountView,
    /// Its jobs that hold slices.
    pub jobs_running: u64,
    /// Its jobs that wait.
    pub jobs_waiting: u64,
}

/// Every tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantList {
    /// The tenants, by name.
    pub tenants: Vec<TenantView>,
}

/// A tenant's new token: shown once, and stored as a hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenView {
    /// The tenant that it acts for.
    pub tenant: String,
    /// What to send as `Authorization: Bearer …`.
    pub token: String,
}

/// Compute and memory of cards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AmountView {
    /// Compute in thousandths of a card.
    pub compute_milli: u64,
    /// Memory of cards.
    pub memory_mib: u64,
}

/// The pool at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoolView {
    /// The program's version.
    pub version: String,
    /// When the daemon started.
    pub started_ms: u64,
    /// How it chooses among cards that have room: bid-price, fgd, best-fit or least-left.
    #[serde(default)]
    pub policy: String,
    /// Machines.
    pub nodes: u64,
    /// Cards that can be used.
    pub cards: u64,
    /// All they have.
    pub capacity: AmountView,
    /// What jobs hold of it.
    pub used: AmountView,
    /// What is in use of it, of all cards where that is known; for a tenant, by its jobs. Compute
    /// may be more than a thousand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<UseView>,
    /// The same over the last minutes, the oldest first, where that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<UseView>,
    /// Jobs by state.
    pub jobs: BTreeMap<String, u64>,
    /// What sharing saves.
    pub savings: SavingsView,
}

/// What sharing saves: "these 9 jobs would hold 9 cards; they hold 2".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SavingsView {
    /// Jobs that hold slices.
    pub jobs: u64,
    /// Cards that they would hold if no card were shared.
    pub cards_alone: u64,
    /// Cards that they hold.
    pub cards_held: u64,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventView {
    /// Its place in the pool's log, from 1, without gaps.
    pub seq: u64,
    /// When.
    pub at_ms: u64,
    /// A stable word for it, such as `job-started`.
    pub kind: String,
    /// The job, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<u64>,
    /// The tenant, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// What happened, in words.
    pub text: String,
}

/// What a client sees of an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// A stable word for it, such as `bad-request`.
    pub code: String,
    /// What happened and why.
    pub message: String,
    /// What to try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
