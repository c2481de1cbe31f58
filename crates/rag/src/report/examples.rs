//! Held-out queries that moved most, those that got worse beside those that got better.

use std::cmp::Ordering;

use crate::report::html::{Html, shortened};
use crate::report::model::{Example, TenantReport};
use crate::report::number;
use crate::report::svg::tone;

/// Longer texts are cut: an example is a glance, not a document.
const CHARS_MAX: usize = 240;

pub(super) fn draw(html: &mut Html, tenants: &[TenantReport]) {
    if tenants.iter().all(|tenant| tenant.examples.is_empty()) {
        return;
    }
    html.element("section", &[], |html| {
        html.word("h2", &[], "Queries that moved most");
        html.word("p", &[("class", "small")], NOTE);
        for (place, tenant) in tenants.iter().enumerate() {
            if tenant.examples.is_empty() {
                continue;
            }
            html.element("div", &[("class", &format!("examples {}", tone(place)))], |html| {
                html.element("h3", &[], |name| name.foreign(&tenant.name));
                for (heading, order) in GROUPS {
                    draw_group(html, heading, tenant.examples.iter().filter(|e| moved(e) == order));
                }
            });
        }
    });
}

const NOTE: &str = "Held-out queries whose relevant passage changed its rank most, in both \
     directions. They show what changed, not how often: that is what the table above is for.";

/// By how the rank after stands to the rank before.
const GROUPS: [(&str, Ordering); 3] =
    [("Got better", Ordering::Less), ("Got worse", Ordering::Greater), ("Stayed", Ordering::Equal)];

/// A passage that was not found is behind every rank.
fn moved(example: &Example) -> Ordering {
    let rank = |rank: Option<usize>| rank.unwrap_or(usize::MAX);
    rank(example.after_rank).cmp(&rank(example.before_rank))
}

fn draw_group<'a>(
    html: &mut Html,
    heading: &'static str,
    examples: impl Iterator<Item = &'a Example>,
) {
    let mut examples = examples.peekable();
    if examples.peek().is_none() {
        return;
    }
    html.word("h4", &[], heading);
    html.element("ul", &[("class", "cards")], |list| {
        for example in examples {
            list.element("li", &[], |card| draw_card(card, example));
        }
    });
}

fn draw_card(html: &mut Html, example: &Example) {
    html.element("p", &[("class", "query")], |query| {
        query.foreign(&shortened(&example.query, CHARS_MAX));
    });
    html.element("p", &[("class", "rank")], |rank| {
        rank.text(&format!("Relevant passage: {} → ", rank_words(example.before_rank)));
        rank.word("b", &[], &rank_words(example.after_rank));
    });
    let titles = [
        ("Relevant", &example.relevant_title),
        ("First before", &example.before_title),
        ("First after", &example.after_title),
    ];
    html.element("dl", &[], |list| {
        for (name, title) in titles {
            list.word("dt", &[], name);
            let title = shortened(title, CHARS_MAX);
            let title = if title.is_empty() { number::DASH } else { &title };
            list.element("dd", &[], |words| words.foreign(title));
        }
    });
}

fn rank_words(rank: Option<usize>) -> String {
    match rank {
        Some(rank) => format!("rank {}", number::count(rank as u64)),
        None => "not found".to_owned(),
    }
}
