//! The server is killed at any moment, again and again, while one client writes.
//!
//! The client adds, deletes, embeds anew, replaces its adapter in place and gives feedback, one
//! request after the other, and notes what was acknowledged. After each kill the server holds every
//! write that was answered, and of the one under way all or nothing. `COTENANT_CRASH_ROUNDS` says
//! how often (5 if not given), `COTENANT_CRASH_SEED` by which numbers.

#![allow(clippy::print_stdout, reason = "a random test prints its seed")]

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::server::{Reply, Server, place_with, vector};
use crate::common::Place;
use crate::common::data::text;
use crate::common::model::write_adapter;

const ARGUMENTS: [&str; 6] =
    ["--adapters", "adapters", "--index", "index", "--experiments", "experiments"];
const ROUNDS: u64 = 5;
/// Ids come from so many.
const IDS: u64 = 40;
/// Adapters that take each other's place.
const VERSIONS: u64 = 4;
/// Most writes that are begun before a kill.
const WRITES_MAX: u64 = 16;
/// Longest time from the beginning of the last one to the kill, in microseconds.
const KILL_US_MAX: u64 = 8000;
/// The same for a replacement, which waits until the adapter's files are left alone.
const REPLACE_US_MAX: u64 = 200_000;

/// Everything that was acknowledged.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    /// Versions of texts by the documents' ids.
    documents: BTreeMap<u64, u64>,
    /// Users whose feedback counts.
    subjects: u64,
}

#[derive(Clone, Debug)]
enum Write {
    Add(Vec<u64>),
    Delete(Vec<u64>),
    /// Another adapter takes the place of the one there is, and all documents are embedded by it.
    Replace,
    Feedback,
}

/// A number that follows from others.
fn mix(values: &[u64]) -> u64 {
    values.iter().fold(0x9e37_79b9_7f4a_7c15, |state, value| {
        let mut x = (state ^ value).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^= x >> 27;
        x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    })
}

fn write(seed: u64, number: u64) -> Write {
    let draw = |what: u64, below: u64| mix(&[seed, number, what]) % below;
    let ids = |count: u64| (0..count).map(|at| draw(100 + at, IDS)).collect();
    match draw(0, 12) {
        0..=1 => Write::Replace,
        2..=3 => Write::Delete(ids(1 + draw(1, 6))),
        4..=6 => Write::Feedback,
        _ => Write::Add(ids(1 + draw(1, 12))),
    }
}

fn words(id: u64, version: u64) -> String {
    text((id * 1009 + version * 31) as usize, 8)
}

/// One client and its server.
struct Story {
    seed: u64,
    model: Model,
    /// Vectors of one text by each version of the adapter.
    by_version: Vec<Vec<f32>>,
    /// The version on disk, which takes the place of the one in memory with every replacement.
    version: u64,
}

#[test]
fn what_was_acknowledged_is_there_after_any_kill() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = number("COTENANT_CRASH_ROUNDS").unwrap_or(ROUNDS);
    let seed = number("COTENANT_CRASH_SEED").unwrap_or(20_261_128);
    println!("seed {seed}: COTENANT_CRASH_SEED={seed} cargo test -p cotenant --test serve kills");
    let (mut server, mut story) = Story::begin(seed);
    let (mut next, mut half_done) = (0, 0);
    for round in 0..rounds {
        let last = next + mix(&[seed, round, 7]) % WRITES_MAX;
        let (place, under_way) = story.write_until_killed(server, (round, next, last));
        next = under_way + 1;
        let ran = place.run(&["index", "verify", "index"]);
        assert_eq!(ran.code, Some(0), "round {round}: {}", ran.stderr);
        server = Server::start(place, &ARGUMENTS);
        half_done += u64::from(story.check(&server, (round, under_way)));
    }
    println!("{rounds} kills, {next} writes, {half_done} of them done without an answer");
}

