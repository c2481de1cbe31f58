//! What is refused, in whose words, and that nothing else suffers.

use std::thread;

use serde_json::{Value, json};

use super::server::{Server, place_with};
use crate::common::data::text;
use crate::common::model::POISON;

/// Refusals in the words of OpenAI below `/v1`, and of text-embeddings-inference elsewhere.
#[test]
fn what_cannot_be_done_is_refused_in_the_words_of_the_route() {
    let server = Server::start(place_with(&["law"]), &["--adapters", "adapters"]);
    let long = text(1, 500);
    let many = vec!["badol"; 2049];
    let (v1, embed) = ("/v1/embeddings", "/embed");
    let cases: Vec<(&str, Value, u16, &str)> = vec![
        (v1, json!({ "input": [] }), 400, "empty_input"),
        (v1, json!({ "input": [[]] }), 400, "empty_input"),
        (v1, json!({ "input": 3 }), 400, "invalid_value"),
        (v1, json!({}), 400, "invalid_value"),
        (v1, json!([]), 400, "invalid_value"),
        (v1, json!({ "input": "x", "model": "other" }), 404, "not_found"),
        (v1, json!({ "input": "x", "dimensions": 33 }), 400, "invalid_value"),
        (v1, json!({ "input": "x", "dimensions": 0 }), 400, "invalid_value"),
        (v1, json!({ "input": "x", "encoding_format": "hex" }), 400, "invalid_value"),
        (v1, json!({ "input": "x", "prompt_name": "none" }), 400, "invalid_value"),
        (v1, json!({ "input": [999_999] }), 400, "invalid_value"),
        (v1, json!({ "input": [-1] }), 400, "invalid_value"),
        (v1, json!({ "input": many }), 413, "too_large"),
        (v1, json!({ "input": POISON }), 424, "model_failed"),
        (embed, json!({ "inputs": [] }), 400, "Empty"),
        (embed, json!({ "inputs": {} }), 422, "Validation"),
        (embed, json!({ "inputs": "x", "truncation_direction": "Left" }), 422, "Validation"),
        (embed, json!({ "inputs": long, "truncate": false }), 422, "Validation"),
        (embed, json!({ "inputs": "x", "parameters": { "adapter_id": "o" } }), 404, "Validation"),
        (embed, json!({ "inputs": POISON }), 424, "Backend"),
        ("/rerank", json!({ "query": "x", "texts": [] }), 400, "Empty"),
        ("/v1/search", json!({ "query": "x" }), 404, "not_found"),
        ("/nowhere", json!({}), 404, "Validation"),
        ("/info", json!({}), 405, "Validation"),
    ];
    for (path, body, status, code) in cases {
        let reply = server.post(path, &body);
        let said = reply.json();
        let found = match path.starts_with("/v1/") {
            true => &said["error"]["code"],
            false => &said["error_type"],
        };
        assert_eq!((reply.status, found.as_str()), (status, Some(code)), "{path} {said}");
        assert!(!said.to_string().contains("panicked"), "{said}");
    }
    for (body, status) in [("{", 400), ("", 400), ("{\"input\": \"\\ud800\"}", 400)] {
        let reply = server.send("POST", v1, (Some(body), None));
        assert_eq!(reply.status, status, "{body}: {reply:?}");
        assert!(reply.json()["error"]["message"].is_string());
    }
    // A long text is cut where nobody says otherwise.
    assert_eq!(server.post(embed, &json!({ "inputs": long })).status, 200);
    assert_eq!(server.embed("law", &["badol"]).len(), 1, "it answers as before");
}

#[test]
fn a_body_that_is_too_large_is_refused_and_nothing_is_lost() {
    let server = Server::start(place_with(&["law"]), &["--adapters", "adapters"]);
    let body = json!({ "input": "x".repeat(50 << 20) }).to_string();
    // The server may close the connection before all of it was sent.
    let sent = ureq::post(&format!("{}/v1/embeddings", server.address))
        .config()
        .http_status_as_error(false)
        .build()
        .header("content-type", "application/json")
        .send(&body);
    if let Ok(response) = sent {
        assert_eq!(response.status(), 413);
    }
    assert_eq!(server.embed("law", &["badol"]).len(), 1);
}

