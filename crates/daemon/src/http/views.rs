//! From what is kept to what is shown.

use std::collections::BTreeMap;

use cotenant_api::{
    AmountView, EventView, JobRequest, JobRow, JobState, JobView, MemberView, SliceView,
};
use cotenant_sched::Job;
use cotenant_types::{Amount, JobId, Slice};

use super::problem::Fault;
use crate::live::{Live, Waits};
use crate::store::{StoredEvent, StoredJob};
use crate::words;

/// Shown instead of a value of the environment.
const HIDDEN: &str = "•••";

pub(super) fn state(name: &str) -> Option<JobState> {
    Some(match name {
        "queued" => JobState::Queued,
        "starting" => JobState::Starting,
        "running" => JobState::Running,
        "stopping" => JobState::Stopping,
        "ended" => JobState::Ended,
        _ => return None,
    })
}

pub(super) fn row(job: &StoredJob, waits: &Waits) -> JobRow {
    let state = state(&job.state).unwrap_or(JobState::Ended);
    let reasons = waits.get(&JobId(job.id)).filter(|_| state == JobState::Queued);
    JobRow {
        id: job.id,
        name: job.name.clone(),
        tenant: job.tenant.clone(),
        kind: job.kind.clone(),
        class: job.class.clone(),
        priority: job.priority,
        state,
        outcome: job.outcome.clone(),
        asks: job.asks.clone(),
        waits: reasons.and_then(|reasons| Some(words::reason(reasons.first()?).message)),
        submitted_ms: job.submitted_ms,
        started_ms: job.started_ms,
        ended_ms: job.ended_ms,
    }
}

pub(super) fn job(
    stored: &StoredJob,
    live: &Live,
    life: Vec<StoredEvent>,
) -> Result<JobView, Fault> {
    let damaged = |error: serde_json::Error| Fault::unavailable(&error.to_string());
    let record: Job = serde_json::from_str(&stored.record).map_err(damaged)?;
    let mut request: JobRequest = serde_json::from_str(&stored.request).map_err(damaged)?;
    request.env.values_mut().for_each(|value| *value = HIDDEN.to_owned());
    let row = row(stored, &live.waits());
    let held = record.placement().filter(|_| row.state != JobState::Ended);
    let uses = live.uses();
    let members = held.into_iter().flat_map(|placement| (0..).zip(&placement.0));
    let members = members.map(|(number, member)| {
        let slices = member.slices.iter().map(|it| SliceView {
            usage: uses.of_slice(record.id, number, &it.card).cloned(),
            ..slice(it, stored.id, &stored.tenant)
        });
        MemberView { node: member.node.to_string(), slices: slices.collect() }
    });
    let members = members.collect();
    let usage = uses.jobs.get(&record.id).cloned();
    Ok(JobView {
        request,
        generation: record.generation.0,
        retries_left: record.retries_left,
        members,
        exit: stored.exit.clone(),
        peak_memory_mib: stored.peak_mib,
        usage: usage.filter(|_| row.state == JobState::Running),
        history: Vec::new(),
        life: life.into_iter().map(event).collect(),
        row,
    })
}

/// A slice without what is used of it.
pub(super) fn slice(slice: &Slice, job: u64, tenant: &str) -> SliceView {
    SliceView {
        job,
        tenant: tenant.to_owned(),
        card: slice.card.to_string(),
        memory_mib: slice.memory.request.0,
        memory_limit_mib: slice.memory.limit.0,
        compute_per_mille: slice.compute.request.per_mille(),
        compute_limit_per_mille: slice.compute.limit.per_mille(),
        whole: slice.whole,
        enforced_by: slice.enforced_by.to_string(),
        mig: slice.mig.as_ref().map(|mig| format!("{}@{}", mig.profile, mig.start)),
        usage: None,
    }
}

pub(super) fn event(event: StoredEvent) -> EventView {
    let StoredEvent { seq, at_ms, kind, job, tenant, text } = event;
    EventView { seq, at_ms, kind, job, tenant, text }
}

pub(super) fn amount(amount: Amount) -> AmountView {
    AmountView { compute_milli: amount.compute_milli, memory_mib: amount.memory.0 }
}

/// Jobs by state, of one tenant or of all.
pub(super) fn by_state(
    counts: &[(String, String, u64)],
    of: impl Fn(&str) -> bool,
) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for (_, state, count) in counts.iter().filter(|(tenant, ..)| of(tenant)) {
        *sums.entry(state.clone()).or_default() += count;
    }
    sums
}
