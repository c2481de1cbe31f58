//! Searches that spend what a query needs, and what they learn from judged queries.

use serde_json::{Value, json};

use super::server::{Reply, Server, place_with};
use crate::common::data::text;
use crate::common::model::write_adapter;

const ARGUMENTS: [&str; 4] = ["--adapters", "adapters", "--index", "index"];
const DOCUMENTS: usize = 60;

fn server() -> Server {
    let server = Server::start(place_with(&["law", "bio"]), &ARGUMENTS);
    add(&server, 0..DOCUMENTS).ok();
    server
}

fn add(server: &Server, seeds: std::ops::Range<usize>) -> Reply {
    let document = |seed| json!({ "id": format!("d/{seed}"), "text": text(seed, 14) });
    let documents: Vec<Value> = seeds.map(document).collect();
    server.post("/v1/documents", &json!({ "tenant": "law", "documents": documents }))
}

/// The beginning of a document, which its words find.
fn question(seed: usize) -> String {
    text(seed, 5)
}

fn judged(seeds: std::ops::Range<usize>) -> Value {
    let one = |seed| {
        let answer = format!("d/{seed}");
        json!({ "query": question(seed), "relevant": { answer: 1, "d/none": 0 } })
    };
    json!({ "tenant": "law", "queries": seeds.map(one).collect::<Vec<Value>>() })
}

