//! Tenants: their quotas, what they hold, their tokens.

use std::collections::BTreeMap;
use std::io::Read;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use cotenant_api::{TenantList, TenantRequest, TenantView, TokenView};
use cotenant_sched::{Event, Job};
use cotenant_types::{Amount, Quota, TenantName};

use super::auth::{Caller, OPERATOR, hash};
use super::problem::{Body, Fault, InPath};
use super::shared::Shared;
use super::views;
use crate::keeper::Message;

pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
) -> Result<Json<TenantList>, Fault> {
    let mut tenants = all(&shared).await?;
    tenants.retain(|tenant| caller.owns(&tenant.name));
    Ok(Json(TenantList { tenants }))
}

async fn all(shared: &Shared) -> Result<Vec<TenantView>, Fault> {
    let read = shared.read(|reader| Ok((reader.tenants()?, reader.holders()?, reader.counts()?)));
    let (quotas, holders, counts) = read.await?;
    let held = |job: &Job| job.placement().map(|it| it.amount()).unwrap_or_default();
    let used = sums_below(&quotas, &holders, held);
    let view = |(name, quota): &(String, Quota)| {
        let states = views::by_state(&counts, |tenant| tenant == name);
        let count = |state: &str| states.get(state).copied().unwrap_or(0);
        TenantView {
            name: name.clone(),
            parent: quota.parent.as_ref().map(TenantName::to_string),
            weight: quota.weight,
            guaranteed: views::amount(quota.guaranteed),
            limit: quota.limit.map(views::amount),
            used: used.get(name.as_str()).copied().map(views::amount).unwrap_or_default(),
            jobs_running: count("starting") + count("running") + count("stopping"),
            jobs_waiting: count("queued"),
        }
    };
    Ok(quotas.iter().map(view).collect())
}

/// What each tenant's jobs and those of tenants below it have, by what one job has.
pub(super) fn sums_below<'a>(
    quotas: &'a [(String, Quota)],
    holders: &[Job],
    amount: impl Fn(&Job) -> Amount,
) -> BTreeMap<&'a str, Amount> {
    let by_name: BTreeMap<&str, &Quota> =
        quotas.iter().map(|(name, quota)| (name.as_str(), quota)).collect();
    let mut sums: BTreeMap<&str, Amount> = BTreeMap::new();
    for job in holders {
        let amount = amount(job);
        let mut next = by_name.get_key_value(job.terms.tenant.as_str());
        while let Some((name, quota)) = next {
            let sum = sums.entry(name).or_default();
            *sum = sum.plus(amount);
            next = quota.parent.as_ref().and_then(|parent| by_name.get_key_value(parent.as_str()));
        }
    }
    sums
}

pub(super) async fn set(
    State(shared): State<Shared>,
    caller: Caller,
    InPath(name): InPath<String>,
    Body(request): Body<TenantRequest>,
) -> Result<Json<TenantView>, Fault> {
    caller.must_operate()?;
    let tenant = parsed(&name)?;
    if name == OPERATOR {
        return Err(Fault::bad("'operator' is the operator's own name; choose another"));
    }
    let quota = request.resolve()?;
    shared.event(Event::TenantSet { tenant, quota }).await?;
    let found = all(&shared).await?.into_iter().find(|tenant| tenant.name == name);
    found.map(Json).ok_or_else(|| Fault::unavailable("the tenant is not there yet"))
}

pub(super) async fn create_token(
    State(shared): State<Shared>,
    caller: Caller,
    InPath(name): InPath<String>,
) -> Result<(StatusCode, Json<TokenView>), Fault> {
    caller.must_operate()?;
    let tenant = parsed(&name)?;
    let token = fresh_token().map_err(|error| Fault::unavailable(&error.to_string()))?;
    let hash = hash(&token);
    let asked = shared.ask(|reply| Message::Token(tenant, hash, reply)).await;
    asked.map_err(|fault| match name.as_str() {
        OPERATOR => fault,
        _ => Fault::new(StatusCode::NOT_FOUND, "no-tenant", format!("there is no tenant {name}")),
    })?;
    Ok((StatusCode::CREATED, Json(TokenView { tenant: name, token })))
}

fn parsed(name: &str) -> Result<TenantName, Fault> {
    name.parse().map_err(Fault::bad)
}

/// 256 bits that nobody can guess.
fn fresh_token() -> std::io::Result<String> {
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("cot_{text}"))
}
