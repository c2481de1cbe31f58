//! One frame of `top`: the pool, its cards and who holds them, in lines of a given width.

use std::collections::{BTreeMap, BTreeSet};

use console::truncate_str;
use cotenant_api::{CardPage, CardView, JobView, PoolView, SliceView, UseView};
use serde::Serialize;

use super::amounts::share;
use crate::words::{count, duration, gib, memory, percent, plain};

/// Cells of a bar.
const BAR: std::ops::RangeInclusive<usize> = 6..=30;

/// Columns of a card's line beside its two bars.
const BESIDE_BARS: usize = 50;

/// What is known of the pool at a moment.
#[derive(Debug, Serialize)]
pub(super) struct Frame {
    /// The pool.
    pub pool: PoolView,
    /// Its cards, or the first of them.
    #[serde(flatten)]
    pub page: CardPage,
    /// What jobs use, of those that were asked about.
    #[serde(skip)]
    pub uses: BTreeMap<u64, UseView>,
}

impl Frame {
    /// The first jobs that hold slices of the frame's cards, each once, by card.
    pub(super) fn jobs(&self, most: usize) -> Vec<u64> {
        let mut seen = BTreeSet::new();
        let slices = self.page.cards.iter().flat_map(|card| &card.slices);
        slices.map(|slice| slice.job).filter(|&job| seen.insert(job)).take(most).collect()
    }

    /// Remembers what a job uses.
    pub(super) fn note(&mut self, job: &JobView) {
        self.uses.extend(job.usage.clone().map(|usage| (job.row.id, usage)));
    }

    /// The frame as text.
    pub(super) fn lines(&self, address: &str, now_ms: u64, width: usize) -> Vec<String> {
        let mut lines = self.head(address, now_ms, width);
        for card in &self.page.cards {
            lines.push(String::new());
            lines.extend(self.card(card, width));
        }
        let left = self.page.total.saturating_sub(self.page.cards.len() as u64);
        if left > 0 {
            lines.push(String::new());
            lines.push(format!("and {} more: cotenant devices", count(left, "card")));
        }
        lines.iter().map(|line| truncate_str(line, width, "…").into_owned()).collect()
    }

    fn head(&self, address: &str, now_ms: u64, width: usize) -> Vec<String> {
        let PoolView { capacity, used, jobs, savings, .. } = &self.pool;
        let up = duration(now_ms.saturating_sub(self.pool.started_ms));
        let of = |part: u64, whole: u64| (u128::from(part) * 1000).checked_div(u128::from(whole));
        let bar = |part: u64, whole: u64| bar(of(part, whole).unwrap_or(0), width);
        let states = jobs.iter().map(|(state, number)| format!("{number} {}", plain(state)));
        let states = states.collect::<Vec<_>>().join(", ");
        let saved = savings.cards_alone.saturating_sub(savings.cards_held);
        vec![
            format!(
                "cotenant {} at {}, up {up}: {}, {}",
                plain(&self.pool.version),
                plain(address),
                count(self.pool.nodes, "machine"),
                count(self.pool.cards, "card"),
            ),
            format!(
                "kept  compute {} {} of {}  memory {} {}/{}GiB",
                bar(used.compute_milli, capacity.compute_milli),
                percent(used.compute_milli),
                percent(capacity.compute_milli),
                bar(used.memory_mib, capacity.memory_mib),
                gib(used.memory_mib),
                gib(capacity.memory_mib),
            ),
            format!("jobs  {}", if states.is_empty() { "none" } else { &states }),
            format!(
                "saved {}: {} hold {}, alone they would hold {}",
                count(saved, "card"),
                count(savings.jobs, "job"),
                savings.cards_held,
                savings.cards_alone,
            ),
        ]
    }

    fn card(&self, card: &CardView, width: usize) -> Vec<String> {
        let mut title = format!("{} {}  {}", plain(&card.node), card.index, plain(&card.model));
        if card.health != "ok" {
            title.push_str(&format!("  {}", plain(&card.health)));
        }
        let usage = card.usage.as_ref();
        if let Some(degrees) = usage.and_then(|usage| usage.temperature_c) {
            title.push_str(&format!("  {degrees}°C"));
        }
        if let Some(milliwatts) = usage.and_then(|usage| usage.power_mw) {
            title.push_str(&format!("  {}W", milliwatts / 1000));
        }
        let all = gib(card.memory_mib);
        let bars = match usage {
            None => format!("  {all}GiB; what it uses is not known"),
            Some(usage) => {
                let compute = u128::from(usage.compute_per_mille);
                let memory = u128::from(usage.memory_mib) * 1000;
                let memory = memory.checked_div(u128::from(card.memory_mib)).unwrap_or(0);
                let share = percent(usage.compute_per_mille);
                let used = gib(usage.memory_mib);
                format!(
                    "  compute {} {share:>6}  memory {} {used}/{all}GiB",
                    bar(compute, width),
                    bar(memory, width)
                )
            }
        };
        let slices = card.slices.iter().map(|slice| self.slice(slice));
        [title, bars].into_iter().chain(slices).collect()
    }

    fn slice(&self, slice: &SliceView) -> String {
        let SliceView { job, tenant, enforced_by, .. } = slice;
        let uses = self.uses.get(job).map(|usage| {
            let (compute, memory) = (percent(usage.compute_per_mille), memory(usage.memory_mib));
            format!("uses {compute}, {memory}")
        });
        format!(
            "  job {job:<6} {:<12} {:<26} {:<19} {}",
            plain(tenant),
            plain(&share(slice)),
            uses.unwrap_or_default(),
            plain(enforced_by),
        )
    }
}

/// A bar as long as the width allows, filled to so many thousandths.
fn bar(per_mille: u128, width: usize) -> String {
    let cells = (width.saturating_sub(BESIDE_BARS) / 2).clamp(*BAR.start(), *BAR.end());
    let full = usize::try_from(per_mille.min(1000) * cells as u128).unwrap_or(0).div_ceil(1000);
    format!("[{}{}]", "|".repeat(full), " ".repeat(cells - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_fill_their_cells() {
        let check = |per_mille: u128, width: usize, expected: &str| {
            assert_eq!(bar(per_mille, width), expected);
        };
        check(0, 80, "[               ]");
        check(1, 80, "[|              ]");
        check(500, 80, "[||||||||       ]");
        check(1000, 80, "[|||||||||||||||]");
        check(5000, 10, "[||||||]");
    }
}
