//! MLflow's REST interface, as far as a finished measurement needs it.

use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;

use super::error::TrackingError;
use super::{Pending, Tracker};

/// The tag by which a run is found again.
const ID_TAG: &str = "cotenant.id";
/// Limits of one request to log a batch: bytes of its body, items in all, parameters.
const BATCH_BYTES_MAX: usize = 1_000_000;
const BATCH_ITEMS_MAX: usize = 1000;
const BATCH_PARAMETERS_MAX: usize = 100;
/// Longest name of a parameter or metric, in characters.
const NAME_CHARACTERS_MAX: usize = 250;
/// Longest value of a parameter that older servers take, in characters.
const VALUE_CHARACTERS_MAX: usize = 500;
/// Longest that one request may take.
const ANSWER_SECONDS_MAX: u64 = 30;
/// How often a measurement is sent if the server does not answer or is not well.
const TRIES_MAX: usize = 3;
/// Most characters of the server's own words that a message repeats.
const MESSAGE_CHARACTERS_MAX: usize = 300;
/// Largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Whether MLflow takes a name for a parameter or metric.
pub(super) fn is_name(name: &str) -> bool {
    let is_legal = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | '/');
    (1..=NAME_CHARACTERS_MAX).contains(&name.chars().count()) && name.chars().all(is_legal)
}

/// A server, and how it is asked.
pub(super) struct Client<'a> {
    tracker: &'a Tracker,
    agent: Agent,
}

/// What a request asks for.
enum Asked<'a> {
    Get(&'a [(&'a str, &'a str)]),
    Post(Value),
}

/// Why a request did not do what it should.
enum Failure {
    /// Refused, with MLflow's code for it: asking again would change nothing.
    Refused { code: String, problem: String },
    /// The server is not well or not there; it may still have done what it was asked.
    Unwell { problem: String },
}

