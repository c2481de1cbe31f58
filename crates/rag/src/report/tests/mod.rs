//! The page as a whole: it is read back by a strict reader, and what it says is looked up there.
//!
//! To look at it: `COTENANT_REPORT_TO=report.html cargo test -p cotenant-rag report`, which writes
//! the file into the folder of the crate.

pub(super) mod fixture;
mod page;

use std::collections::BTreeSet;

use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};

use crate::report::{Interval, Point, RunReport, Scores, TenantReport, render};

use page::{Element, Page};

fn page_of(report: &RunReport) -> Page {
    let page = page::read(&render(report));
    check_page(&page);
    page
}

/// What holds of every page.
fn check_page(page: &Page) {
    let ids: Vec<&str> = page.elements.iter().filter_map(|element| element.get("id")).collect();
    let known: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), known.len(), "an id is used twice");
    for element in &page.elements {
        for (name, value) in &element.attributes {
            assert!(!name.starts_with("on"), "{element:?}");
            let leads_out = ["src", "href", "action", "xlink:href"].contains(&name.as_str());
            assert!(!leads_out || value == "data:,", "{element:?}");
        }
        assert!(!["script", "iframe", "object", "base", "form"].contains(&element.tag.as_str()));
        if element.tag == "svg" {
            check_picture(element, &known);
        }
    }
    let all = page.elements.iter().flat_map(|element| &element.attributes);
    let values = all.map(|(_, value)| value.as_str()).chain([page.text.as_str()]);
    for value in values {
        assert!(!value.contains("NaN") && !value.contains("inf"), "no number: {value}");
    }
}

/// A picture is named and described, or is no picture.
fn check_picture(svg: &Element, ids: &BTreeSet<&str>) {
    if svg.get("aria-hidden") == Some("true") {
        return;
    }
    assert_eq!(svg.get("role"), Some("img"));
    let labels: Vec<&str> = svg.get("aria-labelledby").unwrap().split(' ').collect();
    assert_eq!(labels.len(), 2, "{svg:?}");
    assert!(labels.iter().all(|label| ids.contains(label)), "{svg:?}");
}

/// Every text of a report that may come from data.
fn texts(report: &mut RunReport) -> Vec<&mut String> {
    let RunReport { title, run, base, precision, machine, date, tenants, cost, .. } = report;
    let mut texts = vec![title, run, base, precision, machine, date];
    for tenant in tenants {
        let TenantReport { name, adapter, ended, examples, .. } = tenant;
        texts.extend([name, ended]);
        texts.extend(adapter.iter_mut().map(|adapter| &mut adapter.folder));
        texts.extend(examples.iter_mut().flat_map(|example| {
            [
                &mut example.query,
                &mut example.before_title,
                &mut example.after_title,
                &mut example.relevant_title,
            ]
        }));
    }
    texts.extend(cost.phases.iter_mut().map(|phase| &mut phase.name));
    texts.extend(cost.memory.iter_mut().map(|part| &mut part.name));
    texts
}

