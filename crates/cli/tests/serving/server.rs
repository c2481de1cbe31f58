//! A server in a place of its own, and what is asked of it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::common::Place;
use crate::common::model::write_adapter;

/// A server and its folder; killed in the end.
pub(crate) struct Server {
    place: Option<Place>,
    pub(crate) address: String,
    child: Child,
}

/// A status and a body.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) text: String,
    pub(crate) retry_after: Option<String>,
}

impl Reply {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body, if the status is 200.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }
}

impl Server {
    /// Serves `model` with what else is asked for, one thread, f32.
    pub(crate) fn start(place: Place, arguments: &[&str]) -> Self {
        let always = ["serve", "--model", "./model", "--listen", "127.0.0.1:0"];
        let exact = ["--precision", "f32", "--threads", "1", "--json"];
        Self::run(place, &[&always[..], &exact, arguments].concat())
    }

    /// Runs the program, which prints where it listens.
    pub(crate) fn run(place: Place, arguments: &[&str]) -> Self {
        let command = place.command(arguments);
        Self::spawn(place, command)
    }

    /// Runs a command that becomes the program.
    pub(crate) fn spawn(place: Place, mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        if line.is_empty() {
            let mut said = String::new();
            child.stderr.as_mut().unwrap().read_to_string(&mut said).unwrap();
            panic!("{command:?}: {said}");
        }
        let address = serde_json::from_str::<Value>(&line).unwrap()["address"].clone();
        Self { place: Some(place), address: address.as_str().unwrap().to_owned(), child }
    }

    /// Where it runs.
    pub(crate) fn place(&self) -> &Place {
        self.place.as_ref().unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send("GET", path, (None, None))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, (Some(&body.to_string()), None))
    }

    /// Any method, body and token.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        (body, token): (Option<&str>, Option<&str>),
    ) -> Reply {
        let answered = self.attempt(method, path, (body, token));
        answered.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// The same, of a server that may be killed meanwhile.
    pub(crate) fn attempt(
        &self,
        method: &str,
        path: &str,
        (body, token): (Option<&str>, Option<&str>),
    ) -> Result<Reply, ureq::Error> {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build();
        let agent: ureq::Agent = agent.into();
        let uri = format!("{}{path}", self.address);
        let mut request = ureq::http::Request::builder().method(method).uri(uri);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answered = match body {
            Some(body) => {
                let request = request.header("content-type", "application/json");
                agent.run(request.body(body.to_owned()).unwrap())
            }
            None => agent.run(request.body(()).unwrap()),
        };
        let mut response = answered?;
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.map(|value| value.to_str().unwrap().to_owned());
        let text = response.body_mut().read_to_string()?;
        Ok(Reply { status: response.status().as_u16(), text, retry_after })
    }

    /// What stands in `/metrics` behind a name and its labels.
    #[track_caller]
    pub(crate) fn figure(&self, name: &str) -> f64 {
        let page = self.get("/metrics").text;
        let line = page.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name} is not in {page}")).parse().unwrap()
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The vectors of texts by a model.
    #[track_caller]
    pub(crate) fn embed(&self, model: &str, texts: &[&str]) -> Vec<Vec<f32>> {
        let answer = self.post("/v1/embeddings", &json!({ "model": model, "input": texts })).ok();
        let vectors = answer["data"].as_array().unwrap().iter().map(|it| vector(&it["embedding"]));
        vectors.collect()
    }

    /// Kills it, and gives the place that it leaves.
    pub(crate) fn kill(mut self) -> Place {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.place.take().unwrap()
    }

    /// Sends SIGTERM and gives the exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn vector(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|it| it.as_f64().unwrap() as f32).collect()
}

/// A place with the tiny model and adapters of these names in `adapters`.
pub(crate) fn place_with(names: &[&str]) -> Place {
    let place = Place::new();
    for (name, seed) in names.iter().zip(1..) {
        write_adapter(&place.at("adapters").join(name), seed);
    }
    place
}
