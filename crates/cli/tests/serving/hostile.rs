//! Clients that mean harm, or whose programs are broken.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::server::{Server, place_with};
use crate::common::data::text;

fn server() -> Server {
    patient("30")
}

/// A server that waits for a client for so many seconds.
fn patient(seconds: &str) -> Server {
    let places = ["--adapters", "adapters", "--index", "index", "--experiments", "experiments"];
    let waits = ["--client-seconds", seconds];
    let server = Server::start(place_with(&["law"]), &[&places[..], &waits].concat());
    let document = |seed| json!({ "id": format!("d{seed}"), "text": text(seed, 9) });
    let documents: Vec<_> = (0..20).map(document).collect();
    server.post("/v1/documents", &json!({ "tenant": "law", "documents": documents })).ok();
    server
}

/// Nothing was lost, and others are answered.
#[track_caller]
fn check_alive(server: &Server) {
    assert_eq!(server.get("/v1/documents?tenant=law").ok()["documents"], 20);
    let search = json!({ "tenant": "law", "query": text(7, 9) });
    assert_eq!(server.post("/v1/search", &search).ok()["results"][0]["id"], "d7");
    assert_eq!(server.embed("law", &["badol"]).len(), 1);
}

/// Largest memory that the server ever had, in MiB.
fn peak_mib(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

/// Sends bytes as they are, and gives what comes back until the server closes or says no more.
fn raw(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // The server may close before all was sent.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn bodies_that_are_no_requests_are_refused_in_few_words() {
    let server = server();
    let deep =
        |open: &str, close: &str| format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
    let bodies = [
        "{\"query\": \"x\", \"tenant\": \"law\"".to_owned(),
        "{\"query\": \"x\", \"tenant\": \"law\"}}".to_owned(),
        "\u{feff}{}".to_owned(),
        "null".to_owned(),
        "nul\0l".to_owned(),
        deep("[", "]"),
        format!("{{\"query\": \"x\", \"filter\": {}}}", deep("{\"a\":", "}")),
        format!("{{\"query\": \"x\", \"filter\": {}}}", deep("{\"not\":", "}")),
        format!("{{\"query\": \"x\", \"filter\": {}}}", deep("[", "]")),
        format!("{{\"{}\": 1}}", "x".repeat(1 << 20)),
        format!("{{\"query\": \"x\", \"mode\": \"{}\"}}", "m".repeat(1 << 20)),
        format!("{{\"query\": \"x\", \"limit\": {}}}", "9".repeat(1 << 20)),
        "{\"query\": \"x\", \"rrf_k\": 1e999}".to_owned(),
        "{\"query\": \"x\", \"weights\": {\"dense\": \"NaN\", \"text\": 1}}".to_owned(),
        "{\"query\": \"x\", \"query\": \"y\"}".to_owned(),
        "{\"query\": \"x\", \"filter\": {\"year\": {\"near\": 3}}}".to_owned(),
        "{\"query\": \"x\", \"filter\": {\"year\": {\"gte\": []}}}".to_owned(),
    ];
    for path in ["/v1/search", "/v1/documents", "/v1/experiments", "/v1/feedback", "/embed"] {
        for body in &bodies {
            let shown = &body[..body.len().min(60)];
            let reply = server.send("POST", path, (Some(body), None));
            assert!(matches!(reply.status, 400 | 404 | 422), "{path} {shown}: {}", reply.status);
            assert!(reply.text.len() < 4000, "{path} {shown}: {} bytes", reply.text.len());
        }
    }
    let wrong =
        json!({ "tenant": "law", "documents": [{ "id": "x", "text": "y", "vector": [1] }] });
    assert_eq!(server.post("/v1/documents", &wrong).status, 400, "vectors are the server's");
    let wide = json!({ "model": "law", "input": "x", "dimensions": 1_u64 << 40 });
    assert_eq!(server.post("/v1/embeddings", &wide).status, 400);
    check_alive(&server);
}

#[test]
fn large_bodies_and_many_of_them_take_bounded_memory() {
    let server = server();
    let before = peak_mib(&server);
    let huge = json!({ "documents": [{ "id": "1", "text": "x".repeat(50 << 20) }] }).to_string();
    for path in ["/v1/documents", "/v1/search", "/v1/experiments"] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            huge.len()
        );
        let answer = raw(&server, &[head.as_bytes(), huge.as_bytes()].concat());
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{path}: {answer}");
    }
    // 20 clients that promise 30 MiB each, and send one of them.
    let head = format!(
        "POST /v1/documents HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        30 << 20
    );
    let address = server.address.trim_start_matches("http://");
    let streams: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            let _ = stream.write_all(&vec![b' '; 1 << 20]);
            stream
        })
        .collect();
    // 256 MiB are for 8 of them; the others are told to come back. What has no body needs no room.
    let told =
        "cotenant_serve_requests_total{tenant=\"\",route=\"/v1/documents\",status=\"429\"} 12";
    while !server.get("/metrics").text.lines().any(|line| line == told) {}
    assert_eq!(server.get("/health").status, 200);
    drop(streams);
    let mut peak = peak_mib(&server);
    assert!(peak < before + 300, "{before} MiB became {peak}");
    // Whoever went away leaves its room.
    loop {
        let reply = server.post("/v1/search", &json!({ "tenant": "law", "query": text(7, 9) }));
        if reply.status == 200 {
            break;
        }
        assert_eq!(reply.status, 429, "{reply:?}");
    }
    check_alive(&server);
    peak = peak.max(peak_mib(&server));
    assert!(peak < before + 300, "{before} MiB became {peak}");
}

