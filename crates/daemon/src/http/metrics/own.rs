//! Our own names: base units, and a noun of the pool before what is said of it.
//!
//! A job is named by `job_id`, as `job` is what Prometheus calls whatever it scrapes.

use std::collections::{BTreeMap, BTreeSet};

use cotenant_device::SliceUsage;
use cotenant_sched::CardRecord;
use cotenant_types::{Amount, CardId, Mebibytes};

use super::figures::{Figures, Held};
use super::page::{Kind, Page, Sample};
use crate::http::tenants::sums_below;

const MIB: u64 = 1 << 20;

/// The reason of a job that the pool has not looked at yet.
const NOT_LOOKED_AT: &str = "not-looked-at";

/// Writes every figure under its own name.
pub(super) fn write(page: &mut Page, figures: &Figures) {
    cards_kept(page, figures);
    cards_used(page, figures);
    pool(page, figures);
    slices(page, figures);
    jobs(page, figures);
    queue(page, figures);
    tenants(page, figures);
    let about = "When the daemon started, in seconds since 1970.";
    let started = figures.started_ms as f64 / 1000.0;
    page.gauge("cotenant_start_time_seconds", about, [(Vec::new(), started)]);
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    page.gauge("cotenant_build_info", "The program's version.", [(version, 1.0)]);
}

/// Mebibytes as bytes.
pub(super) fn bytes(mib: u64) -> f64 {
    (mib as f64) * (MIB as f64)
}

fn ratio(per_mille: u32) -> f64 {
    f64::from(per_mille) / 1000.0
}

/// What is kept of a card, and for how many slices.
#[derive(Clone, Copy, Default)]
pub(super) struct Kept {
    pub(super) memory_mib: u64,
    pub(super) compute_per_mille: u32,
    pub(super) slices: u32,
}

/// What is kept of each card that is held.
pub(super) fn kept(figures: &Figures) -> BTreeMap<&CardId, Kept> {
    let mut sums: BTreeMap<&CardId, Kept> = BTreeMap::new();
    for Held { slice, .. } in figures.slices() {
        let sum = sums.entry(&slice.card).or_default();
        sum.memory_mib += slice.memory.request.0;
        sum.compute_per_mille += slice.compute.request.per_mille();
        sum.slices += 1;
    }
    sums
}

fn of_card(record: &CardRecord) -> Vec<(&'static str, String)> {
    vec![("node", record.card.node.to_string()), ("card", record.card.id.to_string())]
}

/// What cards are and have, and what of it is kept for jobs.
fn cards_kept(page: &mut Page, figures: &Figures) {
    let sums = kept(figures);
    let of = |record: &CardRecord| sums.get(&record.card.id).copied().unwrap_or_default();
    let each = |value: &dyn Fn(&CardRecord) -> f64| -> Vec<Sample> {
        figures.usable().map(|record| (of_card(record), value(record))).collect()
    };
    let info = figures.usable().map(|record| {
        let mut labels = of_card(record);
        let (index, kind) = (record.card.index.to_string(), record.card.kind.to_string());
        labels.extend([("index", index), ("model", record.card.model.clone()), ("kind", kind)]);
        (labels, 1.0)
    });
    page.gauge("cotenant_card_info", "What the card is.", info);
    page.gauge(
        "cotenant_card_memory_bytes",
        "Memory of the card that jobs may have.",
        each(&|record| bytes(record.card.memory.0)),
    );
    page.gauge(
        "cotenant_card_memory_kept_bytes",
        "Memory of the card that is kept for jobs.",
        each(&|record| bytes(of(record).memory_mib)),
    );
    page.gauge(
        "cotenant_card_compute_kept_ratio",
        "Part of the card's compute that is kept for jobs.",
        each(&|record| ratio(of(record).compute_per_mille)),
    );
    page.gauge(
        "cotenant_card_slices",
        "Slices of the card that jobs have.",
        each(&|record| f64::from(of(record).slices)),
    );
}

/// What cards do, where it was read.
fn cards_used(page: &mut Page, figures: &Figures) {
    let cards = || figures.usable().filter_map(|it| Some((it, figures.uses.of_card(&it.card)?)));
    page.gauge(
        "cotenant_card_memory_used_bytes",
        "Memory of the card in use.",
        cards().map(|(record, used)| (of_card(record), bytes(used.memory_mib))),
    );
    page.gauge(
        "cotenant_card_compute_used_ratio",
        "Part of the card's compute in use.",
        cards().map(|(record, used)| (of_card(record), ratio(used.compute_per_mille))),
    );
    page.gauge(
        "cotenant_card_temperature_celsius",
        "Temperature of the card, if it says.",
        cards()
            .filter_map(|(record, used)| Some((of_card(record), f64::from(used.temperature_c?)))),
    );
    page.gauge(
        "cotenant_card_power_watts",
        "Power that the card draws, if it says.",
        cards()
            .filter_map(|(record, used)| Some((of_card(record), used.power_mw? as f64 / 1000.0))),
    );
}

