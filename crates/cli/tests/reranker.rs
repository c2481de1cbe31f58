//! A reranker from its workspace to its answers: trained beside a tenant that embeds, searched,
//! measured, exported, served, and refused where vectors are wanted.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;
#[allow(dead_code, reason = "a part of what other tests of servers need is enough here")]
#[path = "serving/server.rs"]
mod server;

use std::process::Command;

use common::{Place, data};
use serde_json::{Value, json};
use server::Server;

const WORKSPACE: &str = r#"
base = "model"

[limits]
threads = 2
precision = "f32"
checkpoint_every_steps = 2

[defaults]
rank = 4
batch = 8
epochs = 2

[tenant.finds]
data = "science"

[tenant.orders]
data = "science"
task = "rerank"
negatives = 4
learning_rate = 0.002
epochs = 12
"#;

fn place() -> Place {
    let place = Place::new();
    data::beir(&place.at("science"), 60);
    place.write("w.toml", WORKSPACE);
    place
}

const ADAPTER: &str = "tenants/orders/adapter";

/// One long story, since each of its steps needs the run before it.
#[test]
fn a_reranker_is_trained_searched_measured_exported_and_served() {
    let place = place();
    let estimate = place.json(&["estimate", "w.toml"]);
    assert!(estimate["wall_s"].as_f64().unwrap() > 0.0, "{estimate}");
    let results = place.json(&["train", "w.toml", "--out", "run"]);
    let [finds, orders] = [0, 1].map(|at| &results["tenants"][at]);
    assert_eq!((&finds["task"], &orders["task"]), (&json!("embed"), &json!("rerank")));
    assert!(orders["loss_first"].is_number() && orders["loss_last"].is_number());
    assert!(orders["ndcg10_before"].is_number() && orders["ndcg10_after"].is_number());
    let config = place.read(format!("run/{ADAPTER}/adapter_config.json"));
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["task_type"], "SEQ_CLS");
    let report = String::from_utf8(place.read("run/report.html")).unwrap();
    assert!(report.contains("first stage → reranked"), "the report says what was compared");
    check_alone(&place);
    check_search(&place);
    check_measures(&place);
    check_export(&place);
    check_server(place);
}

/// Fused with another task it gets the adapter that it gets alone, and so does the other.
fn check_alone(place: &Place) {
    for tenant in ["finds", "orders"] {
        let out = format!("alone-{tenant}");
        place.json(&["train", "w.toml", "--only", tenant, "--out", &out]);
        let weights = format!("tenants/{tenant}/adapter/adapter_model.safetensors");
        let (fused, alone) = (format!("run/{weights}"), format!("{out}/{weights}"));
        assert!(place.read(fused) == place.read(alone), "{tenant}");
    }
}

fn check_search(place: &Place) {
    let query = data::text(10, 3);
    let found = place.json(&["search", "--run", "run", "--tenant", "orders", "-k", "5", &query]);
    let passages = found["passages"].as_array().unwrap();
    let scores: Vec<f64> = passages.iter().map(|p| p["score"].as_f64().unwrap()).collect();
    assert_eq!(scores.len(), 5);
    assert!(scores.is_sorted_by(|one, other| one >= other), "{scores:?}");
}

fn check_measures(place: &Place) {
    let adapter = format!("run/{ADAPTER}");
    let exact = ["--base", "./model", "--precision", "f32"];
    let stages = ["eval", "science", "--stages", "--reranker", &adapter];
    let found = place.json(&[&stages[..], &exact].concat());
    let rows = found["data"][0]["stages"].as_array().unwrap();
    let full = rows.iter().rfind(|row| row["name"].as_str().unwrap().starts_with("full")).unwrap();
    assert_eq!(full["name"], "full depth: words and all vectors, 30 read again");
    assert_eq!((&full["kept"], &full["total_share"]), (&json!(1.0), &json!(1.0)));
    let quality = |row: &Value| row["quality"]["ndcg10"].as_f64().unwrap();
    let without =
        rows.iter().find(|row| row["name"].as_str().unwrap().starts_with("full")).unwrap();
    assert!(quality(full) >= quality(without), "{full} {without}");
    // What is found is in order already, and so nothing surely helps.
    assert_eq!((quality(without), &full["work"]["reranked"]), (1.0, &json!(0.0)), "{full}");
    let refused = place.run(&[&["eval", "science", "--adapter", &adapter][..], &exact].concat());
    refused.check("no embedding", 1, &["it is a reranker", "hint: ", "--reranker"]);
    let embeds = [&stages[..4], &["run/tenants/finds/adapter"], &exact].concat();
    place.run(&embeds).check("no reranker", 1, &["it embeds", "hint: ", "task = \"rerank\""]);
}