#[test]
fn floods_of_headers_and_half_heads_are_cut_off() {
    let server = server();
    let many: String = (0..5000).map(|at| format!("X-{at}: y\r\n")).collect();
    let answer = raw(&server, format!("GET /health HTTP/1.1\r\n{many}\r\n").as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let long = format!("GET /health HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(1 << 20));
    let answer = raw(&server, long.as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let path = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "y".repeat(1 << 20));
    let answer = raw(&server, path.as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert!(raw(&server, b"\x16\x03\x01 no request\r\n\r\n").starts_with("HTTP/1.1 400"));
    let twice = b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\
                  Content-Length: 4\r\n\r\n{}";
    assert!(raw(&server, twice).starts_with("HTTP/1.1 400"));
    check_alive(&server);
}

#[test]
fn clients_that_never_finish_keep_nobody_waiting() {
    let server = patient("3");
    let address = server.address.trim_start_matches("http://").to_owned();
    // 200 that begin a head or a body, and stay.
    let slow: Vec<TcpStream> = (0..200)
        .map(|at| {
            let mut stream = TcpStream::connect(&address).unwrap();
            let begun: &[u8] = match at % 2 {
                0 => b"GET /health HTTP/1.1\r\nHost: loc",
                _ => {
                    b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\n\
                      Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"query\""
                }
            };
            stream.write_all(begun).unwrap();
            stream
        })
        .collect();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10).for_each(|_| check_alive(&server)));
        }
    });
    // Bodies that never come are given up.
    for mut stream in slow.iter().skip(1).step_by(2) {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut answer = vec![0; 4000];
        let read = stream.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]);
        let is_refused = answer.starts_with("HTTP/1.1 400");
        assert!(is_refused && answer.contains("within 3 seconds"), "{answer}");
    }
    drop(slow);
    check_alive(&server);
}

/// Documents of 7.5 MiB each, of which an answer may have four.
fn add_large(server: &Server, count: usize) {
    for at in 0..count {
        let text = format!("badol {}", "x".repeat(15 << 19));
        let document = json!({ "id": format!("large-{at}"), "text": text });
        server.post("/v1/documents", &json!({ "tenant": "big", "documents": [document] })).ok();
    }
}

fn search_large(limit: usize) -> serde_json::Value {
    json!({ "tenant": "big", "query": "badol", "mode": "text", "limit": limit })
}

