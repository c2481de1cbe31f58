//! The pool at a glance, its cards, and its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use cotenant_api::{CardPage, CardView, PoolView, SavingsView, SliceView};
use cotenant_device::Health;
use cotenant_sched::{CardRecord, Job};
use cotenant_types::{Amount, CardId, JobId};
use serde::Deserialize;

use super::auth::Caller;
use super::jobs::{UseQuery, checked_limit};
use super::problem::{Fault, InQuery};
use super::shared::Shared;
use super::views;
use crate::live::{Condition, Uses};

/// Which page of cards.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CardsQuery {
    limit: Option<u32>,
    after: Option<String>,
    #[serde(default)]
    history: bool,
}

pub(super) async fn pool(
    State(shared): State<Shared>,
    caller: Caller,
    InQuery(query): InQuery<UseQuery>,
) -> Result<Json<PoolView>, Fault> {
    let read = shared.read(|reader| Ok((reader.cards()?, reader.holders()?, reader.counts()?)));
    let (cards, holders, counts) = read.await?;
    let usable: Vec<&CardRecord> = cards.iter().filter(|record| !record.is_lost).collect();
    let capacity = usable.iter().fold(Amount::default(), |sum, record| {
        sum.plus(Amount { compute_milli: 1000, memory: record.card.memory })
    });
    let own = |job: &&Job| caller.owns(job.terms.tenant.as_str());
    let held = holders.iter().filter(own).filter_map(Job::placement);
    let used = held.map(|placement| placement.amount()).fold(Amount::default(), Amount::plus);
    let ids: BTreeSet<JobId> = holders.iter().filter(own).map(|job| job.id).collect();
    // Of the cards as a whole, a tenant is told nothing that others do.
    let in_use = |uses: &Arc<Uses>| match caller.tenant() {
        None => uses.total.clone(),
        Some(_) => uses.sum(ids.iter().filter_map(|id| uses.jobs.get(id))),
    };
    let history = if query.history { shared.live.history() } else { Vec::new() };
    let now = Some(shared.live.uses()).filter(|uses| uses.at_ms > 0);
    let nodes: BTreeSet<_> = usable.iter().map(|record| &record.card.node).collect();
    Ok(Json(PoolView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_ms: shared.started_ms,
        policy: shared.policy.as_str().to_owned(),
        nodes: nodes.len() as u64,
        cards: usable.len() as u64,
        capacity: views::amount(capacity),
        used: views::amount(used),
        usage: now.as_ref().map(in_use),
        history: history.iter().map(in_use).collect(),
        jobs: views::by_state(&counts, |tenant| caller.owns(tenant)),
        savings: savings(holders.iter().filter(own)),
    }))
}

/// Cards that jobs hold, beside those that they would hold if no card were shared.
fn savings<'a>(holders: impl Iterator<Item = &'a Job>) -> SavingsView {
    let mut held: BTreeSet<&CardId> = BTreeSet::new();
    let mut savings = SavingsView::default();
    for placement in holders.filter_map(Job::placement) {
        savings.jobs += 1;
        for slice in placement.slices() {
            savings.cards_alone += 1;
            held.insert(&slice.card);
        }
    }
    savings.cards_held = held.len() as u64;
    savings
}

pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    InQuery(query): InQuery<CardsQuery>,
) -> Result<Json<CardPage>, Fault> {
    let limit = checked_limit(query.limit)? as usize;
    let read = shared.read(|reader| Ok((reader.cards()?, reader.holders()?, reader.draining()?)));
    let (mut cards, holders, draining) = read.await?;
    let draining: BTreeSet<String> = draining.into_iter().collect();
    cards.sort_by(|a, b| order(a).cmp(&order(b)));
    let total = cards.len() as u64;
    let first = match &query.after {
        None => 0,
        Some(after) => {
            let found = cards.iter().position(|record| record.card.id.as_str() == after);
            found.ok_or_else(|| Fault::bad(format!("there is no card {after:?}")))? + 1
        }
    };
    let uses = shared.live.uses();
    let slices = slices_by_card(&holders, (&uses, &caller));
    let history = if query.history { shared.live.history() } else { Vec::new() };
    let page = cards.iter().skip(first).take(limit).map(|record| {
        let is_draining = draining.contains(record.card.node.as_str());
        let mut view = card(record, is_draining, uses.conditions.get(&record.card.id));
        view.slices = slices.get(&record.card.id).cloned().unwrap_or_default();
        view.usage = uses.of_card(&record.card).filter(|_| !record.is_lost);
        view.history = history.iter().filter_map(|uses| uses.of_card(&record.card)).collect();
        view
    });
    let page: Vec<CardView> = page.collect();
    let is_last = first + page.len() >= cards.len();
    let next_after = page.last().filter(|_| !is_last).map(|card| card.id.clone());
    Ok(Json(CardPage { cards: page, total, next_after }))
}

fn order(record: &CardRecord) -> (&str, u32, &CardId) {
    (record.card.node.as_str(), record.card.index, &record.card.id)
}

/// The slices on each card; of other tenants' nothing is shown but their size.
fn slices_by_card(
    holders: &[Job],
    (uses, caller): (&Uses, &Caller),
) -> BTreeMap<CardId, Vec<SliceView>> {
    let mut slices: BTreeMap<CardId, Vec<SliceView>> = BTreeMap::new();
    for job in holders {
        let tenant = job.terms.tenant.as_str();
        let is_own = caller.owns(tenant);
        let (id, tenant) = if is_own { (job.id.0, tenant) } else { (0, "another") };
        let members = job.placement().into_iter().flat_map(|placement| (0..).zip(&placement.0));
        for (number, member) in members {
            for slice in &member.slices {
                let usage = uses.of_slice(job.id, number, &slice.card).filter(|_| is_own);
                let view = SliceView { usage: usage.cloned(), ..views::slice(slice, id, tenant) };
                slices.entry(slice.card.clone()).or_default().push(view);
            }
        }
    }
    slices
}

fn card(record: &CardRecord, is_draining: bool, condition: Option<&Condition>) -> CardView {
    let card = &record.card;
    let health = match (record.is_lost, is_draining) {
        (true, _) => "lost: its machine no longer names it".to_owned(),
        (false, true) => "draining".to_owned(),
        (false, false) => condition.and_then(trouble).unwrap_or_else(|| "ok".to_owned()),
    };
    CardView {
        id: card.id.to_string(),
        node: card.node.to_string(),
        index: card.index,
        kind: card.kind.to_string(),
        model: card.model.clone(),
        memory_mib: card.memory.0,
        cores: card.cores,
        rack: card.site.rack.clone(),
        health,
        rungs: card.rungs.iter().map(|rung| rung.to_string()).collect(),
        slices: Vec::new(),
        usage: None,
        history: Vec::new(),
    }
}

/// What is wrong with a card, in words that say what to do; nothing if all is well.
fn trouble(condition: &Condition) -> Option<String> {
    let faults = condition.vitals.faults().join("; ");
    match condition.health {
        Health::Good | Health::MpsDown => None,
        Health::Failing => Some(format!("failing: {faults}")),
        Health::Lost if faults.is_empty() => Some("lost: it does not answer".to_owned()),
        Health::Lost => Some(format!("lost: it does not answer; {faults}")),
    }
}

pub(super) async fn shutdown(
    State(shared): State<Shared>,
    caller: Caller,
) -> Result<StatusCode, Fault> {
    caller.must_operate()?;
    shared.ending.send_replace(true);
    Ok(StatusCode::ACCEPTED)
}
