//! Retrieval quality on held-out queries, before and after.

use crate::report::html::Html;
use crate::report::model::{Scores, TenantReport};
use crate::report::number;
use crate::report::svg::bars::{Pair, draw_interval, draw_pairs};
use crate::report::svg::{Caption, tone};
use crate::report::table::{Column, Holds, Table};
use crate::workspace::Task;

/// What a tenant's difference in nDCG@10 allows to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The interval lies above zero.
    Better,
    /// The interval holds zero, or the p-value does not exclude chance.
    WithinNoise,
    /// The interval lies below zero.
    Worse,
    /// There is no interval, as when no query was held out.
    Unmeasured,
    /// There is no adapter.
    Untrained,
}

/// From this p-value on a difference is called chance: what a 95 % interval leaves out.
const CHANCE: f64 = 0.05;

impl Verdict {
    pub(super) const ALL: [Self; 5] =
        [Self::Better, Self::WithinNoise, Self::Worse, Self::Unmeasured, Self::Untrained];

    pub(super) fn of(tenant: &TenantReport) -> Self {
        let difference = &tenant.difference;
        let ends = [difference.low, difference.mean, difference.high];
        if tenant.adapter.is_none() {
            return Self::Untrained;
        }
        if tenant.queries_test == 0 || ends.iter().any(|end| !end.is_finite()) {
            return Self::Unmeasured;
        }
        // Without a p-value the interval decides alone.
        if difference.p_value >= CHANCE {
            Self::WithinNoise
        } else if difference.low > 0.0 {
            Self::Better
        } else if difference.high < 0.0 {
            Self::Worse
        } else {
            Self::WithinNoise
        }
    }

    /// In a table.
    fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::WithinNoise => "within noise",
            Self::Worse => "worse",
            Self::Unmeasured => "not measured",
            Self::Untrained => "not trained",
        }
    }

    /// After a number of tenants.
    pub(super) fn claim(self, tenants: u64) -> &'static str {
        match (self, tenants) {
            (Self::Better, 1) => "retrieves better than before",
            (Self::Better, _) => "retrieve better than before",
            (Self::WithinNoise, _) => "changed no more than chance would",
            (Self::Worse, 1) => "retrieves worse than before",
            (Self::Worse, _) => "retrieve worse than before",
            (Self::Unmeasured, 1) => "was not measured",
            (Self::Unmeasured, _) => "were not measured",
            (Self::Untrained, 1) => "was not trained and stays zero-shot",
            (Self::Untrained, _) => "were not trained and stay zero-shot",
        }
    }
}

pub(super) fn draw(html: &mut Html, tenants: &[TenantReport]) {
    if tenants.is_empty() {
        return;
    }
    html.element("section", &[], |html| {
        html.word("h2", &[], "Retrieval quality");
        draw_table(html, tenants);
        html.word("p", &[("class", "small")], NOTE);
        draw_bars(html, tenants);
    });
}

const NOTE: &str = "“Better” and “worse” mean that the 95\u{a0}% interval of the difference, from a \
     paired bootstrap over the queries, leaves out zero, and that p is below 0.05; anything else \
     is called noise. Of twenty tenants that did not change, one is expected to pass by chance.";

const COLUMNS: [Column; 6] = [
    Column { name: "Tenant", holds: Holds::Words },
    Column { name: "nDCG@10", holds: Holds::Numbers },
    Column { name: "Recall@10", holds: Holds::Numbers },
    Column { name: "MRR@10", holds: Holds::Numbers },
    Column { name: "Change in nDCG@10", holds: Holds::Numbers },
    Column { name: "In words", holds: Holds::Words },
];