/// The pool as a whole, and what sharing saves.
fn pool(page: &mut Page, figures: &Figures) {
    let one = |value: usize| [(Vec::new(), value as f64)];
    page.gauge("cotenant_cards", "Cards that can be used.", one(figures.usable().count()));
    let lost = figures.cards.len() - figures.usable().count();
    page.gauge("cotenant_cards_lost", "Cards that their machines no longer name.", one(lost));
    let held: BTreeSet<&CardId> = figures.slices().map(|held| &held.slice.card).collect();
    page.gauge("cotenant_cards_held", "Cards that jobs hold slices of.", one(held.len()));
    let saved = figures.slices().count() - held.len();
    let about = "Cards that jobs would hold beyond those that they hold, if no card were shared.";
    page.gauge("cotenant_cards_saved", about, one(saved));
}

fn of_slice(held: &Held<'_>) -> Vec<(&'static str, String)> {
    vec![
        ("card", held.slice.card.to_string()),
        ("job_id", held.job.id.to_string()),
        ("member", held.member.to_string()),
        ("tenant", held.job.terms.tenant.to_string()),
    ]
}

/// What slices have, and what is used of them where that is known.
fn slices(page: &mut Page, figures: &Figures) {
    let each = |value: &dyn Fn(&Held<'_>) -> Option<f64>| -> Vec<Sample> {
        figures.slices().filter_map(|held| Some((of_slice(&held), value(&held)?))).collect()
    };
    let used = |held: &Held<'_>| figures.uses.of_slice(held.job.id, held.member, &held.slice.card);
    let info = figures.slices().map(|held| {
        let mut labels = of_slice(&held);
        let enforced_by = held.slice.enforced_by.to_string();
        labels.extend([("class", super::class(held.job)), ("enforced_by", enforced_by)]);
        (labels, 1.0)
    });
    page.gauge("cotenant_slice_info", "What holds the job to its slice.", info);
    page.gauge(
        "cotenant_slice_memory_kept_bytes",
        "Memory of the card that is kept for the job.",
        each(&|held| Some(bytes(held.slice.memory.request.0))),
    );
    page.gauge(
        "cotenant_slice_memory_limit_bytes",
        "The most memory of the card that the job may reach.",
        each(&|held| Some(bytes(held.slice.memory.limit.0))),
    );
    page.gauge(
        "cotenant_slice_memory_used_bytes",
        "Memory of the card that the job uses.",
        each(&|held| Some(bytes(used(held)?.memory_mib))),
    );
    page.gauge(
        "cotenant_slice_compute_kept_ratio",
        "Part of the card's compute that is kept for the job.",
        each(&|held| Some(ratio(held.slice.compute.request.per_mille()))),
    );
    page.gauge(
        "cotenant_slice_compute_limit_ratio",
        "The largest part of the card's compute that the job may reach.",
        each(&|held| Some(ratio(held.slice.compute.limit.per_mille()))),
    );
    page.gauge(
        "cotenant_slice_compute_used_ratio",
        "Part of the card's compute that the job uses.",
        each(&|held| Some(ratio(used(held)?.compute_per_mille))),
    );
    counted(page, figures);
}

/// What the preload library counted of the slices that it holds.
fn counted(page: &mut Page, figures: &Figures) {
    let mut each = |name: &str, about: &str, value: &dyn Fn(&SliceUsage) -> f64| {
        let samples = figures.slices().filter_map(|held| {
            let of_member = figures.uses.counted.get(&(held.job.id, held.member))?;
            Some((of_slice(&held), value(of_member.get(&held.slice.card)?)))
        });
        page.family((name, Kind::Counter), about, samples.collect::<Vec<Sample>>());
    };
    let seconds = |ns: u64| ns as f64 / 1e9;
    each(
        "cotenant_slice_submissions_total",
        "Kernels and graphs that programs of the slice submitted.",
        &|usage| usage.submissions as f64,
    );
    each("cotenant_slice_charged_seconds_total", "Compute that the slice was charged.", &|usage| {
        seconds(usage.charged_ns)
    });
    each(
        "cotenant_slice_waited_seconds_total",
        "Time that threads of the slice were kept waiting for its share.",
        &|usage| seconds(usage.waited_ns),
    );
    each(
        "cotenant_slice_refused_allocations_total",
        "Allocations that the slice's memory limit refused.",
        &|usage| usage.refused as f64,
    );
    each(
        "cotenant_slice_unmeasured_total",
        "Submissions of a kind of which nothing was known that were charged without measuring.",
        &|usage| usage.unmeasured as f64,
    );
    each(
        "cotenant_slice_unknown_symbols_total",
        "Functions of the driver that programs looked up and the library does not know, on any \
         card of the slice.",
        &|usage| usage.unknown_symbols as f64,
    );
    each(
        "cotenant_slice_failures_total",
        "Calls that went their way because the library could not do its work, on any card of the \
         slice.",
        &|usage| usage.failures as f64,
    );
}

