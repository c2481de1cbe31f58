//! The layer on a driver of our own, which has cards that exist only in a file; and the compiler
//! and cuBLASLt as far as they are without a card.
//!
//! A driver is loaded once for a process, so each test of it runs in a process of its own: the test
//! starts itself again with the driver on the loader's path.

pub(in crate::cuda) mod compiling;
mod computing;
mod memory;
mod opening;
mod products;

use std::env;
use std::ffi::{CStr, CString, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use cotenant_fake_cards::{Cards, Description, Fault, install};

use super::raw::FUNCTIONS;
use super::{Card, CudaError};

const MIB: usize = 1 << 20;
/// Set in a process that a test started, to the test's name.
const CHILD: &str = "COTENANT_TEST_ON_FAKE_CARDS";
/// What the child writes before a word that asks its parent for something.
const ASK: &str = "ask the parent: ";

/// Cards and a driver for a test.
pub(in crate::cuda) struct World {
    cards: &'static str,
    settings: &'static str,
    faults: &'static str,
    /// Functions that the driver does not have.
    missing: &'static [&'static str],
    variables: Vec<(&'static str, OsString)>,
    /// Adds libraries to the folder of the driver.
    add: fn(&Path),
}

impl World {
    pub(in crate::cuda) fn new(cards: &'static str) -> Self {
        let variables = Vec::new();
        Self { cards, settings: "", faults: "", missing: &[], variables, add: |_| () }
    }

    /// The same, whose functions fail so.
    pub(in crate::cuda) fn failing(self, faults: &'static str) -> Self {
        Self { faults, ..self }
    }

    /// Runs a test of a module in a process of its own; gives the cards as it left them, or `None`
    /// in that process.
    pub(in crate::cuda) fn run(
        &self,
        (module, test): (&str, &str),
        body: impl FnOnce(),
    ) -> Option<Cards> {
        self.run_and_answer((module, test), body, |_, word| panic!("asked for {word}"))
    }

    /// The same, for a test that asks the parent for what only it may do to the cards.
    fn run_and_answer(
        &self,
        (module, test): (&str, &str),
        body: impl FnOnce(),
        answer: impl Fn(&Cards, &str),
    ) -> Option<Cards> {
        let (_, path) = module.split_once("::").unwrap();
        let name = format!("{path}::{test}");
        if env::var(CHILD).is_ok_and(|child| child == name) {
            body();
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let description = Description::parse(self.cards, self.settings).unwrap();
        let cards = Cards::create(&folder.path().join("cards"), &description).unwrap();
        for (function, faults) in Fault::parse_all(self.faults).unwrap() {
            faults.iter().for_each(|fault| cards.set_fault(&function, fault));
        }
        let lib = folder.path().join("lib");
        install(&lib, self.missing).unwrap();
        (self.add)(&lib);
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", &name, "--nocapture"]).env(CHILD, &name);
        command.env("COTENANT_FAKE_DRIVER", cards.path()).env("LD_LIBRARY_PATH", lib);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        talk(command, |word| answer(&cards, word));
        let called = cards.calls();
        let is_listed = |name: &&String| {
            let name = CString::new(name.as_bytes()).unwrap();
            // NVRTC asks for the last by itself, and does without.
            FUNCTIONS.contains(&name.as_c_str()) || name.as_c_str() == c"cuGetExportTable"
        };
        let others: Vec<&String> = called.keys().filter(|name| !is_listed(name)).collect();
        assert!(others.is_empty(), "called but not asked for: {others:?}");
        Some(cards)
    }
}

/// Runs a child to its good end, and answers what it asks.
fn talk(mut command: Command, answer: impl Fn(&str)) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut words = child.stdin.take().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        text
    });
    let mut said = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some((_, word)) = line.split_once(ASK) {
            answer(word);
            words.write_all(b"done\n").unwrap();
        }
        said.extend([line.as_str(), "\n"]);
    }
    let status = child.wait().unwrap();
    let errors = errors.join().unwrap();
    // A name that no test has would pass too.
    assert!(status.success() && said.contains("1 passed"), "{said}\n{errors}");
    say(&errors);
}

/// Says something past what catches the output of tests.
fn say(text: &str) {
    writeln!(std::io::stderr(), "{}", text.trim_end()).unwrap();
}

/// Asks the parent for something, and waits until it is done.
fn ask(word: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{ASK}{word}").unwrap();
    out.flush().unwrap();
    std::io::stdin().lock().read_line(&mut String::new()).unwrap();
}

fn open() -> Card {
    Card::open(0).unwrap_or_else(|error| panic!("{error}"))
}

/// The first line of what an error says.
fn sentence(error: &CudaError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// How often a function was called.
fn calls(cards: &Cards, function: &CStr) -> u64 {
    cards.calls().get(function.to_str().unwrap()).copied().unwrap_or(0)
}
