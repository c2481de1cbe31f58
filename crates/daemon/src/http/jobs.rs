//! Jobs: submitted, listed, shown, explained, cancelled, resized.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use cotenant_api::{
    ExplainView, JobPage, JobRequest, JobState, JobView, LoadRequest, ResizeRequest,
};
use cotenant_sched::{Event, Job, expected_memory};
use cotenant_types::JobId;
use serde::Deserialize;

use super::auth::Caller;
use super::problem::{Body, Fault, InPath, InQuery};
use super::shared::Shared;
use super::views;
use crate::keeper::{self, Message, Submission};
use crate::live::Uses;
use crate::store::{JobQuery, StoredJob};
use crate::words;

const KEY_LEN_MAX: usize = 128;
const LIST_LIMIT: u32 = 100;
const LIST_LIMIT_MAX: u32 = 1000;
/// Most events of a job's life that are shown with it.
const LIFE_MAX: u32 = 200;
const DEFAULT_TENANT: &str = "default";

/// Whether use over the last minutes is wanted too.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UseQuery {
    #[serde(default)]
    pub(super) history: bool,
}

/// What a page of jobs may be narrowed by.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    limit: Option<u32>,
    before: Option<u64>,
    tenant: Option<String>,
    state: Option<String>,
}

pub(super) async fn submit(
    State(shared): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Body(request): Body<JobRequest>,
) -> Result<(StatusCode, Json<JobView>), Fault> {
    let key = key_of(&headers)?;
    let default = DEFAULT_TENANT.parse().expect("it is a good name");
    let tenant = caller.tenant().unwrap_or(&default);
    let (payer, name) = request.owner(Some(tenant))?;
    if !caller.owns(payer.as_str()) {
        let message = format!("the token is not that of tenant {payer}");
        return Err(Fault::new(StatusCode::FORBIDDEN, "not-yours", message));
    }
    let request = match request.wants_auto_memory() {
        true => {
            let past = shared.read(move |reader| reader.past_runs(payer.as_str(), &name)).await?;
            let expected = expected_memory(request.foretold()?, &past);
            request.with_memory(expected)?
        }
        false => request,
    };
    let resolved = request.resolve(Some(tenant), keeper::now())?;
    let (name, terms) = (resolved.name, resolved.terms);
    let submission = Box::new(Submission { name, terms, request, key });
    let JobId(id) = shared.ask(|reply| Message::Submit(submission, reply)).await?;
    Ok((StatusCode::CREATED, view(&shared, &caller, id).await?))
}