#[test]
fn answers_have_a_bound_alone_and_together() {
    let server = patient("8");
    add_large(&server, 12);
    let before = peak_mib(&server);
    for mode in ["text", "adaptive"] {
        let mut request = search_large(12);
        request["mode"] = json!(mode);
        let refused = server.post("/v1/search", &request);
        assert_eq!(refused.status, 413, "{mode}");
        assert!(refused.text.contains("hint: ask for fewer documents"), "{}", refused.text);
    }
    assert!(peak_mib(&server) < before + 120, "{before} MiB became {}", peak_mib(&server));

    // Clients that ask for 30 MiB each, and read only whether they get it, until one does not.
    let body = search_large(4).to_string();
    let request = format!(
        "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let address = server.address.trim_start_matches("http://");
    let ask = || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        (String::from_utf8_lossy(&status).into_owned(), stream)
    };
    let mut streams = Vec::new();
    loop {
        let (status, stream) = ask();
        if status == "HTTP/1.1 429" {
            break;
        }
        assert_eq!(status, "HTTP/1.1 200");
        streams.push(stream);
        assert!(streams.len() < 40, "256 MiB are for 8 of them");
    }
    let peak = peak_mib(&server);
    assert!(peak < before + 450, "{before} MiB became {peak}");
    check_alive(&server);
    // Who takes nothing is given up, and leaves its room although it stays.
    while ask().0 == "HTTP/1.1 429" {}
    check_alive(&server);
    drop(streams);
}

#[test]
fn connections_leave_files_for_what_needs_them() {
    let place = place_with(&["law", "bio"]);
    let script = "ulimit -n 200; exec \"$0\" serve --model ./model --listen 127.0.0.1:0 --json \
                  --precision f32 --threads 1 --adapters adapters --index index";
    let command = place.shell(script);
    let server = Server::spawn(place, command);
    let address = server.address.trim_start_matches("http://");
    // The last of those that are answered stays open and asks for what needs files.
    let mut streams: Vec<TcpStream> = Vec::new();
    let ask = |stream: &mut TcpStream, path: &str, body: &serde_json::Value| {
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = vec![0; 1 << 16];
        let read = stream.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..read]).into_owned()
    };
    let mut first = TcpStream::connect(address).unwrap();
    let embed = |model: &str| json!({ "model": model, "input": "badol" });
    assert!(ask(&mut first, "/v1/embeddings", &embed("base")).starts_with("HTTP/1.1 200"));
    for _ in 0..200 {
        streams.push(TcpStream::connect(address).unwrap());
    }
    // Until the server has taken all that it takes.
    let files = || fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count();
    let mut last = 0;
    while files() != last {
        last = files();
        ask(&mut first, "/v1/embeddings", &embed("base"));
    }
    let answer = ask(&mut first, "/v1/embeddings", &embed("law"));
    assert!(answer.starts_with("HTTP/1.1 200"), "{last} files, then {answer}");
    let documents = json!({ "tenant": "law", "documents": [{ "id": "1", "text": "badol" }] });
    let answer = ask(&mut first, "/v1/documents", &documents);
    assert!(answer.starts_with("HTTP/1.1 200"), "{last} files, then {answer}");
    drop(streams);
    assert_eq!(server.embed("bio", &["badol"]).len(), 1, "others come in again");
}

#[test]
fn pages_of_others_are_refused_by_what_they_call_themselves() {
    let server = server();
    let ask = |origin: &str| {
        let head = format!(
            "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n{origin}Connection: close\r\n\r\n"
        );
        raw(&server, head.as_bytes())[..12].to_owned()
    };
    assert_eq!(ask(""), "HTTP/1.1 200");
    assert_eq!(ask("Origin: http://localhost:3000\r\n"), "HTTP/1.1 200");
    assert_eq!(ask("Origin: https://evil.example\r\n"), "HTTP/1.1 403");
    assert_eq!(ask("Origin: null\r\n"), "HTTP/1.1 403", "as a frame that is shut off says");
}

#[test]
fn files_of_tokens_that_never_end_are_refused() {
    let place = place_with(&[]);
    let check = |file: &str, part: &str| {
        let ran = place.run(&["serve", "--model", "./model", "--tokens", file]);
        ran.check(file, 1, &[part, "hint:"]);
    };
    check("/dev/zero", "more than 16777216 bytes");
    place.write("huge.toml", "a".repeat((16 << 20) + 1));
    check("huge.toml", "more than 16777216 bytes");
    let many: String = (0..10_001).map(|at| format!("t{at} = \"0123456789-{at:08}\"\n")).collect();
    place.write("many.toml", many);
    check("many.toml", "10001 tokens, more than 10000");
    place.write("bytes.toml", [0xff, 0xfe, 0x00]);
    check("bytes.toml", "read the tokens of");
    check("model", "read the tokens of");
}
