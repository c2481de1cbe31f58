//! Online experiments over HTTP: who gets what, what counts, and what outlives a kill.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::server::{Reply, Server, place_with};
use crate::common::Place;
use crate::common::data::text;

const ARGUMENTS: [&str; 6] =
    ["--adapters", "adapters", "--index", "index", "--experiments", "experiments"];

fn server() -> Server {
    let server = Server::start(place_with(&["law"]), &ARGUMENTS);
    add(&server, "law");
    server
}

fn add(server: &Server, tenant: &str) {
    let document = |seed| json!({ "id": format!("d{seed}"), "text": text(seed, 9) });
    let documents: Vec<Value> = (0..30).map(document).collect();
    server.post("/v1/documents", &json!({ "tenant": tenant, "documents": documents })).ok();
}

fn begin(server: &Server, tenant: &str, more: Value) -> Reply {
    let mut request = json!({
        "tenant": tenant, "name": "words alone", "control": { "mode": "hybrid" },
        "treatment": { "mode": "text", "depth": 20 },
    });
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.post("/v1/experiments", &request)
}

fn search(server: &Server, user: &str) -> Value {
    let body = json!({ "tenant": "law", "query": text(7, 9), "mode": "dense", "user": user });
    server.post("/v1/search", &body).ok()
}

fn say(server: &Server, id: &Value, rank: u32) -> Value {
    let body = json!({ "tenant": "law", "feedback_id": id, "clicked_rank": rank });
    server.post("/v1/feedback", &body).ok()["result"].clone()
}

fn show(server: &Server) -> Value {
    server.get("/v1/experiments?tenant=law").ok()
}

#[test]
fn users_keep_their_variant_and_feedback_counts_once_over_a_kill() {
    let server = server();
    assert_eq!(search(&server, "anna")["experiment"], Value::Null, "there is none yet");
    assert_eq!(server.get("/v1/experiments?tenant=law").status, 404);
    begin(&server, "law", json!({})).ok();
    assert_eq!(begin(&server, "law", json!({})).status, 409);
    let mut variants = BTreeMap::new();
    let mut ids = Vec::new();
    for user in 0..24 {
        let answer = search(&server, &format!("user-{user}"));
        let experiment = &answer["experiment"];
        let variant = experiment["variant"].as_str().unwrap().to_owned();
        // The variant decides, whatever the search asks for.
        let first = &answer["results"][0];
        assert!(!first["words"].is_null(), "{answer}");
        assert_eq!(first["dense"].is_null(), variant == "treatment", "{answer}");
        assert_eq!(experiment["name"], "words alone");
        ids.push(experiment["feedback_id"].clone());
        variants.insert(user, variant);
    }
    let plain = json!({ "tenant": "law", "query": text(7, 9), "mode": "dense" });
    let plain = server.post("/v1/search", &plain).ok();
    assert!(plain["experiment"].is_null() && plain["results"][0]["words"].is_null());
    for id in &ids[..9] {
        assert_eq!(say(&server, id, 2), "counted");
        assert_eq!(say(&server, id, 1), "repeated");
    }
    let before = show(&server);
    let server = Server::start(server.kill(), &ARGUMENTS);
    assert_eq!(show(&server), before);
    let counted = |effect: &Value| {
        let units = |name: &str| effect[name].as_u64().unwrap();
        units("control_subjects") + units("treatment_subjects")
    };
    assert_eq!(counted(&before["metric"]), 9);
    for (user, variant) in &variants {
        let again = search(&server, &format!("user-{user}"));
        assert_eq!(again["experiment"]["variant"], **variant, "{user}");
    }
    assert_eq!(say(&server, &ids[0], 1), "repeated");
    assert_eq!(say(&server, &ids[9], 0), "counted", "an id outlives the server that gave it");
    let page = server.get("/metrics").text;
    for line in [
        "cotenant_serve_experiment_feedback_total{tenant=\"law\",result=\"counted\"} 1",
        "cotenant_serve_experiment_feedback_total{tenant=\"law\",result=\"repeated\"} 1",
    ] {
        assert!(page.lines().any(|it| it == line), "{line}\n{page}");
    }
    assert_eq!(server.send("DELETE", "/v1/experiments?tenant=law", (None, None)).status, 200);
    assert!(search(&server, "user-1")["experiment"].is_null());
    let body = json!({ "tenant": "law", "feedback_id": ids[10], "clicked_rank": 1 });
    assert_eq!(server.post("/v1/feedback", &body).status, 404);
}

