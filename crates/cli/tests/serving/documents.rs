//! Documents and searches of tenants over HTTP.

use serde_json::{Value, json};

use super::server::{Reply, Server, place_with};
use crate::common::data::text;
use crate::common::model::write_adapter;

fn server() -> Server {
    let arguments = ["--adapters", "adapters", "--index", "index"];
    Server::start(place_with(&["law", "bio"]), &arguments)
}

fn add(server: &Server, tenant: &str, seeds: std::ops::Range<usize>) -> Reply {
    let document = |seed| {
        let year = 2000 + seed % 10;
        json!({ "id": format!("d/{seed}"), "text": text(seed, 9), "metadata": { "year": year } })
    };
    let documents: Vec<Value> = seeds.map(document).collect();
    server.post("/v1/documents", &json!({ "tenant": tenant, "documents": documents }))
}

fn search(server: &Server, body: Value) -> Value {
    server.post("/v1/search", &body).ok()
}

fn ids(answer: &Value) -> Vec<&str> {
    let results = answer["results"].as_array().unwrap();
    results.iter().map(|it| it["id"].as_str().unwrap()).collect()
}

#[test]
fn documents_are_found_from_the_moment_they_are_added_until_they_go() {
    let server = server();
    assert_eq!(add(&server, "law", 0..60).ok()["added"], 60);
    let by =
        |mode: &str| json!({ "tenant": "law", "query": text(17, 9), "mode": mode, "limit": 3 });
    for mode in ["hybrid", "dense", "text"] {
        let answer = search(&server, by(mode));
        assert_eq!(ids(&answer)[0], "d/17", "{mode}");
        let first = &answer["results"][0];
        assert_eq!(first["text"], text(17, 9));
        assert_eq!(first["dense"].is_null(), mode == "text", "{answer}");
        assert_eq!(first["words"].is_null(), mode == "dense", "{answer}");
    }
    let answer = search(&server, by("dense"));
    assert!((answer["results"][0]["dense"]["score"].as_f64().unwrap() - 1.0).abs() < 1e-5);
    assert!(answer["embedding"].as_str().unwrap().starts_with("law@"));
    let filtered = json!({ "tenant": "law", "query": text(17, 9), "filter": { "year": 2003 } });
    let answer = search(&server, filtered);
    assert!(answer["results"].as_array().unwrap().iter().all(|it| it["metadata"]["year"] == 2003));
    // In place of the one of its id.
    assert_eq!(add(&server, "law", 17..18).ok()["replaced"], 1);
    let whole = server.get("/v1/documents?tenant=law").ok();
    assert_eq!((&whole["documents"], &whole["failure"]), (&json!(60), &Value::Null));
    assert_eq!(server.get("/v1/documents/d/17?tenant=law").ok()["text"], text(17, 9));
    let gone = server.send("DELETE", "/v1/documents/d/17?tenant=law", (None, None));
    assert_eq!(gone.ok()["deleted"], 1);
    assert_eq!(server.get("/v1/documents/d/17?tenant=law").status, 404);
    assert!(!ids(&search(&server, by("hybrid"))).contains(&"d/17"));
    let more = json!({ "tenant": "law", "ids": ["d/1", "d/2", "none"] });
    assert_eq!(server.post("/v1/delete_documents", &more).ok()["deleted"], 2);
    // Others have their own.
    assert_eq!(server.post("/v1/search", &json!({ "tenant": "bio", "query": "x" })).status, 404);
    assert_eq!(server.send("DELETE", "/v1/documents?tenant=law", (None, None)).status, 200);
    assert_eq!(server.get("/v1/documents?tenant=law").status, 404);
}

/// What README.md shows, but for the address.
#[test]
fn the_examples_of_the_readme_work() {
    let server = server();
    let readme = include_str!("../../../../README.md");
    let section = readme.split("## Serving them").nth(1).unwrap().split("## ").next().unwrap();
    let bodies: Vec<Value> = section
        .lines()
        .filter_map(|line| line.trim().strip_prefix("-d '")?.strip_suffix('\''))
        .map(|body| serde_json::from_str(body).unwrap())
        .collect();
    let [documents, search] = &bodies[..] else { panic!("{bodies:?}") };
    assert_eq!(server.post("/v1/documents", documents).ok()["added"], 1);
    let answer = server.post("/v1/search", search).ok();
    assert_eq!(ids(&answer), ["1"], "{answer}");
}

#[test]
fn a_line_of_a_corpus_is_a_document() {
    let server = server();
    let line = json!({ "_id": "a", "title": "Ships", "text": "They sail.", "metadata": {} });
    server.post("/v1/documents", &json!({ "tenant": "law", "documents": [line] })).ok();
    let shown = server.get("/v1/documents/a?tenant=law").ok();
    let expected = json!({
        "id": "a", "text": "Ships They sail.", "metadata": { "title": "Ships" },
    });
    assert_eq!(shown, expected);
}

