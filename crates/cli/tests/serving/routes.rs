//! What each route answers.

use serde_json::{Value, json};

use super::server::{Server, place_with, vector};
use crate::common::data::text;
use crate::common::model::HIDDEN;

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|value| value * value).sum::<f32>().sqrt()
}

fn dot(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

fn server() -> Server {
    Server::start(place_with(&["law", "bio/v1"]), &["--adapters", "adapters"])
}

#[test]
fn embeddings_are_the_same_in_every_form_and_batch() {
    let server = server();
    let texts: Vec<String> = (0..40).map(|seed| text(seed, 1 + seed % 12)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for model in ["law", "bio/v1", "base", "./model"] {
        let together = server.embed(model, &texts);
        assert_eq!(together.len(), texts.len());
        for (text, expected) in texts.iter().zip(&together).step_by(7) {
            // Alone, by any route, it has the same bits.
            assert_eq!(&server.embed(model, &[text])[0], expected, "{model}");
            assert!((length(expected) - 1.0).abs() < 1e-5);
            let tei = json!({ "inputs": text, "parameters": { "adapter_id": model } });
            assert_eq!(&vector(&server.post("/embed", &tei).ok()[0]), expected, "{model}");
            let base64 = json!({ "model": model, "input": text, "encoding_format": "base64" });
            let answer = server.post("/v1/embeddings", &base64).ok();
            let bytes = from_base64(answer["data"][0]["embedding"].as_str().unwrap());
            let values = bytes.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap()));
            assert_eq!(&values.collect::<Vec<f32>>(), expected, "{model}");
        }
    }
    assert_ne!(server.embed("law", &texts[..1]), server.embed("base", &texts[..1]));
    assert_ne!(server.embed("law", &texts[..1]), server.embed("bio/v1", &texts[..1]));
}

fn from_base64(text: &str) -> Vec<u8> {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let value = |letter| letters.iter().position(|it| *it == letter).unwrap() as u32;
    let four = |four: &[u8]| -> Vec<u8> {
        let kept: Vec<u8> = four.iter().copied().filter(|&letter| letter != b'=').collect();
        let word = kept.iter().fold(0, |word, &letter| word << 6 | value(letter));
        let word = word << (6 * (4 - kept.len()));
        word.to_be_bytes()[1..kept.len()].to_vec()
    };
    text.as_bytes().chunks(4).flat_map(four).collect()
}

