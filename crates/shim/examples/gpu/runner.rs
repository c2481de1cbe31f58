//! One check after another, each a process with a limit.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, io};

use serde_json::{Value, json};

use super::bar::Verdict;
use super::checks::{ALL, Check};
use super::clock::end_group;
use super::options::{Options, Pace};
use super::report::{self, Rows, without_figure};
use super::stage::Stage;

/// Nothing failed, since nothing could run.
const NOTHING_RAN: u8 = 2;

const POLL: Duration = Duration::from_millis(20);

/// Runs the checks and writes both reports; the code says whether all of them hold.
pub(crate) fn run(options: &Options) -> Result<ExitCode, String> {
    let begun = Instant::now();
    let name = |row: &Value| row["check"].as_str().unwrap_or_default().to_owned();
    fs::create_dir_all(&options.out).map_err(|error| at(options, &error))?;
    let head = head(&Stage::open(options)?);
    let wanted = |check: &&Check| match &options.only {
        Some(word) => check.name.starts_with(word.as_str()),
        None => true,
    };
    let checks: Vec<&Check> = ALL.iter().filter(wanted).collect();
    if checks.is_empty() {
        let names: Vec<&str> = ALL.iter().map(|check| check.name).collect();
        return Err(format!("no check begins so\nhint: there are {}", names.join(", ")));
    }
    let mut rows = Vec::new();
    for check in checks {
        let left = Duration::from_secs(options.minutes * 60).saturating_sub(begun.elapsed());
        let found = run_apart(options, check, left)?;
        found.iter().for_each(|row| eprintln!("{:10} {}", check.name, report::line(row)));
        rows.extend(found);
        write(options, &head, &rows)?;
    }
    let [passed, failed, measured, missing] =
        [Verdict::Passed, Verdict::Failed, Verdict::Measured, Verdict::CouldNotRun]
            .map(|verdict| report::count(&rows, verdict));
    let seconds = begun.elapsed().as_secs();
    let late: Vec<String> = rows.iter().filter(|row| report::had_no_time(row)).map(name).collect();
    if !late.is_empty() {
        println!("no time was left for {}", late.join(", "));
    }
    println!(
        "{passed} passed, {failed} failed, {measured} measured, {missing} could not run, in \
         {seconds} s; see {}",
        options.out.join("results.md").display()
    );
    Ok(match (failed, passed + measured) {
        (0, 0) => ExitCode::from(NOTHING_RAN),
        (0, _) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Runs one check in this process, which says its rows on standard output.
pub(crate) fn run_one(options: &Options, name: &str) -> Result<ExitCode, String> {
    let check = ALL.iter().find(|check| check.name == name);
    let check = check.ok_or_else(|| format!("there is no check '{name}'"))?;
    let stage = Stage::open(options)?;
    (check.run)(&stage, &mut Rows { check: check.name })?;
    Ok(ExitCode::SUCCESS)
}

/// What the figures were got on.
fn head(stage: &Stage<'_>) -> Value {
    let facts = &stage.facts;
    let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    let date = date.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    json!({
        "card": facts.name, "driver": facts.driver, "cuda": facts.cuda, "sms": facts.sms,
        "compute": format!("{}.{}", facts.compute.0, facts.compute.1),
        "memory_bytes": facts.memory_bytes, "is_fake": facts.is_fake,
        "date": date.unwrap_or_default(),
        "pace": match stage.options.pace { Pace::Full => "full", Pace::Quick => "quick" },
        "library": stage.options.library.as_ref().map(|file| file.display().to_string()),
        "version": env!("CARGO_PKG_VERSION"),
    })
}

/// Runs a check in a process of its own, for as long as it may take and time is left, and gives its
/// rows and what went wrong.
fn run_apart(options: &Options, check: &Check, left: Duration) -> Result<Vec<Value>, String> {
    let limit = Duration::from_secs(check.seconds_max);
    let lack = |why: &str| without_figure(check.name, Verdict::CouldNotRun, ("", check.about, why));
    if left.is_zero() {
        return Ok(vec![lack(report::NO_TIME)]);
    }
    let said = options.out.join(format!("{}.out", check.name));
    let talk = options.out.join(format!("{}.err", check.name));
    let file = |path| File::create(path).map_err(|error| at(options, &error));
    let mut command = Command::new(env::current_exe().map_err(|error| at(options, &error))?);
    command.args(["check", check.name]).args(&options.given);
    command.stdin(Stdio::null()).stdout(file(&said)?).stderr(file(&talk)?).process_group(0);
    let mut child = command.spawn().map_err(|error| at(options, &error))?;
    let ended = wait(&mut child, limit.min(left)).map_err(|error| at(options, &error))?;
    let lines = fs::read_to_string(&said).map_err(|error| at(options, &error))?;
    let mut rows: Vec<Value> =
        lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let wrong = match ended {
        Some(status) if status.success() => None,
        Some(status) => {
            let talk = fs::read_to_string(&talk).unwrap_or_default();
            let talk = talk.trim().trim_start_matches("error: ").replace('\n', " / ");
            Some(format!("{talk} ({status})"))
        }
        None if left < limit => {
            rows.push(lack("there was no time left to end it"));
            return Ok(rows);
        }
        None => Some(format!("it was ended after {} s", check.seconds_max)),
    };
    if let Some(wrong) = wrong {
        rows.push(without_figure(check.name, Verdict::Failed, ("", check.about, &wrong)));
    } else if rows.is_empty() {
        let said = ("", check.about, "it said nothing");
        rows.push(without_figure(check.name, Verdict::Failed, said));
    }
    Ok(rows)
}

/// Waits for the check; `None` if it had to be ended. Its tenants end with it.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let begun = Instant::now();
    while begun.elapsed() < limit {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(POLL);
    }
    end_group(child.id());
    child.wait()?;
    Ok(None)
}

fn write(options: &Options, head: &Value, rows: &[Value]) -> Result<(), String> {
    let lines: Vec<String> = [head].into_iter().chain(rows).map(Value::to_string).collect();
    let results =
        [("results.jsonl", lines.join("\n") + "\n"), ("results.md", report::markdown(head, rows))];
    for (name, content) in results {
        fs::write(options.out.join(name), content).map_err(|error| at(options, &error))?;
    }
    Ok(())
}

fn at(options: &Options, error: &io::Error) -> String {
    format!("use {}: {error}", options.out.display())
}
