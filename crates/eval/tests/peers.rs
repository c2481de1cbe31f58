//! Rankings beside trec_eval, paired tests and intervals beside scipy.
//!
//! `golden/peer_metrics.py` wrote what they compute. trec_eval's measures reach the files that it
//! reads itself: a run with graded judgments, ties, and scores that tie only as 32-bit numbers.

#![expect(clippy::unwrap_used, reason = "a wrong golden file fails the test")]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::Value;

use cotenant_eval::trec::{Qrels, Run, judged};
use cotenant_eval::{
    Metric, Resampling, Ties, bootstrap_interval, corrected_interval, paired_t_test,
};

fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/peer_metrics.json");
    let text = fs::read_to_string(&path).expect("golden/peer_metrics.json is committed");
    serde_json::from_str(&text).expect("golden/peer_metrics.json is JSON")
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn check(what: &str, found: f64, expected: &Value, tolerance: f64) {
    let expected = expected.as_f64().unwrap();
    let difference = (found - expected).abs();
    assert!(difference <= tolerance, "{what}: {found}, not {expected}");
}

/// The names that trec_eval has for a metric at a depth; its reciprocal rank has no depth.
fn name(metric: Metric, depth: usize) -> String {
    let name = match metric {
        Metric::Ndcg => "ndcg_cut",
        Metric::Recall => "recall",
        Metric::Precision => "P",
        Metric::Mrr => return "recip_rank".to_owned(),
        Metric::Map => "map_cut",
        Metric::HitRate => "success",
    };
    format!("{name}_{depth}")
}

#[test]
fn rankings_score_as_trec_eval_scores_them() {
    let golden = &golden()["trec"];
    let run = Run::parse(golden["run"].as_str().unwrap()).unwrap();
    let qrels = Qrels::parse(golden["qrels"].as_str().unwrap()).unwrap();
    let judged = judged(&run, &qrels, Ties::LargerFirst);
    assert_eq!(judged.len(), 40);
    for (query, judged) in &judged {
        let expected = &golden["expected"][query];
        for depth in [1, 5, 10] {
            for metric in Metric::ALL {
                let depth = if metric == Metric::Mrr { usize::MAX } else { depth };
                let name = name(metric, depth);
                check(
                    &format!("{name} of {query}"),
                    metric.at(depth, judged),
                    &expected[&name],
                    1e-9,
                );
            }
        }
    }
}

/// Without trec_eval's rule for ties the numbers above would not come out.
#[test]
fn ties_matter_in_these_rankings() {
    let golden = &golden()["trec"];
    let run = Run::parse(golden["run"].as_str().unwrap()).unwrap();
    let qrels = Qrels::parse(golden["qrels"].as_str().unwrap()).unwrap();
    let [larger, smaller] =
        [Ties::LargerFirst, Ties::SmallerFirst].map(|ties| judged(&run, &qrels, ties));
    let differing = larger.iter().zip(&smaller).filter(|(one, other)| one != other).count();
    assert!(differing > 20, "{differing} of 40 queries");
}

#[test]
fn the_paired_t_test_is_scipys() {
    for case in golden()["paired"].as_array().unwrap() {
        let (before, after) = (numbers(&case["before"]), numbers(&case["after"]));
        let differences: Vec<f64> =
            before.iter().zip(&after).map(|(before, after)| after - before).collect();
        let found = paired_t_test(&differences, 950).unwrap();
        assert_eq!(found.degrees as u64, case["degrees"].as_u64().unwrap());
        let p_value = case["p_value"].as_f64().unwrap();
        check("t", found.t, &case["t"], 1e-9 * found.t.abs().max(1.0));
        check("p", found.p_value, &case["p_value"], 1e-9 * p_value);
        check("low", found.low, &case["low"], 1e-9);
        check("high", found.high, &case["high"], 1e-9);
        check("effect", found.effect, &case["effect"], 1e-9);
    }
}

/// scipy draws other samples, so the ends agree to what 200 000 samples leave open.
#[test]
fn corrected_intervals_are_near_scipys() {
    for case in golden()["bca"].as_array().unwrap() {
        let sample = numbers(&case["sample"]);
        let resampling = Resampling { samples: 200_000, ..Resampling::default() };
        let (low, high) = corrected_interval(&sample, resampling).unwrap();
        check("low", low, &case["low"], 0.002);
        check("high", high, &case["high"], 0.002);
        // The correction is more than that.
        let (_, plain) = bootstrap_interval(&sample, resampling).unwrap();
        assert!(high - plain > 0.004, "{high} and {plain}");
    }
}

proptest! {
    #[test]
    fn runs_and_judgments_are_read_as_they_were_written(
        lines in prop::collection::btree_map(("[a-z0-9]{1,3}", "\\PC{1,8}"), (-1e30f32..1e30, -9i64..9), 1..40),
    ) {
        let lines: Vec<_> = lines.into_iter()
            .filter(|((_, document), _)| !document.contains(char::is_whitespace))
            .collect();
        prop_assume!(!lines.is_empty());
        let run: String = lines.iter()
            .map(|((query, document), (score, _))| format!("{query} Q0 {document} 1 {score} t\n"))
            .collect();
        let qrels: String = lines.iter()
            .map(|((query, document), (_, grade))| format!("{query} 0 {document} {grade}\n"))
            .collect();
        let (read, judgments) = (Run::parse(&run).unwrap(), Qrels::parse(&qrels).unwrap());
        prop_assert_eq!(&Run::parse(&read.to_string()).unwrap(), &read);
        prop_assert_eq!(&Qrels::parse(&judgments.to_string()).unwrap(), &judgments);
        prop_assert_eq!(read.to_string().lines().count(), lines.len());
        for ((query, document), (_, grade)) in &lines {
            prop_assert!(read.ranking(query, Ties::default()).contains(&document.as_str()));
            prop_assert_eq!(judgments.queries()[query][document], *grade);
        }
    }

    #[test]
    fn no_text_panics(text in "(\\PC{0,12}[ \t\n0-9]){0,12}") {
        for error in [Run::parse(&text).err(), Qrels::parse(&text).err()].into_iter().flatten() {
            let lines = text.lines().count();
            prop_assert!(error.line().is_none_or(|line| (1..=lines).contains(&line)), "{error}");
        }
    }
}