fn check_export(place: &Place) {
    let export = ["export", "--run", "run", "--tenant", "orders", "--to"];
    place.json(&[&export[..], &["peft", "--format", "peft"]].concat());
    place.json(&[&export[..], &["merged", "--format", "sentence-transformers"]].concat());
    let config: Value = serde_json::from_slice(&place.read("merged/config.json")).unwrap();
    assert_eq!(config["architectures"], json!(["BertForSequenceClassification"]));
    let copy = place.read("peft/adapter_model.safetensors");
    assert!(copy == place.read(format!("run/{ADAPTER}/adapter_model.safetensors")));
}

/// The server orders texts with the adapter, learns how much it counts, and refuses it where
/// vectors are wanted.
fn check_server(place: Place) {
    let query = data::text(10, 3);
    let search = ["search", "--run", "run", "--tenant", "orders", "-k", "3", &query];
    let found = place.json(&search)["passages"].clone();
    let adapters = ["finds", "orders"].map(|name| format!("{name}=run/tenants/{name}/adapter"));
    let server = Server::start(
        place,
        &["--adapter", &adapters[0], "--adapter", &adapters[1], "--index", "index"],
    );
    let texts: Vec<&Value> = found.as_array().unwrap().iter().map(|p| &p["text"]).collect();
    let ask = |name: &str, raw: bool| {
        let parameters = json!({ "adapter_id": name });
        let body = json!({
            "query": query, "texts": texts, "raw_scores": raw, "parameters": parameters,
        });
        server.post("/rerank", &body).ok()
    };
    let scores = |ranks: &Value| -> Vec<f64> {
        ranks.as_array().unwrap().iter().map(|rank| rank["score"].as_f64().unwrap()).collect()
    };
    let (parts, raw) = (ask("orders", false), ask("orders", true));
    let sigmoid = |score: &f64| 1.0 / (1.0 + (-score).exp());
    for (part, raw) in scores(&parts).iter().zip(&scores(&raw)) {
        assert!((part - sigmoid(raw)).abs() < 1e-6, "{part} {raw}");
    }
    let cosines = scores(&ask("finds", true));
    assert!(cosines.iter().all(|cosine| cosine.abs() <= 1.0 + 1e-6), "{cosines:?}");
    assert_ne!(cosines, scores(&raw));
    check_refusals(&server, &query);
    check_tuned(&server);
    let info = server.get("/info").ok();
    assert!(info["reranking"].as_str().unwrap().contains("reranker"), "{info}");
    assert_eq!(server.terminate(), Some(0));
}

fn check_refusals(server: &Server, query: &str) {
    let parameters = json!({ "adapter_id": "orders" });
    let similar = json!({ "source_sentence": query, "sentences": [query] });
    for (path, body) in [
        ("/v1/embeddings", json!({ "model": "orders", "input": query })),
        ("/embed", json!({ "inputs": query, "parameters": parameters })),
        ("/similarity", json!({ "inputs": similar, "parameters": parameters })),
    ] {
        let reply = server.post(path, &body);
        assert!((400..500).contains(&reply.status), "{path}: {reply:?}");
        assert!(reply.text.contains("is a reranker"), "{path}: {reply:?}");
    }
    // Each fits, and both together do not.
    let long = data::text(3, 40);
    let body = |truncate: bool| json!({ "query": long, "texts": [long], "truncate": truncate, "parameters": parameters });
    let reply = server.post("/rerank", &body(false));
    assert!(reply.text.contains("tokens together"), "{reply:?}");
    assert_eq!(server.post("/rerank", &body(true)).status, 200);
}

