//! Measurements sent to a small MLflow on loopback that fails when it is told to.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use super::{Measured, Tracker, TrackingError};

/// How a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// Nothing is done.
    Refused,
    /// All is done, and the answer is an error.
    AfterTheDeed,
}

/// What the server has, as MLflow keeps it: metrics append, parameters are written once.
#[derive(Default)]
struct State {
    experiments: Vec<String>,
    runs: Vec<Run>,
    requests: Vec<(String, Option<String>)>,
    /// Which requests, counted from 0, fail, and how.
    failing: BTreeMap<usize, Failure>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Run {
    tags: BTreeMap<String, String>,
    parameters: BTreeMap<String, String>,
    metrics: Vec<(String, f64)>,
    is_finished: bool,
}

struct Server {
    address: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &mut shared.lock().unwrap());
            }
        });
        Self { address, state }
    }

    fn tracker(&self, folder: &Path) -> Tracker {
        Tracker {
            url: self.address.clone(),
            token: Some("secret".to_owned()),
            experiment: "retrieval".to_owned(),
            log: folder.join("mlflow.jsonl"),
        }
    }
}

fn answer(mut stream: TcpStream, state: &mut State) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let header = |name: &str| {
        head.iter().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let length = header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    assert!(body.len() <= 1_000_000, "a body of {} bytes", body.len());
    let path = head[0].split(' ').nth(1).unwrap().to_owned();
    let number = state.requests.len();
    state.requests.push((path.clone(), header("authorization")));
    let failure = state.failing.get(&number).copied();
    let (status, answer) = match failure {
        Some(Failure::Refused) => (503, json!({ "error_code": "TEMPORARILY_UNAVAILABLE" })),
        Some(Failure::AfterTheDeed) => {
            act(&path, &serde_json::from_slice(&body).unwrap_or_default(), state);
            (500, json!({ "error_code": "INTERNAL_ERROR", "message": "lost" }))
        }
        None => act(&path, &serde_json::from_slice(&body).unwrap_or_default(), state),
    };
    let answer = answer.to_string();
    let length = answer.len();
    let head =
        format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    // A client may hang up before it has read everything.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(answer.as_bytes()));
}

/// What MLflow does, as far as its protocol says.
fn act(path: &str, body: &Value, state: &mut State) -> (u16, Value) {
    let route = path.strip_prefix("/api/2.0/mlflow/").expect("MLflow's prefix");
    let (route, query) = route.split_once('?').unwrap_or((route, ""));
    let argument = query.split_once('=').map_or("", |(_, value)| value);
    let run =
        |id: &Value| id.as_str().unwrap().strip_prefix("run-").unwrap().parse::<usize>().unwrap();
    let named = |number: usize| json!({ "info": { "run_id": format!("run-{number}") } });
    match route {
        "experiments/get-by-name" => {
            match state.experiments.iter().position(|name| name == argument) {
                Some(number) => {
                    (200, json!({ "experiment": { "experiment_id": number.to_string() } }))
                }
                None => (404, json!({ "error_code": "RESOURCE_DOES_NOT_EXIST" })),
            }
        }
        "experiments/create" => {
            let name = body["name"].as_str().unwrap().to_owned();
            if state.experiments.contains(&name) {
                return (400, json!({ "error_code": "RESOURCE_ALREADY_EXISTS" }));
            }
            state.experiments.push(name);
            (200, json!({ "experiment_id": (state.experiments.len() - 1).to_string() }))
        }
        "runs/search" => {
            let filter = body["filter"].as_str().unwrap();
            let id = filter.split('\'').nth(1).unwrap();
            assert_eq!(filter, format!("tags.`cotenant.id` = '{id}'"));
            let found = state.runs.iter().position(|run| run.tags["cotenant.id"] == id);
            (200, found.map_or(json!({}), |number| json!({ "runs": [named(number)] })))
        }
        "runs/create" => {
            let tags = body["tags"].as_array().unwrap().iter();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let tags = tags.map(|tag| (text(&tag["key"]), text(&tag["value"]))).collect();
            state.runs.push(Run { tags, ..Run::default() });
            (200, json!({ "run": named(state.runs.len() - 1) }))
        }
        "runs/get" => {
            let run = &state.runs[run(&argument.into())];
            let metrics: Vec<_> = run
                .metrics
                .iter()
                .map(|(key, value)| json!({ "key": key, "value": value }))
                .collect();
            (200, json!({ "run": { "data": { "metrics": metrics } } }))
        }
        "runs/log-batch" => {
            let (metrics, parameters) =
                (body["metrics"].as_array().unwrap(), body["params"].as_array().unwrap());
            assert!(parameters.len() <= 100 && metrics.len() + parameters.len() <= 1000);
            let run = &mut state.runs[run(&body["run_id"])];
            for metric in metrics {
                assert!(metric["timestamp"].is_u64() && metric["step"] == 0, "{metric}");
                run.metrics.push((
                    metric["key"].as_str().unwrap().to_owned(),
                    metric["value"].as_f64().unwrap(),
                ));
            }
            for parameter in parameters {
                let value = parameter["value"].as_str().unwrap().to_owned();
                let before = run
                    .parameters
                    .insert(parameter["key"].as_str().unwrap().to_owned(), value.clone());
                assert!(before.is_none_or(|before| before == value), "parameters are written once");
            }
            (200, json!({}))
        }
        "runs/update" => {
            assert_eq!(body["status"], "FINISHED");
            state.runs[run(&body["run_id"])].is_finished = true;
            (200, json!({}))
        }
        other => panic!("nobody asks for {other}"),
    }
}

