//! `cotenant eval` on what other programs wrote: runs, judgments and answers.

#![allow(clippy::unwrap_used)]

mod common;

use common::Place;

fn place() -> Place {
    let place = Place::new();
    let run = |second: bool| -> String {
        let found = |query: u32| if query.is_multiple_of(4) && !second { "x" } else { "a" };
        (0..40).map(|query| format!("q{query} Q0 {} 1 0.5 run\n", found(query))).collect()
    };
    let qrels: String = (0..40).map(|query| format!("q{query}\ta\t1\n")).collect();
    place.write("old.run", run(false));
    place.write("new.run", run(true));
    place.write("qrels.tsv", format!("query-id\tcorpus-id\tscore\n{qrels}"));
    place
}

const RUNS: [&str; 5] = ["eval", "--run", "old.run", "--run", "new.run"];

#[test]
fn runs_are_compared() {
    let place = place();
    let report = place.json(&[&RUNS[..], &["--qrels", "qrels.tsv"]].concat());
    assert_eq!(report["queries"], 40);
    assert_eq!(report["runs"][0]["means"][0]["mean"], 0.75);
    let ndcg = &report["gains"][0];
    assert_eq!((&ndcg["metric"], &ndcg["difference"]), (&"ndcg".into(), &0.25.into()));
    assert!(ndcg["low"].as_f64().unwrap() > 0.05, "{ndcg}");
    assert!(ndcg["randomisation_p"].as_f64().unwrap() < 0.01, "{ndcg}");

    let shown = place.run(&[&RUNS[..], &["--qrels", "qrels.tsv"]].concat());
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    assert!(shown.stdout.contains("second less first"), "{}", shown.stdout);
    let alone = place.json(&["eval", "--run", "new.run", "--qrels", "qrels.tsv", "--depth", "1"]);
    assert_eq!((&alone["runs"][0]["means"][4]["mean"], &alone["gains"]), (&1.0.into(), &().into()));
}

#[test]
fn drawn_queries_are_judged_and_estimate_the_whole() {
    let place = place();
    let draw = [&RUNS[..], &["--draw", "30", "--seed", "3"]].concat();
    let drawn = place.json(&draw);
    let drawn = drawn["drawn"].as_array().unwrap();
    let judged =
        |query: &serde_json::Value| format!("{} 0 a 1\n", query["query"].as_str().unwrap());
    place.write("judged", drawn.iter().map(judged).collect::<String>());
    let report = place.json(&[&draw[..], &["--qrels", "judged"]].concat());
    let ndcg = &report["gains"][0];
    let number = |key: &str| ndcg[key].as_f64().unwrap();
    assert!(number("low") <= 0.25 && number("high") >= 0.25, "{ndcg}");
    assert_eq!(
        (&report["queries"], report["judged"].as_u64()),
        (&40.into(), Some(drawn.len() as u64))
    );
}

#[test]
fn answers_are_compared() {
    let place = Place::new();
    place.write("old.jsonl", "{\"reference\": \"the cat sat\", \"answer\": \"a dog\"}\n");
    place.write("new.jsonl", "{\"reference\": \"the cat sat\", \"answer\": \"the cats sat\"}\n");
    let arguments = ["eval", "--answers", "old.jsonl", "--answers", "new.jsonl"];
    let plain = place.json(&arguments);
    let stemmed = place.json(&[&arguments[..], &["--stem"]].concat());
    let rouge =
        |report: &serde_json::Value| report["files"][1]["means"][2]["mean"].as_f64().unwrap();
    assert!((rouge(&plain) - 2.0 / 3.0).abs() < 1e-12, "{plain}");
    assert_eq!(rouge(&stemmed), 1.0, "{stemmed}");
    let shown = place.run(&arguments);
    assert!(shown.stdout.contains("BLEU of all answers together"), "{}", shown.stdout);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let place = place();
    place.write("bad.run", "q1 Q0 a 1 0.5 run\nq1 Q0 a 2 0.4 run\n");
    let check = |arguments: &[&str], code: i32, parts: &[&str]| {
        place.run(arguments).check(&arguments.join(" "), code, parts);
    };
    check(&["eval"], 2, &["required"]);
    check(&["eval", "data", "--run", "old.run"], 2, &["cannot be used with"]);
    check(&["eval", "--run", "old.run"], 1, &["without judgments", "hint: give --qrels"]);
    check(&["eval", "--run", "old.run", "--draw", "9"], 1, &["hint: give --run twice"]);
    let bad = ["eval", "--run", "bad.run", "--qrels", "qrels.tsv"];
    check(&bad, 1, &["failed to read bad.run", "because: line 2", "as line 1 did"]);
    let missing = ["eval", "--run", "none.run", "--qrels", "qrels.tsv"];
    check(&missing, 1, &["failed to read none.run", "hint: "]);
    let unjudged = [&RUNS[..], &["--draw", "9", "--qrels", "few.tsv"]].concat();
    place.write("few.tsv", "q1 0 a 1\n");
    check(&unjudged, 1, &["have no judgments", "hint: judge what"]);
    let early = [&RUNS[..], &["--draw", "9", "--mlflow", "http://127.0.0.1:9"]].concat();
    check(&early, 1, &["nothing was measured", "hint: give --qrels"]);
    let tracked = [&RUNS[..], &["--qrels", "qrels.tsv", "--mlflow", "http://127.0.0.1:9"]].concat();
    check(&tracked, 1, &["track a run at http://127.0.0.1:9", "hint: the run is kept"]);
    assert!(!place.read("mlflow.jsonl").is_empty());
}