/// Searches are learnt with the reranker, and then use it as much as that says.
fn check_tuned(server: &Server) {
    const DOCUMENTS: usize = 40;
    let document = |seed| json!({ "id": format!("d/{seed}"), "text": data::text(seed, 14) });
    let documents: Vec<Value> = (0..DOCUMENTS).map(document).collect();
    server.post("/v1/documents", &json!({ "tenant": "law", "documents": documents })).ok();
    // What answers is what neither words nor vectors would put first.
    let judged = |seed: usize| {
        let answer = format!("d/{}", (seed + 1) % DOCUMENTS);
        json!({ "query": data::text(seed, 5), "relevant": { answer: 1 } })
    };
    let queries: Vec<Value> = (0..30).map(judged).collect();
    let tune = |reranker: &str| {
        let body = json!({ "tenant": "law", "queries": queries, "reranker": reranker });
        server.post("/v1/tune", &body)
    };
    let reply = tune("finds");
    assert!(reply.status == 400 && reply.text.contains("is no reranker"), "{reply:?}");
    assert_eq!(tune("nobody").status, 404);
    let learnt = tune("orders").ok();
    let name = learnt["reranker"].as_str().unwrap();
    assert!(name.starts_with("orders@"), "{learnt}");
    let weight = learnt["reranker_weight"].as_f64().unwrap();
    let search = || {
        let body = json!({ "tenant": "law", "query": data::text(7, 5), "mode": "adaptive" });
        server.post("/v1/search", &body)
    };
    let found = search().ok();
    let reranked = found["adaptive"]["reranked"].as_u64().unwrap();
    assert_eq!(reranked > 0, weight > 0.0, "{found} {learnt}");
    assert_eq!(found["results"].as_array().unwrap().len(), 10);
    // Without its reranker it is not the search that was learnt.
    server.post("/v1/unload_lora_adapter", &json!({ "lora_name": "orders" }));
    let expected = if weight > 0.0 { 404 } else { 200 };
    assert_eq!(search().status, expected, "{learnt}");
}

#[test]
fn what_a_reranker_cannot_learn_from_is_refused_before_anything_is_embedded() {
    let place = place();
    let scored = |at: usize| {
        let (one, other) = (data::text(at, 3), data::text(at, 9));
        json!({ "a": one, "b": other, "score": at % 5 }).to_string()
    };
    data::lines(&place.at("scored.jsonl"), (0..20).map(scored));
    let tenant = |rest: &str| {
        let text = format!("base = \"model\"\n[tenant.orders]\ntask = \"rerank\"\n{rest}\n");
        place.write("bad.toml", text);
        place.run(&["train", "bad.toml", "--out", "bad"])
    };
    let scored = tenant("data = \"scored.jsonl\"");
    scored.check("scored pairs", 1, &["scored pairs", "task = \"rerank\"", "hint: "]);
    let loss = tenant("data = \"science\"\nloss = \"mnrl\"");
    loss.check("another loss", 1, &["one over embeddings", "hint: leave loss out"]);
}

/// A run that is killed and resumed ends with the bits of one that is left alone.
#[test]
fn a_reranker_that_is_killed_and_resumed_is_the_same() {
    let place = place();
    let train = |out: &str| -> Command {
        let mut command = place.command(&["train", "w.toml", "--out", out]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        command
    };
    assert!(train("whole").status().unwrap().success());
    let mut child = train("cut").spawn().unwrap();
    let checkpoint = place.at("cut/checkpoint");
    while !checkpoint.is_file() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    if checkpoint.is_file() {
        let resumed = place.run(&["train", "w.toml", "--out", "cut", "--resume"]);
        resumed.check("resumed", 0, &[]);
    } else {
        assert!(place.at("cut/run.json").is_file(), "it ended before it could be killed");
    }
    let weights = |run: &str| place.read(format!("{run}/{ADAPTER}/adapter_model.safetensors"));
    assert!(weights("whole") == weights("cut"));
}
