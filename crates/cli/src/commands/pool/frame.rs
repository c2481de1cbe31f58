//! One frame of `top`: the pool, its cards and who holds them, in lines of a given width.

use console::{measure_text_width, truncate_str};
use cotenant_api::{CardPage, CardView, PoolView, SliceView, UseView};
use serde::Serialize;

use crate::words::{count, duration, gib, memory, percent, plain};

/// Cells of a bar.
const BAR: std::ops::RangeInclusive<usize> = 6..=30;

/// Columns of a card's line beside its two bars.
const BESIDE_BARS: usize = 50;

/// Cells of a slice's bar, and the columns from which on it has bars.
const SLICE_BAR: usize = 8;
const SLICE_BARS_WIDTH: usize = 100;

/// What is known of the pool at a moment.
#[derive(Debug, Serialize)]
pub(super) struct Frame {
    /// The pool.
    pub pool: PoolView,
    /// Its cards, or the first of them.
    #[serde(flatten)]
    pub page: CardPage,
}

impl Frame {
    /// The frame as text.
    pub(super) fn lines(&self, address: &str, now_ms: u64, width: usize) -> Vec<String> {
        let mut lines = self.head(address, now_ms, width);
        for card in &self.page.cards {
            lines.push(String::new());
            lines.extend(card_lines(card, width));
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
        let bar = |part: u64, whole: u64| bar(per_mille(part, whole), width);
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
}

/// A card's title, what is used and kept of it, and a line for each slice.
fn card_lines(card: &CardView, width: usize) -> Vec<String> {
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
            let memory = per_mille(usage.memory_mib, card.memory_mib);
            let (share, used) = (percent(usage.compute_per_mille), gib(usage.memory_mib));
            format!(
                "  compute {} {share:>6}  memory {} {used}/{all}GiB",
                bar(usage.compute_per_mille.into(), width),
                bar(memory, width)
            )
        }
    };
    let slices = card.slices.iter().map(|slice| slice_line(slice, width));
    [title, bars].into_iter().chain(slices).collect()
}

/// Whose a slice is, what is used of what it has, and what holds the job to it.
fn slice_line(slice: &SliceView, width: usize) -> String {
    // Another tenant's job has no number here.
    let job = if slice.job == 0 { "–".to_owned() } else { slice.job.to_string() };
    let used = |of: &dyn Fn(&UseView) -> u64| slice.usage.as_ref().map(of);
    let compute = Amount {
        used: used(&|usage| usage.compute_per_mille.into()),
        kept: slice.compute_per_mille.into(),
        most: slice.compute_limit_per_mille.into(),
        word: |per_mille| percent(per_mille),
    };
    let memory = Amount {
        used: used(&|usage| usage.memory_mib),
        kept: slice.memory_mib,
        most: slice.memory_limit_mib,
        word: memory,
    };
    let has_bars = width >= SLICE_BARS_WIDTH;
    let mut held = plain(&slice.enforced_by).into_owned();
    if let Some(partition) = &slice.mig {
        held.push_str(&format!(" {}", plain(partition)));
    }
    if slice.whole {
        held.push_str(", whole");
    }
    let columns = match has_bars {
        true => [(compute.with_bar(), 32), (memory.with_bar(), 36)],
        false => [(compute.words(), 21), (memory.words(), 27)],
    };
    let [compute, memory] = columns.map(|(text, width)| padded(&text, width));
    let tenant = padded(&plain(&slice.tenant), 12);
    format!("  job {} {tenant} {compute} {memory} {held}", padded(&job, 6))
}

/// What is used of something, what of it is kept, and the most that may be reached.
struct Amount {
    used: Option<u64>,
    kept: u64,
    most: u64,
    word: fn(u64) -> String,
}

impl Amount {
    /// `25.5% of 30%`, `5GiB of 6GiB to 8GiB`, or `– of 30%` where use is not known.
    fn words(&self) -> String {
        let used = self.used.map_or_else(|| "–".to_owned(), self.word);
        let kept = (self.word)(self.kept);
        match self.most > self.kept {
            true => format!("{used} of {kept} to {}", (self.word)(self.most)),
            false => format!("{used} of {kept}"),
        }
    }

    /// The same behind a bar that is full when the most is reached.
    fn with_bar(&self) -> String {
        let part = per_mille(self.used.unwrap_or(0), self.most.max(self.kept));
        format!("{} {}", bar_of(part, SLICE_BAR), self.words())
    }
}

/// A text with blanks up to so many columns.
fn padded(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(measure_text_width(text))))
}

/// How many thousandths of a whole; of nothing, nothing.
fn per_mille(part: u64, whole: u64) -> u128 {
    (u128::from(part) * 1000).checked_div(u128::from(whole)).unwrap_or(0)
}

/// A bar as long as the width allows, filled to so many thousandths.
fn bar(per_mille: u128, width: usize) -> String {
    bar_of(per_mille, (width.saturating_sub(BESIDE_BARS) / 2).clamp(*BAR.start(), *BAR.end()))
}

fn bar_of(per_mille: u128, cells: usize) -> String {
    let full = usize::try_from(per_mille.min(1000) * cells as u128).unwrap_or(0).div_ceil(1000);
    format!("[{}{}]", "|".repeat(full), " ".repeat(cells - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_fit_eighty_columns_and_have_bars_where_there_is_room() {
        let slice = SliceView {
            job: 17,
            tenant: "law".to_owned(),
            card: "n1-0".to_owned(),
            memory_mib: 6144,
            memory_limit_mib: 8192,
            compute_per_mille: 300,
            compute_limit_per_mille: 300,
            whole: false,
            enforced_by: "mps".to_owned(),
            mig: None,
            usage: Some(UseView { compute_per_mille: 255, memory_mib: 1638, ..UseView::default() }),
        };
        let check = |slice: &SliceView, width: usize, expected: &str| {
            let line = slice_line(slice, width);
            assert_eq!(line, expected);
            assert!(measure_text_width(&line) <= width, "{line}");
        };
        check(
            &slice,
            80,
            "  job 17     law          25.5% of 30%          1.6GiB of 6GiB to 8GiB      mps",
        );
        check(
            &slice,
            120,
            "  job 17     law          [||||||| ] 25.5% of 30%          \
             [||      ] 1.6GiB of 6GiB to 8GiB    mps",
        );
        let others = SliceView {
            job: 0,
            tenant: "another".to_owned(),
            whole: true,
            memory_mib: 8192,
            compute_per_mille: 1000,
            mig: Some("7g.80gb@0".to_owned()),
            usage: None,
            ..slice
        };
        check(
            &others,
            120,
            "  job –      another      [        ] – of 100%             \
             [        ] – of 8GiB                 mps 7g.80gb@0, whole",
        );
    }

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
