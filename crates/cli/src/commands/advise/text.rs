//! The advice as a person reads it: the sum first, then each job, then what runs with what.

use std::collections::BTreeMap;

use cotenant_sched::advise::{CardMode, Layout, LayoutKind, OnCard, RungFacts};
use cotenant_types::Rung;

use super::{Advised, words};
use crate::table::{Side, table_of};
use crate::words::{count, memory, percent};

/// The whole of it.
pub(super) fn of(advised: &Advised<'_>) -> String {
    let parts = [
        sum(advised),
        layouts(advised),
        jobs(advised),
        rungs(advised),
        fits(advised),
        together(advised),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n\n")
}

/// How many cards, in a sentence or two.
fn sum(advised: &Advised<'_>) -> String {
    let card = advised.choice.as_found().card();
    let all: u64 = advised.jobs.iter().map(|job| u64::from(job.copies)).sum();
    let jobs = count(all, "job");
    let kind = format!("{} with {}", card.model, memory(card.memory.0));
    let layout = |kind| advised.advice.layout(kind).and_then(Layout::cards);
    let enough = match (layout(LayoutKind::Advised), layout(LayoutKind::Whole)) {
        (Some(shared), Some(whole)) if shared < whole => format!(
            "{} needed for {jobs}; without sharing {whole}, so that sharing saves {}",
            are(shared),
            whole - shared
        ),
        (Some(shared), Some(_)) => {
            format!("{} needed for {jobs}, with sharing and without", are(shared))
        }
        (Some(shared), None) => format!("{} needed for {jobs}", are(shared)),
        (None, _) => format!("no number of such cards is enough for {jobs}{}", nowhere(advised)),
    };
    let found = advised.cards.len() as u64;
    format!("{enough}.\nThe cards: {kind}; there {} now.", verb(found))
}

/// The first job that has nowhere to run.
fn nowhere(advised: &Advised<'_>) -> String {
    let layout = advised.advice.layout(LayoutKind::Advised);
    match layout.map(|layout| &layout.parts) {
        Some(Err(misfit)) => {
            format!(" ({})", words::misfit(advised.jobs, LayoutKind::Advised, misfit))
        }
        Some(Ok(_)) | None => String::new(),
    }
}

fn are(cards: u32) -> String {
    match cards {
        1 => "1 card is".to_owned(),
        _ => format!("{cards} cards are"),
    }
}

fn verb(found: u64) -> String {
    match found {
        1 => "is 1".to_owned(),
        _ => format!("are {found}"),
    }
}

/// Every way to lay out the set, and how many cards it takes.
fn layouts(advised: &Advised<'_>) -> String {
    let busy = advised.advice.busy_milli;
    let mut columns = vec![("the set", Side::Left), ("cards", Side::Right)];
    let has_partitions = advised.choice.partitioned.is_some();
    columns.extend(has_partitions.then_some(("in MIG mode", Side::Right)));
    columns.extend(busy.map(|_| ("expected use", Side::Right)));
    columns.push(("", Side::Left));
    let row = |layout: &Layout| {
        let mut row = vec![words::layout(layout.kind).to_owned()];
        let (cards, switched, why) = match &layout.parts {
            Ok(parts) => {
                let switched = parts.iter().filter(|part| part.mode == CardMode::Partitioned);
                let switched: u32 = switched.map(|part| part.pool.cards).sum();
                (layout.cards(), switched.to_string(), String::new())
            }
            Err(misfit) => {
                let why = words::misfit(advised.jobs, layout.kind, misfit);
                (None, "–".to_owned(), why)
            }
        };
        row.push(cards.map_or("–".to_owned(), |cards| cards.to_string()));
        row.extend(has_partitions.then_some(switched));
        row.extend(busy.map(|busy| expected_use(busy, cards)));
        row.push(why);
        row
    };
    table_of(&columns, &advised.advice.layouts.iter().map(row).collect::<Vec<_>>())
}

fn expected_use(busy_milli: u64, cards: Option<u32>) -> String {
    match cards {
        Some(cards @ 1..) => percent(busy_milli / u64::from(cards)),
        Some(0) | None => "–".to_owned(),
    }
}

/// Where each job should run, and why.
fn jobs(advised: &Advised<'_>) -> String {
    let columns = [
        ("job", Side::Left),
        ("copies", Side::Right),
        ("class", Side::Left),
        ("of each card", Side::Left),
        ("runs", Side::Left),
        ("because", Side::Left),
    ];
    let rows = advised.jobs.iter().zip(&advised.advice.jobs).map(|(job, advice)| {
        vec![
            job.job.name.clone(),
            job.copies.to_string(),
            words::class(job.job.terms.class).to_owned(),
            words::asks(job),
            words::way(advice.way).to_owned(),
            words::why(job, (advice.way, advice.why)),
        ]
    });
    table_of(&columns, &rows.collect::<Vec<_>>())
}

/// Rungs of the cards, from the strongest.
fn all_rungs(advised: &Advised<'_>) -> Vec<Rung> {
    let both = [&advised.choice.partitioned, &advised.choice.ordinary];
    both.into_iter().flatten().flat_map(|shape| shape.card().rungs.iter().copied()).collect()
}

/// What each rung gives any job.
fn rungs(advised: &Advised<'_>) -> String {
    let columns = [
        ("held by", Side::Left),
        ("memory", Side::Left),
        ("compute", Side::Left),
        ("a fault ends", Side::Left),
        ("answers beside busy neighbours", Side::Left),
        ("idle share", Side::Left),
    ];
    let row = |rung: Rung| {
        let facts = RungFacts::of(rung);
        vec![
            rung.name().to_owned(),
            words::hold(facts.memory).to_owned(),
            words::hold(facts.compute).to_owned(),
            words::faults(facts.faults).to_owned(),
            words::latency(facts.latency).to_owned(),
            if facts.lends { "serves others" } else { "lies idle" }.to_owned(),
        ]
    };
    table_of(&columns, &all_rungs(advised).into_iter().map(row).collect::<Vec<_>>())
}

/// Whether each job fits each rung, and what is lost to it.
fn fits(advised: &Advised<'_>) -> String {
    let rungs = all_rungs(advised);
    let names = rungs.iter().map(|rung| (rung.name(), Side::Left));
    let columns: Vec<_> = std::iter::once(("job", Side::Left)).chain(names).collect();
    let rows = advised.jobs.iter().zip(&advised.advice.jobs).map(|(job, advice)| {
        let cell = |rung: &cotenant_sched::advise::RungAdvice| match &rung.kept {
            Ok(kept) => words::kept(kept),
            Err(lack) => words::lacks(job, (Some(rung.rung), *lack)).to_owned(),
        };
        let cells = advice.rungs.iter().map(cell);
        std::iter::once(job.job.name.clone()).chain(cells).collect()
    });
    table_of(&columns, &rows.collect::<Vec<_>>())
}

/// What runs with what, where each job is where it should be; cards with the same on them are one
/// line.
fn together(advised: &Advised<'_>) -> String {
    let layout = advised.advice.layout(LayoutKind::Advised);
    let Some(Ok(parts)) = layout.map(|layout| &layout.parts) else { return String::new() };
    let card = advised.choice.as_found().card();
    let columns = [
        ("cards", Side::Right),
        ("mode", Side::Left),
        ("on each", Side::Left),
        ("compute kept", Side::Right),
        ("memory kept", Side::Right),
    ];
    let mut rows = Vec::new();
    for part in parts {
        let mut alike: BTreeMap<OnCard, u32> = BTreeMap::new();
        for mut on in part.on_cards().into_values() {
            on.jobs.sort_unstable();
            *alike.entry(on).or_default() += 1;
        }
        let mode = match part.mode {
            CardMode::Partitioned => "MIG",
            CardMode::Ordinary => "ordinary",
        };
        rows.extend(alike.into_iter().map(|(on, cards)| {
            vec![
                cards.to_string(),
                mode.to_owned(),
                named(advised, &on),
                percent(on.kept.compute_milli),
                format!("{} of {}", memory(on.kept.memory.0), memory(card.memory.0)),
            ]
        }));
    }
    table_of(&columns, &rows)
}

/// The jobs on a card: `2 x search, embed`.
fn named(advised: &Advised<'_>, on: &OnCard) -> String {
    let mut counts: BTreeMap<usize, u32> = BTreeMap::new();
    on.jobs.iter().for_each(|&job| *counts.entry(job).or_default() += 1);
    let named = counts.into_iter().map(|(job, count)| {
        let name = &advised.jobs[job].job.name;
        match count {
            1 => name.clone(),
            _ => format!("{count} x {name}"),
        }
    });
    named.collect::<Vec<_>>().join(", ")
}
