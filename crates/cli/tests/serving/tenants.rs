//! With tokens, a tenant is shown its own and nothing else.

use serde_json::{Value, json};

use super::server::{Reply, Server, place_with};

const LAW: &str = "law-0123456789abcdef";
const BIO: &str = "bio-0123456789abcdef";
const ADMIN: &str = "admin-0123456789abcdef";

fn server() -> Server {
    let place = place_with(&["law", "law/v2", "bio"].map(|name| match name {
        // A folder cannot hold an adapter and folders of adapters.
        "law" => "law/adapter",
        "bio" => "bio/adapter",
        name => name,
    }));
    place.write("tokens.toml", format!("law = \"{LAW}\"\nbio = \"{BIO}\"\nadmin = \"{ADMIN}\"\n"));
    Server::start(place, &["--adapters", "adapters", "--index", "index", "--tokens", "tokens.toml"])
}

fn post(server: &Server, token: &str, path: &str, body: &Value) -> Reply {
    server.send("POST", path, (Some(&body.to_string()), Some(token)))
}

fn get(server: &Server, token: &str, path: &str) -> Reply {
    server.send("GET", path, (None, Some(token)))
}

#[test]
fn who_has_no_token_is_turned_away() {
    let server = server();
    for path in ["/v1/models", "/info", "/metrics", "/openapi.json"] {
        assert_eq!(server.get(path).status, 401, "{path}");
        assert_eq!(get(&server, "wrong-0123456789abcdef", path).status, 401, "{path}");
        assert_eq!(get(&server, LAW, path).status, 200, "{path}");
    }
    assert_eq!(server.get("/health").status, 200);
    let reply = server.post("/v1/embeddings", &json!({ "input": "x" }));
    assert_eq!(
        (reply.status, reply.json()["error"]["code"].as_str()),
        (401, Some("invalid_api_key"))
    );
}

