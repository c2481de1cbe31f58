//! What each stage of retrieval buys, as a page: quality against cost, one plot a data set.

use crate::job::StagesQuality;
use crate::report::html::Html;
use crate::report::number;
use crate::report::page;
use crate::report::svg::axis::{Area, Axis};
use crate::report::svg::{Caption, Frame, picture, px, tone};
use crate::report::table::{Column, Holds, Table};

const TITLE: &str = "What each stage of retrieval buys";

const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 230.0;
const AREA: Area = Area { left: 46.0, right: 322.0, top: 14.0, bottom: 196.0 };

const NOTE: &str = "Each point is a way to retrieve, numbered as in the table below. To the right is \
     dearer: what the index spends on a query, as per cent of full depth. Above is better: nDCG@10 \
     on test queries. Weights and rules were chosen on other queries. The model that embeds the \
     query is counted in the last column alone; a query that ends at words needs none.";

/// The page.
pub fn render(sets: &[StagesQuality]) -> String {
    page(TITLE, |body| {
        body.element("header", &[], |header| header.word("h1", &[], TITLE));
        body.element("main", &[], |main| {
            main.word("p", &[("class", "small")], NOTE);
            for (at, set) in sets.iter().enumerate() {
                main.element("section", &[("class", &tone(at))], |section| draw_set(section, set));
            }
        });
    })
}

fn draw_set(html: &mut Html, set: &StagesQuality) {
    html.element("h2", &[], |head| head.foreign(&set.name));
    let lead = format!(
        "{} test queries over {} documents; chosen on {} others to keep {} % of full depth.",
        number::count(set.queries as u64),
        number::count(set.documents as u64),
        number::count(set.dev_queries as u64),
        number::decimals(100.0 * set.floor, 1),
    );
    html.word("p", &[], &lead);
    draw_plot(html, set);
    draw_table(html, set);
}

fn draw_plot(html: &mut Html, set: &StagesQuality) {
    let description = set.stages.iter().map(|stage| {
        let quality = number::decimals(stage.quality.ndcg10, 3);
        format!("{} {quality} at {} %", stage.name, percent(stage.search_share))
    });
    let description = description.collect::<Vec<_>>().join("; ");
    let caption = Caption { title: "nDCG@10 against cost", description: &description };
    picture(html, &caption, &Frame::Scaled { width: WIDTH, height: HEIGHT }, |svg| {
        let ends = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            })
        };
        let qualities = ends(&mut set.stages.iter().map(|stage| stage.quality.ndcg10));
        let (_, dearest) = ends(&mut set.stages.iter().map(|stage| 100.0 * stage.search_share));
        let y = Axis::round(qualities).draw_vertical(svg, &AREA);
        let x = Axis::whole((0.0, dearest.max(100.0))).draw_horizontal(svg, &AREA, "cost %");
        for (stage, number) in set.stages.iter().zip(1..) {
            let x = x.place(100.0 * stage.search_share);
            let y = y.place(stage.quality.ndcg10);
            let circle = [("class", "ring"), ("cx", &px(x)[..]), ("cy", &px(y)), ("r", "3.5")];
            svg.leaf("circle", &circle);
            // Even numbers stand above, odd ones below, so that neighbours stay apart.
            let beside = if number % 2 == 0 { y - 6.0 } else { y + 14.0 };
            let at = [("class", "note"), ("x", &px(x + 4.0)[..]), ("y", &px(beside))];
            svg.word("text", &at, &number.to_string());
        }
    });
}

fn draw_table(html: &mut Html, set: &StagesQuality) {
    const COLUMNS: [Column; 7] = [
        Column { name: "Way", holds: Holds::Words },
        Column { name: "nDCG@10", holds: Holds::Numbers },
        Column { name: "Kept %", holds: Holds::Numbers },
        Column { name: "Recall@10", holds: Holds::Numbers },
        Column { name: "Search µs", holds: Holds::Numbers },
        Column { name: "Search %", holds: Holds::Numbers },
        Column { name: "With embedding %", holds: Holds::Numbers },
    ];
    let caption = "Quality on test queries and priced work, of full depth";
    let table = Table { caption, columns: &COLUMNS, rows: set.stages.len() };
    table.draw(html, |cell, row, column| {
        let stage = &set.stages[row];
        match column {
            0 => cell.text(&format!("{}. {}", row + 1, stage.name)),
            1 => cell.text(&number::decimals(stage.quality.ndcg10, 4)),
            2 => cell.text(&percent(stage.kept)),
            3 => cell.text(&number::decimals(stage.quality.recall10, 4)),
            4 => cell.text(&number::decimals(stage.search_us, 0)),
            5 => cell.text(&percent(stage.search_share)),
            _ => cell.text(&percent(stage.total_share)),
        }
    });
}

fn percent(share: f64) -> String {
    number::decimals(100.0 * share, 1)
}
