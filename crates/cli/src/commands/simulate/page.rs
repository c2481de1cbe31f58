//! What a simulation found, as a page with plots: one file that needs no network and no script.

use cotenant_rag::report::html::Html;
use cotenant_rag::report::number;
use cotenant_rag::report::page;
use cotenant_rag::report::svg::bars::{Segment, draw_stack};
use cotenant_rag::report::svg::{Caption, shade};
use cotenant_rag::report::table::{Column, Holds, Table};
use cotenant_sched::policy::SizeClass;
use cotenant_sched::replay::PERCENT_MAX;

use super::curves::{Curve, Curves};
use super::run::PolicyResult;
use super::screen::{Spread, classes, rejected};
use super::traces::Traces;
use crate::args::simulate::{ArrivalArg, SimulateArgs};

/// What was replayed, in words.
pub(super) struct Subject {
    jobs: String,
    nodes: String,
    size: String,
    order: String,
    learned: Option<String>,
}

impl Subject {
    pub(super) fn new(arguments: &SimulateArgs, traces: &Traces) -> Self {
        let seeds = &arguments.seeds.0;
        let seeds = match (seeds.first(), seeds.last()) {
            (Some(first), Some(last)) if first < last => format!("seeds {first} to {last}"),
            (first, _) => format!("seed {}", first.copied().unwrap_or_default()),
        };
        let order = match arguments.arrival {
            ArrivalArg::Published => "published orders of arrival".to_owned(),
            ArrivalArg::Timed => times(arguments),
            ArrivalArg::Shuffled => "orders of arrival of our own generator".to_owned(),
        };
        let counts = [traces.cluster.nodes() as u64, traces.cluster.fleet().compute() / 1000];
        let [nodes, cards] = counts.map(number::count);
        let jobs = number::count(traces.workload.pods() as u64);
        let (nodes_file, jobs_file) = arguments.tables();
        Self {
            jobs: jobs_file.display().to_string(),
            nodes: nodes_file.display().to_string(),
            size: format!("{jobs} jobs on {cards} cards of {nodes} nodes"),
            order: format!("{order}, {seeds}"),
            learned: arguments.mix.as_ref().map(|file| file.display().to_string()),
        }
    }

    /// Writes it as a list of facts.
    pub(super) fn draw(&self, html: &mut Html) {
        html.element("dl", &[("class", "facts")], |facts| {
            let learned = self.learned.as_deref().unwrap_or(&self.jobs);
            let rows = [
                ("Jobs", &*self.jobs),
                ("Nodes", &self.nodes),
                ("Size", &self.size),
                ("Order", &self.order),
                ("Policies learned from", learned),
            ];
            for (name, value) in rows {
                facts.element("div", &[], |row| {
                    row.word("dt", &[], name);
                    row.element("dd", &[], |value_of| value_of.foreign(value));
                });
            }
        });
    }
}

/// How a replay in time differs from the trace.
fn times(arguments: &SimulateArgs) -> String {
    let kept =
        arguments.keep.map(|nodes| format!(" on {nodes} of the nodes, which the seed chooses"));
    let kept = kept.unwrap_or_default();
    format!("times of the trace, jobs coming {} times as fast{kept}", arguments.load)
}

/// The page.
pub(super) fn render(subject: &Subject, results: &[PolicyResult]) -> String {
    page("Placement policies compared", |body| {
        body.element("header", &[], |header| draw_header(header, subject, results));
        body.element("main", &[], |main| {
            draw_allocation(main, results);
            draw_fragmentation(main, results);
            draw_rejections(main, results);
            draw_speed(main, results);
        });
    })
}

fn draw_header(html: &mut Html, subject: &Subject, results: &[PolicyResult]) {
    html.word("h1", &[], "Placement policies compared");
    let at_full = |result: &&PolicyResult| Spread::of(result, |it| it.allocation_percent[100]).mean;
    let best = results.iter().max_by(|one, other| at_full(one).total_cmp(&at_full(other)));
    if let Some(best) = best {
        let allocated = number::decimals(at_full(&best), 2);
        let name = best.policy.as_str();
        let lead = format!(
            "When jobs for all cards have come, {name} has {allocated} % of the cards' compute in use, \
             the most of {} compared.",
            results.len()
        );
        html.word("p", &[("class", "lead")], &lead);
    }
    subject.draw(html);
}

/// What curves are drawn over.
const ARRIVED: &str = "arrived %";

const ALLOCATION_NOTE: &str = "Jobs arrive one by one and stay; one that finds no room is gone, but \
     counts as arrived. Up to where the first is turned away, all policies lie on the diagonal. Means \
     over the seeds.";

fn draw_allocation(html: &mut Html, results: &[PolicyResult]) {
    html.element("section", &[], |html| {
        html.word("h2", &[], "Compute in use against compute asked for");
        html.word("p", &[("class", "small")], ALLOCATION_NOTE);
        let curves = curves_of(results, |findings| &findings.allocation_percent);
        for (title, first) in [("All arrivals", 0), ("From 85 % on", 85)] {
            html.word("h3", &[], title);
            let caption = Caption { title, description: &described(&curves) };
            Curves { caption, across: ARRIVED, first, curves: &curves }.draw(html);
        }
        draw_table(html, results);
    });
}

const FRAGMENTATION_NOTE: &str = "Free compute that the jobs of the trace cannot use, on average over \
     its most frequent kinds, in per cent of all compute.";

fn draw_fragmentation(html: &mut Html, results: &[PolicyResult]) {
    html.element("section", &[], |html| {
        html.word("h2", &[], "Fragmentation");
        html.word("p", &[("class", "small")], FRAGMENTATION_NOTE);
        let curves = curves_of(results, |findings| &findings.fragmentation_percent);
        let caption = Caption { title: "Fragmentation", description: &described(&curves) };
        Curves { caption, across: ARRIVED, first: 0, curves: &curves }.draw(html);
    });
}

