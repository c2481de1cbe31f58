//! A small MLflow on loopback, which fails when it is told to.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::tracking::Tracker;

/// How a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing is done.
    Refused,
    /// All is done, and the answer is an error.
    AfterTheDeed,
}

/// What the server has, as MLflow keeps it: metrics append, parameters are written once.
#[derive(Default)]
pub(super) struct State {
    experiments: Vec<String>,
    pub(super) runs: Vec<Run>,
    pub(super) requests: Vec<(String, Option<String>)>,
    /// Which requests, counted from 0, fail, and how.
    pub(super) failing: BTreeMap<usize, Failure>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Run {
    pub(super) tags: BTreeMap<String, String>,
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) metrics: Vec<(String, f64)>,
    pub(super) is_finished: bool,
}

pub(super) struct Server {
    address: String,
    pub(super) state: Arc<Mutex<State>>,
}

impl Server {
    pub(super) fn start() -> Self {
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

    pub(super) fn tracker(&self, folder: &Path) -> Tracker {
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
