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
    let mut page = Page(String::new());
    kept(&mut page, figures);
    used(&mut page, figures, uses);
    let lost = figures.cards.iter().filter(|record| record.is_lost).count() as f64;
    let about = "Cards that their machines no longer name.";
    page.family("cotenant_cards_lost", about, [(Vec::new(), lost)]);
    let jobs = figures.counts.iter().map(|(tenant, state, count)| {
        (vec![("tenant", tenant.clone()), ("state", state.clone())], *count as f64)
    });
    page.family("cotenant_jobs", "Jobs by tenant and state.", jobs);
    let about = "When the daemon started, in seconds since 1970.";
    let started = started_ms as f64 / 1000.0;
    page.family("cotenant_start_time_seconds", about, [(Vec::new(), started)]);
    page.0
}

/// Labels and a value.
type Sample = (Vec<(&'static str, String)>, f64);

/// What was written so far.
struct Page(String);

impl Page {
    /// Writes the samples of one name.
    fn family(&mut self, name: &str, about: &str, samples: impl IntoIterator<Item = Sample>) {
        let text = &mut self.0;
        writeln!(text, "# HELP {name} {about}\n# TYPE {name} gauge").expect("a string takes any");
        for (labels, value) in samples {
            let label = |(label, value): &(&str, String)| format!("{label}=\"{}\"", escaped(value));
            let labels: Vec<String> = labels.iter().map(label).collect();
            let line = match labels.is_empty() {
                true => writeln!(text, "{name} {value}"),
                false => writeln!(text, "{name}{{{}}} {value}", labels.join(",")),
            };
            line.expect("a string takes any");
        }
    }
}

fn labels(record: &CardRecord) -> Vec<(&'static str, String)> {
    vec![("node", record.card.node.to_string()), ("card", record.card.id.to_string())]
}

fn bytes(mib: u64) -> f64 {
    (mib * MIB) as f64
}

fn ratio(per_mille: u32) -> f64 {
    f64::from(per_mille) / 1000.0
}

/// What cards have, and what of it is kept for jobs.
fn kept(page: &mut Page, figures: &Figures) {
    let mut sums: BTreeMap<&str, (u64, u32, u32)> = BTreeMap::new();
    for slice in figures.holders.iter().filter_map(Job::placement).flat_map(|it| it.slices()) {
        let sum = sums.entry(slice.card.as_str()).or_default();
        sum.0 += slice.memory.request.0;
        sum.1 += slice.compute.request.per_mille();
        sum.2 += 1;
    }
    let of = |record: &CardRecord| sums.get(record.card.id.as_str()).copied().unwrap_or_default();
    let each = |value: &dyn Fn(&CardRecord) -> f64| -> Vec<Sample> {
        figures.usable().map(|record| (labels(record), value(record))).collect()
    };
    page.family(
        "cotenant_card_memory_bytes",
        "Memory of the card that jobs may have.",
        each(&|record| bytes(record.card.memory.0)),
    );
    page.family(
        "cotenant_card_memory_kept_bytes",
        "Memory of the card that is kept for jobs.",
        each(&|record| bytes(of(record).0)),
    );
    page.family(
        "cotenant_card_compute_kept_ratio",
        "Part of the card's compute that is kept for jobs.",
        each(&|record| ratio(of(record).1)),
    );
    page.family(
        "cotenant_card_slices",
        "Jobs that have a slice of the card.",
        each(&|record| f64::from(of(record).2)),
    );
}

/// What cards and jobs use, where it was read.
fn used(page: &mut Page, figures: &Figures, uses: &Uses) {
    let cards = || figures.usable().filter_map(|it| Some((it, uses.cards.get(&it.card.id)?)));
    page.family(
        "cotenant_card_memory_used_bytes",
        "Memory of the card in use.",
        cards().map(|(record, used)| (labels(record), bytes(used.memory_mib))),
    );
    page.family(
        "cotenant_card_compute_used_ratio",
        "Part of the card's compute in use.",
        cards().map(|(record, used)| (labels(record), ratio(used.compute_per_mille))),
    );
    let jobs = || {
        figures.holders.iter().filter_map(|job| {
            let labels =
                vec![("job", job.id.to_string()), ("tenant", job.terms.tenant.to_string())];
            Some((labels, uses.jobs.get(&job.id)?))
        })
    };
    page.family(
        "cotenant_job_memory_used_bytes",
        "Memory that the job uses.",
        jobs().map(|(labels, used)| (labels, bytes(used.memory_mib))),
    );
    page.family(
        "cotenant_job_compute_used_ratio",
        "Part of its card's compute that the job uses.",
        jobs().map(|(labels, used)| (labels, ratio(used.compute_per_mille))),
    );
}

impl Figures {
    fn usable(&self) -> impl Iterator<Item = &CardRecord> {
        self.cards.iter().filter(|record| !record.is_lost)
    }
}

/// A label's value as the format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
