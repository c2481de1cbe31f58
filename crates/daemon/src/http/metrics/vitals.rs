//! How cards are, under our own names: what slows them, what their memory lost, what failed.

use cotenant_device::{Health, Throttle, Vitals};
use cotenant_sched::CardRecord;

use super::figures::Figures;
use super::page::{Kind, Page, Sample};
use crate::live::Condition;

/// A number that a card may tell.
type Told<'a> = &'a dyn Fn(&Vitals) -> Option<f64>;

/// Writes what cards tell; of one that tells nothing there is no sample.
pub(super) fn write(page: &mut Page, figures: &Figures) {
    let cards = || {
        let all = figures.usable();
        all.filter_map(|record| Some((record, figures.uses.conditions.get(&record.card.id)?)))
    };
    let is_failing = |(record, condition): (&CardRecord, &Condition)| {
        let value = match condition.health {
            Health::Failing | Health::Lost => 1.0,
            Health::Good | Health::MpsDown => 0.0,
        };
        (of_card(record), value)
    };
    page.gauge(
        "cotenant_card_failing",
        "1 if nothing new should run on the card before it was reset or looked at.",
        cards().map(is_failing),
    );
    let throttled = cards().flat_map(|(record, condition)| {
        let reasons = Throttle::ALL.into_iter().map(move |reason| {
            let mut labels = of_card(record);
            labels.push(("reason", reason.name().to_owned()));
            (labels, f64::from(u8::from(condition.vitals.throttled_by.contains(&reason))))
        });
        reasons.filter(move |_| condition.vitals.throttle_bits.is_some())
    });
    page.gauge(
        "cotenant_card_throttled",
        "1 if the clocks of the card are low for the reason.",
        throttled,
    );
    let mut each = |(name, kind): (&str, Kind), about: &str, value: Told<'_>| {
        let samples = cards()
            .filter_map(|(record, condition)| Some((of_card(record), value(&condition.vitals)?)));
        page.family((name, kind), about, samples.collect::<Vec<Sample>>());
    };
    each(
        ("cotenant_card_power_limit_watts", Kind::Gauge),
        "Power that the card may draw.",
        &|vitals| vitals.power_limit_mw.map(|milliwatts| f64::from(milliwatts) / 1000.0),
    );
    each(
        ("cotenant_card_slowdown_celsius", Kind::Gauge),
        "Temperature at which the card slows down.",
        &|vitals| vitals.slowdown_c.map(f64::from),
    );
    each(
        ("cotenant_card_memory_errors_corrected", Kind::Gauge),
        "Errors of the card's memory since its driver was loaded that were corrected.",
        &|vitals| vitals.ecc.map(|ecc| ecc.corrected as f64),
    );
    each(
        ("cotenant_card_memory_errors_uncorrected", Kind::Gauge),
        "Errors of the card's memory since its driver was loaded that were not corrected.",
        &|vitals| vitals.ecc.map(|ecc| ecc.uncorrected as f64),
    );
    each(
        ("cotenant_card_last_xid", Kind::Gauge),
        "Number of the last Xid error of the card since the daemon started.",
        &|vitals| vitals.xids.last().map(|&xid| xid as f64),
    );
    partitions(page, figures);
}

fn partitions(page: &mut Page, figures: &Figures) {
    let partitions = figures.usable().flat_map(|record| {
        let card = &record.card.id;
        let own = figures.uses.partitions.iter().filter(move |one| one.card == *card);
        own.map(move |one| {
            let mut labels = of_card(record);
            labels.push(("partition", one.id.clone()));
            (labels, one.memory_used.to_bytes().0 as f64)
        })
    });
    page.gauge(
        "cotenant_partition_memory_used_bytes",
        "Memory in use of a partition of a card in MIG mode.",
        partitions,
    );
}

fn of_card(record: &CardRecord) -> Vec<(&'static str, String)> {
    vec![("node", record.card.node.to_string()), ("card", record.card.id.to_string())]
}
