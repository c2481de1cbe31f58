//! The crate beside an independent implementation in plain Python.
//!
//! `golden/metrics.py` wrote the numbers by the definitions alone; here every ranking is ranked,
//! judged and scored again, and every comparison made again. All numbers are sums of a few terms
//! of size 1, so they may differ by rounding only.

#![expect(clippy::unwrap_used, reason = "a wrong golden file fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use cotenant_eval::{Evaluation, Judged, Metric, Ranked, Resampling, compare, top};

const TOLERANCE: f64 = 1e-12;

fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/metrics.json");
    let text = fs::read_to_string(&path).expect("golden/metrics.json is committed");
    serde_json::from_str(&text).expect("golden/metrics.json is JSON")
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn ranking(query: &Value) -> Vec<&str> {
    let scores = query["scores"].as_object().unwrap().iter();
    let scored = scores.map(|(document, score)| Ranked {
        document: document.as_str(),
        score: score.as_f64().unwrap() as f32,
    });
    top(scored, usize::MAX).into_iter().map(|ranked| ranked.document).collect()
}

fn judged(query: &Value) -> Judged {
    let judgments = query["judgments"].as_object().unwrap().iter();
    let judgments: Vec<(&str, i64)> =
        judgments.map(|(document, grade)| (document.as_str(), grade.as_i64().unwrap())).collect();
    Judged::new(&ranking(query), &judgments).expect("every golden query has a relevant document")
}

fn check(what: &str, found: f64, expected: &Value) {
    let expected = expected.as_f64().unwrap();
    assert!((found - expected).abs() <= TOLERANCE, "{what}: {found}, not {expected}");
}

#[test]
fn rankings_and_their_metrics_agree() {
    let golden = golden();
    let mut sums: BTreeMap<(usize, Metric), f64> = BTreeMap::new();
    let queries = golden["queries"].as_array().unwrap();
    for (number, query) in queries.iter().enumerate() {
        let expected: Vec<_> = query["ranking"].as_array().unwrap().iter().collect();
        assert_eq!(ranking(query), expected, "query {number}");
        for (depth, expected) in query["expected"].as_object().unwrap() {
            let depth = depth.parse().unwrap();
            for metric in Metric::ALL {
                let found = metric.at(depth, &judged(query));
                check(
                    &format!("{metric}@{depth} of query {number}"),
                    found,
                    &expected[metric.name()],
                );
                *sums.entry((depth, metric)).or_default() += found;
            }
        }
    }
    let all: Vec<Judged> = queries.iter().map(judged).collect();
    for ((depth, metric), sum) in sums {
        let mean = Evaluation::new(depth, &all).mean_of(metric).unwrap();
        assert!((mean - sum / all.len() as f64).abs() <= TOLERANCE, "{metric}@{depth}");
    }
}

#[test]
fn comparisons_agree() {
    for (number, case) in golden()["comparisons"].as_array().unwrap().iter().enumerate() {
        let resampling = Resampling {
            samples: u32::try_from(case["samples"].as_u64().unwrap()).unwrap(),
            confidence_per_mille: u32::try_from(case["confidence_per_mille"].as_u64().unwrap())
                .unwrap(),
            seed: case["seed"].as_str().unwrap().parse().unwrap(),
        };
        let found =
            compare(&numbers(&case["before"]), &numbers(&case["after"]), resampling).unwrap();
        let expected = &case["expected"];
        let what = |name: &str| format!("{name} of comparison {number}");
        check(&what("before"), found.before, &expected["before"]);
        check(&what("after"), found.after, &expected["after"]);
        check(&what("low"), found.low, &expected["low"]);
        check(&what("high"), found.high, &expected["high"]);
        check(&what("p_value"), found.p_value, &expected["p_value"]);
        assert_eq!(found.difference, found.after - found.before, "{}", what("difference"));
    }
}