impl Story {
    fn begin(seed: u64) -> (Server, Self) {
        let server = Server::start(place_with(&["law"]), &ARGUMENTS);
        let mut by_version = Vec::new();
        for version in 0..VERSIONS {
            write_adapter(&server.place().at(format!("versions/{version}")), 500 + version);
            let folder = server.place().at(format!("versions/{version}"));
            let body = json!({ "lora_name": format!("v{version}"), "lora_path": folder });
            assert_eq!(server.post("/v1/load_lora_adapter", &body).status, 200);
            by_version.push(server.embed(&format!("v{version}"), &["badol cebar"]).remove(0));
        }
        let mut story = Self { seed, model: Model::default(), by_version, version: 0 };
        story.put_version(server.place(), 0);
        assert_eq!(load(&server).unwrap().status, 200);
        let first = json!({ "tenant": "law", "documents": [
            { "id": "d0", "text": words(0, 0), "metadata": { "version": 0 } },
        ] });
        server.post("/v1/documents", &first).ok();
        story.model.documents.insert(0, 0);
        let experiment = json!({
            "tenant": "law", "name": "x", "control": {}, "treatment": { "mode": "text" },
        });
        server.post("/v1/experiments", &experiment).ok();
        (server, story)
    }

    /// Puts a version of the adapter where the server finds it, as a training run does: the folder
    /// changes at once.
    fn put_version(&mut self, place: &Place, version: u64) {
        let (new, old, law) = (place.at("new"), place.at("old"), place.at("adapters/law"));
        fs::create_dir(&new).unwrap();
        for file in ["adapter_config.json", "adapter_model.safetensors"] {
            fs::copy(place.at(format!("versions/{version}")).join(file), new.join(file)).unwrap();
        }
        fs::rename(&law, &old).unwrap();
        fs::rename(&new, &law).unwrap();
        fs::remove_dir_all(&old).unwrap();
        self.version = version;
    }

    /// Writes from one number to another, and kills the server soon after the last was begun. What
    /// was not answered is returned.
    fn write_until_killed(
        &mut self,
        server: Server,
        (round, first, last): (u64, u64, u64),
    ) -> (Place, u64) {
        let (begun, has_begun) = mpsc::channel::<()>();
        let wait_max = match write(self.seed, last) {
            Write::Replace => REPLACE_US_MAX,
            Write::Add(_) | Write::Delete(_) | Write::Feedback => KILL_US_MAX,
        };
        let wait = Duration::from_micros(mix(&[self.seed, round, 8]) % wait_max);
        let process = server.id().to_string();
        let mut under_way = first;
        thread::scope(|scope| {
            scope.spawn(move || {
                has_begun.recv().unwrap();
                let start = Instant::now();
                while start.elapsed() < wait {
                    std::hint::spin_loop();
                }
                assert!(Command::new("kill").args(["-9", &process]).status().unwrap().success());
            });
            for number in first.. {
                if number == last {
                    begun.send(()).unwrap();
                }
                under_way = number;
                if self.perform(&server, number).is_none() {
                    break;
                }
                assert!(number < last + 10_000, "round {round}: the kill never came");
            }
        });
        (server.kill(), under_way)
    }

    /// Does a write; `None` if it was not answered.
    fn perform(&mut self, server: &Server, number: u64) -> Option<()> {
        match write(self.seed, number) {
            Write::Add(ids) => {
                let document = |id: &u64| {
                    let metadata = json!({ "version": number });
                    json!({ "id": format!("d{id}"), "text": words(*id, number), "metadata": metadata })
                };
                let documents: Vec<Value> = ids.iter().map(document).collect();
                let body = json!({ "tenant": "law", "documents": documents });
                let reply = post(server, "/v1/documents", &body)?;
                assert_eq!(reply.status, 200, "{reply:?}");
            }
            Write::Delete(ids) => {
                let ids: Vec<String> = ids.iter().map(|id| format!("d{id}")).collect();
                let body = json!({ "tenant": "law", "ids": ids });
                let reply = post(server, "/v1/delete_documents", &body)?;
                assert_eq!(reply.status, 200, "{reply:?}");
            }
            Write::Replace => {
                let version = (self.version + 1 + number % (VERSIONS - 1)) % VERSIONS;
                self.put_version(server.place(), version);
                let reply = load(server)?;
                assert_eq!(reply.status, 200, "{reply:?}");
                let body = json!({ "model": "law", "input": "badol cebar" });
                let reply = post(server, "/v1/embeddings", &body)?.ok();
                let found = vector(&reply["data"][0]["embedding"]);
                assert!(found == self.by_version[version as usize], "a stale or mixed adapter");
                let body = json!({ "tenant": "law", "model": "law" });
                let reply = post(server, "/v1/embed_documents", &body)?;
                assert_eq!(reply.ok()["active"], true);
            }
            Write::Feedback => {
                let user = format!("user-{number}");
                let body = json!({ "tenant": "law", "query": words(0, 0), "user": user });
                let answer = post(server, "/v1/search", &body)?.ok();
                let id = answer["experiment"]["feedback_id"].clone();
                let body = json!({ "tenant": "law", "feedback_id": id, "clicked_rank": 1 });
                assert_eq!(post(server, "/v1/feedback", &body)?.ok()["result"], "counted");
            }
        }
        self.model = after(&self.model, self.seed, number);
        Some(())
    }

