//! How training went: losses, quality on the development queries, and what came of it.

use crate::report::curve::{POINTS_MAX, drawable, smoothed, thinned};
use crate::report::html::Html;
use crate::report::model::{Point, TenantReport};
use crate::report::number;
use crate::report::svg::line::{Dots, LineChart};
use crate::report::svg::{Caption, tone};
use crate::report::table::{Column, Holds, Table};

pub(super) fn draw(html: &mut Html, tenants: &[TenantReport]) {
    if tenants.is_empty() {
        return;
    }
    html.element("section", &[], |html| {
        html.word("h2", &[], "Training");
        html.word("h3", &[], "Loss");
        html.word("p", &[("class", "small")], LOSS_NOTE);
        draw_grid(html, tenants, draw_loss);
        if tenants.iter().any(|tenant| !tenant.dev_ndcg10.is_empty()) {
            html.word("h3", &[], "nDCG@10 on the development queries");
            html.word("p", &[("class", "small")], DEV_NOTE);
            draw_grid(html, tenants, draw_dev);
        }
        draw_table(html, tenants);
    });
}

const LOSS_NOTE: &str = "Points are steps, the line smooths them. Each chart has a scale of its own, \
     since losses on different data do not compare.";

const DEV_NOTE: &str = "Measured while training on a part of the training data that was set \
     aside; the ring is the step whose adapter was kept. Held-out queries had no say in it.";

fn draw_grid(html: &mut Html, tenants: &[TenantReport], draw: impl Fn(&mut Html, &TenantReport)) {
    html.element("div", &[("class", "grid")], |grid| {
        for (place, tenant) in tenants.iter().enumerate() {
            grid.element("figure", &[("class", &tone(place))], |figure| draw(figure, tenant));
        }
    });
}

fn draw_loss(html: &mut Html, tenant: &TenantReport) {
    let points = drawable(&tenant.loss);
    let line = smoothed(&points);
    let ends = line.first().zip(line.last());
    draw_figure_caption(
        html,
        tenant,
        &match ends {
            Some((first, last)) if line.len() > 1 => {
                format!(
                    "{} → {}",
                    number::significant(first.value),
                    number::significant(last.value)
                )
            }
            Some((only, _)) => number::significant(only.value),
            None => String::new(),
        },
    );
    let Some((first, last)) = ends else {
        return html.word("p", &[("class", "small")], "No loss was recorded.");
    };
    let title = format!("Training loss of {}", tenant.name);
    let description = format!(
        "{} values; smoothed, {} at step {}, {} at step {}.",
        number::count(points.len() as u64),
        number::significant(first.value),
        number::count(first.step),
        number::significant(last.value),
        number::count(last.step),
    );
    LineChart {
        caption: Caption { title: &title, description: &description },
        points: &thinned(&points),
        line: &thinned(&line),
        // A few points are no noise, and a single one has no line.
        dots: if points.len() < 8 { Dots::Solid } else { Dots::Faint },
        mark: None,
    }
    .draw(html);
    draw_remarks(html, &tenant.loss, &points);
}

/// What the picture leaves out.
fn draw_remarks(html: &mut Html, all: &[Point], drawn: &[Point]) {
    let missing = (all.len() - drawn.len()) as u64;
    if missing > 0 {
        let values = if missing == 1 { "value" } else { "values" };
        let remark = format!("{} {values} cannot be drawn.", number::count(missing));
        html.word("p", &[("class", "small")], &remark);
    }
    if drawn.len() > POINTS_MAX {
        let all = number::count(drawn.len() as u64);
        let remark = format!("{POINTS_MAX} of {all} points are drawn; the line is of all.");
        html.word("p", &[("class", "small")], &remark);
    }
}

fn draw_dev(html: &mut Html, tenant: &TenantReport) {
    let points = drawable(&tenant.dev_ndcg10);
    let kept = points.iter().find(|point| Some(point.step) == tenant.best_step);
    let words = kept
        .map(|kept| format!("{} at step {}", number::score(kept.value), number::count(kept.step)));
    draw_figure_caption(html, tenant, words.as_deref().unwrap_or_default());
    let Some((first, last)) = points.first().zip(points.last()) else {
        return html.word("p", &[("class", "small")], "Not measured while training.");
    };
    let title = format!("Development nDCG@10 of {}", tenant.name);
    let kept_words = words.map(|words| format!(" Kept: {words}.")).unwrap_or_default();
    let description = format!(
        "{} values: {} at step {}, {} at step {}.{kept_words}",
        number::count(points.len() as u64),
        number::score(first.value),
        number::count(first.step),
        number::score(last.value),
        number::count(last.step),
    );
    let thin = thinned(&points);
    LineChart {
        caption: Caption { title: &title, description: &description },
        points: &thin,
        line: &thin,
        dots: Dots::Solid,
        mark: kept.map(|kept| (*kept, "kept")),
    }
    .draw(html);
}

fn draw_figure_caption(html: &mut Html, tenant: &TenantReport, words: &str) {
    html.element("figcaption", &[], |caption| {
        caption.foreign(&tenant.name);
        if !words.is_empty() {
            caption.text(" ");
            caption.word("span", &[("class", "aside")], words);
        }
    });
}

const COLUMNS: [Column; 7] = [
    Column { name: "Tenant", holds: Holds::Words },
    Column { name: "Documents", holds: Holds::Numbers },
    Column { name: "Pairs", holds: Holds::Numbers },
    Column { name: "Steps", holds: Holds::Numbers },
    Column { name: "Kept step", holds: Holds::Numbers },
    Column { name: "Adapter", holds: Holds::Words },
    Column { name: "Why training ended", holds: Holds::Words },
];

fn draw_table(html: &mut Html, tenants: &[TenantReport]) {
    let caption = "What was trained";
    let table = Table { caption, columns: &COLUMNS, rows: tenants.len() };
    table.draw(html, |cell, row, column| {
        let tenant = &tenants[row];
        match column {
            0 => cell.foreign(&tenant.name),
            1 => cell.text(&number::count(tenant.documents as u64)),
            2 => cell.text(&number::count(tenant.pairs as u64)),
            3 => cell.text(&number::count(tenant.steps)),
            4 => {
                let kept = tenant.best_step.map(number::count);
                cell.text(kept.as_deref().unwrap_or(number::DASH));
            }
            5 => {
                let Some(adapter) = &tenant.adapter else { return cell.text(number::DASH) };
                cell.element("code", &[], |path| path.foreign(&adapter.folder));
                let mib = adapter.bytes as f64 / 1024.0 / 1024.0;
                let parameters = number::count(adapter.parameters);
                let size = format!("{}, {parameters} parameters", number::memory(mib));
                cell.word("span", &[("class", "below")], &size);
            }
            _ => cell.foreign(&sentence(&tenant.ended)),
        }
    });
}

/// A reason as a sentence: reasons are written to stand inside one.
fn sentence(reason: &str) -> String {
    let mut characters = reason.trim_end_matches('.').chars();
    match characters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), characters.as_str()),
        None => number::DASH.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_become_sentences() {
        let check = |reason: &str, expected: &str| assert_eq!(sentence(reason), expected);
        check("every step was taken", "Every step was taken.");
        check("All epochs were done.", "All epochs were done.");
        check("é", "É.");
        check("", "–");
    }
}
