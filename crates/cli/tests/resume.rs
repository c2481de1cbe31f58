//! Runs that are stopped, killed or run out of disk, and go on to the same adapters, bit for bit.
//!
//! One run is left alone and gives the adapters to compare with. The others are interrupted in the
//! real process, at a moment that only the machine decides, and resumed.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{Place, Ran, data};

const WORKSPACE: &str = r#"
base = "model"

[limits]
threads = 1
precision = "f32"
checkpoint_every_steps = 5

[defaults]
batch = 8
steps = 60
dropout = 0.1

[tenant.one]
data = "science"
rank = 16
patience = 0

[tenant.two]
data = "two.jsonl"
accumulate = 2
"#;

/// Longest that a test waits for a checkpoint, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn place() -> Place {
    let place = Place::new();
    data::beir(&place.at("science"), 60);
    data::pairs(&place.at("two.jsonl"), 80);
    place.write("w.toml", WORKSPACE);
    place
}

/// A run under way, killed if the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let mut command = place.command(arguments);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Waits until the checkpoint was put in place `times` times.
    fn wait_for_checkpoints(&mut self, place: &Place, run: &str, times: u32) {
        let path = place.at(run).join("checkpoint");
        let (begun, mut last, mut seen) = (Instant::now(), None, 0);
        while seen < times {
            let now = fs::metadata(&path).ok().map(|data| (data.ino(), data.mtime_nsec()));
            if now.is_some() && now != last {
                (last, seen) = (now, seen + 1);
            }
            assert!(self.0.try_wait().unwrap().is_none(), "the run ended before it was stopped");
            assert!(begun.elapsed() < PATIENCE, "no checkpoint in {PATIENCE:?}");
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Sends a signal and waits for the end; returns the exit code.
    fn signal(&mut self, name: &str) -> Option<i32> {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
        self.0.wait().unwrap().code()
    }
}

fn train(out: &str) -> [&str; 5] {
    ["train", "w.toml", "--quiet", "--out", out]
}

#[track_caller]
fn check_same(place: &Place, out: &str) {
    for tenant in ["one", "two"] {
        let weights = format!("tenants/{tenant}/adapter/adapter_model.safetensors");
        let whole = place.read(format!("whole/{weights}"));
        assert!(whole == place.read(format!("{out}/{weights}")), "{out}: {tenant} differs");
    }
    assert!(!place.at(out).join("checkpoint").exists(), "{out} is finished");
    assert!(curves(place, out) == curves(place, "whole"), "{out}: the report shows other curves");
}

/// The part of a report that shows losses, dev scores and what was trained.
fn curves(place: &Place, out: &str) -> String {
    let report = String::from_utf8(place.read(format!("{out}/report.html"))).unwrap();
    let (_, training) = report.split_once("<h2>Training</h2>").unwrap();
    let (training, _) = training.split_once("<h2>").unwrap();
    assert!(training.contains("Development nDCG@10 of one"), "{training}");
    training.replace(&format!("{out}/tenants"), "RUN/tenants")
}

#[track_caller]
fn check_resumes(place: &Place, out: &str) {
    place.run(&[&train(out)[..], &["--resume"]].concat()).check(out, 0, &[]);
    check_same(place, out);
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_adapters() {
    let place = place();
    place.run(&train("whole")).check("a run left alone", 0, &[]);

    let mut running = Running::start(&place, &train("stopped"));
    running.wait_for_checkpoints(&place, "stopped", 3);
    assert_eq!(running.signal("TERM"), Some(130));
    assert!(place.at("stopped/checkpoint").is_file());
    let early = place.run(&["search", "--run", "stopped", "--tenant", "one", "x"]);
    early.check("a search before the end", 1, &["no run.json", "hint: ", "--resume"]);
    let anew = place.run(&train("stopped"));
    anew.check("a new run over a stopped one", 1, &["not empty", "hint: go on with --resume"]);
    let checkpoint = place.read("stopped/checkpoint");
    check_resumes(&place, "stopped");

    // A machine that dies while the results are written leaves the checkpoint beside them.
    fs::remove_file(place.at("stopped/run.json")).unwrap();
    place.write("stopped/checkpoint", checkpoint);
    check_resumes(&place, "stopped");

    killed(&place);
    disk_full(&place);
    changed(&place);
}

/// Killed at a moment that this process's id picks; the message says how to try it again.
fn killed(place: &Place) {
    let times = std::env::var("COTENANT_TEST_CHECKPOINTS").ok().and_then(|n| n.parse().ok());
    let times = times.unwrap_or(1 + std::process::id() % 12);
    eprintln!("killed after checkpoint {times}: again with COTENANT_TEST_CHECKPOINTS={times}");
    let mut running = Running::start(place, &train("killed"));
    running.wait_for_checkpoints(place, "killed", times);
    assert_eq!(running.signal("KILL"), None);
    check_resumes(place, "killed");
}

/// A limit on the size of files stands in for a full disk: writing fails past it.
fn disk_full(place: &Place) {
    let mut running = Running::start(place, &train("full"));
    running.wait_for_checkpoints(place, "full", 2);
    assert_eq!(running.signal("TERM"), Some(130));
    let checkpoint = place.read("full/checkpoint");
    assert!(checkpoint.len() > 8 * 1024, "the limit is below the checkpoint");
    let script = "trap '' XFSZ; ulimit -f 8; exec \"$0\" train w.toml --out full --resume";
    let ran = Ran::of(place.shell(script).output().unwrap());
    ran.check(
        "a full disk",
        1,
        &["full/checkpoint", "File too large", "hint: make room on the disk"],
    );
    assert!(checkpoint == place.read("full/checkpoint"), "the checkpoint before survives");
    let files = fs::read_dir(place.at("full")).unwrap().count();
    assert_eq!(files, 1, "the unfinished checkpoint is gone");
    check_resumes(place, "full");
}

/// A checkpoint belongs to one workspace and its data.
fn changed(place: &Place) {
    let mut running = Running::start(place, &train("changed"));
    running.wait_for_checkpoints(place, "changed", 1);
    assert_eq!(running.signal("INT"), Some(130));
    let resume = [&train("changed")[..], &["--resume"]].concat();
    let check = |what: &str| {
        let parts = ["error: failed to go on from the checkpoint", "does not match", "hint: "];
        place.run(&resume).check(what, 1, &parts);
    };
    place.write("w.toml", WORKSPACE.replace("rank = 16", "rank = 8"));
    check("another rank");
    place.write("w.toml", WORKSPACE);
    data::pairs(&place.at("two.jsonl"), 81);
    check("other data");
    data::pairs(&place.at("two.jsonl"), 80);
    let checkpoint = place.read("changed/checkpoint");
    place.write("changed/checkpoint", &checkpoint[..checkpoint.len() / 2]);
    place.run(&resume).check(
        "half a checkpoint",
        1,
        &["changed/checkpoint", "is damaged", "hint: "],
    );
}