#[test]
fn eight_bits_give_nearly_the_same_vectors() {
    let exact = server();
    let always = ["serve", "--model", "./model", "--listen", "127.0.0.1:0", "--json"];
    let eight = ["--precision", "int8", "--adapters", "adapters"];
    let rough = Server::run(place_with(&["law", "bio/v1"]), &[&always[..], &eight].concat());
    assert_eq!(rough.get("/info").ok()["model_dtype"], "int8");
    let texts: Vec<String> = (0..8).map(|seed| text(seed, 3 + seed)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for model in ["base", "law"] {
        let (exact, rough) = (exact.embed(model, &texts), rough.embed(model, &texts));
        assert_ne!(exact, rough);
        for (exact, rough) in exact.iter().zip(&rough) {
            assert!(dot(exact, rough) > 0.99, "{model}: {}", dot(exact, rough));
        }
    }
}

#[test]
fn openai_requests_are_answered_as_openai_does() {
    let server = server();
    let words = text(5, 6);
    let answer = server.post("/v1/embeddings", &json!({ "model": "law", "input": words })).ok();
    assert_eq!(answer["object"], "list");
    assert_eq!(answer["model"], "law");
    assert_eq!(answer["data"][0]["object"], "embedding");
    assert_eq!(answer["data"][0]["index"], 0);
    // Six whole words between [CLS] and [SEP].
    assert_eq!(answer["usage"], json!({ "prompt_tokens": 8, "total_tokens": 8 }));
    // Token ids, as /tokenize gives them.
    let tokens = server.post("/tokenize", &json!({ "inputs": words })).ok();
    let ids: Vec<Value> = tokens[0].as_array().unwrap().iter().map(|t| t["id"].clone()).collect();
    assert_eq!(ids.len(), 8);
    assert_eq!(
        (tokens[0][0]["text"].as_str(), tokens[0][0]["special"].as_bool()),
        (Some("[CLS]"), Some(true))
    );
    let letters: Vec<char> = words.chars().collect();
    for token in &tokens[0].as_array().unwrap()[1..7] {
        let at = |name: &str| token[name].as_u64().unwrap() as usize;
        let part: String = letters[at("start")..at("stop")].iter().collect();
        assert_eq!(token["text"], part, "{token}");
    }
    assert!(tokens[0][7]["start"].is_null() && tokens[0][7]["stop"].is_null(), "{tokens}");
    let by_ids = server.post("/v1/embeddings", &json!({ "model": "law", "input": ids })).ok();
    assert_eq!(by_ids["data"], answer["data"]);
    let lists = json!({ "model": "law", "input": [ids, ids] });
    assert_eq!(server.post("/v1/embeddings", &lists).ok()["data"].as_array().unwrap().len(), 2);
    // Fewer dimensions, scaled again.
    let short = json!({ "model": "law", "input": words, "dimensions": 8 });
    let short = vector(&server.post("/v1/embeddings", &short).ok()["data"][0]["embedding"]);
    let whole = vector(&answer["data"][0]["embedding"]);
    assert_eq!(short.len(), 8);
    assert!((length(&short) - 1.0).abs() < 1e-5);
    assert!((dot(&short, &whole[..8]) / length(&whole[..8]) - 1.0).abs() < 1e-5);
    let models = server.get("/v1/models").ok();
    let ids = models["data"].as_array().unwrap().iter().map(|it| (&it["id"], &it["parent"]));
    let (base, law, bio) = (json!("./model"), json!("law"), json!("bio/v1"));
    let expected = [(&base, &Value::Null), (&bio, &base), (&law, &base)];
    assert_eq!(ids.collect::<Vec<_>>(), expected);
}

#[test]
fn text_embeddings_inference_requests_are_answered_as_it_does() {
    let server = server();
    let raw = json!({ "inputs": [text(1, 5)], "normalize": false });
    let raw = vector(&server.post("/embed", &raw).ok()[0]);
    assert_eq!(raw.len(), HIDDEN);
    let unit = vector(&server.post("/embed", &json!({ "inputs": text(1, 5) })).ok()[0]);
    assert!((dot(&raw, &unit) / length(&raw) - 1.0).abs() < 1e-5);
    assert!((length(&raw) - 1.0).abs() > 1e-3, "the model's own vectors have another length");

    let sentences = [text(1, 5), text(2, 5), text(1, 5)];
    let asked = json!({ "inputs": { "source_sentence": text(1, 5), "sentences": sentences } });
    let scores = vector(&server.post("/similarity", &asked).ok());
    assert!((scores[0] - 1.0).abs() < 1e-5 && (scores[2] - 1.0).abs() < 1e-5, "{scores:?}");
    assert!(scores[1] < 0.999, "{scores:?}");

    let asked = json!({
        "query": text(1, 5), "texts": [text(2, 5), text(1, 5)], "return_text": true,
        "raw_scores": true,
    });
    let ranks = server.post("/rerank", &asked).ok();
    assert_eq!((&ranks[0]["index"], &ranks[1]["index"]), (&json!(1), &json!(0)));
    assert_eq!(ranks[0]["text"], text(1, 5));
    assert!((ranks[0]["score"].as_f64().unwrap() - 1.0).abs() < 1e-5);

    let info = server.get("/info").ok();
    assert_eq!(info["model_type"]["embedding"], json!({ "pooling": "mean", "dimensions": HIDDEN }));
    assert_eq!(info["max_input_length"], 64);
    assert!(info["reranking"].as_str().unwrap().contains("cosines of embeddings"));
    assert_eq!(server.get("/health").status, 200);
}

/// What was asked for longest is not waited for once the server is told to end.
#[test]
fn a_signal_ends_it_although_much_is_under_way() {
    let arguments = ["--adapters", "adapters", "--batch-tokens", "16", "--queue-tokens", "8000000"];
    let ends = ["--end-seconds", "1"];
    let server = Server::start(place_with(&["law"]), &[&arguments[..], &ends].concat());
    let body = json!({ "model": "law", "input": vec![vec![7; 62]; 2048] }).to_string();
    let asking: Vec<_> = (0..30)
        .map(|_| {
            let (address, body) = (server.address.clone(), body.clone());
            std::thread::spawn(move || {
                let request = ureq::post(&format!("{address}/v1/embeddings"));
                let request = request.header("x-deadline-ms", "600000");
                let sent = request.header("content-type", "application/json").send(body);
                sent.is_ok_and(|response| response.status() == 200)
            })
        })
        .collect();
    while server.figure("cotenant_serve_queue_tokens") < 2_500_000.0 {}
    assert_eq!(server.terminate(), Some(0));
    let answered = asking.into_iter().map(|thread| thread.join().unwrap());
    let answered = answered.filter(|answered| *answered).count();
    assert!(answered < 15, "{answered} of 30 were computed before the server ended");
}

#[test]
fn figures_count_what_was_done() {
    let server = server();
    server.embed("law", &["badol", "cebar badol"]);
    server.embed("bio/v1", &["badol"]);
    let page = server.get("/metrics").text;
    for line in [
        "cotenant_serve_requests_total{tenant=\"law\",route=\"/v1/embeddings\",status=\"200\"} 1",
        "cotenant_serve_texts_total{tenant=\"law\"} 2",
        "cotenant_serve_tokens_total{tenant=\"law\"} 7",
        "cotenant_serve_tokens_total{tenant=\"bio\"} 3",
        "cotenant_serve_adapters 2",
        "cotenant_serve_adapters_loaded 2",
        "cotenant_serve_queue_tokens 0",
    ] {
        assert!(page.lines().any(|it| it == line), "{line}\n{page}");
    }
}

#[test]
fn the_contract_is_served_and_names_every_route() {
    let server = server();
    let served = server.get("/openapi.json").ok();
    let printed = server.place().run(&["serve", "--openapi"]);
    assert_eq!(served, serde_json::from_str::<Value>(&printed.stdout).unwrap());
    let paths = served["paths"].as_object().unwrap();
    for path in paths.keys().filter(|path| !path.contains('{')) {
        assert!(!server.get(path).text.contains("nothing at this address"), "{path} is there");
    }
    assert!(paths.len() >= 17);
}

#[test]
fn a_signal_ends_it_and_what_is_under_way_is_answered() {
    let server = server();
    let texts: Vec<String> = (0..2000).map(|seed| text(seed, 40)).collect();
    let address = server.address.clone();
    let asking = std::thread::spawn(move || {
        let body = json!({ "model": "law", "input": texts });
        let request = ureq::post(&format!("{address}/v1/embeddings"));
        let request = request.header("content-type", "application/json");
        request.send(body.to_string()).unwrap().status()
    });
    // It is under way once its tokens wait or were computed.
    loop {
        let page = server.get("/metrics").text;
        let has_begun = page.lines().any(|line| {
            line.strip_prefix("cotenant_serve_tokens_total{tenant=\"law\"} ").is_some()
        });
        if has_begun {
            break;
        }
    }
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(asking.join().unwrap(), 200);
}