/// Users of the treatment click first results and others none, until the server says that it knows.
#[test]
fn it_stops_with_a_reason_and_serves_the_winner() {
    let server = server();
    begin(&server, "law", json!({ "subjects_max": 2000 })).ok();
    let mut asked = 0;
    while show(&server)["stop"].is_null() {
        let answer = search(&server, &format!("user-{asked}"));
        let experiment = &answer["experiment"];
        let rank = u32::from(experiment["variant"] == "treatment");
        say(&server, &experiment["feedback_id"], rank);
        asked += 1;
        assert!(asked < 1000, "it stops by itself: {}", show(&server));
    }
    let stop = show(&server)["stop"].clone();
    assert_eq!((&stop["code"], &stop["serves"]), (&json!("better"), &json!("treatment")));
    assert!(stop["reason"].as_str().unwrap().starts_with("the treatment is better: 1.0000"));
    let server = Server::start(server.kill(), &ARGUMENTS);
    assert_eq!(show(&server)["stop"], stop, "for good");
    for user in 0..10 {
        let experiment = search(&server, &format!("new-{user}"))["experiment"].clone();
        let expected = json!({
            "name": "words alone", "variant": "treatment", "feedback_id": null,
        });
        assert_eq!(experiment, expected);
    }
}

/// A search that the server cannot answer counts as the worst of everything.
#[test]
fn searches_that_fail_break_the_guardrail_of_errors() {
    let server = server();
    let guardrails = json!({
        "control": { "mode": "text" }, "treatment": { "mode": "dense" },
        "guardrails": { "errors": { "tolerance": 0.05 } },
    });
    begin(&server, "law", guardrails).ok();
    // An adapter whose values are no numbers any more: what needs it fails, and words do not.
    let body = json!({ "tenant": "law", "query": crate::common::model::POISON });
    let (mut failed, mut user) = (0, 0);
    while show(&server)["stop"].is_null() {
        let mut body = body.clone();
        body["user"] = json!(format!("user-{user}"));
        let reply = server.post("/v1/search", &body);
        user += 1;
        assert!(user < 3000, "it stops by itself: {}", show(&server));
        match reply.status {
            424 => failed += 1,
            200 => {
                let id = reply.json()["experiment"]["feedback_id"].clone();
                // Nothing is clicked, so that the metric has nothing to say.
                say(&server, &id, 0);
            }
            other => panic!("{other}: {reply:?}"),
        }
    }
    let stop = show(&server)["stop"].clone();
    assert!(failed > 10, "{failed}");
    assert_eq!(stop["code"], "guardrail_broken", "{stop}");
    assert!(stop["reason"].as_str().unwrap().contains("the guardrail errors worse"), "{stop}");
    // Whoever asks now is answered by what did not fail.
    let mut body = body;
    body["user"] = json!("somebody");
    assert_eq!(server.post("/v1/search", &body).ok()["experiment"]["variant"], "control");
}