/// A part number that few documents hold names them, however well others fit the other words.
#[test]
fn what_a_code_names_comes_first() {
    let server = server();
    let others = (0..40).map(
        |at| json!({ "id": format!("{at}"), "text": format!("pump AB 1234 X {}", text(at, 5)) }),
    );
    let named = json!({ "id": "named", "text": "The list of parts has item AB-1234-X too." });
    let documents: Vec<Value> = others.chain([named]).collect();
    server.post("/v1/documents", &json!({ "tenant": "law", "documents": documents })).ok();
    for mode in ["hybrid", "text", "adaptive"] {
        let ask = json!({ "tenant": "law", "query": "pump AB-1234-X", "mode": mode, "limit": 3 });
        assert_eq!(ids(&search(&server, ask))[0], "named", "{mode}");
    }
    let deaf = json!({ "dense": 1, "text": 1, "codes": 0 });
    let ask = json!({ "tenant": "law", "query": "pump AB-1234-X", "weights": deaf, "limit": 3 });
    assert_ne!(ids(&search(&server, ask))[0], "named");
}

#[test]
fn what_was_added_is_there_after_a_restart() {
    let server = server();
    add(&server, "law", 0..20).ok();
    let before = search(&server, json!({ "tenant": "law", "query": text(7, 9) }));
    let place = server.kill();
    let server = Server::start(place, &["--adapters", "adapters", "--index", "index"]);
    let after = search(&server, json!({ "tenant": "law", "query": text(7, 9) }));
    assert_eq!(before["results"], after["results"]);
}

/// A replaced adapter gives other vectors, which must not be compared with those of the documents.
#[test]
fn documents_are_embedded_anew_beside_the_old_ones_and_switched_to_at_once() {
    let server = server();
    add(&server, "law", 0..150).ok();
    let asked = json!({ "tenant": "law", "query": text(33, 9), "mode": "dense" });
    let old = search(&server, asked.clone());
    write_adapter(&server.place().at("new"), 99);
    let load = |name: &str| {
        let folder = server.place().at("new");
        let body = json!({ "lora_name": name, "lora_path": folder, "load_inplace": true });
        server.post("/v1/load_lora_adapter", &body).status
    };
    // Under a name of its own: the old one is searched until the switch.
    assert_eq!(load("law/v2"), 200);
    assert_eq!(search(&server, asked.clone()), old);
    let anew = server.post("/v1/embed_documents", &json!({ "tenant": "law", "model": "law/v2" }));
    let anew = anew.ok();
    assert_eq!((&anew["covered"], &anew["active"]), (&json!(150), &json!(true)));
    let new = search(&server, asked.clone());
    assert!(new["embedding"].as_str().unwrap().starts_with("law/v2@"));
    assert_eq!(ids(&new)[0], "d/33");
    assert_ne!(new["results"], old["results"]);
    assert_eq!(add(&server, "law", 150..151).status, 200, "what comes goes with them");
    let other =
        json!({ "tenant": "law", "model": "bio", "documents": [{ "id": "x", "text": "y" }] });
    assert_eq!(server.post("/v1/documents", &other).status, 409);
    // In place: nothing is compared with vectors of the version before.
    write_adapter(&server.place().at("new"), 100);
    assert_eq!(load("law/v2"), 200);
    let refused = server.post("/v1/search", &asked);
    assert_eq!(refused.status, 409, "{refused:?}");
    assert!(refused.text.contains("/v1/embed_documents"), "{refused:?}");
    let words = json!({ "tenant": "law", "query": text(33, 9), "mode": "text" });
    assert_eq!(ids(&search(&server, words))[0], "d/33");
    server.post("/v1/embed_documents", &json!({ "tenant": "law", "model": "law/v2" })).ok();
    assert_eq!(ids(&search(&server, asked))[0], "d/33");
}

#[test]
fn what_no_index_takes_is_refused_and_nothing_is_lost() {
    let server = server();
    add(&server, "law", 0..5).ok();
    let documents = "/v1/documents";
    let huge = "x".repeat(9 << 20);
    let cases: Vec<(&str, Value, u16)> = vec![
        (documents, json!({ "tenant": "law", "documents": [] }), 400),
        (documents, json!({ "tenant": "law", "documents": [{ "id": "", "text": "x" }] }), 400),
        (documents, json!({ "tenant": "law", "documents": [{ "text": "x" }] }), 400),
        (documents, json!({ "tenant": "law", "documents": [{ "id": "1", "text": huge }] }), 413),
        (documents, json!({ "tenant": "a\nb", "documents": [{ "id": "1", "text": "x" }] }), 400),
        (documents, json!({ "tenant": "law", "documents": [{ "id": "1", "txt": "x" }] }), 400),
        ("/v1/search", json!({ "tenant": "law", "query": "x", "limit": 0 }), 400),
        (
            "/v1/search",
            json!({ "tenant": "law", "query": "x", "filter": { "a": { "b": 1 } } }),
            400,
        ),
        ("/v1/search", json!({ "tenant": "law", "query": "x", "rrf_k": -1 }), 400),
        ("/v1/search", json!({ "tenant": "law", "query": "x", "mode": "magic" }), 400),
        ("/v1/embed_documents", json!({ "tenant": "law", "model": "none" }), 404),
    ];
    for (path, body, status) in cases {
        let reply = server.post(path, &body);
        assert_eq!(reply.status, status, "{path} {}", reply.text);
    }
    assert_eq!(server.get("/v1/documents?tenant=law").ok()["documents"], 5);
}
