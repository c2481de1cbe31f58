//! What CI runs, step by step; a step that fails does not hide the ones after it.

use std::time::{Duration, Instant};

use crate::command;
use crate::contract;
use crate::project::Project;
use crate::python;
use crate::sanitize;
use crate::tidy;

/// The promise to whoever waits for it: two cores, nothing built yet.
const LIMIT: Duration = Duration::from_secs(45 * 60);
const INTEROP: &str = "golden/peft_interop.py";

struct Step {
    name: &'static str,
    run: fn(&Project) -> Result<Outcome, String>,
}

enum Outcome {
    Passed,
    Skipped(&'static str),
}

/// Cheap steps come first, so that a slip is heard of early.
const STEPS: [Step; 8] = [
    Step { name: "format", run: format },
    Step { name: "tidy", run: check_tidiness },
    Step { name: "clippy", run: clippy },
    Step { name: "interop", run: interop },
    Step { name: "documentation", run: documentation },
    Step { name: "tests", run: tests },
    Step { name: "sanitize", run: sanitize_shared },
    Step { name: "contract", run: keep_contract },
];

/// Runs every step, tells how long each took, and ends with one line.
pub(crate) fn run(project: &Project) -> Result<(), String> {
    let start = Instant::now();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    let mut times = Vec::new();
    for step in &STEPS {
        println!("== {}", step.name);
        let step_start = Instant::now();
        match (step.run)(project) {
            Ok(Outcome::Passed) => passed += 1,
            Ok(Outcome::Skipped(reason)) => {
                println!("skipped: {reason}");
                skipped += 1;
            }
            Err(message) => {
                eprintln!("error: {}: {message}", step.name);
                failed += 1;
            }
        }
        times.push(format!("{} {} s", step.name, step_start.elapsed().as_secs()));
    }
    println!("took {} s: {}", start.elapsed().as_secs(), times.join(", "));
    if start.elapsed() > LIMIT {
        println!("slower than the {} minutes that two cores should need", LIMIT.as_secs() / 60);
    }
    println!("ci: {passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { Ok(()) } else { Err(format!("{failed} of {} steps failed", STEPS.len())) }
}

fn format(project: &Project) -> Result<Outcome, String> {
    cargo(project, &["fmt", "--all", "--check"])
}

fn check_tidiness(project: &Project) -> Result<Outcome, String> {
    tidy::run(project).map(|()| Outcome::Passed)
}

fn clippy(project: &Project) -> Result<Outcome, String> {
    cargo(project, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
}

/// Real peft and sentence-transformers read what we write, and write what we read.
fn interop(project: &Project) -> Result<Outcome, String> {
    let Some(mut python) = python::with_packages(project) else {
        return Ok(Outcome::Skipped(
            "peft and sentence-transformers are not installed; `cargo xtask golden` installs them",
        ));
    };
    command::run(python.arg(INTEROP)).map(|()| Outcome::Passed)
}

/// A live daemon answers requests made from openapi.json as that foretells.
fn keep_contract(project: &Project) -> Result<Outcome, String> {
    contract::run(project).map(|missing| missing.map_or(Outcome::Passed, Outcome::Skipped))
}

/// What several processes change at once is used as memory may be.
fn sanitize_shared(project: &Project) -> Result<Outcome, String> {
    sanitize::run(project).map(|missing| missing.map_or(Outcome::Passed, Outcome::Skipped))
}

/// Links between items resolve, and examples in comments run.
fn documentation(project: &Project) -> Result<Outcome, String> {
    let mut document = project.cargo();
    document
        .args(["doc", "--quiet", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings");
    command::run(&mut document)?;
    cargo(project, &["test", "--quiet", "--workspace", "--doc"])
}

fn tests(project: &Project) -> Result<Outcome, String> {
    if command::succeeds(project.cargo().args(["nextest", "--version"])) {
        return cargo(project, &["nextest", "run", "--workspace", "--no-fail-fast"]);
    }
    println!("cargo-nextest is not installed, so `cargo test` runs the tests");
    cargo(project, &["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"])
}

fn cargo(project: &Project, arguments: &[&str]) -> Result<Outcome, String> {
    command::run(project.cargo().args(arguments)).map(|()| Outcome::Passed)
}
