//! A pool that gives canned answers and remembers what it was asked, and the real program asking it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

pub(crate) mod views;

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use super::common::{Place, Ran};

/// What the pool does when it is asked.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Answers with a status and JSON.
    Json(u16, Value),
    /// Answers with a part of a log: its bytes, where it goes on, whether it does.
    Log(&'static [u8], u64, bool),
    /// Ends the connection without a word, as a daemon that dies does.
    HangUp,
    /// Begins to answer and dies.
    Half,
}

/// What the pool was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// `GET /v1/jobs?limit=50`
    pub(crate) line: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

/// The answers to a route, each given once, but the last again and again.
type Answers = Arc<Mutex<BTreeMap<String, VecDeque<Answer>>>>;

/// A pool on a port of its own, for as long as the test process lives.
pub(crate) struct FakePool {
    pub(crate) place: Place,
    address: String,
    answers: Answers,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl FakePool {
    /// A pool that knows these routes, such as `GET /v1/jobs`; to others it answers 404.
    pub(crate) fn new(routes: &[(&str, Answer)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (answers, seen) = (Answers::default(), Arc::default());
        let pool = Self { place: Place::new(), address, answers, seen };
        for (route, answer) in routes {
            pool.then(route, answer.clone());
        }
        let (answers, seen) = (Arc::clone(&pool.answers), Arc::clone(&pool.seen));
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &answers, &seen);
            }
        });
        pool
    }

    /// A further answer to a route.
    pub(crate) fn then(&self, route: &str, answer: Answer) {
        let mut answers = self.answers.lock().unwrap();
        answers.entry(route.to_owned()).or_default().push_back(answer);
    }

    /// What it was asked since the last time.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    /// The lines of what it was asked since the last time.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }

    /// The program, which finds this pool in its environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = settled(&self.place, arguments);
        command.env("COTENANT_POOL", &self.address);
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    /// Where it is.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

/// The program in a place where nothing names a pool.
pub(crate) fn settled(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.command(arguments);
    command.env_remove("COTENANT_POOL").env_remove("COTENANT_TOKEN");
    command.env("COTENANT_STATE", place.at("state"));
    command
}

fn serve(stream: TcpStream, answers: &Answers, seen: &Mutex<Vec<Seen>>) {
    let mut reader = BufReader::new(&stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 {
            return;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let line = lines[0].trim_end_matches(" HTTP/1.1").to_owned();
    let headers: BTreeMap<String, String> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = if length == 0 { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    let route = line.split('?').next().unwrap().to_owned();
    seen.lock().unwrap().push(Seen { line, headers, body });
    let answer = {
        let mut answers = answers.lock().unwrap();
        match answers.get_mut(&route) {
            Some(queue) if queue.len() > 1 => queue.pop_front().unwrap(),
            Some(queue) => queue[0].clone(),
            None => Answer::Json(404, views::problem("not-found", "there is none", None)),
        }
    };
    reply(&stream, &answer);
}

fn reply(mut stream: &TcpStream, answer: &Answer) {
    let (head, body) = match answer {
        Answer::HangUp => return,
        Answer::Half => {
            // The program may have gone away already.
            let _ = stream.write_all(b"HTTP/1.1 201 x\r\ncontent-length: 100\r\n\r\n{\"id\": 1");
            return;
        }
        Answer::Json(status, value) => {
            (format!("{status} x\r\ncontent-type: application/json"), value.to_string().into())
        }
        Answer::Log(bytes, next, is_open) => {
            (format!("200 x\r\nx-next-offset: {next}\r\nx-open: {is_open}"), bytes.to_vec())
        }
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    let _ = stream.write_all(&[head.into_bytes(), body].concat());
}