fn draw_table(html: &mut Html, tenants: &[TenantReport]) {
    let ends = tenants.iter().flat_map(|tenant| [tenant.difference.low, tenant.difference.high]);
    let reach =
        ends.filter(|end| end.is_finite()).fold(0.0, |reach: f64, end| reach.max(end.abs()));
    let caption = "Held-out queries, base model → tuned adapter, measured";
    let table = Table { caption, columns: &COLUMNS, rows: tenants.len() };
    table.draw(html, |cell, row, column| {
        let tenant = &tenants[row];
        let (before, after) = (&tenant.before, &tenant.after);
        match column {
            0 => {
                cell.foreign(&tenant.name);
                let queries = number::count(tenant.queries_test as u64);
                let below = match tenant.task {
                    Task::Embed => format!("{queries} queries"),
                    Task::Rerank => format!("{queries} queries, first stage → reranked"),
                };
                cell.word("span", &[("class", "below")], &below);
            }
            1 => draw_scores(cell, before.ndcg10, after.ndcg10),
            2 => draw_scores(cell, before.recall10, after.recall10),
            3 => draw_scores(cell, before.mrr10, after.mrr10),
            4 => draw_difference(cell, tenant, (row, reach)),
            _ => cell.word("b", &[], Verdict::of(tenant).word()),
        }
    });
}

fn draw_scores(html: &mut Html, before: f64, after: f64) {
    html.text(&format!("{} → ", number::score(before)));
    html.word("b", &[], &number::score(after));
}

fn draw_difference(html: &mut Html, tenant: &TenantReport, (place, reach): (usize, f64)) {
    if matches!(Verdict::of(tenant), Verdict::Unmeasured | Verdict::Untrained) {
        return html.text(number::DASH);
    }
    let difference = &tenant.difference;
    let mean = number::change(difference.mean);
    let range =
        format!("{} to {}", number::change(difference.low), number::change(difference.high));
    html.word("b", &[], &mean);
    html.text(&format!(" ({range})"));
    html.word("span", &[("class", "below")], &number::p_value(difference.p_value));
    let description =
        format!("Changed by {mean}, 95\u{a0}% interval {range}; the line is no change.");
    let caption = Caption { title: "Change in nDCG@10", description: &description };
    html.element("div", &[("class", &format!("whisk {}", tone(place)))], |html| {
        draw_interval(html, &caption, difference, reach);
    });
}

fn draw_bars(html: &mut Html, tenants: &[TenantReport]) {
    html.word("h3", &[], "Before and after");
    let legend = "Grey: base model. Coloured: with the tenant’s adapter. Longer is better.";
    html.word("p", &[("class", "small")], legend);
    html.element("div", &[("class", "grid")], |grid| {
        for (place, tenant) in tenants.iter().enumerate() {
            grid.element("figure", &[("class", &tone(place))], |figure| {
                figure.element("figcaption", &[], |name| name.foreign(&tenant.name));
                let title = format!("Scores of {} before and after training", tenant.name);
                let pairs = pairs(&tenant.before, &tenant.after);
                let described = pairs.iter().map(|pair| {
                    let (before, after) = (number::score(pair.before), number::score(pair.after));
                    format!("{} {before} before, {after} after", pair.name)
                });
                let description = described.collect::<Vec<_>>().join("; ");
                let caption = Caption { title: &title, description: &description };
                draw_pairs(figure, &caption, &pairs);
            });
        }
    });
}

fn pairs(before: &Scores, after: &Scores) -> [Pair; 3] {
    [
        Pair { name: "nDCG@10", before: before.ndcg10, after: after.ndcg10 },
        Pair { name: "Recall@10", before: before.recall10, after: after.recall10 },
        Pair { name: "MRR@10", before: before.mrr10, after: after.mrr10 },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::Interval;
    use crate::report::tests::fixture;

    #[test]
    fn verdicts_follow_the_interval() {
        let check = |(low, high): (f64, f64), p_value: f64, expected: Verdict| {
            let mut tenant = fixture::run().tenants.remove(0);
            tenant.difference = Interval { mean: (low + high) / 2.0, low, high, p_value };
            assert_eq!(Verdict::of(&tenant), expected, "{low} {high} {p_value}");
            tenant.queries_test = 0;
            assert_eq!(Verdict::of(&tenant), Verdict::Unmeasured);
        };
        check((0.01, 0.03), 0.01, Verdict::Better);
        check((0.01, 0.03), 0.06, Verdict::WithinNoise);
        check((0.01, 0.03), f64::NAN, Verdict::Better);
        check((-0.01, 0.03), 0.01, Verdict::WithinNoise);
        check((0.0, 0.03), 0.04, Verdict::WithinNoise);
        check((-0.03, -0.01), 0.01, Verdict::Worse);
        check((f64::NAN, 0.01), 0.01, Verdict::Unmeasured);
    }
}