/// The file of a new experiment is a pipe, which opens once somebody reads it: so slow a disk keeps
/// the tenant waiting that begins it, and nobody else.
#[test]
fn who_begins_on_a_slow_disk_keeps_no_search_of_others_waiting() {
    let server = server();
    add(&server, "bio");
    let files = || {
        let entries = std::fs::read_dir(server.place().at("experiments")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    begin(&server, "bio", json!({})).ok();
    let is_experiment = |path: &std::path::PathBuf| path.extension() == Some("experiment".as_ref());
    let file = files().into_iter().find(is_experiment).unwrap();
    assert_eq!(server.send("DELETE", "/v1/experiments?tenant=bio", (None, None)).status, 200);
    begin(&server, "law", json!({})).ok();
    let mut draft = file.into_os_string();
    draft.push(".new");
    assert!(Command::new("mkfifo").arg(&draft).status().unwrap().success());
    let (answered, answers) = mpsc::channel();
    let (found, begun) = thread::scope(|scope| {
        let beginning = scope.spawn(|| begin(&server, "bio", json!({})));
        let (server, answered) = (&server, answered.clone());
        // Many searches, since nothing tells when the server has come to the pipe.
        scope.spawn(move || {
            (0..100).for_each(|user| {
                // Nobody listens any more where one of them was too late.
                let _ = answered.send(search(server, &format!("user-{user}")));
            });
        });
        let next = || answers.recv_timeout(Duration::from_secs(20));
        let found: Vec<_> = (0..100).map_while(|_| next().ok()).collect();
        std::fs::read(&draft).unwrap();
        (found, beginning.join().unwrap())
    });
    assert_eq!(found.len(), 100, "a search waited for another tenant's disk");
    assert!(found.iter().all(|answer| answer["experiment"]["name"] == "words alone"));
    assert_eq!(begun.status, 503, "a pipe cannot be synced: {begun:?}");
    begin(&server, "bio", json!({})).ok();
}

#[test]
fn what_cannot_be_an_experiment_or_feedback_is_refused() {
    let server = server();
    for (more, part) in [
        (json!({ "name": "" }), "the experiment's name"),
        (json!({ "treatment": { "mode": "hybrid" } }), "control and treatment are the same"),
        (json!({ "treatment": { "mode": "magic" } }), "magic"),
        (json!({ "treatment": { "rrf_k": -1 } }), "rrf_k is -1"),
        (json!({ "treatment": { "depth": 10_001 } }), "depth is 10001"),
        (json!({ "treatment": { "limit": 3 } }), "limit"),
        (json!({ "subjects_max": 0 }), "subjects_max is 0"),
        (json!({ "hours_max": 9000 }), "hours_max is 9000"),
        (json!({ "metric": { "worst": 1, "best": 1 } }), "its ends must differ"),
    ] {
        let reply = begin(&server, "law", more);
        assert_eq!(reply.status, 400, "{part}: {reply:?}");
        assert!(reply.text.contains(part), "{part}: {reply:?}");
    }
    assert_eq!(begin(&server, "nobody", json!({})).status, 404, "who has no documents");
    begin(&server, "law", json!({})).ok();
    let id = search(&server, "anna")["experiment"]["feedback_id"].clone();
    for body in [
        json!({ "tenant": "law", "feedback_id": "00", "clicked_rank": 1 }),
        json!({ "tenant": "law", "feedback_id": "x".repeat(1 << 20), "clicked_rank": 1 }),
        json!({ "tenant": "law", "feedback_id": id, "value": 1 }),
        json!({ "tenant": "law", "feedback_id": id }),
        json!({ "tenant": "law", "feedback_id": id, "clicked_rank": -1 }),
        json!({ "tenant": "law", "feedback_id": id, "clicked_rank": 1, "guardrail": 1 }),
    ] {
        let reply = server.post("/v1/feedback", &body);
        assert_eq!(reply.status, 400, "{reply:?}");
    }
    let long = json!({ "tenant": "law", "query": "x", "user": "x".repeat(257) });
    assert_eq!(server.post("/v1/search", &long).status, 400);
    assert_eq!(say(&server, &id, 1), "counted", "nothing of that was counted");
    let without = Server::start(place_with(&["law"]), &["--index", "index"]);
    assert_eq!(without.get("/v1/experiments").status, 404);
}

#[test]
fn a_tenants_experiment_is_its_own() {
    const LAW: &str = "law-0123456789abcdef";
    const BIO: &str = "bio-0123456789abcdef";
    let place: Place = place_with(&[]);
    place.write("tokens.toml", format!("law = \"{LAW}\"\nbio = \"{BIO}\"\n"));
    let arguments = ["--index", "index", "--experiments", "experiments", "--tokens", "tokens.toml"];
    let server = Server::start(place, &arguments);
    let post = |token: &str, path: &str, body: Value| {
        server.send("POST", path, (Some(&body.to_string()), Some(token)))
    };
    for token in [LAW, BIO] {
        let documents = json!({ "documents": [{ "id": "1", "text": "badol cebar" }] });
        post(token, "/v1/documents", documents).ok();
    }
    let experiment = json!({
        "name": "secret", "control": {}, "treatment": { "mode": "text" },
    });
    post(LAW, "/v1/experiments", experiment).ok();
    let search = json!({ "query": "badol", "user": "anna" });
    let answer = post(LAW, "/v1/search", search.clone()).ok();
    let id = answer["experiment"]["feedback_id"].clone();
    assert!(post(BIO, "/v1/search", search).ok()["experiment"].is_null());
    for (method, path) in [
        ("GET", "/v1/experiments"),
        ("GET", "/v1/experiments?tenant=law"),
        ("DELETE", "/v1/experiments"),
        ("DELETE", "/v1/experiments?tenant=law"),
    ] {
        let reply = server.send(method, path, (None, Some(BIO)));
        assert_eq!(reply.status, 404, "{method} {path}");
        assert!(!reply.text.contains("secret"), "{reply:?}");
    }
    let feedback = json!({ "feedback_id": id, "clicked_rank": 1 });
    assert_eq!(post(BIO, "/v1/feedback", feedback.clone()).status, 404);
    assert_eq!(post(LAW, "/v1/feedback", feedback).ok()["result"], "counted");
    let page = server.send("GET", "/metrics", (None, Some(BIO))).text;
    assert!(!page.contains("law"), "{page}");
}