impl<'a> Client<'a> {
    pub(super) fn new(tracker: &'a Tracker) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))
            .user_agent(concat!("cotenant/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Self { tracker, agent }
    }

    /// Makes the server have all of a measurement, whatever it has of it.
    ///
    /// What fails is begun again from the first request, never repeated by itself: a request whose
    /// answer was lost may have been done, and only a look at what is there tells.
    pub(super) fn send(&self, pending: &Pending) -> Result<(), TrackingError> {
        let mut last = String::new();
        for _ in 0..TRIES_MAX {
            match self.send_once(pending) {
                Ok(()) => return Ok(()),
                Err(Failure::Unwell { problem }) => last = problem,
                Err(Failure::Refused { problem, .. }) => {
                    last = problem;
                    break;
                }
            }
        }
        Err(TrackingError::Server { url: self.tracker.url.clone(), problem: last })
    }

    fn send_once(&self, pending: &Pending) -> Result<(), Failure> {
        let experiment = self.experiment(&pending.experiment)?;
        let run = match self.find(&experiment, pending)? {
            Some(run) => run,
            None => self.create(&experiment, pending)?,
        };
        let there = self.metrics(&run)?;
        for batch in batches(&run, pending, &there) {
            self.ask("runs/log-batch", &Asked::Post(batch))?;
        }
        let end = json!({ "run_id": run, "status": "FINISHED", "end_time": pending.time_ms });
        self.ask("runs/update", &Asked::Post(end)).map(drop)
    }

    /// The id of an experiment, which is made if it is not there.
    fn experiment(&self, name: &str) -> Result<String, Failure> {
        let query = [("experiment_name", name)];
        match self.ask("experiments/get-by-name", &Asked::Get(&query)) {
            Ok(found) => return text(&found, "/experiment/experiment_id"),
            Err(Failure::Refused { code, .. }) if code == "RESOURCE_DOES_NOT_EXIST" => {}
            Err(failure) => return Err(failure),
        }
        match self.ask("experiments/create", &Asked::Post(json!({ "name": name }))) {
            Ok(made) => text(&made, "/experiment_id"),
            // Somebody else made it between the look and the making: look again.
            Err(Failure::Refused { code, problem }) if code == "RESOURCE_ALREADY_EXISTS" => {
                Err(Failure::Unwell { problem })
            }
            Err(failure) => Err(failure),
        }
    }

    /// The run of a measurement, if an earlier try made it.
    fn find(&self, experiment: &str, pending: &Pending) -> Result<Option<String>, Failure> {
        let filter = format!("tags.`{ID_TAG}` = '{}'", pending.id);
        let body = json!({ "experiment_ids": [experiment], "filter": filter, "max_results": 1 });
        let found = self.ask("runs/search", &Asked::Post(body))?;
        match found.pointer("/runs/0") {
            Some(run) => text(run, "/info/run_id").map(Some),
            None => Ok(None),
        }
    }

    fn create(&self, experiment: &str, pending: &Pending) -> Result<String, Failure> {
        let name = &pending.measured.name;
        let tags = [(ID_TAG, pending.id.as_str()), ("mlflow.runName", name)];
        let tags = tags.map(|(key, value)| json!({ "key": key, "value": value }));
        let body = json!({
            "experiment_id": experiment,
            "run_name": name,
            "start_time": pending.time_ms,
            "tags": tags,
        });
        text(&self.ask("runs/create", &Asked::Post(body))?, "/run/info/run_id")
    }

    /// Names of the metrics that a run has.
    fn metrics(&self, run: &str) -> Result<Vec<String>, Failure> {
        let found = self.ask("runs/get", &Asked::Get(&[("run_id", run)]))?;
        let metrics = found.pointer("/run/data/metrics").and_then(Value::as_array);
        let names = metrics.into_iter().flatten().filter_map(|metric| metric["key"].as_str());
        Ok(names.map(str::to_owned).collect())
    }

    fn ask(&self, route: &str, asked: &Asked<'_>) -> Result<Value, Failure> {
        let (status, body) = self
            .exchange(route, asked)
            .map_err(|error| Failure::Unwell { problem: format!("{route}: {error}") })?;
        let body: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
        if status == 200 {
            return Ok(body);
        }
        let code = body["error_code"].as_str().unwrap_or_default().to_owned();
        let message = body["message"].as_str().unwrap_or_default().chars();
        let message: String = message.take(MESSAGE_CHARACTERS_MAX).collect();
        let problem = format!("{route} was answered with {status} {code} {message}");
        match status {
            429 | 500.. => Err(Failure::Unwell { problem }),
            _ => Err(Failure::Refused { code, problem }),
        }
    }

    /// Status and body of one request.
    fn exchange(&self, route: &str, asked: &Asked<'_>) -> Result<(u16, String), ureq::Error> {
        let url = format!("{}/api/2.0/mlflow/{route}", self.tracker.url);
        let bearer = self.tracker.token.as_ref().map(|token| format!("Bearer {token}"));
        let bearer = bearer.iter().map(|value| ("authorization", value.as_str()));
        let mut response = match asked {
            Asked::Get(query) => {
                let request = self.agent.get(&url).query_pairs(query.iter().copied());
                bearer.fold(request, |request, (name, value)| request.header(name, value)).call()?
            }
            Asked::Post(body) => {
                let request = self.agent.post(&url).header("content-type", "application/json");
                bearer
                    .fold(request, |request, (name, value)| request.header(name, value))
                    .send(body.to_string())?
            }
        };
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()?;
        Ok((response.status().as_u16(), body))
    }
}

/// A text of an answer.
fn text(value: &Value, pointer: &str) -> Result<String, Failure> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| Failure::Refused {
        code: String::new(),
        problem: format!("the answer has no {pointer}: is this MLflow?"),
    })
}

/// The requests that log what a run lacks, each within MLflow's limits.
fn batches(run: &str, pending: &Pending, there: &[String]) -> Vec<Value> {
    let parameters = pending.measured.parameters.iter().map(|(key, value)| {
        let value: String = value.chars().take(VALUE_CHARACTERS_MAX).collect();
        ("params", json!({ "key": key, "value": value }))
    });
    let metrics = pending.measured.metrics.iter().filter(|(key, _)| !there.contains(key));
    let metrics = metrics.map(|(key, value)| {
        let metric = json!({ "key": key, "value": value, "timestamp": pending.time_ms, "step": 0 });
        ("metrics", metric)
    });
    let empty = || json!({ "run_id": run, "metrics": [], "params": [] });
    let mut batches = Vec::new();
    let (mut batch, mut bytes, mut items, mut parameters_there) = (empty(), 0, 0, 0);
    for (kind, item) in parameters.chain(metrics) {
        // With room for the run's id and the names of the lists.
        let item_bytes = item.to_string().len() + 1;
        let is_full = bytes + item_bytes + 1000 > BATCH_BYTES_MAX
            || items == BATCH_ITEMS_MAX
            || kind == "params" && parameters_there == BATCH_PARAMETERS_MAX;
        if is_full {
            batches.push(std::mem::replace(&mut batch, empty()));
            (bytes, items, parameters_there) = (0, 0, 0);
        }
        bytes += item_bytes;
        items += 1;
        parameters_there += usize::from(kind == "params");
        batch[kind].as_array_mut().expect("a batch has both lists").push(item);
    }
    if items > 0 {
        batches.push(batch);
    }
    batches
}