fn adaptive(server: &Server, more: Value) -> Value {
    let mut body = json!({ "tenant": "law", "query": question(7), "mode": "adaptive" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.post("/v1/search", &body).ok()
}

fn tuned(server: &Server) -> Reply {
    server.get("/v1/tune?tenant=law")
}

#[test]
fn a_tenant_that_learnt_nothing_gets_full_depth() {
    let server = server();
    let answer = adaptive(&server, json!({}));
    assert_eq!(answer["results"][0]["id"], "d/7");
    let did = &answer["adaptive"];
    assert_eq!((&did["stage"], &did["rule"]), (&json!("full_depth"), &json!("default")));
    assert_eq!(did["query_embedded"], true);
    assert_eq!(did["quality_floor"], 0.99);
    assert!(did["why"].as_str().unwrap().contains("POST /v1/tune"), "{did}");
    assert!(answer["embedding"].as_str().unwrap().starts_with("law@"), "{answer}");
    assert_eq!(answer["vectors_compared"], DOCUMENTS);
    assert_eq!(tuned(&server).status, 404);
}

#[test]
fn what_was_learnt_saves_the_query_s_embedding_and_outlives_a_kill() {
    let server = server();
    let learnt = server.post("/v1/tune", &judged(0..40)).ok();
    assert_eq!((&learnt["queries"], &learnt["in_use"]), (&json!(40), &json!(true)));
    assert_eq!(learnt["documents"], DOCUMENTS);
    let stages: Vec<&str> = learnt["stages"].as_array().unwrap().iter().map(stage).collect();
    assert_eq!(stages, ["words", "few_candidates", "many_candidates", "full_depth"]);
    assert!(learnt["stages"][0]["kept"].as_f64().unwrap() > 0.99, "words find all: {learnt}");
    assert!(learnt["in_words"].as_array().unwrap().len() > 5, "{learnt}");

    let floor = json!({ "quality_floor": 0.9 });
    let answer = adaptive(&server, floor.clone());
    let did = &answer["adaptive"];
    assert_eq!(answer["results"][0]["id"], "d/7");
    assert_eq!((&did["stage"], &did["rule"]), (&json!("words"), &json!("learnt")), "{did}");
    assert_eq!(did["query_embedded"], false);
    assert_eq!((&answer["embedding"], &answer["vectors_compared"]), (&Value::Null, &json!(0)));
    let cost = |key: &str| did["cost"][key].as_f64().unwrap();
    assert!(cost("total_us") < 0.1 * cost("full_depth_us"), "{did}");
    // What the model did stands in the figures: nothing, for this search.
    let filtered = adaptive(&server, json!({ "filter": { "year": 1 } }));
    assert_eq!(filtered["adaptive"]["rule"], "default", "rules know nothing of filters");
    assert_eq!(filtered["results"], json!([]));

    let server = Server::start(server.kill(), &ARGUMENTS);
    assert_eq!(tuned(&server).ok(), learnt);
    assert_eq!(adaptive(&server, floor.clone())["results"], answer["results"]);
    // Documents that come are found by the same rule.
    add(&server, DOCUMENTS..DOCUMENTS + 1).ok();
    let new = adaptive(&server, json!({ "query": question(DOCUMENTS) }));
    let results = new["results"].as_array().unwrap();
    assert!(results.iter().any(|it| it["id"] == format!("d/{DOCUMENTS}")), "{new}");
    assert_eq!(new["adaptive"]["stage"], "words");

    assert_eq!(server.send("DELETE", "/v1/tune?tenant=law", (None, None)).status, 200);
    assert_eq!(tuned(&server).status, 404);
    assert_eq!(adaptive(&server, floor)["adaptive"]["rule"], "default");
    assert_eq!(server.send("DELETE", "/v1/tune?tenant=law", (None, None)).status, 200);
}

fn stage(view: &Value) -> &str {
    view["stage"].as_str().unwrap()
}

/// What was learnt with one adapter's vectors says nothing of another's.
#[test]
fn what_was_learnt_is_not_used_once_documents_are_embedded_anew() {
    let server = server();
    server.post("/v1/tune", &judged(0..30)).ok();
    write_adapter(&server.place().at("new"), 99);
    let load = json!({ "lora_name": "law/v2", "lora_path": server.place().at("new") });
    assert_eq!(server.post("/v1/load_lora_adapter", &load).status, 200);
    server.post("/v1/embed_documents", &json!({ "tenant": "law", "model": "law/v2" })).ok();
    let did = adaptive(&server, json!({}))["adaptive"].clone();
    assert_eq!((&did["rule"], &did["stage"]), (&json!("default"), &json!("full_depth")));
    assert!(did["why"].as_str().unwrap().contains("not in use any more"), "{did}");
    let stale = tuned(&server).ok();
    assert_eq!(stale["in_use"], false);
    assert!(stale["in_words"][1].as_str().unwrap().contains("not used"), "{stale}");
    server.post("/v1/tune", &judged(0..30)).ok();
    assert_eq!(tuned(&server).ok()["in_use"], true);
    // With its documents goes what was learnt of them.
    assert_eq!(server.send("DELETE", "/v1/documents?tenant=law", (None, None)).status, 200);
    add(&server, 0..5).ok();
    assert_eq!(tuned(&server).status, 404);
}

#[test]
fn what_nothing_can_be_learnt_from_is_refused() {
    let server = server();
    let queries = |queries: Value| json!({ "tenant": "law", "queries": queries });
    let many = |count: usize, one: Value| queries(json!(vec![one; count]));
    let good = || json!({ "query": "badol", "relevant": { "d/1": 1 } });
    let huge: serde_json::Map<String, Value> =
        (0..1001).map(|at| (format!("d/{at}"), json!(1))).collect();
    let cases: Vec<(Value, u16)> = vec![
        (queries(json!([])), 400),
        (many(19, good()), 400),
        (many(1001, good()), 413),
        (many(20, json!({ "query": "badol", "relevant": { "d/none": 1 } })), 400),
        (many(20, json!({ "query": "badol", "relevant": { "d/1": 0 } })), 400),
        (many(20, json!({ "query": "badol", "relevant": { "d/1": -1 } })), 400),
        (many(20, json!({ "query": "badol", "relevant": { "d/1": 1e30 } })), 400),
        (many(20, json!({ "query": "badol", "relevant": { "d/1": "high" } })), 400),
        (many(20, json!({ "query": "badol", "relevant": ["d/1"] })), 400),
        (many(20, json!({ "query": " ", "relevant": { "d/1": 1 } })), 400),
        (many(20, json!({ "query": "x".repeat(20_000), "relevant": { "d/1": 1 } })), 413),
        (many(20, json!({ "query": "badol", "relevant": huge })), 413),
        (many(20, json!({ "query": "badol" })), 400),
        (json!({ "tenant": "law" }), 400),
        (json!({ "tenant": "law", "queries": [], "more": 1 }), 400),
        (json!({ "tenant": "bio", "queries": vec![good(); 20] }), 404),
    ];
    for (body, status) in cases {
        let reply = server.post("/v1/tune", &body);
        assert_eq!(reply.status, status, "{}", reply.text);
    }
    let searches = [
        json!({ "quality_floor": 1.5 }),
        json!({ "quality_floor": -0.1 }),
        json!({ "depth": 50 }),
        json!({ "weights": { "dense": 1, "text": 1 } }),
        json!({ "mode": "hybrid", "quality_floor": 0.9 }),
        json!({ "limit": 0 }),
    ];
    for more in searches {
        let mut body = json!({ "tenant": "law", "query": "badol", "mode": "adaptive" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(server.post("/v1/search", &body).status, 400, "{body}");
    }
    assert_eq!(tuned(&server).status, 404, "nothing was kept");
    assert_eq!(server.get("/v1/documents?tenant=law").ok()["documents"], DOCUMENTS);
}

/// Whoever waits no longer gets no answer, and leaves nothing behind.
#[test]
fn learning_ends_with_its_deadline() {
    let server = server();
    let sent = ureq::post(&format!("{}/v1/tune", server.address))
        .config()
        .http_status_as_error(false)
        .build()
        .header("x-deadline-ms", "1")
        .header("content-type", "application/json")
        .send(judged(0..40).to_string());
    assert_eq!(sent.unwrap().status(), 503);
    assert_eq!(tuned(&server).status, 404);
    server.post("/v1/tune", &judged(0..40)).ok();
}

#[test]
fn a_quoted_phrase_comes_first_in_hybrid_searches() {
    let server = server();
    let phrase = text(23, 14).split(' ').skip(4).take(3).collect::<Vec<_>>().join(" ");
    let query = format!("{} \"{phrase}\"", question(7));
    for mode in ["hybrid", "adaptive"] {
        let body = json!({ "tenant": "law", "query": query, "mode": mode });
        let first = server.post("/v1/search", &body).ok()["results"][0].clone();
        assert!(first["text"].as_str().unwrap().contains(&phrase), "{mode}: {first}");
        assert!(first["phrases"]["rank"].is_number(), "{mode}: {first}");
    }
}