    /// Checks what a server that was started anew has; whether it did what it had not answered.
    fn check(&mut self, server: &Server, (round, under_way): (u64, u64)) -> bool {
        let found = read(server);
        let whole = after(&self.model, self.seed, under_way);
        let is_whole = found == whole && found != self.model;
        assert!(
            is_whole || found == self.model,
            "round {round}, write {under_way}: found {found:?} instead of {:?}",
            self.model
        );
        self.model = found;
        // One adapter answers, as a whole: the one on disk. Its vectors find every document.
        let now = server.embed("law", &["badol cebar"]).remove(0);
        assert!(now == self.by_version[self.version as usize], "round {round}: another adapter");
        let body = json!({ "tenant": "law", "model": "law" });
        assert_eq!(server.post("/v1/embed_documents", &body).ok()["active"], true);
        for (id, version) in self.model.documents.iter().take(5) {
            let body = json!({
                "tenant": "law", "query": words(*id, *version), "mode": "dense", "limit": 1,
            });
            let first = server.post("/v1/search", &body).ok()["results"][0].clone();
            assert_eq!(first["text"], words(*id, *version), "round {round}: {first}");
            let score = first["dense"]["score"].as_f64().unwrap();
            assert!((score - 1.0).abs() < 1e-4, "round {round}: a vector of another adapter");
        }
        is_whole
    }
}

fn after(model: &Model, seed: u64, number: u64) -> Model {
    let mut model = model.clone();
    match write(seed, number) {
        Write::Add(ids) => model.documents.extend(ids.iter().map(|id| (*id, number))),
        Write::Delete(ids) => ids.iter().for_each(|id| {
            model.documents.remove(id);
        }),
        Write::Feedback => model.subjects += 1,
        Write::Replace => {}
    }
    model
}

fn load(server: &Server) -> Option<Reply> {
    let folder = server.place().at("adapters/law");
    let body = json!({ "lora_name": "law", "lora_path": folder, "load_inplace": true });
    post(server, "/v1/load_lora_adapter", &body)
}

/// `None` where the server was killed before it had answered.
fn post(server: &Server, path: &str, body: &Value) -> Option<Reply> {
    server.attempt("POST", path, (Some(&body.to_string()), None)).ok()
}

fn read(server: &Server) -> Model {
    let mut model = Model::default();
    for id in 0..IDS {
        let reply = server.get(&format!("/v1/documents/d{id}?tenant=law"));
        if reply.status == 404 {
            continue;
        }
        let found = reply.ok();
        let version = found["metadata"]["version"].as_u64().unwrap();
        assert_eq!(found["text"], words(id, version));
        model.documents.insert(id, version);
    }
    let count = server.get("/v1/documents?tenant=law").ok()["documents"].as_u64().unwrap();
    assert_eq!(count, model.documents.len() as u64);
    let metric = server.get("/v1/experiments?tenant=law").ok()["metric"].clone();
    let units = |name: &str| metric[name].as_u64().unwrap();
    model.subjects = units("control_subjects") + units("treatment_subjects");
    model
}
