//! `cotenant index` as a person and a program use it: from files to answers, and what is said of
//! what cannot be done.

#![allow(clippy::unwrap_used)]

mod common;

use common::Place;
use serde_json::{Value, json};

const CORPUS: &str = concat!(
    r#"{"_id": "a", "title": "Ships", "text": "A rudder turns a ship.", "metadata": {"year": 3}}"#,
    "\n\n",
    r#"{"_id": "b", "text": "Canals carry ships.", "metadata": {"year": 5}, "vector": [0, 1]}"#,
    "\n",
    r#"{"_id": "c", "text": "Bread rises.", "vector": [1, 0]}"#,
    "\n",
);

fn place() -> Place {
    let place = Place::new();
    place.write("corpus.jsonl", CORPUS);
    place.json(&["index", "create", "x.index", "--dimensions", "2"]);
    let added = place.json(&["index", "add", "x.index", "corpus.jsonl"]);
    assert_eq!(added, json!({"added": 3, "replaced": 0, "deleted": 0, "unchanged": 0}));
    place
}

fn ids(answer: &Value) -> Vec<&str> {
    let documents = answer["documents"].as_array().unwrap();
    documents.iter().map(|document| document["id"].as_str().unwrap()).collect()
}

#[test]
fn documents_are_found_changed_and_gone() {
    let place = place();
    let search = |more: &[&str]| place.json(&[&["index", "search", "x.index"], more].concat());
    let found = search(&["ships", "--vector", "[0, 2]"]);
    assert_eq!(ids(&found), ["b", "a", "c"], "{found}");
    assert_eq!(found["documents"][0]["dense"], json!({"rank": 1, "score": 1.0}));
    assert_eq!(found["documents"][1]["dense"], Value::Null);
    assert_eq!(found["documents"][1]["metadata"], json!({"year": 3, "title": "Ships"}));
    assert_eq!(ids(&search(&["ship", "--filter", r#"{"year": {"lt": 4}}"#])), ["a"]);
    assert_eq!(ids(&search(&["--vector", "[1, 0]", "--top", "1"])), ["c"]);

    place.write("changes.jsonl", r#"{"_id": "c", "text": "Bread and ships."}"#);
    assert_eq!(place.json(&["index", "update", "x.index", "changes.jsonl"])["replaced"], 1);
    assert_eq!(ids(&search(&["bread"])), ["c"]);
    let deleted = place.json(&["index", "delete", "x.index", "a", "nothing"]);
    assert_eq!((&deleted["deleted"], &deleted["unchanged"]), (&json!(1), &json!(1)));
    place.json(&["index", "compact", "x.index"]);
    assert_eq!(ids(&search(&["rudder"])), [""; 0]);
    let stats = place.json(&["index", "stats", "x.index"]);
    let main = &stats["namespaces"][0];
    assert_eq!((&main["documents"], &main["dead"]), (&json!(2), &json!(0)));
    assert_eq!(place.json(&["index", "verify", "x.index"])["damaged"], json!([]));

    // What is exported is added elsewhere, and exported as the same.
    let exported = place.run(&["index", "export", "x.index"]).stdout;
    assert_eq!(exported.lines().count(), 2, "{exported}");
    place.write("exported.jsonl", &exported);
    place.json(&["index", "create", "x.index", "-n", "copy", "--dimensions", "2"]);
    place.json(&["index", "add", "x.index", "exported.jsonl", "-n", "copy"]);
    assert_eq!(place.run(&["index", "export", "x.index", "-n", "copy"]).stdout, exported);
    place.json(&["index", "drop", "x.index", "-n", "copy"]);
    place.run(&["index", "export", "x.index", "-n", "copy"]).check("a dropped one", 1, &["main"]);
}

#[test]
fn what_cannot_be_done_is_said() {
    let place = place();
    let check = |arguments: &[&str], parts: &[&str]| {
        place.run(&[&["index"], arguments].concat()).check(&arguments.join(" "), 1, parts);
    };
    check(&["stats", "nowhere"], &["error: failed to open the index nowhere", "holds no index"]);
    check(&["create", "x.index"], &["there is a namespace \"main\" already"]);
    check(&["search", "x.index", "a", "-n", "other"], &["no namespace \"other\"", "main"]);
    check(&["search", "x.index", "--vector", "[1]"], &["has 1 dimensions", "has 2"]);
    check(&["search", "x.index", "a", "--mode", "dense"], &["hint: name a --model"]);
    check(&["search", "x.index", "a", "--filter", "{\"a\": {\"like\": 1}}"], &["--filter", "like"]);
    place.write("bad.jsonl", "{\"_id\": \"d\", \"text\": \"x\"}\n{\"_id\": 1, \"body\": 2}\n");
    check(&["add", "x.index", "bad.jsonl"], &["bad.jsonl", "line 2", "\"body\""]);
    place.write("new.jsonl", "{\"_id\": \"z\", \"text\": \"x\"}\n");
    check(&["update", "x.index", "new.jsonl"], &["no document \"z\" to update"]);

    let mut log = None;
    for entry in std::fs::read_dir(place.at("x.index/namespace-000000")).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().contains("log-") && path.extension().is_none() {
            log = Some(path);
        }
    }
    let log = log.unwrap();
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[60] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let ran = place.run(&["index", "verify", "x.index"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.contains("log-000001 is damaged at byte 24"), "{}", ran.stdout);
}