fn key_of(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let is_good = |key: &&str| {
        (1..=KEY_LEN_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match key.to_str().ok().filter(is_good) {
        Some(key) => Ok(Some(key.to_owned())),
        None => {
            let message =
                format!("Idempotency-Key is not 1 to {KEY_LEN_MAX} visible ASCII characters");
            Err(Fault::bad(message))
        }
    }
}

pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    InQuery(query): InQuery<ListQuery>,
) -> Result<Json<JobPage>, Fault> {
    let limit = checked_limit(query.limit)?;
    let states = ["queued", "starting", "running", "stopping", "ended"];
    let state = match &query.state {
        None => None,
        Some(name) => match states.into_iter().find(|state| state == name) {
            Some(state) => Some(state),
            None => {
                let message = format!("state {name:?} is not one of {}", states.join(", "));
                return Err(Fault::bad(message));
            }
        },
    };
    let tenant = match caller.tenant() {
        Some(own) => Some(own.to_string()),
        None => query.tenant,
    };
    let wanted = JobQuery { tenant, state, before: query.before, limit };
    let (jobs, total) = shared.read(move |reader| reader.jobs(&wanted)).await?;
    let waits = shared.live.waits();
    let next_before = match jobs.len() as u32 == limit {
        true => jobs.last().map(|job| job.id),
        false => None,
    };
    let jobs = jobs.iter().map(|job| views::row(job, &waits)).collect();
    Ok(Json(JobPage { jobs, total, next_before }))
}

pub(super) fn checked_limit(limit: Option<u32>) -> Result<u32, Fault> {
    let limit = limit.unwrap_or(LIST_LIMIT);
    match (1..=LIST_LIMIT_MAX).contains(&limit) {
        true => Ok(limit),
        false => Err(Fault::bad(format!("limit {limit} is not within 1 and {LIST_LIMIT_MAX}"))),
    }
}

pub(super) async fn show(
    State(shared): State<Shared>,
    caller: Caller,
    InPath(id): InPath<u64>,
    InQuery(query): InQuery<UseQuery>,
) -> Result<Json<JobView>, Fault> {
    let mut view = view(&shared, &caller, id).await?;
    if query.history {
        let used = |uses: &Arc<Uses>| uses.jobs.get(&JobId(id)).cloned();
        view.0.history = shared.live.history().iter().filter_map(used).collect();
    }
    Ok(view)
}

async fn view(shared: &Shared, caller: &Caller, id: u64) -> Result<Json<JobView>, Fault> {
    let stored = find(shared, caller, id).await?;
    let life = shared.read(move |reader| reader.life(id, LIFE_MAX)).await?;
    Ok(Json(views::job(&stored, &shared.live, life)?))
}

/// A job that the caller may see; another's is not there for it.
pub(super) async fn find(shared: &Shared, caller: &Caller, id: u64) -> Result<StoredJob, Fault> {
    let found = match i64::try_from(id) {
        Ok(_) => shared.read(move |reader| reader.job(id)).await?,
        Err(_) => None,
    };
    found.filter(|job| caller.owns(&job.tenant)).ok_or_else(|| Fault::no_job(id))
}

pub(super) async fn explain(
    State(shared): State<Shared>,
    caller: Caller,
    InPath(id): InPath<u64>,
) -> Result<Json<ExplainView>, Fault> {
    let stored = find(&shared, &caller, id).await?;
    let state = views::state(&stored.state).unwrap_or(JobState::Ended);
    let waits = shared.live.waits();
    let reasons = waits.get(&JobId(id)).filter(|_| state == JobState::Queued);
    let reasons = reasons.map(|reasons| reasons.iter().map(words::reason).collect());
    Ok(Json(ExplainView { id, state, reasons: reasons.unwrap_or_default() }))
}

pub(super) async fn cancel(
    State(shared): State<Shared>,
    caller: Caller,
    InPath(id): InPath<u64>,
) -> Result<Json<JobView>, Fault> {
    let stored = find(&shared, &caller, id).await?;
    if stored.state != "ended" {
        let cancelled = shared.event(Event::CancelRequested { job: JobId(id) }).await;
        // It may have ended of itself just now, which is what was wanted.
        let now = find(&shared, &caller, id).await?;
        if now.state != "ended" {
            cancelled?;
        }
    }
    view(&shared, &caller, id).await
}

pub(super) async fn resize(
    State(shared): State<Shared>,
    caller: Caller,
    InPath(id): InPath<u64>,
    Body(request): Body<ResizeRequest>,
) -> Result<Json<JobView>, Fault> {
    let stored = find(&shared, &caller, id).await?;
    let record: Job = serde_json::from_str(&stored.record)
        .map_err(|error| Fault::unavailable(&error.to_string()))?;
    let ask = request.apply(&record.terms.ask)?;
    shared.event(Event::ResizeRequested { job: JobId(id), ask }).await?;
    view(&shared, &caller, id).await
}

pub(super) async fn report_load(
    State(shared): State<Shared>,
    caller: Caller,
    InPath(id): InPath<u64>,
    Body(request): Body<LoadRequest>,
) -> Result<StatusCode, Fault> {
    find(&shared, &caller, id).await?;
    let load = request.resolve()?;
    shared.event(Event::LoadReported { job: JobId(id), load }).await?;
    Ok(StatusCode::NO_CONTENT)
}