/// Jobs and what happened to them.
fn jobs(page: &mut Page, figures: &Figures) {
    let jobs = figures.counts.iter().map(|(tenant, state, count)| {
        (vec![("tenant", tenant.clone()), ("state", state.clone())], *count as f64)
    });
    page.gauge("cotenant_jobs", "Jobs by tenant and state.", jobs);
    let used = || {
        figures.holders.iter().filter_map(|job| {
            let labels =
                vec![("job_id", job.id.to_string()), ("tenant", job.terms.tenant.to_string())];
            Some((labels, figures.uses.jobs.get(&job.id)?))
        })
    };
    page.gauge(
        "cotenant_job_memory_used_bytes",
        "Memory of all its cards that the job uses.",
        used().map(|(labels, used)| (labels, bytes(used.memory_mib))),
    );
    page.gauge(
        "cotenant_job_compute_used_cards",
        "Compute that the job uses, in cards.",
        used().map(|(labels, used)| (labels, ratio(used.compute_per_mille))),
    );
    let events =
        figures.events.iter().map(|(kind, count)| (vec![("kind", kind.clone())], *count as f64));
    let about = "Lines of the pool's log since the pool was made, by kind.";
    page.family(("cotenant_events_total", Kind::Counter), about, events);
}

/// What waits, why, and for how long.
fn queue(page: &mut Page, figures: &Figures) {
    let queued = figures.counts.iter().filter(|(_, state, _)| state == "queued");
    let queued: u64 = queued.map(|(.., count)| count).sum();
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for reason in figures.waits.values().filter_map(|reasons| reasons.first()) {
        *reasons.entry(reason.code()).or_default() += 1;
    }
    // Reasons are those of the last plan, and the count is newer.
    let known: u64 = reasons.values().sum();
    *reasons.entry(NOT_LOOKED_AT).or_default() += queued.saturating_sub(known);
    let reasons = reasons
        .into_iter()
        .map(|(reason, count)| (vec![("reason", reason.to_owned())], count as f64));
    let about = "Jobs that wait, by the first of their reasons.";
    page.gauge("cotenant_jobs_waiting", about, reasons);
    let ages = figures.tenants.iter().map(|(name, _)| {
        let oldest = figures.oldest.get(name).copied().unwrap_or(figures.now_ms);
        let age = figures.now_ms.saturating_sub(oldest) as f64 / 1000.0;
        (vec![("tenant", name.clone())], age)
    });
    let about = "Time since the tenant's oldest job that waits was submitted; 0 if none waits.";
    page.gauge("cotenant_queue_age_seconds", about, ages);
}

/// What tenants and those below them have, and what they may have.
fn tenants(page: &mut Page, figures: &Figures) {
    let held = sums_below(&figures.tenants, &figures.holders, |job| {
        job.placement().map(|placement| placement.amount()).unwrap_or_default()
    });
    let used = sums_below(&figures.tenants, &figures.holders, |job| {
        let used = figures.uses.jobs.get(&job.id);
        used.map_or_else(Amount::default, |used| Amount {
            compute_milli: used.compute_per_mille.into(),
            memory: Mebibytes(used.memory_mib),
        })
    });
    let mut write = |what: &str, about: &str, amounts: Vec<(&String, Amount)>| {
        let sample = |name: &String, value: f64| (vec![("tenant", name.clone())], value);
        // A limit on one amount alone is a number beyond any pool for the other.
        let is_set = |amount: u64| amount != u64::MAX;
        page.gauge(
            &format!("cotenant_tenant_compute_{what}_cards"),
            &format!("Compute that {about}, in cards."),
            amounts
                .iter()
                .filter(|(_, it)| is_set(it.compute_milli))
                .map(|(name, it)| sample(name, it.compute_milli as f64 / 1000.0)),
        );
        page.gauge(
            &format!("cotenant_tenant_memory_{what}_bytes"),
            &format!("Memory of cards that {about}."),
            amounts
                .iter()
                .filter(|(_, it)| is_set(it.memory.0))
                .map(|(name, it)| sample(name, bytes(it.memory.0))),
        );
    };
    let sums = |sums: &BTreeMap<&str, Amount>| -> Vec<(&String, Amount)> {
        let names = figures.tenants.iter().map(|(name, _)| name);
        names.map(|name| (name, sums.get(name.as_str()).copied().unwrap_or_default())).collect()
    };
    let quotas = || figures.tenants.iter();
    let about = "is kept for jobs of the tenant and of those below it";
    write("kept", about, sums(&held));
    write("used", "jobs of the tenant and of those below it use", sums(&used));
    let guaranteed = quotas().map(|(name, quota)| (name, quota.guaranteed)).collect();
    write("guaranteed", "the tenant has first", guaranteed);
    let limits = quotas().filter_map(|(name, quota)| Some((name, quota.limit?))).collect();
    write("limit", "the tenant may hold at most", limits);
}
