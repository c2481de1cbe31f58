//! What the run cost in memory and time, beside what separate processes cost.

use crate::report::html::Html;
use crate::report::model::{Cost, RunReport, Separate};
use crate::report::number;
use crate::report::svg::bars::{Segment, draw_stack};
use crate::report::svg::{Caption, shade, tone};
use crate::report::table::{Column, Holds, Table};

/// How a figure came about; every bar says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Estimated,
    Measured,
}

impl Origin {
    fn word(self) -> &'static str {
        match self {
            Self::Estimated => "estimated",
            Self::Measured => "measured",
        }
    }
}

/// A bar with its name and its sum.
struct Row {
    name: String,
    origin: Origin,
    segments: Vec<Segment>,
    amount: f64,
}

/// Bars that compare.
struct Rows<'a> {
    /// What the bars are, for who cannot see them.
    subject: &'static str,
    rows: &'a [Row],
    words: fn(f64) -> String,
}

pub(super) fn draw(html: &mut Html, report: &RunReport) {
    html.element("section", &[], |html| {
        html.word("h2", &[], "Memory and time");
        draw_ratios(html, report);
        html.word("h3", &[], "Peak memory");
        Rows { subject: "Peak memory", rows: &memory_rows(report), words: number::memory }
            .draw(html);
        draw_parts(html, &report.cost);
        html.word("h3", &[], "Time");
        Rows { subject: "Time", rows: &time_rows(report), words: number::time }.draw(html);
        draw_phases(html, &report.cost);
        draw_facts(html, &report.cost);
    });
}

/// How much more the separate processes need, in a sentence for each way of knowing.
fn draw_ratios(html: &mut Html, report: &RunReport) {
    if report.trained().count() < 2 {
        return;
    }
    html.word("p", &[("class", "small")], APART_NOTE);
    for (origin, separate) in apart(report) {
        let memory = separate.peak_rss_mib_together / report.cost.peak_rss_mib;
        let time = separate.wall_s / report.cost.wall_s;
        let time = match (time - 1.0).abs() < SAME_TIME {
            true => "about the same time".to_owned(),
            false => format!("{} times the time", number::significant(time)),
        };
        let sentence = format!(
            "Separate processes need {} times the memory and {time} ({}).",
            number::significant(memory),
            origin.word(),
        );
        html.word("p", &[], &sentence);
    }
}

const APART_NOTE: &str = "Apart means one process for each tenant, each with a base model of its \
     own. Their memory is for all of them side by side; their time is for one after another on \
     the same threads. The arithmetic is the same apart, so the estimate is this run’s time and \
     loading the base model once more for each further process: what sharing saves is memory.";

/// Times that differ by less than this part are called the same.
const SAME_TIME: f64 = 0.05;

fn apart(report: &RunReport) -> impl Iterator<Item = (Origin, &Separate)> {
    let measured = report.apart.measured.iter().map(|separate| (Origin::Measured, separate));
    std::iter::once((Origin::Estimated, &report.apart.estimated)).chain(measured)
}

fn memory_rows(report: &RunReport) -> Vec<Row> {
    let cost = &report.cost;
    let together = |name: &str, origin, segments, amount| Row {
        name: name.to_owned(),
        origin,
        segments,
        amount,
    };
    let whole = single("Whole process", cost.peak_rss_mib, number::memory);
    let mut rows = vec![
        together("Together", Origin::Estimated, parts(cost), cost.predicted_peak_mib),
        together("Together", Origin::Measured, vec![whole], cost.peak_rss_mib),
    ];
    rows.extend(apart(report).map(|(origin, separate)| {
        let segments = separate.peak_rss_mib_each.iter().enumerate();
        let segments = segments.map(|(place, mib)| {
            let tenant = report.trained().nth(place).map(|tenant| tenant.name.clone());
            let name = tenant.unwrap_or_else(|| format!("Process {}", place + 1));
            Segment { name, class: tone(place), amount: *mib, words: number::memory(*mib) }
        });
        Row {
            name: processes(separate),
            origin,
            segments: segments.collect(),
            amount: separate.peak_rss_mib_together,
        }
    }));
    rows
}

fn time_rows(report: &RunReport) -> Vec<Row> {
    let row = |name: String, origin, seconds| Row {
        segments: vec![single(&name, seconds, number::time)],
        name,
        origin,
        amount: seconds,
    };
    let mut rows = vec![row("Together".to_owned(), Origin::Measured, report.cost.wall_s)];
    let separate = apart(report);
    rows.extend(separate.map(|(origin, apart)| row(processes(apart), origin, apart.wall_s)));
    rows
}

fn processes(separate: &Separate) -> String {
    match separate.tenants {
        1 => "1 process".to_owned(),
        tenants => format!("{} processes", number::count(tenants as u64)),
    }
}

fn single(name: &str, amount: f64, words: fn(f64) -> String) -> Segment {
    Segment { name: name.to_owned(), class: "whole".to_owned(), amount, words: words(amount) }
}

