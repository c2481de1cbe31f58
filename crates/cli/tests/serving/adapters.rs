//! Adapters that come, go and change while requests run; folders that hold something else.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;

use super::server::{Reply, Server, place_with, vector};
use crate::common::model::{write_adapter, write_reranker};

fn load(server: &Server, name: &str, folder: &str, in_place: &str) -> Reply {
    let folder = server.place().at(folder);
    let in_place = in_place == "in place";
    let body = json!({ "lora_name": name, "lora_path": folder, "load_inplace": in_place });
    server.post("/v1/load_lora_adapter", &body)
}

fn ids(server: &Server) -> Vec<String> {
    let models = server.get("/v1/models").ok();
    let ids = models["data"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap());
    ids.map(str::to_owned).collect()
}

#[test]
fn adapters_come_and_go() {
    let server = Server::start(place_with(&["law"]), &["--adapters", "adapters"]);
    write_adapter(&server.place().at("new"), 77);
    assert_eq!(server.post("/v1/embeddings", &json!({ "model": "bio", "input": "x" })).status, 404);
    assert_eq!(load(&server, "bio", "new", "").status, 200);
    assert_eq!(ids(&server), ["./model", "bio", "law"]);
    let of_bio = server.embed("bio", &["badol cebar"]);
    assert_ne!(of_bio, server.embed("law", &["badol cebar"]));
    assert_eq!(load(&server, "bio", "new", "").status, 409);
    assert_eq!(load(&server, "base", "new", "").status, 400);
    assert_eq!(load(&server, "a b", "new", "").status, 400);
    let unload =
        |name: &str| server.post("/v1/unload_lora_adapter", &json!({ "lora_name": name })).status;
    assert_eq!((unload("bio"), unload("bio")), (200, 404));
    assert_eq!(ids(&server), ["./model", "law"]);
    assert_eq!(server.post("/v1/embeddings", &json!({ "model": "bio", "input": "x" })).status, 404);
}

#[test]
fn rerankers_are_told_from_embedders_and_begin_no_documents() {
    let server =
        Server::start(place_with(&["law"]), &["--adapters", "adapters", "--index", "index"]);
    let kind = |name: &str| -> serde_json::Value {
        let models = server.get("/v1/models").ok();
        let models = models["data"].as_array().unwrap();
        models.iter().find(|it| it["id"] == name).unwrap()["kind"].clone()
    };
    assert_eq!((kind("./model"), kind("law")), (json!("embedder"), json!(null)));
    server.embed("law", &["badol"]);
    assert_eq!(kind("law"), "embedder");
    write_reranker(&server.place().at("reranker"), 5);
    assert_eq!(load(&server, "bio", "reranker", "").status, 200);
    assert_eq!(kind("bio"), "reranker");
    let asked = json!({
        "query": "badol", "texts": ["cebar", "badol"], "parameters": { "adapter_id": "bio" },
    });
    assert_eq!(server.post("/rerank", &asked).ok().as_array().unwrap().len(), 2);
    // The tenant's own adapter embeds nothing, and nothing is left behind by trying.
    let mut add = json!({ "tenant": "bio", "documents": [{ "id": "1", "text": "badol" }] });
    let refused = server.post("/v1/documents", &add);
    assert!(refused.status == 400 && refused.text.contains("is a reranker"), "{refused:?}");
    assert_eq!(server.get("/v1/documents?tenant=bio").status, 404);
    add["model"] = json!("base");
    server.post("/v1/documents", &add).ok();
    let anew = json!({ "tenant": "bio", "model": "bio" });
    assert_eq!(server.post("/v1/embed_documents", &anew).status, 400);
    let found = json!({ "tenant": "bio", "query": "badol", "mode": "dense" });
    assert_eq!(server.post("/v1/search", &found).ok()["results"][0]["id"], "1");
    // In place of it comes one that embeds.
    assert_eq!(load(&server, "bio", "adapters/law", "in place").status, 200);
    assert_eq!(kind("bio"), "embedder");
}

