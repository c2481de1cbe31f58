//! `cotenant devices`

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use cotenant_api::CardView;

use super::link::Pool;
use crate::args::pool::DevicesArgs;
use crate::commands::Ended;
use crate::console::Console;
use crate::table::{Side, table_of};
use crate::words::{gib, percent};

/// Most cards that are shown one by one without being asked to.
const CARDS_SHOWN_MAX: usize = 256;

/// Health of a card that jobs may have.
const HEALTHY: &str = "ok";

/// Lists the pool's cards.
pub(super) fn run(arguments: &DevicesArgs, console: &Console) -> Ended {
    let page = Pool::open(&arguments.pool)?.cards()?;
    let is_summed = !arguments.all && page.cards.len() > CARDS_SHOWN_MAX;
    console.data(&page, || match page.cards.as_slice() {
        [] => "the pool has no cards".to_owned(),
        all if is_summed => nodes(all),
        all => cards(all),
    })?;
    if is_summed && !console.json {
        console.say("\neach card by itself: cotenant devices --all");
    }
    Ok(ExitCode::SUCCESS)
}

fn cards(cards: &[CardView]) -> String {
    let columns = [
        ("node", Side::Left),
        ("card", Side::Right),
        ("model", Side::Left),
        ("GiB used / kept / all", Side::Right),
        ("compute kept", Side::Right),
        ("slices", Side::Right),
        ("held by", Side::Left),
        ("health", Side::Left),
    ];
    let row = |card: &CardView| {
        let sums = Sums::of(std::iter::once(card));
        vec![
            card.node.clone(),
            card.index.to_string(),
            card.model.clone(),
            sums.memory(),
            percent(sums.compute_per_mille),
            card.slices.len().to_string(),
            card.rungs.join(" "),
            card.health.clone(),
        ]
    };
    table_of(&columns, &cards.iter().map(row).collect::<Vec<_>>())
}

fn nodes(cards: &[CardView]) -> String {
    let columns = [
        ("node", Side::Left),
        ("cards", Side::Right),
        ("models", Side::Left),
        ("GiB used / kept / all", Side::Right),
        ("compute kept", Side::Right),
        ("slices", Side::Right),
        ("health", Side::Left),
    ];
    let mut nodes: BTreeMap<&str, Vec<&CardView>> = BTreeMap::new();
    for card in cards {
        nodes.entry(&card.node).or_default().push(card);
    }
    let row = |(node, cards): (&&str, &Vec<&CardView>)| {
        let sums = Sums::of(cards.iter().copied());
        let models: BTreeSet<&str> = cards.iter().map(|card| card.model.as_str()).collect();
        let slices: usize = cards.iter().map(|card| card.slices.len()).sum();
        vec![
            (*node).to_owned(),
            cards.len().to_string(),
            models.into_iter().collect::<Vec<_>>().join(", "),
            sums.memory(),
            percent(sums.compute_per_mille),
            slices.to_string(),
            health(cards),
        ]
    };
    table_of(&columns, &nodes.iter().map(row).collect::<Vec<_>>())
}

/// `ok`, or how many cards are how well.
fn health(cards: &[&CardView]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for card in cards {
        *counts.entry(&card.health).or_default() += 1;
    }
    if counts.len() == 1 && counts.contains_key(HEALTHY) {
        return HEALTHY.to_owned();
    }
    let parts = counts.iter().map(|(health, count)| format!("{count} {health}"));
    parts.collect::<Vec<_>>().join(", ")
}

/// What cards have, what is kept of it, and what is used; sums that no number holds are the largest.
struct Sums {
    used_mib: Option<u64>,
    kept_mib: u64,
    all_mib: u64,
    compute_per_mille: u64,
}

impl Sums {
    fn of<'a>(cards: impl Iterator<Item = &'a CardView>) -> Self {
        let mut sums = Self { used_mib: None, kept_mib: 0, all_mib: 0, compute_per_mille: 0 };
        for card in cards {
            if let Some(usage) = &card.usage {
                let used = sums.used_mib.unwrap_or(0).saturating_add(usage.memory_mib);
                sums.used_mib = Some(used);
            }
            sums.all_mib = sums.all_mib.saturating_add(card.memory_mib);
            for slice in &card.slices {
                sums.kept_mib = sums.kept_mib.saturating_add(slice.memory_mib);
                sums.compute_per_mille += u64::from(slice.compute_per_mille);
            }
        }
        sums
    }

    fn memory(&self) -> String {
        let used = self.used_mib.map_or_else(|| "–".to_owned(), gib);
        format!("{used} / {} / {}", gib(self.kept_mib), gib(self.all_mib))
    }
}