/// The predicted parts, with what the prediction has beyond them.
fn parts(cost: &Cost) -> Vec<Segment> {
    let named = cost.memory.iter().map(|part| (part.name.clone(), part.mib));
    let sum: f64 = cost.memory.iter().map(|part| part.mib).filter(|mib| mib.is_finite()).sum();
    let rest = cost.predicted_peak_mib - sum;
    let is_shown = rest > cost.predicted_peak_mib * 0.005;
    let rest = is_shown.then(|| ("everything else".to_owned(), rest));
    shaded(named.chain(rest), number::memory)
}

fn shaded(amounts: impl Iterator<Item = (String, f64)>, words: fn(f64) -> String) -> Vec<Segment> {
    let segment = |(place, (name, amount))| Segment {
        name,
        class: shade(place),
        amount,
        words: words(amount),
    };
    amounts.enumerate().map(segment).collect()
}

fn draw_parts(html: &mut Html, cost: &Cost) {
    let total = cost.predicted_peak_mib;
    draw_legend(html, "Parts of the estimated peak memory", &parts(cost), total);
}

fn draw_phases(html: &mut Html, cost: &Cost) {
    let phases = cost.phases.iter().map(|phase| (phase.name.clone(), phase.seconds));
    let segments = shaded(phases, number::time);
    if segments.is_empty() {
        return;
    }
    html.word("h3", &[], "Phases of the run");
    let is_amount = |seconds: &f64| seconds.is_finite() && *seconds > 0.0;
    let total: f64 = segments.iter().map(|segment| segment.amount).filter(is_amount).sum();
    let row =
        Row { name: "Whole run".to_owned(), origin: Origin::Measured, segments, amount: total };
    let rows = [row];
    Rows { subject: "Time by phase", rows: &rows, words: number::time }.draw(html);
    draw_legend(html, "Time by phase, measured", &rows[0].segments, total);
}

/// A stack's parts in words, each with the colour that it has in the bar.
fn draw_legend(html: &mut Html, caption: &str, segments: &[Segment], total: f64) {
    const COLUMNS: [Column; 3] = [
        Column { name: "Part", holds: Holds::Words },
        Column { name: "Amount", holds: Holds::Numbers },
        Column { name: "Share", holds: Holds::Numbers },
    ];
    if segments.is_empty() {
        return;
    }
    html.element("div", &[("class", "legend")], |html| {
        let table = Table { caption, columns: &COLUMNS, rows: segments.len() };
        table.draw(html, |cell, row, column| {
            let segment = &segments[row];
            match column {
                0 => {
                    let class = format!("swatch {}", segment.class);
                    cell.element("svg", &[("class", &class), ("aria-hidden", "true")], |swatch| {
                        swatch.leaf("rect", &[("width", "100%"), ("height", "100%")]);
                    });
                    cell.foreign(&segment.name);
                }
                1 => cell.text(&segment.words),
                _ => cell.text(&number::percent(segment.amount / total * 100.0)),
            }
        });
    });
}

impl Rows<'_> {
    fn draw(&self, html: &mut Html) {
        let amounts = self.rows.iter().map(|row| row.amount).filter(|amount| amount.is_finite());
        let full = amounts.fold(0.0, f64::max);
        html.element("div", &[("class", "rows")], |html| {
            for row in self.rows {
                html.element("div", &[("class", "row")], |html| self.draw_row(html, row, full));
            }
        });
    }

    fn draw_row(&self, html: &mut Html, row: &Row, full: f64) {
        html.element("div", &[("class", "name")], |name| {
            name.text(&row.name);
            name.text(" ");
            name.word("span", &[("class", "tag")], row.origin.word());
        });
        let amount = (self.words)(row.amount);
        let title = format!("{}: {} ({})", self.subject, row.name, row.origin.word());
        let parts = row.segments.iter().map(|part| format!("{} {}", part.name, part.words));
        let description = format!("{amount}: {}.", parts.collect::<Vec<_>>().join(", "));
        let caption = Caption { title: &title, description: &description };
        html.element("div", &[("class", "bar")], |html| {
            draw_stack(html, &caption, &row.segments, full);
        });
        html.word("div", &[("class", "amount")], &amount);
    }
}

fn draw_facts(html: &mut Html, cost: &Cost) {
    let facts = [
        ("Processor time", number::time(cost.cpu_s)),
        ("Tokens trained on", number::count(cost.tokens)),
        ("Pairs per second", number::significant(cost.pairs_per_s)),
        ("Waiting for data", format!("{} of training", number::percent(cost.data_stall_pct))),
    ];
    html.element("dl", &[("class", "facts")], |list| {
        for (name, value) in &facts {
            list.element("div", &[], |fact| {
                fact.word("dt", &[], name);
                fact.word("dd", &[], value);
            });
        }
    });
}