/// A request sees the old adapter or the new one as a whole, and one that came after the change was
/// acknowledged sees the new one.
#[test]
fn an_adapter_is_replaced_in_place_without_a_stale_read() {
    let server =
        Server::start(place_with(&["law"]), &["--adapters", "adapters", "--batch-tokens", "16"]);
    let texts: Vec<String> = (0..12).map(|at| crate::common::data::text(at, 6)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut versions = vec![server.embed("law", &texts)];
    for seed in 100..110 {
        write_adapter(&server.place().at(format!("v{seed}")), seed);
    }
    let is_over = AtomicBool::new(false);
    let (seen, versions) = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut seen = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                seen.push(server.embed("law", &texts));
            }
            seen
        });
        for seed in 100..110 {
            assert_eq!(load(&server, "law", &format!("v{seed}"), "in place").status, 200);
            let now = server.embed("law", &texts);
            assert!(!versions.contains(&now), "the new one answers at once");
            versions.push(now);
        }
        is_over.store(true, Ordering::Relaxed);
        (asking.join().unwrap(), versions)
    });
    assert!(!seen.is_empty());
    assert!(seen.iter().all(|answer| versions.contains(answer)), "each is one version as a whole");
}

#[test]
fn few_adapters_are_in_memory_and_all_are_served() {
    // One adapter of the tiny model has 4 * 4 * 4 * 32 values of 4 bytes, 2 KiB with both halves.
    let names: Vec<String> = (0..1200).map(|at| format!("t{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let place = place_with(&names);
    let arguments = ["--adapters", "adapters", "--adapter-memory-mib", "1", "--pin", "t3"];
    let server = Server::start(place, &arguments);
    let first = server.embed("t3", &["badol cebar"]);
    let all: Vec<_> = names.iter().map(|name| server.embed(name, &["badol cebar"])).collect();
    assert_eq!(all[3], first);
    let figure = |name: &str| server.figure(name) as u64;
    assert_eq!(figure("cotenant_serve_adapters"), 1200);
    let (loaded, bytes) =
        (figure("cotenant_serve_adapters_loaded"), figure("cotenant_serve_adapter_bytes"));
    assert!(bytes <= 1 << 20 && loaded < 1200, "{loaded} have {bytes} bytes");
    assert_eq!(figure("cotenant_serve_adapters_evicted_total"), 1200 - loaded);
    // Those that were put out come back with the same bits.
    for at in [0, 1, 3, 600, 1199] {
        assert_eq!(server.embed(names[at], &["badol cebar"]), all[at], "{at}");
    }
}

#[test]
fn a_hostile_folder_is_refused_and_the_others_live_on() {
    let place = place_with(&["law", "cut", "wide", "words", "text", "gone"]);
    let adapters = place.at("adapters");
    let weights = |name: &str| adapters.join(name).join("adapter_model.safetensors");
    let whole = fs::read(weights("cut")).unwrap();
    fs::write(weights("cut"), &whole[..whole.len() / 2]).unwrap();
    let mut huge = whole.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    fs::write(weights("wide"), huge).unwrap();
    fs::write(weights("words"), "PK not tensors at all").unwrap();
    fs::write(adapters.join("text/adapter_config.json"), "{ \"peft_type\": ").unwrap();
    fs::remove_file(weights("gone")).unwrap();
    fs::create_dir_all(adapters.join("pipe")).unwrap();
    fs::copy(adapters.join("law/adapter_config.json"), adapters.join("pipe/adapter_config.json"))
        .unwrap();
    let made = std::process::Command::new("mkfifo").arg(weights("pipe")).status().unwrap();
    assert!(made.success());
    let server = Server::start(place, &["--adapters", "adapters"]);
    let before = server.embed("law", &["badol cebar"]);
    for name in ["cut", "wide", "words", "text", "gone", "pipe"] {
        let reply = server.post("/v1/embeddings", &json!({ "model": name, "input": "badol" }));
        assert_eq!(reply.status, 424, "{name}: {reply:?}");
        assert!(reply.text.contains(name), "{reply:?}");
        // In place of one that lives, it changes nothing.
        let reply = load(&server, "law", &format!("adapters/{name}"), "in place");
        assert_eq!(reply.status, 424, "{name}: {reply:?}");
        assert_eq!(server.embed("law", &["badol cebar"]), before, "{name}");
    }
    let tei = json!({ "inputs": "badol", "parameters": { "adapter_id": "cut" } });
    assert_eq!(server.post("/embed", &tei).json()["error_type"], "Backend");
    let still = server
        .post("/embed", &json!({ "inputs": "badol cebar", "parameters": { "adapter_id": "law" } }));
    assert_eq!(vector(&still.ok()[0]), before[0]);
}