#[test]
fn a_tenant_sees_its_own_adapters_documents_and_figures() {
    let server = server();
    let ids = |token: &str| -> Vec<String> {
        let models = get(&server, token, "/v1/models").ok();
        let ids = models["data"].as_array().unwrap().iter();
        ids.map(|it| it["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(LAW), ["./model", "law", "law/v2"]);
    assert_eq!(ids(BIO), ["./model", "bio"]);
    assert_eq!(ids(ADMIN), ["./model", "bio", "law", "law/v2"]);

    let embed = |token: &str, model: Option<&str>| {
        post(&server, token, "/v1/embeddings", &json!({ "model": model, "input": "badol" }))
    };
    assert_eq!(embed(LAW, Some("law/v2")).status, 200);
    assert_eq!(embed(LAW, Some("base")).status, 200);
    // Another tenant's adapter is told of as one that is not there.
    let others = embed(LAW, Some("bio")).json()["error"]["message"].clone();
    let none = embed(LAW, Some("bix")).json()["error"]["message"].clone();
    assert_eq!(others.as_str().unwrap().replace("bio", "bix"), none.as_str().unwrap());
    // Without a name it is the tenant's own.
    assert_eq!(embed(LAW, None).ok()["model"], "law");

    let documents = json!({ "documents": [{ "id": "1", "text": "badol cebar" }] });
    assert_eq!(post(&server, LAW, "/v1/documents", &documents).ok()["added"], 1);
    assert_eq!(get(&server, LAW, "/v1/documents/1").status, 200);
    for path in ["/v1/documents/1", "/v1/documents", "/v1/documents?tenant=law"] {
        let reply = get(&server, BIO, path);
        assert_eq!(reply.status, 404, "{path}: {reply:?}");
        assert!(!reply.text.contains("badol"));
    }
    let search = json!({ "query": "badol", "tenant": "law" });
    assert_eq!(post(&server, BIO, "/v1/search", &search).status, 404);
    let adaptive = json!({ "query": "badol", "tenant": "law", "mode": "adaptive" });
    assert_eq!(post(&server, BIO, "/v1/search", &adaptive).status, 404);
    assert_eq!(post(&server, LAW, "/v1/search", &adaptive).ok()["results"][0]["id"], "1");
    let judged = json!({ "query": "badol", "relevant": { "1": 1 } });
    let tune = json!({ "tenant": "law", "queries": vec![judged; 20] });
    assert_eq!(post(&server, BIO, "/v1/tune", &tune).status, 404);
    assert_eq!(post(&server, LAW, "/v1/tune", &tune).ok()["queries"], 20);
    for path in ["/v1/tune", "/v1/tune?tenant=law"] {
        assert_eq!(get(&server, BIO, path).status, 404, "{path}");
        assert_eq!(server.send("DELETE", path, (None, Some(BIO))).status, 404, "{path}");
        assert_eq!(get(&server, LAW, path).status, 200, "{path}");
    }
    assert_eq!(post(&server, ADMIN, "/v1/search", &search).ok()["results"][0]["id"], "1");
    let drop = |token| server.send("DELETE", "/v1/documents?tenant=law", (None, Some(token)));
    assert_eq!(drop(BIO).status, 404);

    embed(BIO, None);
    let page = get(&server, LAW, "/metrics").text;
    assert!(page.contains("tenant=\"law\"") && !page.contains("bio"), "{page}");
    assert!(!page.contains("cotenant_serve_adapters"), "the machine is not the tenant's: {page}");
    for line in [
        "cotenant_serve_searches_total{tenant=\"law\",mode=\"hybrid\",reached=\"full_depth\"} 1",
        "cotenant_serve_search_stage_runs_total{tenant=\"law\",stage=\"words\"} 2",
        "cotenant_serve_index_failing{tenant=\"law\"} 0",
    ] {
        assert!(page.lines().any(|it| it == line), "{line}\n{page}");
    }
    let whole = get(&server, ADMIN, "/metrics").text;
    assert!(whole.contains("tenant=\"law\"") && whole.contains("tenant=\"bio\""));
}

#[test]
fn adapters_are_loaded_by_the_administrator_alone() {
    let server = server();
    let body = json!({ "lora_name": "law/v3", "lora_path": server.place().at("adapters/law/v2") });
    assert_eq!(post(&server, LAW, "/v1/load_lora_adapter", &body).status, 403);
    assert_eq!(post(&server, ADMIN, "/v1/load_lora_adapter", &body).status, 200);
    let body = json!({ "lora_name": "bio" });
    assert_eq!(post(&server, LAW, "/v1/unload_lora_adapter", &body).status, 403);
    // However the path is spelt, it is the administrator's or nothing's.
    for path in [
        "/v1/unload_lora%5Fadapter",
        "/v1/%75nload_lora_adapter",
        "/v1//unload_lora_adapter",
        "/v1/unload_lora_adapter/",
        "/v1/./unload_lora_adapter",
        "/V1/unload_lora_adapter",
        "/v1/unload_lora_adapter?tenant=law",
    ] {
        let status = post(&server, LAW, path, &body).status;
        assert!(matches!(status, 403 | 404), "{path}: {status}");
    }
    assert_eq!(
        post(&server, ADMIN, "/v1/embeddings", &json!({ "model": "bio", "input": "x" })).status,
        200
    );
}

#[test]
fn what_is_open_to_others_wants_tokens() {
    let place = place_with(&[]);
    let ran = place.run(&["serve", "--model", "./model", "--listen", "0.0.0.0:0"]);
    ran.check("an open address", 1, &["hint: name a file of tokens with --tokens"]);
    place.write("tokens.toml", "law = \"short\"");
    let ran = place.run(&["serve", "--model", "./model", "--tokens", "tokens.toml"]);
    ran.check("a short token", 1, &["the token of law has less than 16 bytes", "hint:"]);
    let ran = place.run(&["serve", "--model", "./model", "--adapter", "law=nowhere"]);
    ran.check("no adapter", 1, &["nowhere holds no adapter_config.json", "hint:"]);
}