fn measured(name: &str) -> Measured {
    Measured {
        name: name.to_owned(),
        parameters: vec![("depth".to_owned(), "10".to_owned())],
        metrics: vec![("ndcg_10".to_owned(), 0.5), ("map_10".to_owned(), 0.25)],
    }
}

fn check_runs(server: &Server, names: &[&str]) {
    let state = server.state.lock().unwrap();
    let found: Vec<&str> =
        state.runs.iter().map(|run| run.tags["mlflow.runName"].as_str()).collect();
    assert_eq!(found, names);
    for run in &state.runs {
        let expected = [("ndcg_10".to_owned(), 0.5), ("map_10".to_owned(), 0.25)];
        assert_eq!((run.metrics.as_slice(), run.is_finished), (&expected[..], true), "{run:?}");
        assert_eq!(run.parameters["depth"], "10");
    }
    assert!(state.requests.iter().all(|(_, token)| token.as_deref() == Some("Bearer secret")));
}

#[test]
fn a_measurement_reaches_the_server() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let tracker = server.tracker(folder.path());
    assert_eq!(tracker.track(measured("one"), 7).unwrap(), 1);
    assert_eq!(tracker.track(measured("two"), 8).unwrap(), 1);
    check_runs(&server, &["one", "two"]);
    assert!(!format!("{tracker:?}").contains("secret"));
}

/// Each request of a measurement fails once, before or after it was done, for good; the next
/// measurement sends what is missing, and nothing is there twice.
#[test]
fn whatever_fails_is_sent_again_and_nothing_twice() {
    for failure in [Failure::Refused, Failure::AfterTheDeed] {
        for request in 0..7 {
            let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
            let tracker = server.tracker(folder.path());
            // Two more tries, which begin from the first request, fail too.
            server.state.lock().unwrap().failing =
                (request..request + 3).map(|at| (at, failure)).collect();
            let error = tracker.track(measured("one"), 7);
            match error {
                Err(TrackingError::Server { problem, .. }) => {
                    assert!(problem.contains('5'), "{problem}")
                }
                other => panic!("{failure:?} of request {request}: {other:?}"),
            }
            server.state.lock().unwrap().failing.clear();
            assert_eq!(tracker.track(measured("two"), 8).unwrap(), 2, "{failure:?} of {request}");
            check_runs(&server, &["one", "two"]);
        }
    }
}

/// A failure that passes is not even noticed.
#[test]
fn a_request_is_tried_again() {
    for request in 0..7 {
        let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
        server.state.lock().unwrap().failing = BTreeMap::from([(request, Failure::Refused)]);
        assert_eq!(server.tracker(folder.path()).track(measured("one"), 7).unwrap(), 1);
        check_runs(&server, &["one"]);
    }
}

#[test]
fn much_is_sent_in_parts() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let many = Measured {
        name: "many".to_owned(),
        parameters: (0..250).map(|at| (format!("p{at}"), "x".repeat(600))).collect(),
        metrics: (0..2500).map(|at| (format!("{}{at}", "m".repeat(240)), f64::from(at))).collect(),
    };
    server.tracker(folder.path()).track(many, 7).unwrap();
    let state = server.state.lock().unwrap();
    assert_eq!((state.runs[0].metrics.len(), state.runs[0].parameters.len()), (2500, 250));
    assert_eq!(state.runs[0].parameters["p0"].len(), 500);
    let batches = state.requests.iter().filter(|(path, _)| path.ends_with("log-batch")).count();
    assert!((5..=7).contains(&batches), "{batches}");
}

#[test]
fn the_log_survives_a_cut_and_refuses_what_is_not_its_own() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let tracker = server.tracker(folder.path());
    tracker.track(measured("one"), 7).unwrap();
    let whole = fs::read_to_string(&tracker.log).unwrap();
    // The note that the first one is finished is cut off: it is sent again and found.
    fs::write(&tracker.log, &whole[..whole.len() - 5]).unwrap();
    assert_eq!(tracker.track(measured("two"), 8).unwrap(), 2);
    check_runs(&server, &["one", "two"]);
    fs::write(&tracker.log, format!("{whole}not ours\n")).unwrap();
    let error = tracker.track(measured("three"), 9).unwrap_err();
    assert!(matches!(error, TrackingError::Line { line: 3, .. }), "{error}");
}

#[test]
fn what_mlflow_would_refuse_is_refused_first() {
    let folder = tempfile::tempdir().unwrap();
    let tracker = Tracker::from_environment("http://127.0.0.1:9/", "x", folder.path().join("log"));
    let check = |metric: (&str, f64), expected: &str| {
        let metrics = vec![(metric.0.to_owned(), metric.1)];
        let error = tracker.track(Measured { metrics, ..measured("bad") }, 7).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!tracker.log.exists(), "nothing is kept that can never be sent");
    };
    check(("ndcg@10", 0.5), "no name of MLflow's");
    check(("", 0.5), "no name of MLflow's");
    check(("ndcg", f64::NAN), "not a finite number");
    let error = tracker.track(measured("kept"), 7).unwrap_err();
    assert!(error.to_string().contains("kept in the log"), "{error}");
}
