//! What replays in time found, as a page with plots: one file that needs no network and no script.

use cotenant_rag::report::html::Html;
use cotenant_rag::report::number;
use cotenant_rag::report::page;
use cotenant_rag::report::svg::Caption;
use cotenant_rag::report::table::{Column, Holds, Table};
use cotenant_sched::replay::timed::SLICES;

use super::screen::against;
use super::way::Way;
use crate::args::simulate::SimulateArgs;
use crate::commands::simulate::curves::{Curve, Curves};
use crate::commands::simulate::page::Subject;

/// What the page is called.
const TITLE: &str = "Placement in time";

/// Percentiles of waits up to this are drawn; the longest waits of all would hide the others.
const PERCENTILE_DRAWN: usize = 99;

/// The page.
pub(super) fn render(subject: &Subject, arguments: &SimulateArgs, ways: &[Way]) -> String {
    page(TITLE, |body| {
        body.element("header", &[], |header| {
            header.word("h1", &[], TITLE);
            draw_lead(header, ways);
            subject.draw(header);
        });
        body.element("main", &[], |main| {
            draw_waits(main, arguments, ways);
            draw_use(main, ways);
        });
    })
}

fn draw_lead(html: &mut Html, ways: &[Way]) {
    let best = ways.iter().min_by(|one, other| one.wait_s().total_cmp(&other.wait_s()));
    if let Some(best) = best {
        let lead = format!(
            "With {}, jobs wait {} s on average, the least of {} compared.",
            best.name(),
            number::decimals(best.wait_s(), 1),
            ways.len()
        );
        html.word("p", &[("class", "lead")], &lead);
    }
}

const WAITS_NOTE: &str = "Of all jobs, so many per cent waited at most so many seconds; work that \
     moves lost counts as wait. Means over the seeds. The last of a hundred is not drawn.";

fn draw_waits(html: &mut Html, arguments: &SimulateArgs, ways: &[Way]) {
    html.element("section", &[], |html| {
        html.word("h2", &[], "How long jobs wait");
        html.word("p", &[("class", "small")], WAITS_NOTE);
        let curve = |way: &Way| Curve {
            name: way.name(),
            values: (0..=PERCENTILE_DRAWN)
                .map(|at| way.mean(|found| found.waits.percentile_s(at)))
                .collect(),
        };
        let curves: Vec<Curve> = ways.iter().map(curve).collect();
        let described = |way: &Way| {
            format!("{} {} s on average", way.name(), number::decimals(way.wait_s(), 1))
        };
        let described: Vec<String> = ways.iter().map(described).collect();
        for (title, first) in [("All jobs", 0), ("From 80 % on", 80)] {
            html.word("h3", &[], title);
            let caption = Caption { title, description: &described.join(", ") };
            Curves { caption, across: "jobs %", first, curves: &curves }.draw(html);
        }
        draw_table(html, arguments, ways);
    });
}

fn draw_table(html: &mut Html, arguments: &SimulateArgs, ways: &[Way]) {
    let column = |name, holds| Column { name, holds };
    let mut columns = vec![
        column("Policy", Holds::Words),
        column("Mean wait, s", Holds::Numbers),
        column("Against the first", Holds::Words),
        column("Slowdown", Holds::Numbers),
        column("In use, %", Holds::Numbers),
        column("Moves", Holds::Numbers),
    ];
    if arguments.wait_s.is_some() {
        columns.push(column("Fewest cards", Holds::Numbers));
    }
    let caption =
        "Means over the seeds; a slowdown is (wait + run) / run, with runs of 10 s at least";
    let table = Table { caption, columns: &columns, rows: ways.len() };
    table.draw(html, |cell, row, column| {
        let way = &ways[row];
        let text = match column {
            0 => way.name(),
            1 => number::decimals(way.wait_s(), 1),
            2 => against(way, &ways[0]),
            3 => number::decimals(way.mean(|it| it.slowdown_milli) / 1000.0, 2),
            4 => number::decimals(way.mean(|it| it.use_ten_thousandths) / 100.0, 2),
            5 => number::decimals(way.mean(|it| it.moves), 1),
            _ => way.fewest_cards().map_or("none".to_owned(), |cards| number::decimals(cards, 1)),
        };
        cell.text(&text);
    });
}

const USE_NOTE: &str = "Compute in use, in per cent of all, from when a twentieth of the jobs has \
     come to the last arrival. Means over the seeds.";

fn draw_use(html: &mut Html, ways: &[Way]) {
    html.element("section", &[], |html| {
        html.word("h2", &[], "How much is in use");
        html.word("p", &[("class", "small")], USE_NOTE);
        let curve = |way: &Way| Curve {
            name: way.name(),
            values: (0..SLICES).map(|at| way.mean(|found| found.use_curve[at]) / 100.0).collect(),
        };
        let curves: Vec<Curve> = ways.iter().map(curve).collect();
        let described = |way: &Way| {
            let mean = way.mean(|found| found.use_ten_thousandths) / 100.0;
            format!("{} {} % on average", way.name(), number::decimals(mean, 2))
        };
        let described: Vec<String> = ways.iter().map(described).collect();
        let caption = Caption { title: "In use", description: &described.join(", ") };
        Curves { caption, across: "time %", first: 0, curves: &curves }.draw(html);
    });
}