#[test]
fn overload_is_shed_with_a_time_to_come_back_and_passes() {
    let arguments = ["--adapters", "adapters", "--queue-tokens", "4096", "--batch-tokens", "64"];
    let server = Server::start(place_with(&["law", "bio"]), &arguments);
    // Token ids come faster than texts, which the server would have to read first.
    let ids = vec![vec![7; 62]; 30];
    let body = json!({ "model": "law", "input": ids });
    let never = json!({ "model": "law", "input": vec![text(1, 60); 40] });
    assert_eq!(server.post("/v1/embeddings", &never).status, 413, "it would never fit");
    let replies: Vec<_> = thread::scope(|scope| {
        let ask = || (0..20).map(|_| server.post("/v1/embeddings", &body)).collect::<Vec<_>>();
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let refused: Vec<_> = replies.iter().filter(|reply| reply.status == 429).collect();
    assert!(!refused.is_empty(), "16 requests of 1,860 tokens do not fit into 4,096");
    for reply in refused {
        let seconds: u64 = reply.retry_after.as_ref().unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds));
        assert_eq!(reply.json()["error"]["code"], "overloaded");
    }
    assert!(replies.iter().any(|reply| reply.status == 200), "others are served");
    assert!(replies.iter().all(|reply| matches!(reply.status, 200 | 429)));
    assert_eq!(server.embed("bio", &["badol"]).len(), 1, "it recovers");
    let page = server.get("/metrics").text;
    assert!(page.contains("cotenant_serve_queue_tokens 0"), "{page}");
}

#[test]
fn a_deadline_that_passed_is_told() {
    let arguments = ["--adapters", "adapters", "--batch-tokens", "16"];
    let server = Server::start(place_with(&["law"]), &arguments);
    let texts: Vec<String> = (0..2000).map(|seed| text(seed, 60)).collect();
    let body = json!({ "model": "law", "input": texts });
    let ask = |deadline: &str| {
        ureq::post(&format!("{}/v1/embeddings", server.address))
            .config()
            .http_status_as_error(false)
            .build()
            .header("x-deadline-ms", deadline)
            .header("content-type", "application/json")
            .send(body.to_string())
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(ask("1"), 503);
    assert_eq!(ask("soon"), 400);
    assert_eq!(server.embed("law", &["badol"]).len(), 1);
}

/// A tenant's own texts are before it, and none of them is late: who asked with a short deadline is
/// told at once, and not when its turn comes.
#[test]
fn who_does_not_wait_is_told_before_its_turn() {
    let arguments = ["--adapters", "adapters", "--batch-tokens", "16", "--queue-tokens", "4000000"];
    let server = Server::start(place_with(&["law"]), &arguments);
    let ask = |count: usize, deadline: &str| {
        let body = json!({ "model": "law", "input": vec![vec![7; 62]; count] }).to_string();
        let request = ureq::post(&format!("{}/v1/embeddings", server.address));
        let request = request.config().http_status_as_error(false).build();
        let request = request.header("x-deadline-ms", deadline);
        let sent = request.header("content-type", "application/json").send(body);
        sent.unwrap().status().as_u16()
    };
    thread::scope(|scope| {
        let patient: Vec<_> = (0..8).map(|_| scope.spawn(|| ask(2048, "600000"))).collect();
        // Until all of them wait, but for what was computed and the batch under way.
        let figure = |name: &str| server.figure(name);
        let come = || {
            figure("cotenant_serve_tokens_total{tenant=\"law\"}")
                + figure("cotenant_serve_queue_tokens")
        };
        while figure("cotenant_serve_queue_tokens") < 500_000.0 {}
        while come() < f64::from(8 * 2048 * 62 - 100) {}
        assert_eq!(ask(1, "1"), 503);
        let waiting = server.figure("cotenant_serve_queue_tokens");
        assert!(waiting > 0.0, "it was told when its turn came");
        assert!(patient.into_iter().all(|thread| thread.join().unwrap() == 200));
    });
}

#[test]
fn an_adapter_with_the_base_models_name_is_refused_at_the_start() {
    let place = place_with(&["law"]);
    for (name, model) in [("base", "./model"), ("model", "model")] {
        let adapter = format!("{name}=adapters/law");
        let ran = place.run(&["serve", "--model", model, "--adapter", &adapter]);
        let said = format!("\"{name}\" is the base model's name");
        ran.check(name, 1, &[&said, "hint: call the adapter something else"]);
    }
}