fn curves_of(
    results: &[PolicyResult],
    values: impl Fn(&cotenant_sched::replay::Findings) -> &[f64],
) -> Vec<Curve> {
    let curve = |result: &PolicyResult| {
        let means =
            (0..=PERCENT_MAX).map(|at| Spread::of(result, |findings| values(findings)[at]).mean);
        Curve { name: result.policy.as_str().to_owned(), values: means.collect() }
    };
    results.iter().map(curve).collect()
}

/// The curves in words, for those who cannot see them.
fn described(curves: &[Curve]) -> String {
    let at_full = curves
        .iter()
        .map(|curve| format!("{} {} %", curve.name, number::decimals(curve.values[100], 2)));
    format!("When 100 % have arrived: {}.", at_full.collect::<Vec<_>>().join(", "))
}

fn draw_table(html: &mut Html, results: &[PolicyResult]) {
    const COLUMNS: [Column; 5] = [
        Column { name: "Policy", holds: Holds::Words },
        Column { name: "In use at 100 %", holds: Holds::Numbers },
        Column { name: "In use at 130 %", holds: Holds::Numbers },
        Column { name: "Fragmented at 100 %", holds: Holds::Numbers },
        Column { name: "Jobs placed", holds: Holds::Numbers },
    ];
    let caption = "Per cent of all compute, with the standard deviation over the seeds";
    let table = Table { caption, columns: &COLUMNS, rows: results.len() };
    table.draw(html, |cell, row, column| {
        let result = &results[row];
        let at =
            |percent: usize| Spread::of(result, |it| it.allocation_percent[percent]).in_words();
        match column {
            0 => cell.text(result.policy.as_str()),
            1 => cell.text(&at(100)),
            2 => cell.text(&at(PERCENT_MAX)),
            3 => cell.text(&Spread::of(result, |it| it.fragmentation_percent[100]).in_words()),
            _ => {
                let placed = Spread::of(result, |findings| findings.placed() as f64).mean;
                cell.text(&number::decimals(placed, 1));
            }
        }
    });
}

fn draw_rejections(html: &mut Html, results: &[PolicyResult]) {
    html.element("section", &[], |html| {
        html.word("h2", &[], "Jobs that found no room");
        let note = "Of all arrivals, on average over the seeds, by what they asked for.";
        html.word("p", &[("class", "small")], note);
        let classes: Vec<SizeClass> = classes(results).into_iter().collect();
        let sum = |result: &PolicyResult| rejected(result).values().sum::<f64>();
        let most = results.iter().map(sum).fold(0.0, f64::max);
        let rows = results.iter().map(|result| {
            let rejected = rejected(result);
            let segment = |(at, class): (usize, &SizeClass)| Segment {
                name: class.to_string(),
                class: shade(at),
                amount: rejected[class],
                words: number::decimals(rejected[class], 1),
            };
            let segments: Vec<Segment> = classes.iter().enumerate().map(segment).collect();
            (result.policy.as_str(), segments, number::decimals(sum(result), 1))
        });
        draw_rows(html, &rows.collect::<Vec<_>>(), most);
        draw_classes(html, results, &classes);
    });
}

fn draw_classes(html: &mut Html, results: &[PolicyResult], classes: &[SizeClass]) {
    const COLUMNS: [Column; 3] = [
        Column { name: "Policy", holds: Holds::Words },
        Column { name: "Kind of job", holds: Holds::Words },
        Column { name: "Found no room", holds: Holds::Numbers },
    ];
    let caption = "By kind, the parts of the bars from left to right";
    let table = Table { caption, columns: &COLUMNS, rows: results.len() * classes.len() };
    table.draw(html, |cell, row, column| {
        let (result, at) = (&results[row / classes.len()], row % classes.len());
        match column {
            0 => cell.text(result.policy.as_str()),
            1 => {
                let class = format!("swatch {}", shade(at));
                cell.element("svg", &[("class", &class), ("aria-hidden", "true")], |swatch| {
                    swatch.leaf("rect", &[("width", "100%"), ("height", "100%")]);
                });
                cell.text(&classes[at].to_string());
            }
            _ => cell.text(&number::decimals(rejected(result)[&classes[at]], 1)),
        }
    });
}

fn draw_speed(html: &mut Html, results: &[PolicyResult]) {
    html.element("section", &[], |html| {
        html.word("h2", &[], "Decisions a second");
        html.word("p", &[("class", "small")], "On one thread of the machine that made this page.");
        let most = results.iter().map(PolicyResult::decisions_per_s).fold(0.0, f64::max);
        let rows = results.iter().map(|result| {
            let (amount, name) = (result.decisions_per_s(), result.policy.as_str());
            let words = number::count(amount.round() as u64);
            let class = "whole".to_owned();
            let segment = Segment { name: name.to_owned(), class, amount, words: words.clone() };
            (name, vec![segment], words)
        });
        draw_rows(html, &rows.collect::<Vec<_>>(), most);
    });
}

/// Bars, each with a name before it and an amount behind it.
fn draw_rows(html: &mut Html, rows: &[(&'static str, Vec<Segment>, String)], most: f64) {
    html.element("div", &[("class", "rows")], |html| {
        for (name, segments, words) in rows {
            html.element("div", &[("class", "row")], |row| {
                row.word("div", &[], name);
                row.element("div", &[("class", "bar")], |bar| {
                    let caption = Caption { title: name, description: words };
                    draw_stack(bar, &caption, segments, most);
                });
                row.word("div", &[("class", "amount")], words);
            });
        }
    });
}