/// Elements and names of attributes: what text must not change.
fn shape(page: &Page) -> Vec<(String, Vec<String>)> {
    let names = |element: &Element| {
        element.attributes.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    page.elements.iter().map(|element| (element.tag.clone(), names(element))).collect()
}

#[test]
fn a_run_is_a_sound_page() {
    let report = fixture::run();
    if let Ok(to) = std::env::var("COTENANT_REPORT_TO") {
        std::fs::write(to, render(&report)).unwrap();
    }
    let page = page_of(&report);
    let count = |tag: &str| page.elements.iter().filter(|element| element.tag == tag).count();
    assert_eq!((count("h1"), count("main"), count("table")), (1, 1, 4));
    assert_eq!(count("caption"), count("table"));
    let figures = 3 * report.tenants.len();
    assert_eq!(count("figure"), figures);
    let style = include_str!("../style.css");
    assert!(!style.contains("url(") && !style.contains("@import"), "the style asks for a file");
}

#[test]
fn sections_come_in_order() {
    let text = page_of(&fixture::run()).text;
    let headings = [
        "3 tenants trained together in 93.4\u{a0}s and 412\u{a0}MiB",
        "Retrieval quality",
        "Before and after",
        "Loss",
        "nDCG@10 on the development queries",
        "Peak memory",
        "Time",
        "Phases of the run",
        "Got better",
        "Got worse",
        "How to go on",
        "cotenant search --run runs/demo --tenant book 'how do I vendor dependencies",
    ];
    let mut from = 0;
    for heading in headings {
        let found = text[from..].find(heading);
        from += found.unwrap_or_else(|| panic!("'{heading}' is not in its place"));
    }
}

#[test]
fn hostile_texts_are_shown_as_they_are() {
    let hostile = [
        "</title><script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "</style></svg><!-- --><![CDATA[",
        "&lt;b&gt; &#x3c;",
    ];
    let plain = shape(&page_of(&fixture::run()));
    for text in hostile {
        let mut report = fixture::run();
        texts(&mut report).into_iter().for_each(|field| *field = text.to_owned());
        let page = page_of(&report);
        assert_eq!(shape(&page), plain, "{text}");
        assert!(page.text.contains(text), "{text}");
    }
}

#[test]
fn nothing_to_tell_is_still_a_page() {
    let mut report = fixture::run();
    report.tenants.clear();
    report.cost.phases.clear();
    report.cost.memory.clear();
    report.apart.measured = None;
    report.apart.estimated.peak_rss_mib_each.clear();
    let text = page_of(&report).text;
    assert!(text.contains("No tenant was trained in this run."), "{text}");
    assert!(!text.contains("Retrieval quality") && !text.contains("How to go on"), "{text}");
}

#[test]
fn time_apart_is_called_the_same_where_it_is() {
    let check = |seconds: f64, expected: &str| {
        let mut report = fixture::run();
        report.apart.estimated.wall_s = seconds;
        let text = page_of(&report).text;
        let sentence = format!("times the memory and {expected} (estimated).");
        assert!(text.contains(&sentence), "{seconds} s: {text}");
        assert!(text.contains("what sharing saves is memory"), "{text}");
    };
    check(93.4 * 1.02, "about the same time");
    check(93.4 * 0.98, "about the same time");
    check(93.4 * 1.5, "1.50 times the time");
}

#[test]
fn a_tenant_without_an_adapter_is_shown_as_not_trained() {
    let mut report = fixture::run();
    let tenant = &mut report.tenants[0];
    tenant.adapter = None;
    tenant.after = Scores { ndcg10: f64::NAN, recall10: f64::NAN, mrr10: f64::NAN };
    tenant.ended = "not trained: its data has no training example".to_owned();
    report.apart.estimated.peak_rss_mib_each.truncate(2);
    let text = page_of(&report).text;
    for part in [
        "2 tenants trained together",
        "1 tenant was not trained and stays zero-shot",
        "Not trained: its data has no training example.",
        "cotenant search --run runs/demo --tenant book",
        "cotenant export --run runs/demo --tenant cargo",
        "eval --base all-MiniLM-L6-v2 --adapter runs/demo/adapters/cargo",
    ] {
        assert!(text.contains(part), "the page lacks {part:?}: {text}");
    }
}

#[test]
fn short_curves_are_drawn() {
    for length in 0..3 {
        let mut report = fixture::run();
        for tenant in &mut report.tenants {
            tenant.loss.truncate(length);
            tenant.dev_ndcg10.truncate(length);
            tenant.best_step = (length > 0).then_some(0);
        }
        let text = page_of(&report).text;
        assert_eq!(text.contains("No loss was recorded."), length == 0);
        assert_eq!(text.contains("kept"), length > 0, "{length}");
    }
}

#[test]
fn what_is_no_number_is_a_dash() {
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300, 5e-324] {
        let mut report = fixture::run();
        for tenant in &mut report.tenants {
            tenant.before = Scores { ndcg10: odd, recall10: odd, mrr10: odd };
            tenant.after = tenant.before;
            tenant.difference = Interval { mean: odd, low: odd, high: odd, p_value: odd };
            tenant.dev_ndcg10 = vec![Point { step: 3, value: odd }; 2];
            tenant.loss[4].value = odd;
        }
        let cost = &mut report.cost;
        cost.phases[0].seconds = odd;
        cost.memory[0].mib = odd;
        [cost.wall_s, cost.peak_rss_mib, cost.pairs_per_s, cost.data_stall_pct] = [odd; 4];
        [cost.cpu_s, cost.predicted_peak_mib] = [odd; 2];
        report.apart.estimated.wall_s = odd;
        report.apart.estimated.peak_rss_mib_each[1] = odd;
        report.apart.estimated.peak_rss_mib_together = odd;
        let text = page_of(&report).text;
        assert_eq!(text.contains("trained together in – and –"), !odd.is_finite(), "{odd}");
        assert_eq!(text.contains("1 value cannot be drawn."), odd.abs() != 5e-324, "{odd}");
    }
}

#[test]
fn json_keeps_a_report() {
    let report = fixture::run();
    let json = serde_json::to_string(&report).unwrap();
    let read: RunReport = serde_json::from_str(&json).unwrap();
    assert!(render(&read) == render(&report), "the report's twin shows another page");

    let mut report = report;
    report.tenants[0].loss[0].value = f64::NAN;
    report.apart.estimated.peak_rss_mib_each[0] = f64::INFINITY;
    let json = serde_json::to_string(&report).unwrap();
    let read: RunReport = serde_json::from_str(&json).unwrap();
    assert!(read.tenants[0].loss[0].value.is_nan());
    assert!(read.apart.estimated.peak_rss_mib_each[0].is_nan());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn no_text_changes_the_shape_of_the_page(text in any::<String>(), at in any::<usize>()) {
        let plain = shape(&page_of(&fixture::run()));
        let mut report = fixture::run();
        let mut fields = texts(&mut report);
        let at = at % fields.len();
        *fields[at] = text;
        prop_assert_eq!(shape(&page::read(&render(&report))), plain);
    }

    #[test]
    fn no_numbers_break_a_curve(values in proptest::collection::vec(any::<f64>(), 0..40)) {
        let mut report = fixture::run();
        let points = values.iter().zip(0..).map(|(value, step)| Point { step, value: *value });
        report.tenants[0].loss = points.collect();
        report.tenants[0].dev_ndcg10 = report.tenants[0].loss.clone();
        page_of(&report);
    }
}
