//! `cotenant index` as a person and a program use it: from files to answers, and what is said of
//! what cannot be done.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Place, model};
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

/// Vectors of another adapter would be compared with those that are there, and mean nothing.
#[test]
fn a_namespace_has_vectors_of_one_model() {
    let place = Place::new();
    for (name, seed) in [("one", 1), ("two", 2)] {
        model::write_adapter(&place.at(name), seed);
    }
    place.write("a.jsonl", "{\"_id\": \"a\", \"text\": \"a ship\"}\n");
    place.write("b.jsonl", "{\"_id\": \"b\", \"text\": \"a canal\"}\n");
    let width = model::HIDDEN.to_string();
    place.json(&["index", "create", "x.index", "--dimensions", &width]);
    let run = |command: &[&str], adapter: &str| {
        let made = ["--model", "./model", "--adapter", adapter];
        place.run(&[&["index"], command, &made].concat())
    };
    run(&["add", "x.index", "a.jsonl"], "one").check("the first", 0, &[]);
    run(&["add", "x.index", "b.jsonl"], "two").check(
        "another",
        1,
        &["one@", "two@", "index embed"],
    );
    run(&["search", "x.index", "ship"], "two").check("another's search", 1, &["index embed"]);
    let bare = place.run(&["index", "add", "x.index", "b.jsonl"]);
    assert!(bare.stderr.contains("1 of these documents have no vector"), "{}", bare.stderr);

    let embedded = run(&["embed", "x.index"], "two").stdout;
    assert!(embedded.starts_with("2 documents have a vector now"), "{embedded}");
    let found = run(&["search", "x.index", "ship", "--mode", "dense"], "two").stdout;
    assert!(found.contains("1. a"), "{found}");
    run(&["search", "x.index", "ship"], "one").check("the old one's", 1, &["two@"]);

    // Texts alone get vectors the same way.
    place.json(&["index", "create", "x.index", "-n", "texts"]);
    place.json(&["index", "add", "x.index", "a.jsonl", "-n", "texts"]);
    run(&["add", "x.index", "b.jsonl", "-n", "texts"], "one").check(
        "vectors among texts",
        1,
        &["for texts alone", "index embed"],
    );
    run(&["embed", "x.index", "-n", "texts"], "one").check("vectors for texts", 0, &[]);
    run(&["add", "x.index", "b.jsonl", "-n", "texts"], "one").check("more of them", 0, &[]);
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
    check(&["add", "x.index", "bad.jsonl"], &["bad.jsonl", "line 2", "\"body\"", "1 documents"]);
    assert_eq!(ids(&place.json(&["index", "search", "x.index", "x"])), ["d"], "what came before");
    place.write("empty.jsonl", "{\"_id\": \"d\"}\n");
    check(&["add", "x.index", "empty.jsonl"], &["\"d\" has no text", "hint: "]);
    let shapeless = ["index", "create", "x.index", "-n", "odd", "--kind", "hnsw"];
    place.run(&shapeless).check("a kind without vectors", 2, &["--dimensions"]);
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
