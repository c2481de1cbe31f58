//! Figures for Prometheus: names and units by its rules, one family after the other.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use cotenant_sched::{CardRecord, Job};

use super::auth::Caller;
use super::problem::Fault;
use super::shared::Shared;
use crate::live::Uses;

const MIB: u64 = 1 << 20;

/// What the figures are taken from.
struct Figures {
    cards: Vec<CardRecord>,
    holders: Vec<Job>,
    counts: Vec<(String, String, u64)>,
}

pub(super) async fn show(State(shared): State<Shared>, caller: Caller) -> Result<Response, Fault> {
    caller.must_operate()?;
    let read = shared.read(|reader| {
        let (cards, holders, counts) = (reader.cards()?, reader.holders()?, reader.counts()?);
        Ok(Figures { cards, holders, counts })
    });
    let figures = read.await?;
    let text = text(&figures, &shared.live.uses(), shared.started_ms);
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

fn text(figures: &Figures, uses: &Uses, started_ms: u64) -> String {
    let mut text = String::new();
    let mut family = |name: &str, about: &str, samples: Vec<(Vec<(&str, String)>, f64)>| {
        writeln!(text, "# HELP {name} {about}\n# TYPE {name} gauge").expect("a string takes any");
        for (labels, value) in samples {
            let labels: Vec<String> = labels
                .iter()
                .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
                .collect();
            writeln!(text, "{name}{{{}}} {value}", labels.join(",")).expect("a string takes any");
        }
    };
    let card = |record: &CardRecord| {
        let card = &record.card;
        vec![("node", card.node.to_string()), ("card", card.id.to_string())]
    };
    let usable = || figures.cards.iter().filter(|record| !record.is_lost);
    let bytes = |mib: u64| (mib * MIB) as f64;
    family(
        "cotenant_card_memory_bytes",
        "Memory of the card that jobs may have.",
        usable().map(|record| (card(record), bytes(record.card.memory.0))).collect(),
    );
    let mut kept: BTreeMap<&str, (u64, u32, u32)> = BTreeMap::new();
    for slice in figures.holders.iter().filter_map(Job::placement).flat_map(|it| it.slices()) {
        let sum = kept.entry(slice.card.as_str()).or_default();
        sum.0 += slice.memory.request.0;
        sum.1 += slice.compute.request.per_mille();
        sum.2 += 1;
    }
    let of = |record: &CardRecord| kept.get(record.card.id.as_str()).copied().unwrap_or_default();
    family(
        "cotenant_card_memory_kept_bytes",
        "Memory of the card that is kept for jobs.",
        usable().map(|record| (card(record), bytes(of(record).0))).collect(),
    );
    family(
        "cotenant_card_compute_kept_ratio",
        "Part of the card's compute that is kept for jobs.",
        usable().map(|record| (card(record), f64::from(of(record).1) / 1000.0)).collect(),
    );
    family(
        "cotenant_card_slices",
        "Jobs that have a slice of the card.",
        usable().map(|record| (card(record), f64::from(of(record).2))).collect(),
    );
    let used = |record: &CardRecord| uses.cards.get(&record.card.id).cloned();
    family(
        "cotenant_card_memory_used_bytes",
        "Memory of the card in use.",
        usable().filter_map(|it| Some((card(it), bytes(used(it)?.memory_mib)))).collect(),
    );
    family(
        "cotenant_card_compute_used_ratio",
        "Part of the card's compute in use.",
        usable()
            .filter_map(|it| Some((card(it), f64::from(used(it)?.compute_per_mille) / 1000.0)))
            .collect(),
    );
    family(
        "cotenant_cards_lost",
        "Cards that their machines no longer name.",
        vec![(Vec::new(), figures.cards.iter().filter(|it| it.is_lost).count() as f64)],
    );
    let jobs = figures.counts.iter().map(|(tenant, state, count)| {
        (vec![("tenant", tenant.clone()), ("state", state.clone())], *count as f64)
    });
    family("cotenant_jobs", "Jobs by tenant and state.", jobs.collect());
    let job = |id: &cotenant_types::JobId| {
        let tenant = figures.holders.iter().find(|job| job.id == *id)?.terms.tenant.to_string();
        Some(vec![("job", id.to_string()), ("tenant", tenant)])
    };
    family(
        "cotenant_job_memory_used_bytes",
        "Memory that the job uses.",
        uses.jobs.iter().filter_map(|(id, it)| Some((job(id)?, bytes(it.memory_mib)))).collect(),
    );
    family(
        "cotenant_job_compute_used_ratio",
        "Part of its card's compute that the job uses.",
        uses.jobs
            .iter()
            .filter_map(|(id, it)| Some((job(id)?, f64::from(it.compute_per_mille) / 1000.0)))
            .collect(),
    );
    family(
        "cotenant_start_time_seconds",
        "When the daemon started, in seconds since 1970.",
        vec![(Vec::new(), started_ms as f64 / 1000.0)],
    );
    text
}

/// A label's value as the format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
