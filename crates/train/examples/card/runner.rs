//! One check after another, each a process with a limit.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{env, io, thread};

use rustix::process::{Pid, Signal, getpgrp, getpid, kill_process_group};
use serde_json::{Value, json};

use super::checks::{self, Check};
use super::options::{Device, Options};
use super::place::{Place, Stage};
use super::report::{self, COULD_NOT_RUN, FAILED, MEASURED, NO_TIME, PASSED, Rows, without_figure};

/// Nothing failed, since nothing could run.
const NOTHING_RAN: u8 = 2;

const POLL: Duration = Duration::from_millis(20);
/// How many times as long a check may take where kernels are emulated.
const EMULATED_TIMES: u64 = 30;

/// What was found so far.
struct Findings {
    head: Value,
    rows: Vec<Value>,
}

/// Runs the checks and writes both reports; the code says whether all of them hold.
///
/// The first check opens the card; where that could not be done there is nothing for the others.
pub(crate) fn run<P: Place>(options: &Options) -> Result<ExitCode, String> {
    let begun = Instant::now();
    fs::create_dir_all(&options.out).map_err(|error| at(options, &error))?;
    let all = checks::all::<P>();
    let words: Vec<&str> = options.only.iter().flat_map(|words| words.split(',')).collect();
    let begins = |word: &&str| all.iter().any(|check| check.name.starts_with(word));
    if let Some(word) = words.iter().find(|word| word.is_empty() || !begins(word)) {
        let names: Vec<&str> = all.iter().map(|check| check.name).collect();
        return Err(format!("no check begins so: '{word}'\nhint: there are {}", names.join(", ")));
    }
    let wanted = |check: &&Check<P>| {
        words.is_empty() || words.iter().any(|word| check.name.starts_with(word))
    };
    let mut findings = Findings { head: head(options), rows: Vec::new() };
    let opened = all.iter().enumerate().filter(|(place, check)| *place == 0 || wanted(check));
    for (place, check) in opened {
        let left = Duration::from_secs(options.minutes * 60).saturating_sub(begun.elapsed());
        for row in run_apart(options, check, left)? {
            match row.get("card") {
                Some(_) => findings.learn(&row),
                None => {
                    eprintln!("{}", report::line(&row));
                    findings.rows.push(row);
                }
            }
        }
        findings.write(options)?;
        if place == 0 && findings.head["card"].is_null() {
            break;
        }
    }
    Ok(findings.conclude(options, begun.elapsed()))
}

/// Runs one check in this process, which says its rows on standard output.
pub(crate) fn run_one<P: Place>(stage: &Stage<'_, P>, name: &str) -> Result<(), String> {
    end_with_standard_input();
    let check = checks::all::<P>().into_iter().find(|check| check.name == name);
    let check = check.ok_or_else(|| format!("there is no check '{name}'"))?;
    (check.run)(stage, &mut Rows { check: check.name })
}

fn head(options: &Options) -> Value {
    let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    let date = date.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    json!({
        "card": null, "driver": null, "compiler": null,
        "date": date.unwrap_or_default(), "is_quick": options.is_quick,
        "is_on_card": options.device == Device::Card, "version": env!("CARGO_PKG_VERSION"),
    })
}

impl Findings {
    /// Takes over what the check that opens the card says of it.
    fn learn(&mut self, facts: &Value) {
        for (key, value) in facts.as_object().into_iter().flatten() {
            self.head[key.as_str()] = value.clone();
        }
    }

    fn write(&self, options: &Options) -> Result<(), String> {
        let lines = [&self.head].into_iter().chain(&self.rows).map(Value::to_string);
        let lines = lines.collect::<Vec<_>>().join("\n") + "\n";
        let table = report::markdown(&self.head, &self.rows);
        for (name, content) in [("results.jsonl", lines), ("results.md", table)] {
            fs::write(options.out.join(name), content).map_err(|error| at(options, &error))?;
        }
        Ok(())
    }

    fn conclude(&self, options: &Options, took: Duration) -> ExitCode {
        let rows = &self.rows;
        let [passed, failed, measured, missing] =
            [PASSED, FAILED, MEASURED, COULD_NOT_RUN].map(|verdict| report::count(rows, verdict));
        let late = rows.iter().filter(|row| row["detail"] == NO_TIME);
        let late: Vec<&str> = late.filter_map(|row| row["check"].as_str()).collect();
        if !late.is_empty() {
            println!("no time was left for {}", late.join(", "));
        }
        println!(
            "{passed} passed, {failed} failed, {measured} measured, {missing} could not run, in \
             {} s; see {}",
            took.as_secs(),
            options.out.join("results.md").display()
        );
        match (failed, passed + measured) {
            (0, 0) => ExitCode::from(NOTHING_RAN),
            (0, _) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }
}

/// Runs a check in a process of its own, for as long as it may take and time is left, and gives its
/// rows and what went wrong.
fn run_apart<P: Place>(
    options: &Options,
    check: &Check<P>,
    left: Duration,
) -> Result<Vec<Value>, String> {
    let without = |verdict, why: &str| without_figure(check.name, verdict, (check.about, why));
    if left.is_zero() {
        return Ok(vec![without(COULD_NOT_RUN, NO_TIME)]);
    }
    let failed = |error: io::Error| at(options, &error);
    let path = |kind: &str| options.out.join(format!("{}.{kind}", check.name));
    let program = env::current_exe().map_err(failed)?;
    let mut command = Command::new(program);
    // Its end of standard input is what says that this program lives.
    command.args(["check", check.name]).args(&options.given).stdin(Stdio::piped());
    command.process_group(0);
    command.stdout(File::create(path("rows")).map_err(failed)?);
    command.stderr(File::create(path("talk")).map_err(failed)?);
    let times = if P::IS_EMULATED { EMULATED_TIMES } else { 1 };
    let limit = left.min(Duration::from_secs(check.seconds_max * times));
    let ended = wait(&mut command.spawn().map_err(failed)?, limit).map_err(failed)?;
    let lines = fs::read_to_string(path("rows")).map_err(failed)?;
    let mut rows: Vec<Value> =
        lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    match ended {
        Some(status) if status.success() && !rows.is_empty() => {}
        Some(status) => {
            let talk = fs::read_to_string(path("talk")).unwrap_or_default();
            let talk = talk.trim().trim_start_matches("error: ").replace('\n', " / ");
            rows.push(without(FAILED, &format!("{talk} ({status})")));
        }
        None if limit == left => rows.push(without(COULD_NOT_RUN, "there was no time to end it")),
        None => rows.push(without(FAILED, &format!("it was ended after {} s", limit.as_secs()))),
    }
    Ok(rows)
}

/// Ends this process, with all that it started, when whoever started it has ended and so closes its
/// standard input; only where it has a group of its own, as the runner makes one.
fn end_with_standard_input() {
    if getpgrp() != getpid() {
        return;
    }
    thread::spawn(|| {
        // However it ends, nobody is there any more.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = kill_process_group(getpgrp(), Signal::KILL);
    });
}

/// Waits for the check; `None` if it had to be ended, with all that it started.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let begun = Instant::now();
    while begun.elapsed() < limit {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(POLL);
    }
    kill_process_group(Pid::from_child(child), Signal::KILL)?;
    child.wait()?;
    Ok(None)
}

fn at(options: &Options, error: &io::Error) -> String {
    format!("use {}: {error}", options.out.display())
}
